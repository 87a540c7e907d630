"""What a command that trains many models tells while it is at work, where there is no terminal."""

import re
from pathlib import Path
from typing import Any

import pytest

WALKER = Path(__file__).parents[1] / "running" / "walker"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("compare", "-m", "walker", "-d", "demo", "--set", "steps=30"), r"walker on demo, seed 0: walking, \d+ s left"),
        (("tune", "walker", "demo", "--trials", "1", "--preset", "long"), r"trial 0: walking, \d+ s left"),
    ],
)
def test_a_log_file_gets_a_line_for_each_piece_of_work_now_and_then(
    recbench: Any, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], line: str
) -> None:
    monkeypatch.setattr("recbench.cli.live._LINES_EVERY_S", 0.5)
    done = recbench(*arguments, "--plugin", WALKER, "--threads", "1")
    assert done.code == 0, done.stderr
    assert re.search(rf"^\d\d:\d\d:\d\d {line}$", done.stderr, re.MULTILINE), done.stderr
    assert "walking" not in done.stdout
