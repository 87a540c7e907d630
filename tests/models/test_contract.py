"""Every installed model keeps the contract."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest

from recbench import registry
from recbench.core import Plugin
from recbench.core.config import setting_names
from recbench.testing import PluginContract, heavy_imports
from recbench.testing.answer import Answerer

NAMES = registry.models().names()


class TestContract(PluginContract):
    @pytest.fixture(scope="class", params=NAMES)
    @classmethod
    def plugin(cls, request: pytest.FixtureRequest) -> Plugin:
        return registry.models().load(request.param)

    @pytest.fixture(scope="module")
    @classmethod
    def heavy_imports(cls, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
        """Of all models, by one interpreter."""
        return heavy_imports([registry.models().load(name) for name in NAMES], tmp_path_factory.mktemp("imports"))

    @pytest.fixture(scope="module")
    @classmethod
    def answerer(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answerer]:
        """One process for all models."""
        with closing(Answerer(tmp_path_factory.mktemp("answers"))) as found:
            yield found

    @pytest.fixture(scope="class")
    @classmethod
    def overrides(cls, plugin: Plugin) -> Mapping[str, Any]:
        """A short training with two validations: what is promised here holds for every model, however good it is."""
        short = {"joint.steps": 2, "training.max_steps": 6, "training.validate_every_steps": 3}
        return {name: value for name, value in short.items() if name in setting_names(plugin.config)}

    # Loads torch in a process of its own.
    test_new_process_without_the_data_gives_the_same_lists = pytest.mark.slow(
        PluginContract.test_new_process_without_the_data_gives_the_same_lists
    )


@pytest.mark.parametrize("name", NAMES)
def test_ours_have_a_smoke_preset_and_a_readme_with_a_table(name: str) -> None:
    plugin = registry.models().load(name)
    assert "smoke" in plugin.card.presets
    assert "how to repeat" in (plugin.folder / "README.md").read_text(encoding="utf-8")
