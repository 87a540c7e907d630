"""A matrix that is filled in parts goes on where it was stopped."""

from pathlib import Path

import numpy as np
import pytest

from recbench.nn.compute.matrix_file import MatrixFile


def test_finished_batches_outlive_an_error(tmp_path: Path) -> None:
    first = MatrixFile(tmp_path, (4, 2))
    with first:
        first.write(np.array([1, 3]), np.ones((2, 2), np.float32))
    with pytest.raises(IndexError), first:
        first.write(np.array([4]), np.ones((1, 2), np.float32))
    second = MatrixFile(tmp_path, (4, 2))
    assert second.n_batches_done == 1
    with second:
        second.write(np.array([0, 2]), np.full((2, 2), 2, np.float32))
    assert MatrixFile(tmp_path, (4, 2)).vectors.tolist() == [[2, 2], [1, 1], [2, 2], [1, 1]]


@pytest.mark.parametrize("mark", ['{"batches": -1}', '{"batches": 1.5}', '{"batches": true}', "{}", "[]", "garbage", b"cut off", b""])
def test_a_damaged_mark_or_matrix_begins_anew(tmp_path: Path, mark: str | bytes, caplog: pytest.LogCaptureFixture) -> None:
    first = MatrixFile(tmp_path, (4, 2))
    with first:
        first.write(np.array([1, 3]), np.ones((2, 2), np.float32))
    if isinstance(mark, bytes):
        (tmp_path / "vectors.npy").write_bytes(mark)
    else:
        (tmp_path / "batches-done.json").write_text(mark)
    again = MatrixFile(tmp_path, (4, 2))
    assert again.n_batches_done == 0
    assert not again.vectors.any()
    assert "computing them from the start" in caplog.text
    assert MatrixFile(tmp_path, (4, 2)).n_batches_done == 0
