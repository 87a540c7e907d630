"""The benchmark of boards, on a toy: every copy is published and verified, and the figures of both commands are printed."""

import re
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "verify_boards.py"


def test_every_command_is_measured(published_boards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--records", "2", "--copies", "2", "--rows", "--jobs", "1", "--commands", "verify"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--boards", str(published_boards), *options])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "4 records"
    figures = r" +[\d.]+ s, +[\d.]+ s of processor, +\d+ MiB; [\d.]+ ms per record"
    assert [re.fullmatch(f"  (\\w+) +this {figures}", line)[1] for line in lines] == ["publish", "verify"]  # type: ignore[index]
