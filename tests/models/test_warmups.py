"""Presets of papers warm up over a share of the training, so that no set is too small for them."""

import pytest

from recbench import registry
from recbench.nn.training.settings import TrainingSettings

PLUGINS = {name: registry.models().load(name) for name in registry.models().names()}
PRESETS = [(name, preset) for name, plugin in PLUGINS.items() for preset in plugin.card.presets if preset.startswith("paper")]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_a_paper_s_warm_up_fits_any_set(name: str, preset: str) -> None:
    training = PLUGINS[name].resolve(preset).parts["training"]
    assert isinstance(training, TrainingSettings)
    assert training.warmup_steps == 0
    assert training.warmup_share <= 0.15
