"""A fresh record is computed again before it is printed; one that does not follow is left out by name, the others are published."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from recbench.cli.app import app
from recbench.core.records import read_record
from recbench.reporting import StoredRun, board, publish, verify
from recbench.reporting.grids import cost


def edit(run: Path, change: Callable[[Any], Any], reseal: Callable[[str], str]) -> None:
    raw = json.loads((run / "record.json").read_text())
    change(raw)
    (run / "record.json").write_text(reseal(json.dumps(raw)))


CHANGES = [
    (lambda raw: raw["metrics"]["keep"]["ndcg@10"].update(value=0.99), "metrics, keep, ndcg@10, value is 0.99"),
    (lambda raw: raw["beyond"]["keep"].update({"coverage@10": 1.0}), "beyond, keep, coverage@10"),
    (lambda raw: raw["slices"][0].update(n=1), "slices"),
    (lambda raw: raw["targets"].update(n_cold=99), "targets, n_cold"),
    (lambda raw: raw["dataset"].update(n_items=7), "dataset, n_items"),
    (lambda raw: raw["files"][0].update(name="../ranks.parquet"), "no name of a file"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_a_record_that_does_not_follow_is_left_out(
    workshop: Any, cards: Any, tmp_path: Path, reseal: Any, change: Callable[[Any], Any], words: str
) -> None:
    good, bad = workshop.run(seed=0), workshop.run(seed=1)
    if words == "no name of a file":
        raw = json.loads((bad / "record.json").read_text())
        change(raw)
        del raw["sha256"]
        (bad / "record.json").write_text(json.dumps(raw | {"schema_version": 2}))
    else:
        edit(bad, change, reseal)
    result = publish(tmp_path / "boards", [good, bad], cards)
    (skipped,) = result.skipped
    assert (skipped.folder, skipped.is_fault) == (bad, True)
    assert words in skipped.reason
    assert bad.name in skipped.reason
    assert (tmp_path / "boards" / "records" / good.name / "record.json").is_file()
    assert bad.name not in "".join(path.read_text() for path in (tmp_path / "boards").glob("*.*"))
    verify(tmp_path / "boards", cards)


def test_the_command_publishes_the_good_ones_and_fails(workshop: Any, tmp_path: Path, reseal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = workshop.run(seed=0), workshop.run(seed=1)
    synthetic = workshop.run(dataset={"name": "demo", "is_synthetic": True})
    edit(bad, CHANGES[0][0], reseal)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["leaderboard", "publish"], prog_name="recbench")
    assert done.exit_code == 1
    assert f"not published: {bad.name}: " in done.stderr
    assert "1 run was left out" in done.stderr
    assert (tmp_path / "leaderboards" / "records" / good.name).is_dir()
    skipped = json.loads(CliRunner().invoke(app, ["leaderboard", "publish", "--json"], prog_name="recbench").stdout)["skipped"]
    assert {entry["run"]: entry["is_fault"] for entry in skipped} == {good.name: False, bad.name: True, synthetic.name: False}
    for file in bad.iterdir():
        file.unlink()
    assert CliRunner().invoke(app, ["leaderboard", "publish"], prog_name="recbench").exit_code == 0


def test_boards_show_device_memory_and_mark_host_memory(workshop: Any, cards: Any) -> None:
    on_device = {"type": "cuda", "name": "Toy GPU"}
    runs = [
        workshop.run("a", device=on_device, cost={"peak_device_memory_bytes": 3 << 30}),
        workshop.run("b", device=on_device),
        workshop.run("c"),
    ]
    (made,) = board.make_boards([StoredRun.open(run) for run in runs], cards)
    shown = {row[0]: row[-1] for row in cost(made.sections[0]).rows}
    assert shown == {"a:paper": "3,072", "b:paper": "256 (host memory)", "c:paper": "256"}
    assert read_record(runs[1] / "record.json").cost is not None
