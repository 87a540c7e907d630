"""Settings of text-knn."""

from typing import Literal

from pydantic import Field, PositiveInt

from recbench.core import PluginConfig


class TextKNNConfig(PluginConfig):
    """What text is read and how it becomes vectors."""

    encoder: Literal["tfidf"] = "tfidf"
    """`tfidf`: weights of words and word groups, no pretrained model."""
    fields: tuple[str, ...] = Field(default=("title", "brand", "categories"), min_length=1)
    """Columns of the item table, joined into one text; those that a data set lacks are left out."""
    max_words: PositiveInt = 2
    """Longest group of neighbouring words that is one term."""
    max_share: float = Field(default=0.2, gt=0, le=1)
    """Terms in a larger share of the items are left out: they tell little and cost most of the time."""
