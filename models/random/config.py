"""Settings of random."""

from recbench.core import PluginConfig


class RandomConfig(PluginConfig):
    """There is nothing to choose."""
