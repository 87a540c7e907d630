"""Does text or behaviour decide which items are alike in a space that was made of both?

The spaces come from `spaces.npz`, a standard artefact of a training: float32 matrices with a row per item, two of which are the
references `collaborative` and `semantic`; every other one is held against these two. The definitions are ours; they need only matrices.

- overlap O(X, Y): the mean share of an item's 10 nearest items by cosine in X that are among its 10 nearest in Y; chance is 10 / (N - 1).
- domination index of X: (O'(X, S) - O'(X, C)) / (O'(X, S) + O'(X, C)), with O' the overlap above chance, as a share of what there is above
  it, never below 0. +1: neighbours in X are those of the text; -1: those of behaviour; 0: as much of both, or nothing of either.
- CKA(X, Y): linear centred kernel alignment, between 0 and 1, the same up to rotation and scale.
"""

from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadData

SPACES_FILE = "spaces.npz"
COLLABORATIVE, SEMANTIC = "collaborative", "semantic"
PREFIX = "domination_"
"""Of the names of these figures in a record's diagnostics."""
N_NEAREST = 10
MAX_ITEMS = 5_000
"""Items whose neighbours are looked at; of more, so many are drawn with a fixed seed. All items may be neighbours."""
_SEED = 0
_ROWS = 512

FloatArray = NDArray[np.float32]

# N items, Q items whose neighbours are looked at, K neighbours


def read_spaces(path: Path) -> dict[str, FloatArray]:
    """The spaces of a file, by name; `BadData` where it is something else, or lacks a reference."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            spaces: dict[str, FloatArray] = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, AttributeError, BadZipFile) as error:
        raise BadData(f"{path} holds no item vectors: {error}. Make it anew with the run.") from None
    missing = [name for name in (COLLABORATIVE, SEMANTIC) if name not in spaces]
    if missing:
        raise BadData(f"{path} has no space called {missing[0]!r}, against which the others are held. It has {', '.join(sorted(spaces))}.")
    shapes = {name: space.shape for name, space in spaces.items()}
    if len({shape[0] for shape in shapes.values()}) > 1 or any(len(shape) != 2 for shape in shapes.values()):
        raise BadData(f"{path}: the spaces have shapes {shapes}; each needs a row for every item.")
    return spaces


def domination_figures(spaces: Mapping[str, FloatArray]) -> dict[str, float]:
    """Everything about the spaces, by names that begin with `domination_`; spaces stand in the order of their names.

    Args:
        spaces: as `read_spaces` gives them.
    """
    n_items = len(spaces[COLLABORATIVE])
    looked_at = np.arange(n_items)
    if n_items > MAX_ITEMS:
        looked_at = np.sort(np.random.default_rng(_SEED).choice(n_items, MAX_ITEMS, replace=False))
    k = min(N_NEAREST, n_items - 1)
    figures: dict[str, float] = {"domination_chance": k / max(n_items - 1, 1)}
    nearest = {name: nearest_items(space, looked_at, k) for name, space in spaces.items()}
    references = nearest[COLLABORATIVE], nearest[SEMANTIC]
    figures["domination_overlap_of_references"] = overlap(*references)
    for name in sorted(spaces):
        if name in (COLLABORATIVE, SEMANTIC):
            continue
        of_collab, of_text = (overlap(nearest[name], reference) for reference in references)
        figures |= {
            f"domination_overlap_collaborative:{name}": of_collab,
            f"domination_overlap_semantic:{name}": of_text,
            f"domination_index:{name}": domination_index(of_collab, of_text, figures["domination_chance"]),
            f"domination_cka_collaborative:{name}": cka(spaces[name], spaces[COLLABORATIVE]),
            f"domination_cka_semantic:{name}": cka(spaces[name], spaces[SEMANTIC]),
        }
    return figures


def nearest_items(space: FloatArray, looked_at: NDArray[np.integer], k: int) -> NDArray[np.int64]:
    """The k nearest items by cosine of some items, themselves left out, (Q, k); in no order. A zero vector is near to nothing."""
    unit = space / np.maximum(np.linalg.norm(space, axis=1, keepdims=True), np.float32(1e-12))
    parts = []
    for start in range(0, len(looked_at), _ROWS):
        rows = looked_at[start : start + _ROWS]
        cosine = unit[rows] @ unit.T
        cosine[np.arange(len(rows)), rows] = -np.inf
        parts.append(np.argpartition(-cosine, k - 1, axis=1)[:, :k])
    return np.concatenate(parts).astype(np.int64)


def overlap(left_QK: NDArray[np.int64], right_QK: NDArray[np.int64]) -> float:
    """Mean share of an item's neighbours in one space that are its neighbours in the other."""
    n_items = int(max(left_QK.max(), right_QK.max())) + 1
    row = np.arange(len(left_QK))[:, None] * n_items
    return float(np.isin(left_QK + row, right_QK + row).mean())


def domination_index(of_collab: float, of_text: float, chance: float) -> float:
    """See the head of the module."""
    collab, text = (max((value - chance) / (1 - chance), 0.0) if chance < 1 else 0.0 for value in (of_collab, of_text))
    return (text - collab) / (text + collab) if text + collab > 0 else 0.0


def cka(left: FloatArray, right: FloatArray) -> float:
    """Linear centred kernel alignment of two spaces."""
    x, y = (space - space.mean(0, dtype=np.float64) for space in (left, right))
    scale = float(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    return float(np.square(x.T @ y).sum()) / scale if scale > 0 else 0.0
