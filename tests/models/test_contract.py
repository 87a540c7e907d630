"""Every installed model keeps the contract."""

from collections.abc import Mapping
from typing import Any

import pytest

from recbench import registry
from recbench.core import Plugin
from recbench.core.config import setting_names
from recbench.testing import PluginContract

NAMES = registry.models().names()


class TestContract(PluginContract):
    @pytest.fixture(scope="class", params=NAMES)
    @classmethod
    def plugin(cls, request: pytest.FixtureRequest) -> Plugin:
        return registry.models().load(request.param)

    @pytest.fixture(scope="class")
    @classmethod
    def overrides(cls, plugin: Plugin) -> Mapping[str, Any]:
        """A short training: what is promised here holds for every model, however good it is."""
        short = {"joint.steps": 4, "training.max_steps": 12, "training.validate_every_steps": 6}
        return {name: value for name, value in short.items() if name in setting_names(plugin.config)}

    # Starts an interpreter with torch for every model.
    test_new_process_without_the_data_gives_the_same_lists = pytest.mark.slow(
        PluginContract.test_new_process_without_the_data_gives_the_same_lists
    )


@pytest.mark.parametrize("name", NAMES)
def test_ours_have_a_smoke_preset_and_a_readme_with_a_table(name: str) -> None:
    plugin = registry.models().load(name)
    assert "smoke" in plugin.card.presets
    assert "how to repeat" in (plugin.folder / "README.md").read_text(encoding="utf-8")
