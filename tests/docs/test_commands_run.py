"""The guides carried out: the ten minutes as they are written, all other commands at toy size."""

import ast
import contextlib
import io
import json
import re
import shlex
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recbench import registry
from recbench.cli.app import app
from recbench.core import RecbenchError
from recbench.testing import write_source
from tests.docs.pages import ROOT, Block, blocks, commands, understood

GUIDES = ("README.md", "docs/")
NOT_AT_TOY_SIZE = {
    "recbench cache add smollm2": "converts weights that an own package brings; tests/nn/text does it on small ones",
    "recbench league run --class small": "hours; tests/cli/test_league.py runs a small league",
    "recbench codes import FILE": "the same as with a name",
    "recbench data check ml-100k": "needs the real files",
    "recbench push last OWNER/NAME": "asks a hub; tests/cli/test_sharing.py has one on this machine",
    "recbench pull OWNER/NAME": "asks a hub",
    "recbench submit last": "boards take no made-up data; tests/reporting/test_submission.py",
    "recbench submit last --output submissions/me": "the same with a name",
    "recbench submit last --output submissions/bpr": "the same with a name",
    "recbench leaderboard check submissions/me": "the same",
    "recbench leaderboard accept submissions/me": "the same",
    "recbench diff A B": "the same as with other letters",
    "recbench diff 'runs/beauty-hllm-cpu-smollm2-random-s0-*' 'runs/beauty-hllm-cpu-smollm2-s0-*'": "the shell finds these runs",
}
"""Commands of the guides that are not carried out, and why."""


def give(command: list[str]) -> str:
    """What a command prints; a failure is one of the test."""
    done = CliRunner().invoke(app, command[1:], prog_name="recbench")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in, with a cache of its own and no real data."""
    folder = tmp_path_factory.mktemp("guide")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("RECBENCH_HOME", str(folder / "home"))
        patch.delenv("RECBENCH_DATA", raising=False)
        yield folder


def of_page(page: str, *languages: str) -> list[Block]:
    return [block for block in blocks() if block.page == page and block.language in languages]


@pytest.mark.slow
@pytest.mark.uncounted
def test_the_ten_minutes_go_as_they_are_written(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = []
    for block in of_page("docs/start-here.md", "sh", "python"):
        monkeypatch.chdir(desk)
        monkeypatch.setenv("RECBENCH_HOME", str(desk / "home"))
        if block.language == "sh":
            printed += [give(shlex.split(line)) for line in block.text.splitlines()]
        else:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block.text, block.place, "exec"), {})
            printed.append(out.getvalue())
    run, together, recommended, runs, stats, shortcuts, python = printed
    assert "beside cheap references" in run
    assert "paired by user" in together
    assert len(re.findall(r"item-\d{4}", recommended)) >= 3
    assert runs.count("demo-") == 4
    assert "500" in stats
    assert "%" in shortcuts
    assert "item-" in python


@dataclass(frozen=True)
class Toys:
    """Small things that stand for the large ones of the guides."""

    words: dict[str, str]
    """What stands for a word: names of data sets, runs and files."""
    has_smoke: frozenset[str]
    """Models with a preset for tests."""

    def command(self, words: list[str]) -> list[str]:
        """The command about small things."""
        small = []
        stand_in = self.words | ({"ials": "ials"} if "--plugin" in words else {})
        for before, word in pairwise(["", *words]):
            if before == "--models":
                names = dict.fromkeys(stand_in.get(name, name.partition(":")[0]) for name in word.split(","))
                small.append(",".join(f"{name}:smoke" if name in self.has_smoke else name for name in names))
            elif before == "--preset":
                small.append("smoke" if word != "tfidf" else word)
            elif before in ("--seeds", "--trials", "--jobs"):
                small.append("1")
            elif word.startswith("synthetic"):
                small.append("synthetic:items=60,users=60,events=5")
            else:
                small.append(",".join(dict.fromkeys(stand_in.get(part, part) for part in word.split(","))))
        if "--plugin" in small:
            return small
        model = dict(pairwise(small)).get("--model")
        return small + (["--preset", "smoke"] if "run" in small and "--preset" not in small and model in self.has_smoke else [])


@pytest.fixture(scope="module")
def toys(desk: Path) -> Toys:
    """A data set, an index of codes, runs, lists and boards, where the commands will be given."""
    write_source(desk / "shop")
    codes = {str(item): [f"<a_{item % 3}>", f"<b_{item % 5}>"] for item in range(30)}
    (desk / "Beauty.index.json").write_text(json.dumps(codes))
    for model in ("item-knn", "prorec:smoke"):
        name, _, preset = model.partition(":")
        give(["recbench", "run", "--model", name, "--dataset", "shop", *(["--preset", preset] if preset else [])])
    first, newest = (next(path.name for path in (desk / "runs").glob(f"shop-{model}-*")) for model in ("item-knn", "prorec"))
    give(["recbench", "recommend", first, "--export", "lists.csv", "--seen", "both"])
    give(["recbench", "leaderboard", "publish"])
    cards = {name: registry.models().load(name).card for name in registry.models().names()}
    names = [row["name"] for row in json.loads(give(["recbench", "list", "datasets", "--json"]))]
    words = dict.fromkeys([*names, "path/to/folder", "my-shop.toml", "D", "DATASET"], "shop")
    words |= {name: "outfits" for name in words if name.startswith("bundle-")} | {"outfits": "outfits", "demo": "demo"}
    words |= {"RUN": newest, "FIRST": first, "SECOND": newest, "last": newest, "MODEL": "item-knn", "FILE": "lists.csv"}
    words |= {"M": "popularity", "NAME": "popularity", "ials": "popularity", "keep|unseen": "both"}
    words |= {"50": "i0001", "172": "i0002", "a": "i0001", "b": "i0002", "ID": "i0001"}
    words["docs/example-plugin/src/recbench_ials"] = words["FOLDER"] = str(ROOT / "docs/example-plugin/src/recbench_ials")
    for record in {word for command in commands().values() for word in shlex.split(command) if word.endswith("record.json")}:
        words[record] = f"leaderboards/records/{first}/record.json"
    return Toys(words, frozenset(name for name, card in cards.items() if "smoke" in card.presets))


@pytest.mark.slow
@pytest.mark.uncounted
@pytest.mark.timeout(900)
def test_every_command_of_the_guides_does_something_at_toy_size(toys: Toys, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("RECBENCH_HOME", str(desk / "home"))
    of_guides = {command for place, command in commands().items() if place.startswith(GUIDES) and "start-here" not in place}
    faults = []
    for command in sorted(of_guides - set(NOT_AT_TOY_SIZE)):
        words = shlex.split(command)
        if not understood(words):
            continue
        try:
            give(toys.command(words))
        except (AssertionError, RecbenchError) as fault:
            faults.append(f"{command}\n{fault}")
    assert not faults, "\n\n".join(faults)


def test_blocks_in_other_languages_can_be_read() -> None:
    for block in blocks():
        if block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "python":
            # Some are the inside of a method.
            ast.parse("async def body():\n" + textwrap.indent(block.text, "    "))
