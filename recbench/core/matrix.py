"""Matrices on disk."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike


def new_matrix(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> "np.memmap[Any, Any]":
    """A new .npy file of zeros, memory-mapped for writing; an `OSError` where the disk has no room for all of it.

    Its space is taken now: on a full disk, a later write into a mapped file that has gaps ends the process with SIGBUS.
    """
    matrix = open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    allocate = getattr(os, "posix_fallocate", None)  # not on macOS
    if allocate is not None:
        with path.open("rb+") as stream:
            allocate(stream.fileno(), 0, path.stat().st_size)
    return matrix
