"""Vectors of texts and of lists of terms without pretrained weights."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize

from recbench.core.ragged import Ragged

_BUCKETS = 1 << 16
_SEED = 0


def tfidf_svd(texts: list[str], *, width: int) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """TF-IDF of words and of character n-grams, each hashed to 2^16 buckets, then a truncated SVD.

    Words and pairs of words on one side, groups of three to five characters within words on the other; both halves of a text have
    the same length before they are joined. What comes back depends on the texts and the width alone.

    Args:
        texts: each with at least one letter or digit.
        width: of the vectors; fewer where the texts have fewer directions.

    Returns:
        (n_texts, d) float32, and the facts `width` and `explained_variance` (the share that the SVD keeps).
    """
    parts = []
    for analyzer, lengths in (("word", (1, 2)), ("char_wb", (3, 5))):
        counted = HashingVectorizer(
            analyzer=analyzer,
            ngram_range=lengths,
            n_features=_BUCKETS,
            alternate_sign=False,
            norm=None,
            token_pattern=r"(?u)\w+" if analyzer == "word" else None,
            dtype=np.float32,
        ).transform(texts)
        parts.append(TfidfTransformer(norm="l2", sublinear_tf=True).fit_transform(counted))
    weight_NT = csr_array(hstack(parts, format="csr", dtype=np.float32))
    # A bucket that no text falls into is no direction.
    weight_NT = weight_NT[:, np.flatnonzero(np.diff(weight_NT.tocsc().indptr))]
    vectors, svd = _svd(normalize(weight_NT), width)
    d = vectors.shape[1]
    # Texts that are all alike have no variance, of which nothing is lost.
    explained = float(np.nan_to_num(svd.explained_variance_ratio_, nan=1.0 / d).sum())
    return vectors, {"width": d, "explained_variance": explained}


def tfidf_svd_of_terms(terms: Ragged, *, width: int) -> NDArray[np.float32]:
    """TF-IDF of numbered terms, then a truncated SVD.

    Args:
        terms: n lists of term numbers from 0, distinct within a list; a list may be empty.
        width: of the vectors; fewer where the lists have fewer directions.

    Returns:
        (n, d) float32; zeros for an empty list.
    """
    shape = len(terms), int(terms.item.max(initial=0)) + 1
    counted = csr_array((np.ones(len(terms.item), np.float32), terms.item, terms.offsets), shape=shape)
    return _svd(TfidfTransformer(norm="l2").fit_transform(counted), width)[0]


def _svd(weight_NT: csr_array, width: int) -> tuple[NDArray[np.float32], TruncatedSVD]:
    """Rows of a sparse matrix in their first directions, (N, d) float32, and the fitted decomposition."""
    svd = TruncatedSVD(n_components=min(width, *weight_NT.shape), random_state=_SEED)
    with np.errstate(invalid="ignore"):
        vectors = svd.fit_transform(weight_NT)
    return np.ascontiguousarray(vectors, np.float32), svd
