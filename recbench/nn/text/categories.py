"""Items' categories as vectors, as a stage that all models share."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from recbench.core.plugin import FitContext
from recbench.nn.text.attributes import AttributeFields, item_attributes

STAGE = "category-vectors"
VECTORS_FILE = "vectors.npy"


class CategorySettings(AttributeFields):
    """How items' categories become vectors."""

    fields: tuple[str, ...] = Field(default=("categories",), min_length=1)
    """Columns of the item table; an item's empty ones are skipped. A column that the data set lacks, or that is empty for every item, is an
    error unless `optional_fields` names it."""
    width: PositiveInt = 128
    """Width of the vectors, at most; there are no more directions than categories."""


def category_vectors(context: FitContext, settings: CategorySettings, *, part: str = "categories") -> NDArray[np.float32]:
    """The vectors of the catalogue's categories, from the cache or computed now: TF-IDF over the parts of their paths, then an SVD.

    Args:
        context: of the run.
        settings: which columns are read, and the width.
        part: name of `settings` within the model's, for messages.

    Returns:
        (n_items, d) float32, memory-mapped, not writable; zeros where an item has no category. Items of equal categories have equal
        vectors.

    Raises:
        BadRequest: no item has a category that others lack.
        BadConfig: a column is lacking, or empty for every item, and not optional.
    """
    attributes = item_attributes(context.items, settings, context.log, part=part)
    category_of_item = attributes.joined()
    lists = hashlib.sha256(category_of_item.item.tobytes() + category_of_item.offsets.tobytes()).hexdigest()

    def build(folder: Path) -> None:
        from recbench.nn.text.tfidf import tfidf_svd_of_terms

        np.save(folder / VECTORS_FILE, tfidf_svd_of_terms(category_of_item, width=settings.width), allow_pickle=False)

    folder = context.common_stage(STAGE, build, config={"categories": lists, "width": settings.width})
    vectors: NDArray[np.float32] = np.load(folder / VECTORS_FILE, mmap_mode="r")
    return vectors
