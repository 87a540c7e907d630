"""The benchmark of training steps, on the demo's data: two checkouts take turns, and come to the same loss."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_both_checkouts_are_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RECBENCH_DATA", str(tmp_path))
    script = runpy.run_path(str(ROOT / "benchmarks" / "training_speed.py"))
    asked = ["--against", str(ROOT), "--models", "sasrec", "--dataset", "demo", "--users", "60", "--steps", "10", "--repeats", "1"]
    script["main"](asked)
    rows = re.findall(
        r"^(\w+) +[\d,]+ before, now [\d,]+ targets/s +[\d.]+ x +loss ([\d.]+), ([\d.]+)$", capsys.readouterr().out, re.MULTILINE
    )
    ((model, before, now),) = rows
    assert model == "sasrec"
    # The same sources here, so the same numbers.
    assert float(before) == float(now) > 0
