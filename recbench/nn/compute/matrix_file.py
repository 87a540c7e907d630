"""A matrix that is computed batch by batch and outlives a kill."""

import json
import logging
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import refuse_shortage
from recbench.core.matrix import new_matrix

log = logging.getLogger(__name__)
_MARK_EVERY_S = 15.0


class MatrixFile:
    """A float32 matrix on disk that is filled batch by batch, with a mark up to where it is filled: after a kill the work goes on there.

    Args:
        folder: where file and mark lie; this work's alone.
        shape: of the matrix.

    Attributes:
        vectors: the matrix, memory-mapped.
        n_batches_done: how many batches were in it when it was opened, and have been written since.
    """

    def __init__(self, folder: Path, shape: tuple[int, int]) -> None:
        self._mark = folder / "batches-done.json"
        path = folder / "vectors.npy"
        found = self._found(path, shape) if path.is_file() and self._mark.is_file() else None
        self.vectors: NDArray[np.float32]
        self.vectors, self.n_batches_done = (new_matrix(path, np.float32, shape), 0) if found is None else found
        self._marked_at = time.monotonic()

    def _found(self, path: Path, shape: tuple[int, int]) -> "tuple[NDArray[np.float32], int] | None":
        """The matrix that is there and how many batches are in it; None where either is damaged."""
        try:
            vectors = np.load(path, mmap_mode="r+", allow_pickle=False)
            n_done = json.loads(self._mark.read_bytes())["batches"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            refuse_shortage(error)
            vectors = n_done = None
        if vectors is None or (vectors.shape, vectors.dtype) != (shape, np.dtype(np.float32)) or type(n_done) is not int or n_done < 0:
            log.warning("the partial results of %s are damaged; computing them from the start", path)
            self._mark.unlink()
            return None
        return vectors, n_done

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self._set_mark()

    def write(self, rows: NDArray[np.int64], block: NDArray[np.float32]) -> None:
        """The next batch is done."""
        self.vectors[rows] = block
        self.n_batches_done += 1
        if time.monotonic() - self._marked_at >= _MARK_EVERY_S:
            self._set_mark()

    def _set_mark(self) -> None:
        # The vectors first: a mark must never be ahead of them.
        self.vectors.flush()  # type: ignore[attr-defined]
        temporary = self._mark.with_suffix(".tmp")
        temporary.write_text(json.dumps({"batches": self.n_batches_done}), encoding="utf-8")
        temporary.replace(self._mark)
        self._marked_at = time.monotonic()
