"""Tests that any model plugin can be put through, ours or a third party's. They need pytest.

The whole test file of a plugin that is not installed:

    from pathlib import Path

    import pytest
    from recbench import registry
    from recbench.core import Plugin
    from recbench.testing import PluginContract

    class TestMyModel(PluginContract):
        @pytest.fixture(scope="class")
        @classmethod
        def plugin(cls) -> Plugin:
            return registry.models([Path("my_model")]).load("my-model")

Override the fixtures `preset` and `overrides` to train with other settings than the preset `smoke` (or, without one, the CPU's
default), and `small` for other data. Training must be bounded by steps, not by time: equal seeds have to give equal files.
"""

from recbench.testing.by_hand import LightContext, interactions, latest_is_best, queries
from recbench.testing.canary import assert_no_leak
from recbench.testing.contract import PluginContract, heavy_imports
from recbench.testing.small import read_split, small_split, write_source
from recbench.testing.training import train

__all__ = [
    "LightContext",
    "PluginContract",
    "assert_no_leak",
    "heavy_imports",
    "interactions",
    "latest_is_best",
    "queries",
    "read_split",
    "small_split",
    "train",
    "write_source",
]
