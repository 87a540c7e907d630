"""Boards through the command line: published, verified, exported, and refused after one edited digit."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from recbench.cli.app import app

Give = Callable[..., Result]


def write_data(folder: Path) -> None:
    """Sixty users that walk in circles over thirty items; a few of them jump."""
    random = np.random.default_rng(5)
    folder.mkdir()
    with (folder / "interactions.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp"])
        for user in range(60):
            steps = np.cumsum(np.where(random.random(8) < 0.8, 1, random.integers(1, 30, 8))) + random.integers(30)
            writer.writerows([f"u{user:02}", f"i{item % 30:02}", 1_000_000 + 60 * place] for place, item in enumerate(steps.tolist()))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A working folder with two published runs, and its cache."""
    folder, home = tmp_path_factory.mktemp("boards"), tmp_path_factory.mktemp("home")
    write_data(folder / "walks")
    give = command(folder, home)
    for model in ("popularity", "last-item-markov"):
        assert give("run", "-m", model, "-d", "./walks").exit_code == 0
    done = give("leaderboard", "publish")
    assert done.exit_code == 0, done.stderr
    return folder, home


def command(folder: Path, home: Path) -> Give:
    def give(*arguments: str) -> Result:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("RECBENCH_HOME", str(home))
            patch.delenv("RECBENCH_DATA", raising=False)
            return CliRunner().invoke(app, list(arguments), prog_name="recbench")

    return give


@pytest.fixture
def boards(original: tuple[Path, Path], tmp_path: Path) -> tuple[Give, Path]:
    """The command in a copy of that folder, and the copy's leaderboards."""
    folder = tmp_path / "work"
    shutil.copytree(original[0], folder)
    return command(folder, original[1]), folder / "leaderboards"


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_publishing_again_changes_no_file(boards: tuple[Give, Path]) -> None:
    give, folder = boards
    before = contents(folder)
    assert {"index.md", "index.html", "walks.md"} <= set(before)
    assert give("leaderboard", "publish").stdout.strip() == "0 files written, 3 pages unchanged"
    done = give("leaderboard", "publish", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["written"] == []
    assert contents(folder) == before


def test_what_was_published_verifies(boards: tuple[Give, Path]) -> None:
    give, _ = boards
    done = give("verify")
    assert done.exit_code == 0, done.stderr
    assert "2 records" in done.stdout
    report = json.loads(give("verify", "--json").stdout)
    assert report["n_rows"] == 2
    assert report["n_figures"] > 50
    assert report["faults"] == []


def other_digit(match: re.Match[str]) -> str:
    return match[0][:-1] + str((int(match[0][-1]) + 1) % 10)


@pytest.mark.parametrize("victim", ["walks.md", "index.html", "record.json", "ranks.parquet"])
def test_one_edited_digit_is_found_and_the_file_named(boards: tuple[Give, Path], victim: str) -> None:
    give, folder = boards
    file = next(folder.rglob(victim))
    if victim == "ranks.parquet":
        data = bytearray(file.read_bytes())
        data[len(data) // 3] ^= 1
        file.write_bytes(data)
    else:
        text = re.sub(r"0\.\d{4}", other_digit, file.read_text(), count=1)
        assert text != file.read_text()
        file.write_text(text)
    before = contents(folder)
    done = give("verify")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert victim in done.stderr
    assert file.parent.name in done.stderr
    report = give("verify", "--json")
    assert report.exit_code == 1
    assert any(victim in fault["file"] for fault in json.loads(report.stdout)["faults"])
    assert contents(folder) == before


def test_a_run_made_again_elsewhere_is_published_beside_the_first_and_counts(boards: tuple[Give, Path]) -> None:
    give, folder = boards
    shutil.rmtree(folder.parent / "runs")
    made = json.loads(give("run", "-m", "popularity", "-d", "./walks", "--json").stdout)
    assert made["is_new"]
    assert made["run"].endswith("-2")
    done = give("leaderboard", "publish")
    assert "not published" not in done.stderr
    verified = give("verify")
    assert "2 rows, 3 records" in verified.stdout, verified.stderr
    lines = [line for line in (folder / "walks.md").read_text().splitlines() if "/record.json)" in line and "popularity" in line]
    assert len(lines) == 2
    assert all(("-2/record.json" in line) == line.endswith("| counts |") for line in lines)


def test_a_board_is_exported_for_a_spreadsheet_and_a_paper(boards: tuple[Give, Path]) -> None:
    give, folder = boards
    rows = list(csv.DictReader(io.StringIO(give("leaderboard", "export", "walks").stdout)))
    assert [row["model"] for row in rows] == ["last-item-markov", "popularity"]
    done = give("leaderboard", "export", "walks", "--format", "latex", "--output", "walks.tex")
    assert done.stdout.strip() == "written: walks.tex"
    assert r"\toprule" in (folder.parent / "walks.tex").read_text()
    answer = json.loads(give("leaderboard", "export", "walks", "--json").stdout)
    assert answer["text"].startswith("dataset,")
    for wrong in (("wlaks",), ("walks", "--format", "word"), ("walks", "--output", "no/such/folder.csv")):
        refused = give("leaderboard", "export", *wrong)
        assert refused.exit_code == 2
        assert refused.stdout == ""
        assert refused.stderr.startswith("Error: ")


def test_diff_and_reproduce_work_from_a_published_record(boards: tuple[Give, Path]) -> None:
    give, folder = boards
    first, second = sorted(path.name for path in (folder / "records").iterdir() if (path / "record.json").exists())
    shutil.rmtree(folder.parent / "runs")
    rows = json.loads(give("diff", first, second, "--json").stdout)
    assert {"setting", "figure"} <= {row["area"] for row in rows}
    refused = give("recommend", first, "--history", "i01")
    assert refused.exit_code == 2
    assert "without its model" in refused.stderr
    done = give("reproduce", str(folder / "records" / second / "record.json"), "--dataset", "./walks", "--json")
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["is_exact"]
    assert answer["n_ranks"] == 120


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["leaderboard", "export", "wlaks"], "There is no board of 'wlaks' in leaderboards. Did you mean 'walks'? Known: walks."),
        (["leaderboard", "export", "walks", "--boards", "nowhere"], "--boards nowhere: there is no such folder."),
        (["leaderboard", "export", "walks", "--plugin", "nowhere"], "nowhere"),
        (["leaderboard", "publish", "--boards", "walks/interactions.csv"], "--boards walks/interactions.csv: this is a file."),
        (["leaderboard", "publish", "--plugin", "nowhere"], "nowhere"),
        (["leaderboard", "remeasure", "--boards", "nowhere"], "--boards nowhere: there is no such folder."),
        (["leaderboard", "remeasure", "--plugin", "nowhere"], "nowhere"),
        (["verify", "--boards", "nowhere"], "--boards nowhere: there is no such folder."),
        (["verify", "--plugin", "nowhere"], "nowhere"),
        (["verify", "--jobs", "1000000"], "--jobs 1000000 is not possible here"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_computed(
    boards: tuple[Give, Path], monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    def computed(*_: object) -> None:
        raise AssertionError("figures were computed")

    give, folder = boards
    before = contents(folder.parent)
    for name in ("measure", "mean", "test", "spread", "damage"):
        monkeypatch.setattr(f"recbench.reporting.reckoner.Reckoner.{name}", computed)
    done = give(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert contents(folder.parent) == before
