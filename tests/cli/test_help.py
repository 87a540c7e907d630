"""What `--help` says, how fast, and what it drags in."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from recbench.cli.app import app
from recbench.core.records import CodePart

HEAVY = ("torch", "transformers", "faiss", "pandas", "numpy", "pydantic", "scipy", "sklearn", "pyarrow")


def commands() -> Iterator[tuple[str, Any]]:
    """(words, command) of every command, those of groups included."""

    def walk(words: str, node: Any) -> Iterator[tuple[str, Any]]:
        if hasattr(node, "commands"):
            for name, child in node.commands.items():
                yield from walk(f"{words} {name}".strip(), child)
        else:
            yield words, node

    return walk("", typer.main.get_command(app))


COMMANDS = dict(commands())


def test_the_commands_of_the_contract_are_there() -> None:
    assert set(COMMANDS) == {
        *("run", "compare", "reproduce", "import-ranks", "plan", "tune", "show", "diff", "verify", "recommend", "latency", "doctor"),
        *("evaluate", "export", "push", "pull", "submit"),
        *(
            "leaderboard publish",
            "leaderboard export",
            "leaderboard remeasure",
            "leaderboard check",
            "leaderboard accept",
            "list models",
            "list datasets",
            "list runs",
        ),
        *("leaderboard check", "leaderboard accept"),
        *("league run", "league show"),
        *("data fetch", "data stats", "data shortcuts", "data check", "data optimum", "cache add", "cache ls", "cache size", "cache clean"),
        "codes import",
    }


@pytest.mark.parametrize("words", sorted(COMMANDS))
def test_every_command_explains_itself(words: str) -> None:
    command = COMMANDS[words]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--json", "--debug"} <= options
    first, *_ = command.help.splitlines()
    assert first.endswith((".", ":"))
    assert f"Example: recbench {words}" in command.help
    for parameter in command.params:
        if "--help" not in parameter.opts:
            assert parameter.help, f"{words} {parameter.name} has no help"
            assert parameter.help.rstrip().endswith((".", "`.")), f"{words} {parameter.name}: {parameter.help}"


def test_every_group_shows_an_example_that_is_a_command() -> None:
    groups = {name: node for name, node in typer.main.get_command(app).commands.items() if hasattr(node, "commands")}
    assert set(groups) == {"list", "leaderboard", "league", "codes", "data", "cache"}
    for name, node in groups.items():
        _, _, example = node.help.partition("Example: recbench ")
        assert example.split()[0] == name
        assert " ".join(example.split()[:2]) in COMMANDS


def test_the_version_names_the_commit_of_a_checkout(recbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, shown in (
        (CodePart(version="1.2", commit=None, is_dirty=None), "recbench 1.2\n"),
        (CodePart(version="1.2", commit="0123456789abcdef", is_dirty=True), "recbench 1.2 (01234567), uncommitted changes\n"),
    ):
        monkeypatch.setattr("recbench.running.host.provenance.code", lambda part=part: part)
        answer = recbench("--version")
        assert (answer.code, answer.stdout, answer.stderr) == (0, shown, "")


def test_options_of_run_are_those_of_the_contract() -> None:
    options = {option for parameter in COMMANDS["run"].params for option in parameter.opts if option.startswith("--")}
    wanted = (
        "model dataset preset seed set config budget device threads precision seen ties protocol plugin track data-dir again rerun jobs"
    )
    assert options - {"--help"} == {f"--{name}" for name in [*wanted.split(), "measure", "json", "debug"]}


def test_the_help_of_plugin_says_that_it_runs_foreign_code(recbench: Any) -> None:
    text = " ".join(recbench("run", "--help").stdout.replace("│", " ").split())
    assert "RUNS the code in that folder: give only folders you trust" in text


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import json, sys\nsys.argv = ['recbench', '--help']\nfrom recbench.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "Usage: recbench" in done.stdout
    assert json.loads(done.stderr) == []


def test_help_answers_in_half_a_second() -> None:
    """One of five, in seconds of computing: on a busy machine the clock on the wall tells what else runs there."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}

    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "recbench", "--help"], capture_output=True, check=True, timeout=60, env=environment)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert any(seconds() < 0.5 for _ in range(5))


@pytest.mark.parametrize("words", [["run"], ["run", "-m", "random"], ["list", "nothing"], ["run", "-m", "a", "-d", "b", "--seed", "x"]])
def test_a_command_that_is_wrong_in_itself_is_refused(recbench: Any, words: list[str]) -> None:
    before = recbench.listing()
    answer = recbench(*words)
    assert answer.code == 2
    assert "Usage: recbench" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert recbench.listing() == before
