"""What the items are: their media and their texts, from whatever a data set has of them."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recbench.core.config import PluginConfig
from recbench.core.features import Features
from recbench.core.plugin import FitContext
from recbench.nn.text.categories import CategorySettings, category_vectors
from recbench.nn.text.settings import TextSettings
from recbench.nn.text.stage import text_vectors


class ContentSettings(PluginConfig):
    """Where media and text of the items are looked for."""

    media: tuple[str, ...] = ("image", "audio", "media")
    """Features that may hold the items' media; the first that the data set has is read. Without one: vectors of the categories."""
    text: tuple[str, ...] = ("text", "description")
    """Features that may hold the items' texts; the first that the data set has is read where no text is to be encoded."""
    text_from: Literal["texts", "features"] = "texts"
    """Where a data set has both texts and a feature of texts, which of them is read."""


def item_content(context: FitContext, settings: ContentSettings, text: TextSettings, categories: CategorySettings) -> dict[str, Features]:
    """Vectors of the items by modality, `media` before `text`; those that the data set has. The log says what was read.

    Args:
        context: of the run.
        settings: which features, and what goes before.
        text: how texts are encoded, where the items have any beside their categories.
        categories: how categories are, where the data set has no media.

    Raises:
        BadRequest: the items have texts, and none in the columns that are asked for.
        BadConfig: a column is lacking, or empty for every item, and not optional.
    """
    held = {name for name, values in context.items.columns.items() if any(values)}
    # A data set without any texts is read without them; a column that is not there while others are is a slip.
    has_texts = bool(held - set(categories.fields) or held & set(text.fields))
    has_categories = bool(held & set(categories.fields) or set(categories.fields) - set(categories.optional_fields))
    media, of_text = _first(context.features, settings.media), _first(context.features, settings.text)
    found: dict[str, Features] = {}
    if media is not None:
        found["media"], source = context.features[media], f"the feature {media}"
    elif has_categories:
        found["media"], source = _where_not_zero(category_vectors(context, categories)), "categories"
    else:
        source = "nothing: the data set has none"
    context.log.info("media are read from %s", source)
    if has_texts and (of_text is None or settings.text_from == "texts"):
        found["text"], source = _where_not_zero(text_vectors(context, text).vectors), f"item texts, by {text.encoder}"
    elif of_text is not None:
        found["text"], source = context.features[of_text], f"the feature {of_text}"
    else:
        source = "nothing: the data set has none"
    context.log.info("texts are read from %s", source)
    return found


def _first(features: Mapping[str, Features], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in features), None)


def _where_not_zero(vectors: NDArray[np.float32]) -> Features:
    return Features(vectors, np.asarray(vectors.any(axis=1)))
