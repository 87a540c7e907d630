"""Pictures are written, the same for the same records, without warnings or a screen."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from recbench.core.errors import BadRequest
from recbench.reporting import StoredRun, compare_runs, make_boards, plot_board, plot_comparison, plot_run

PNG = b"\x89PNG\r\n\x1a\n"


def test_a_run_is_drawn_into_its_folder(workshop: Any) -> None:
    run = workshop.run()
    path = plot_run(run)
    assert path == run / "plot.png"
    first = path.read_bytes()
    assert first.startswith(PNG)
    assert plot_run(run, run / "again.png").read_bytes() == first


def test_a_model_that_only_counts_has_no_curve(workshop: Any, tmp_path: Path, reseal: Any) -> None:
    run = workshop.trivial(views=("unseen",))
    (run / "curve.csv").write_text("step,loss\n")
    record = json.loads((run / "record.json").read_text())
    sums = {"curve.csv": hashlib.sha256(b"step,loss\n").hexdigest()}
    record["files"] = [part | {"sha256": sums.get(part["name"], part["sha256"])} for part in record["files"]]
    (run / "record.json").write_text(reseal(json.dumps(record)))
    assert plot_run(run, tmp_path / "plots" / "run.png").read_bytes().startswith(PNG)


def test_boards_and_comparisons_are_drawn(workshop: Any, tmp_path: Path) -> None:
    runs = [
        workshop.run(seed=0),
        workshop.run(seed=1),
        workshop.trivial(cost={"train_s": 0.0}, device={"jobs": 2}),
        workshop.run("b", skill=0.0),
    ]
    (board,) = make_boards([StoredRun.open(run) for run in runs], {})
    board_picture = plot_board(board, tmp_path / "board.png").read_bytes()
    assert board_picture.startswith(PNG)
    assert plot_comparison(compare_runs(runs), tmp_path / "comparison.png").read_bytes() == board_picture


def test_without_the_view_keep_there_is_nothing_to_draw(workshop: Any, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="view keep"):
        plot_comparison(compare_runs([workshop.run(views=("unseen",))]), tmp_path / "none.png")
