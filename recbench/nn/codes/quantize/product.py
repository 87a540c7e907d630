"""Product quantization: one digit for each stretch of dimensions, after a rotation that suits the stretches (OPQ).

Jégou et al., "Product Quantization for Nearest Neighbor Search", TPAMI 2011. Ge et al., "Optimized Product Quantization", TPAMI 2014,
section 3.1: codebooks and rotation in turns, each the best for the other.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from recbench.core.seeds import derived_seed, generator
from recbench.nn.codes.quantize.equal_vectors import first_equal
from recbench.nn.codes.quantize.kmeans import LongArray, kmeans, more_rounds, nearest_centres
from recbench.nn.codes.quantize.one_thread import one_thread
from recbench.nn.codes.quantize.quantized import FloatArray, Quantized, shares_of_spread

# N vectors, T of them that the codebooks are made from, D width, M digits, d width of a digit's stretch (D / M), K entries of a digit

Rotation = Literal["opq", "none"]

_ROWS_AT_A_TIME = 8192
_MOST_TRAINED = 65_536
"""Vectors that a rotation is learnt from at most, as in faiss."""
_KMEANS_ROUNDS = 4
"""Rounds of k-means between two rotations, as in faiss; each digit goes on from its last centres."""


def product_quantization(
    vectors: FloatArray,
    *,
    n_digits: int,
    size: int,
    seed: int,
    rotation: Rotation = "opq",
    train_rows: LongArray | None = None,
    iterations: int = 25,
    rounds: int = 50,
    after_step: Callable[[], None] = lambda: None,
) -> Quantized:
    """The vectors as one digit for each of M stretches of dimensions; the same seed gives the same codes, whatever the number of threads.

    An entry of a codebook is as wide as the vectors and zero, before the rotation is undone, outside its stretch: entries add up to the
    reconstruction as those of a residual quantizer do. Equal vectors have equal codes; unequal ones may share a code. Every entry is
    some trained vector's nearest, so a digit has fewer entries than `size` only where fewer distinct stretches are trained on.

    Args:
        vectors: (N, D) float32.
        n_digits: M, which divides D.
        size: K.
        seed: of the starts.
        rotation: `opq`: an orthogonal matrix, learnt with the codebooks, comes first. `none`: plain product quantization. There is
            nothing to learn, and no rotation, where no more vectors are trained on than a digit has entries.
        train_rows: rows that rotation and codebooks are made from; None: all.
        iterations: of k-means for the codebooks.
        rounds: how often the rotation is fitted again.
        after_step: is called when a round or a digit is done, M times, and `rounds` times more with a rotation that is learnt.

    Raises:
        ValueError: M does not divide D, or there is no row to train on.
    """
    width = vectors.shape[1]
    if width % n_digits:
        raise ValueError(f"Vectors of width {width} cannot be cut into {n_digits} stretches of one width. Choose a divisor of {width}.")
    trained = _trained(vectors, train_rows, seed)
    with one_thread():
        rotation_DD = torch.eye(width)
        if rotation == "opq" and len(trained) > size:
            rotation_DD = _learnt_rotation(trained, n_digits, size, seed, rounds, after_step)
        centres = []
        for digit, part_Td in enumerate(np.split((trained @ rotation_DD).numpy(), n_digits, axis=1)):
            digit_seed = derived_seed(seed, "product quantization", digit)
            centres.append(kmeans(part_Td, size, seed=digit_seed, iterations=iterations, restarts=1)[0])
            after_step()
        return _quantized(vectors, rotation_DD, centres)


def _trained(vectors: FloatArray, train_rows: LongArray | None, seed: int) -> Tensor:
    """The vectors to learn from, (T, D) float32: all that are asked for, or so many of them as are needed."""
    rows = np.arange(len(vectors)) if train_rows is None else train_rows
    if len(rows) == 0:
        raise ValueError("Product quantization was given no vector to train on. Give it at least one row.")
    if len(rows) > _MOST_TRAINED:
        rows = np.sort(generator(seed, "product quantization", "rows").choice(rows, _MOST_TRAINED, replace=False))
    return torch.from_numpy(np.ascontiguousarray(vectors[rows], dtype=np.float32))


def _learnt_rotation(trained_TD: Tensor, n_digits: int, size: int, seed: int, rounds: int, after_round: Callable[[], None]) -> Tensor:
    """The rotation (D, D) that codebooks and rotations fitted in turns end with, from a random one."""
    width = trained_TD.shape[1]
    draw = torch.Generator().manual_seed(derived_seed(seed, "product quantization", "rotation"))
    rotation_DD = torch.linalg.qr(torch.randn(width, width, generator=draw, dtype=torch.float64))[0]
    centres: list[FloatArray | None] = [None] * n_digits
    for number in range(rounds):
        rotated_TD = (trained_TD @ rotation_DD.float()).numpy()
        quantized_TD = np.empty_like(rotated_TD)
        for digit, part_Td in enumerate(np.split(rotated_TD, n_digits, axis=1)):
            round_seed = derived_seed(seed, "product quantization", "round", number, digit)
            found = more_rounds(np.ascontiguousarray(part_Td), size, centres[digit], seed=round_seed, iterations=_KMEANS_ROUNDS)
            centres[digit], nearest = found
            quantized_TD[:, digit * part_Td.shape[1] :][:, : part_Td.shape[1]] = found[0][nearest]
        # Orthogonal Procrustes: of all rotations this one brings the vectors nearest to what they were quantised to.
        u_DD, _, vt_DD = torch.linalg.svd((trained_TD.T @ torch.from_numpy(quantized_TD)).double())
        rotation_DD = u_DD @ vt_DD
        after_round()
    learnt: Tensor = rotation_DD.float()
    return learnt


def _quantized(vectors: FloatArray, rotation_DD: Tensor, centres: list[FloatArray]) -> Quantized:
    """All vectors coded, block by block."""
    n, width = vectors.shape
    step = width // len(centres)
    codes = np.empty((n, len(centres)), dtype=np.int32)
    reconstruction = np.empty((n, width), dtype=np.float32)
    error_M, energy_M = np.zeros(len(centres)), np.zeros(len(centres))
    for start in range(0, n, _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        rotated = (torch.from_numpy(np.array(vectors[rows], dtype=np.float32)) @ rotation_DD).numpy()
        quantized = np.empty_like(rotated)
        for digit, entries in enumerate(centres):
            stretch = slice(digit * step, (digit + 1) * step)
            part = np.ascontiguousarray(rotated[:, stretch])
            codes[rows, digit] = nearest_centres(part, entries)[1]
            quantized[:, stretch] = entries[codes[rows, digit]]
            error_M[digit] += np.square(part - quantized[:, stretch], dtype=np.float64).sum()
            energy_M[digit] += np.square(part, dtype=np.float64).sum()
        reconstruction[rows] = (torch.from_numpy(quantized) @ rotation_DD.T).numpy()
    # What the digits up to each leave: their own errors, and all of the stretches that are still to come.
    left_M = np.maximum(np.cumsum(error_M) + energy_M.sum() - np.cumsum(energy_M), 0.0)
    first = first_equal(vectors)
    return Quantized(
        codes=codes[first],
        codebooks=tuple(
            (torch.from_numpy(entries) @ rotation_DD[:, digit * step : (digit + 1) * step].T).numpy()
            for digit, entries in enumerate(centres)
        ),
        reconstruction=reconstruction[first],
        unexplained=shares_of_spread(left_M, vectors),
    )
