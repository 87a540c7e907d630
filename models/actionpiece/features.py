"""Features of the items: the digits of a product quantizer, and a hash value that tells items of equal digits apart."""

import numpy as np

from recbench.core import BadRequest
from recbench.core.ragged import IntArray
from recbench.core.seeds import generator


def hash_values(digits: IntArray, size: int, seed: int) -> IntArray:
    """A value of each item, (n_items,) int32: the j-th of the items that share all digits has entry j of a permutation of their own.

    Args:
        digits: (n_items, L) int32.
        size: how many values there are.
        seed: of the permutations.

    Raises:
        BadRequest: more items share their digits than there are values.
    """
    _, group, count = np.unique(digits, axis=0, return_inverse=True, return_counts=True)
    largest = int(count.max(initial=0))
    if largest > size:
        raise BadRequest(
            f"{largest} items share all {digits.shape[1]} digits, and vocabulary.hash_size={size} tells no more apart. "
            f"Use --set vocabulary.hash_size={1 << (largest - 1).bit_length()}, or more codes.n_digits."
        )
    random = generator(seed, "actionpiece", "hash values")
    # Sorting is stable: within a group the items stand in the order of their rows.
    order = np.argsort(group.reshape(-1), kind="stable")
    first = np.cumsum(count) - count
    values = np.empty(len(digits), dtype=np.int32)
    permuted = [random.permutation(size)[:n] for n in count]
    values[order] = np.concatenate(permuted) if len(first) else np.empty(0, np.int32)
    return values


def feature_tokens(digits: IntArray, sizes: tuple[int, ...], hash_size: int, seed: int) -> tuple[IntArray, tuple[int, ...]]:
    """The features of each item as tokens, (n_items, F) int32, and how many values each of the F features has.

    Every feature has a range of tokens of its own, one after the other from 0 on; the hash value is the last. No two items have the same.
    Arguments and errors are those of `hash_values`; `sizes` are how many values each digit has.
    """
    values = np.column_stack([digits, hash_values(digits, hash_size, seed)])
    all_sizes = (*sizes, hash_size)
    return (values + (np.cumsum(all_sizes) - all_sizes)).astype(np.int32), all_sizes
