"""Does text or behaviour decide which items are alike in a space that was made of both?

The spaces come from `spaces.npz`, a standard artefact of a training: float32 matrices with a row per item, two of which are the
references `collaborative` and `semantic`; every other one is held against these two. The definitions are ours; they need only matrices.

- overlap O(X, Y): the mean share of an item's 10 nearest items by cosine in X that are among its 10 nearest in Y; chance is 10 / (N - 1).
- domination index of X: (O'(X, S) - O'(X, C)) / (O'(X, S) + O'(X, C)), with O' the overlap above chance, as a share of what there is above
  it, never below 0. +1: neighbours in X are those of the text; -1: those of behaviour; 0: as much of both, or nothing of either.
- CKA(X, Y): linear centred kernel alignment, between 0 and 1, the same up to rotation and scale.
- text's share of the variance, of spaces that are two halves side by side: of the mean squared distance of two items, what lies in the
  half of the text. The file says at which column that begins, as a whole number under the name of the space and `TEXT_BEGINS`.
- NMI(codes, Y): between the first token of the items' codes and as many clusters of Y, by k-means of unit vectors: what the codes keep.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadData
from recbench.core.ragged import IntArray
from recbench.core.visible import listed

SPACES_FILE = "spaces.npz"
COLLABORATIVE, SEMANTIC = "collaborative", "semantic"
TEXT_BEGINS = "/text begins"
"""Behind the name of a space: the column where the half of the text begins."""
PREFIX = "domination_"
"""Beginning of the names of these figures in a record's diagnostics."""
N_NEAREST = 10
MAX_ITEMS = 5_000
"""Items whose neighbours are looked at; of more, so many are drawn with a fixed seed. All items may be neighbours."""
_SEED = 0
_ROWS = 512
_KMEANS_ITERATIONS = 20

FloatArray = NDArray[np.float32]

# N items, Q items whose neighbours are looked at, K neighbours


@dataclass(frozen=True, eq=False)
class Spaces:
    """Vectors of all items in several spaces.

    Attributes:
        matrices: (N, width of the space) by name; `collaborative` and `semantic` are among them.
        text_begins: for spaces that are two halves side by side, behaviour first: the column where the other one begins.
    """

    matrices: Mapping[str, FloatArray]
    text_begins: Mapping[str, int] = field(default_factory=dict)


def read_spaces(path: Path) -> Spaces:
    """The spaces of a file; `BadData` where it is something else, or lacks a reference."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, AttributeError, BadZipFile) as error:
        raise BadData(f"{path} holds no item vectors: {error}. Make it anew with the run.") from None
    begins = {name: content.pop(name) for name in list(content) if name.endswith(TEXT_BEGINS)}
    missing = [name for name in (COLLABORATIVE, SEMANTIC) if name not in content]
    if missing:
        raise BadData(f"{path} has no space called {missing[0]!r}, against which the others are held. It has {listed(sorted(content))}.")
    shapes = {name: space.shape for name, space in content.items()}
    if len({shape[0] for shape in shapes.values()}) > 1 or any(len(shape) != 2 for shape in shapes.values()):
        raise BadData(f"{path}: the spaces have shapes {shapes}; each needs a row for every item.")
    text_begins = {}
    for name, column in begins.items():
        space = name.removesuffix(TEXT_BEGINS)
        if space not in content or column.shape != () or not 0 < int(column) < content[space].shape[1]:
            raise BadData(f"{path}: {name!r} is {column.tolist()!r}; it must be a column of a space that is there, and not the first.")
        text_begins[space] = int(column)
    return Spaces(content, text_begins)


def domination_figures(spaces: Spaces, first_token: IntArray | None = None) -> dict[str, float]:
    """Everything about the spaces, by names that begin with `domination_`; spaces stand in the order of their names.

    Args:
        spaces: with both references.
        first_token: (N,) of the items' codes, where there are any.
    """
    matrices = spaces.matrices
    n_items = len(matrices[COLLABORATIVE])
    looked_at = np.arange(n_items)
    if n_items > MAX_ITEMS:
        looked_at = np.sort(np.random.default_rng(_SEED).choice(n_items, MAX_ITEMS, replace=False))
    k = min(N_NEAREST, n_items - 1)
    figures: dict[str, float] = {"domination_chance": k / max(n_items - 1, 1)}
    nearest = {name: nearest_items(space, looked_at, k) for name, space in matrices.items()}
    references = nearest[COLLABORATIVE], nearest[SEMANTIC]
    figures["domination_overlap_of_references"] = overlap(*references)
    for name in sorted(matrices):
        if name in (COLLABORATIVE, SEMANTIC):
            continue
        of_collab, of_text = (overlap(nearest[name], reference) for reference in references)
        figures |= {
            f"domination_overlap_collaborative:{name}": of_collab,
            f"domination_overlap_semantic:{name}": of_text,
            f"domination_index:{name}": domination_index(of_collab, of_text, figures["domination_chance"]),
            f"domination_cka_collaborative:{name}": cka(matrices[name], matrices[COLLABORATIVE]),
            f"domination_cka_semantic:{name}": cka(matrices[name], matrices[SEMANTIC]),
        }
        if name in spaces.text_begins:
            figures[f"domination_text_variance:{name}"] = text_variance(matrices[name], spaces.text_begins[name])
    if first_token is not None:
        n_clusters = len(np.unique(first_token))
        figures |= {
            f"domination_nmi_{name}": normalised_mutual_information(first_token, clusters(matrices[name], n_clusters))
            for name in (COLLABORATIVE, SEMANTIC)
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


def text_variance(space: FloatArray, text_begins: int) -> float:
    """The share of a space's variance that lies in the columns from `text_begins` on; 0 where nothing varies."""
    variance = space.var(0, dtype=np.float64)
    total = float(variance.sum())
    return float(variance[text_begins:].sum()) / total if total > 0 else 0.0


def clusters(space: FloatArray, n_clusters: int) -> IntArray:
    """Which of at most `n_clusters` clusters each item is in, (N,), by k-means of unit vectors from a fixed seed."""
    from scipy.cluster.vq import kmeans2  # half a second that other records need not wait for

    unit = space / np.maximum(np.linalg.norm(space, axis=1, keepdims=True), np.float32(1e-12))
    with warnings.catch_warnings():
        # That a cluster lost its last item: fewer are as good for a comparison.
        warnings.simplefilter("ignore", UserWarning)
        _, label = kmeans2(unit, _spread_out(unit, n_clusters), iter=_KMEANS_ITERATIONS, minit="matrix")
    return np.asarray(label, np.int32)


def _spread_out(vectors_ND: FloatArray, n_centres: int) -> FloatArray:
    """The first centres by k-means++, (n_centres, D). scipy's own way measures every item from every centre again for each new one."""
    random = np.random.default_rng(_SEED)
    chosen = [int(random.integers(len(vectors_ND)))]
    square_N = np.square(vectors_ND).sum(1, dtype=np.float64)
    nearest_N = np.full(len(vectors_ND), np.inf)
    while len(chosen) < n_centres:
        last = chosen[-1]
        distance_N = np.maximum(square_N + square_N[last] - 2 * (vectors_ND @ vectors_ND[last]).astype(np.float64), 0)
        distance_N[last] = 0
        nearest_N = np.minimum(nearest_N, distance_N)
        total = float(nearest_N.sum())
        share_N = nearest_N / total if total > 0 else np.full(len(nearest_N), 1 / len(nearest_N))
        # The sum of the shares can end a rounding below 1.
        chosen.append(min(int(np.searchsorted(np.cumsum(share_N), random.uniform())), len(share_N) - 1))
    return vectors_ND[chosen]


def normalised_mutual_information(left: IntArray, right: IntArray) -> float:
    """Agreement of two labellings of the same items: mutual information over the mean of both entropies; 0 where both say nothing."""
    from scipy.stats import entropy  # as above

    table = np.zeros((left.max() + 1, right.max() + 1))
    np.add.at(table, (left, right), 1)
    separate = entropy(table.sum(1)) + entropy(table.sum(0))
    mutual = separate - entropy(table.ravel())
    return float(2 * mutual / separate) if separate > 0 else 0.0
