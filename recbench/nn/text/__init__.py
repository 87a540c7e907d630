"""Items' texts as vectors, computed once for all models. Importing this package imports no torch."""

from recbench.nn.text.fields import held_fields
from recbench.nn.text.settings import TextFields, TextSettings
from recbench.nn.text.stage import TextVectors, item_texts, text_vectors

__all__ = ["TextFields", "TextSettings", "TextVectors", "held_fields", "item_texts", "text_vectors"]
