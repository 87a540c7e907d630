"""Settings of text-knn."""

from recbench.core import PluginConfig
from recbench.nn.text import TextSettings


class TextKNNConfig(PluginConfig):
    """Text to read and encoder that makes vectors of it; there is nothing else to set."""

    text: TextSettings = TextSettings()
