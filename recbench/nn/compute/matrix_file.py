"""A matrix that is computed batch by batch, by all processes of a run, and outlives a kill."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import refuse_shortage
from recbench.core.matrix import new_matrix
from recbench.core.plugin import FitContext
from recbench.core.ragged import LongArray
from recbench.nn.compute.distributed import barrier

log = logging.getLogger(__name__)
_MARK_EVERY_S = 15.0
_VECTORS_FILE, _WHOLE_FILE = "vectors.npy", "whole.npy"


def computed_matrix(
    context: FitContext,
    shape: tuple[int, int],
    batches: Sequence[LongArray],
    compute: Callable[[LongArray], NDArray[np.float32]],
    *,
    work: LongArray,
    title: str,
    rows_of: Callable[[LongArray], LongArray] | None = None,
) -> NDArray[np.float32] | None:
    """A matrix (N, D) float32 in a file, filled batch by batch; after a kill the next call goes on after the finished batches.

    Under torchrun each rank computes every `world.size`-th batch. What a batch gives does not depend on the number of ranks.

    Args:
        context: what `alone` or `together` gives within the `build` of a stage: its checkpoints must be this work's alone.
        shape: of the matrix.
        batches: the numbers of what is computed at a time; the longest first, so that what does not fit into memory fails at once.
        compute: gives the rows of a batch, in order.
        work: of each number, what the progress counts.
        title: of the progress.
        rows_of: which rows of the matrix belong to a batch; None: those of its numbers.

    Returns:
        The matrix, memory-mapped; None on every rank but 0.
    """
    world, places = context.world, rows_of or _as_they_are
    mine = batches[world.rank :: world.size]
    if world.size == 1:
        return _filled(context, context.checkpoints, shape, [(batch, places(batch)) for batch in mine], compute, work, title)
    # Ranks do not share a file: writes of several machines to neighbouring rows could undo one another.
    ends = np.cumsum([0, *(len(places(batch)) for batch in mine)])
    if mine:
        parts = [(batch, np.arange(start, end)) for batch, start, end in zip(mine, ends[:-1], ends[1:], strict=True)]
        folder = _part_folder(context, world.rank)
        folder.mkdir(parents=True, exist_ok=True)
        _filled(context, folder, (int(ends[-1]), shape[1]), parts, compute, work, title)
    barrier(world)
    if world.rank > 0:
        return None
    whole = new_matrix(context.checkpoints / _WHOLE_FILE, np.float32, shape)
    for rank in range(min(world.size, len(batches))):
        part, start = MatrixFile.read(_part_folder(context, rank)), 0
        for batch in batches[rank :: world.size]:
            rows = places(batch)
            whole[rows] = part[start : start + len(rows)]
            start += len(rows)
    return whole


def _as_they_are(numbers: LongArray) -> LongArray:
    return numbers


def _part_folder(context: FitContext, rank: int) -> Path:
    return context.checkpoints / f"rank-{rank}-of-{context.world.size}"


def _filled(
    context: FitContext,
    folder: Path,
    shape: tuple[int, int],
    parts: Sequence[tuple[LongArray, LongArray]],
    compute: Callable[[LongArray], NDArray[np.float32]],
    work: LongArray,
    title: str,
) -> NDArray[np.float32]:
    """The matrix in a folder, once the batches that are not in it yet are computed; each of `parts` is a batch and its rows."""
    store = MatrixFile(folder, shape)
    n_done = store.n_batches_done
    if n_done:
        context.log.info("%s: %d of %d batches found in the cache", title, n_done, len(parts))
    with context.progress.task(title, sum(int(work[batch].sum()) for batch, _ in parts)) as task, store:
        task.advance(sum(int(work[batch].sum()) for batch, _ in parts[:n_done]))
        for batch, rows in parts[n_done:]:
            store.write(rows, compute(batch))
            task.advance(int(work[batch].sum()))
    return store.vectors


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
        path = folder / _VECTORS_FILE
        found = self._found(path, shape) if path.is_file() and self._mark.is_file() else None
        self.vectors: NDArray[np.float32]
        self.vectors, self.n_batches_done = (new_matrix(path, np.float32, shape), 0) if found is None else found
        self._marked_at = time.monotonic()

    def _found(self, path: Path, shape: tuple[int, int]) -> "tuple[NDArray[np.float32], int] | None":
        """The matrix that is there and how many batches are in it; None where either is damaged."""
        try:
            vectors = np.load(path, mmap_mode="r+", allow_pickle=False)
            n_done = json.loads(self._mark.read_bytes())["batches"]
        except (OSError, ValueError, EOFError, KeyError, TypeError, RecursionError) as error:
            refuse_shortage(error)
            vectors = n_done = None
        if vectors is None or (vectors.shape, vectors.dtype) != (shape, np.dtype(np.float32)) or type(n_done) is not int or n_done < 0:
            log.warning("the partial results of %s are damaged; computing them from the start", path)
            self._mark.unlink()
            return None
        return vectors, n_done

    @staticmethod
    def read(folder: Path) -> NDArray[np.float32]:
        """The matrix that another process has filled, memory-mapped."""
        vectors: NDArray[np.float32] = np.load(folder / _VECTORS_FILE, mmap_mode="r", allow_pickle=False)
        return vectors

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
