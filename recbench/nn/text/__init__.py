"""Items' texts as vectors, computed once for all models. Importing this package imports no torch."""

from recbench.nn.text.settings import TextSettings
from recbench.nn.text.stage import TextVectors, item_texts, text_vectors

__all__ = ["TextSettings", "TextVectors", "item_texts", "text_vectors"]
