"""What is known of the items' content, for models that read any two modalities."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadRequest
from recbench.core.plugin import FitContext
from recbench.nn.text.categories import CategorySettings, category_vectors
from recbench.nn.text.settings import TextSettings
from recbench.nn.text.stage import text_vectors

_MEDIA_FEATURES = ("image", "media")
_TEXT_FEATURE = "text"


@dataclass(frozen=True, eq=False)
class ItemContent:
    """Content vectors of the items.

    Attributes:
        vectors: by modality, `media` before `text`, those that the data set has: (n_items, F) float32 rows of length one, zero for an item
            that lacks the modality. F differs between modalities.
        sources: by modality, what its vectors were made of, such as `feature image` or `title`.
    """

    vectors: Mapping[str, NDArray[np.float32]]
    sources: Mapping[str, str]


def item_content(context: FitContext, text: TextSettings, categories: CategorySettings) -> ItemContent:
    """Media and text vectors of the catalogue.

    `media` is the data set's feature `image` or `media`, else vectors of the items' categories. `text` is the vectors of the items' texts
    where a column of `text.fields` holds any, else the data set's feature `text`.

    Raises:
        BadRequest: the data set has none of them.
    """
    columns = {name for name, column in context.items.columns.items() if any(column)}
    vectors: dict[str, NDArray[np.float32]] = {}
    sources: dict[str, str] = {}
    feature = next((name for name in _MEDIA_FEATURES if name in context.features), None)
    if feature is not None:
        vectors["media"], sources["media"] = context.features[feature].matrix, f"feature {feature}"
    elif columns.intersection(categories.fields):
        vectors["media"] = category_vectors(context, categories)
        sources["media"] = ", ".join(name for name in categories.fields if name in columns)
    if columns.intersection(text.fields):
        vectors["text"] = text_vectors(context, text).vectors
        sources["text"] = ", ".join(name for name in text.fields if name in columns)
    elif _TEXT_FEATURE in context.features:
        vectors["text"], sources["text"] = context.features[_TEXT_FEATURE].matrix, f"feature {_TEXT_FEATURE}"
    if not vectors:
        raise BadRequest(
            f"Item content is read from the features {', '.join((*_MEDIA_FEATURES, _TEXT_FEATURE))} and the columns "
            f"{', '.join(dict.fromkeys((*categories.fields, *text.fields)))}, and this data set has none of them. Name other columns with "
            "--set text.fields=[...], or choose a model that reads no content."
        )
    context.log.info("item content: %s", "; ".join(f"{name} from {source}" for name, source in sources.items()))
    return ItemContent({name: _unit_length(matrix) for name, matrix in vectors.items()}, sources)


def _unit_length(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(length > 0, length, np.float32(1))
