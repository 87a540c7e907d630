"""Settings of text-knn."""

from recbench.nn.text import TextSettings


class TextKNNConfig(TextSettings):
    """Text to read and encoder that makes vectors of it; there is nothing else to set."""
