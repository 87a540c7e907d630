"""A matrix that is filled in parts goes on where it was stopped."""

from pathlib import Path

import numpy as np
import pytest

from recbench.nn.matrix_file import MatrixFile


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
