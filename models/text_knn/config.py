"""Settings of text-knn."""

from recbench.nn.text.settings import TextSettings


class TextKNNConfig(TextSettings):
    """What text is read and how it becomes vectors; there is nothing else to set."""
