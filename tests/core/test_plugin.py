from pathlib import Path

from recbench.core import Plugin
from recbench.core.config import PluginConfig
from recbench.core.model_card import ModelCard


class _Config(PluginConfig):
    width: int = 64
    sizes: tuple[int, ...] = (1, 2)


def test_a_full_card_names_the_settings_that_its_presets_leave_at_their_defaults() -> None:
    presets = {"paper": {"width": 32}, "cpu": {"extends": "paper", "sizes": [3]}}
    about = {"name": "toy", "title": "toy", "summary": "toy", "family": "scoring", "default": {"cpu": "cpu", "cuda": "paper"}}
    plugin = Plugin(ModelCard.model_validate(about | {"presets": presets}), _Config, lambda config, catalogue: None, Path())  # type: ignore[arg-type,return-value]
    assert plugin.full_card.presets == {"paper": {"width": 32, "sizes": [1, 2]}, "cpu": {"width": 32, "sizes": [3]}}
    assert plugin.card.presets == presets
