"""Vectors of the items made from users' feedback."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, dia_array, diags_array
from sklearn.decomposition import TruncatedSVD

from recbench.core import Features, FitContext, Histories
from recbench.nn.codes import content_key
from recbench_models.clhe.config import FeedbackSettings
from recbench_models.clhe.lightgcn import lightgcn_vectors

# U users, N items, F numbers of a vector

_VECTORS_FILE = "vectors.npy"
_SEED = 0
_LEAST_DEVIATION = 1e-12


def feedback_features(context: FitContext, settings: FeedbackSettings) -> Features | None:
    """Vectors of the items, made now or found; None where there is no feedback, or it is not to be read."""
    feedback, n_items = context.feedback, context.train.n_items
    if settings.kind == "none" or feedback is None or len(feedback.item) == 0:
        context.log.info("no feedback of users is read: the content of the items stands in its place")
        return None

    is_trained = settings.kind == "lightgcn"

    def build(folder: Path) -> None:
        if is_trained:
            vectors_NF = lightgcn_vectors(context.alone(), feedback, settings)
        else:
            vectors_NF = svd_vectors(feedback, n_items, width=settings.width)
        scale = settings.scale / max(float(vectors_NF.std()), _LEAST_DEVIATION)
        np.save(folder / _VECTORS_FILE, np.ascontiguousarray(vectors_NF * scale, np.float32), allow_pickle=False)

    inputs = [content_key(feedback.item), content_key(feedback.offsets)]
    config = settings.model_dump(mode="json", exclude=None if is_trained else {"lightgcn"})
    folder = context.stage("feedback-vectors", build, config=config, inputs=inputs, trains=is_trained)
    has_feedback = np.bincount(feedback.item, minlength=n_items) > 0
    context.log.info("feedback of %d users on %d of %d items", len(feedback), has_feedback.sum(), n_items)
    return Features(np.load(folder / _VECTORS_FILE), has_feedback)


def svd_vectors(feedback: Histories, n_items: int, *, width: int) -> NDArray[np.float32]:
    """The items' half of a truncated SVD of `D_u^-1/2 Y D_i^-1/2`, times the singular values, (N, F) float32; zeros without feedback.

    Y is users by items, 1 where a user has an item, and the D are its sums. F is `width`, or less where there are fewer users or items.
    """
    shape = (len(feedback), n_items)
    has_item_UN = csr_array((np.ones(len(feedback.item)), feedback.item, feedback.offsets), shape=shape)
    scaled_NU = csr_array((_inverse_root(has_item_UN.sum(1)) @ has_item_UN @ _inverse_root(has_item_UN.sum(0))).T)
    if min(shape) <= width:
        left, values, _ = np.linalg.svd(scaled_NU.toarray(), full_matrices=False)
        vectors = left * values
    else:
        vectors = TruncatedSVD(width, random_state=_SEED).fit_transform(scaled_NU)
    return np.ascontiguousarray(vectors, np.float32)


def _inverse_root(sums: NDArray[np.float64]) -> dia_array:
    """A diagonal matrix of `1 / sqrt(sum)`, 0 where a sum is 0."""
    return diags_array(np.divide(1.0, np.sqrt(sums), out=np.zeros(len(sums)), where=sums > 0))
