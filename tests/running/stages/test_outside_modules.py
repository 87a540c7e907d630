"""What a plugin's sources are: its whole folder, and modules from elsewhere by content or by version."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recbench import registry
from recbench.core import PluginFailed
from recbench.running.run.guard import refuse_unknown_modules
from recbench.running.stages.keys import plugin_source_hash
from recbench.running.stages.outside_modules import came_along, imported_from_outside, loaded_modules, unknown_modules


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "__init__.py").write_text("import numpy\n\ndef build():\n    from elsewhere_of_tests import SIGN\n    return SIGN\n")
    (folder / "card.toml").write_text('name = "model"\n')
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    file = folder / "elsewhere_of_tests.py"
    file.write_text("SIGN = 1\n")
    monkeypatch.syspath_prepend(str(folder))
    yield file
    sys.modules.pop("elsewhere_of_tests", None)


@pytest.mark.parametrize("name", ["settings.yaml", "weights.npy", "words.txt", "native.so", "deep/table.csv", "Makefile"])
def test_every_file_of_the_folder_counts(plugin: Path, name: str) -> None:
    before = plugin_source_hash(plugin)
    file = plugin / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("order: up")
    with_it = plugin_source_hash(plugin)
    file.write_text("order: down")
    assert len({before, with_it, plugin_source_hash(plugin)}) == 3


def test_a_file_behind_a_linked_folder_counts(plugin: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "table").write_text("1")
    (plugin / "data").symlink_to(tmp_path / "data")
    before = plugin_source_hash(plugin)
    (tmp_path / "data" / "table").write_text("2")
    assert plugin_source_hash(plugin) != before


@pytest.mark.parametrize("name", ["README.md", "card.toml", "__pycache__/x.pyc", "tests/test_model.py", ".cache/x", ".hidden", "old.py~"])
def test_files_that_shape_no_result_do_not_count(plugin: Path, name: str) -> None:
    before = plugin_source_hash(plugin)
    (plugin / name).parent.mkdir(exist_ok=True)
    (plugin / name).write_text("edited = true\n")
    assert plugin_source_hash(plugin) == before


def test_a_module_from_elsewhere_counts_by_content(plugin: Path, elsewhere: Path) -> None:
    before = plugin_source_hash(plugin)
    elsewhere.write_text("SIGN = -1\n")
    assert plugin_source_hash(plugin) != before


def test_a_package_from_elsewhere_counts_whole_with_what_it_imports(plugin: Path, elsewhere: Path) -> None:
    package = elsewhere.parent / "package_of_tests"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "table.yaml").write_text("a: 1")
    elsewhere.write_text("import package_of_tests.deep\nSIGN = 1\n")
    assert list(imported_from_outside(plugin).files) == ["elsewhere_of_tests", "package_of_tests"]
    before = plugin_source_hash(plugin)
    (package / "table.yaml").write_text("a: 2")
    assert plugin_source_hash(plugin) != before


def test_a_module_that_only_a_changed_path_finds_counts_once_it_is_imported(
    plugin: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("elsewhere_of_tests")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(elsewhere.parent)])
    before = plugin_source_hash(plugin)
    elsewhere.write_text("SIGN = -1\n")
    assert plugin_source_hash(plugin) != before


def test_installed_modules_count_by_version(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy

    assert imported_from_outside(plugin).versions["numpy"] == numpy.__version__
    assert imported_from_outside(plugin).versions["elsewhere_of_tests"] is None
    before = plugin_source_hash(plugin)
    monkeypatch.setattr("recbench.running.stages.outside_modules.version", lambda _: "99")
    assert plugin_source_hash(plugin) != before


def test_another_model_of_recbench_counts_by_content(plugin: Path) -> None:
    (plugin / "__init__.py").write_text("from recbench_models.popularity.recommender import Popularity\n")
    registry.models().load("popularity")
    assert list(imported_from_outside(plugin).files) == ["recbench_models.popularity"]


def test_recbench_s_own_models_depend_on_no_version() -> None:
    own = registry.models().load("popularity").folder
    assert came_along(own)
    assert not came_along(own.parent)


def test_an_import_by_a_computed_name_is_refused_after_the_fact(plugin: Path, elsewhere: Path) -> None:
    (plugin / "__init__.py").write_text("import json\n")
    before = loaded_modules()
    importlib.import_module("elsewhere_of_tests")
    assert unknown_modules(plugin, before) == {"elsewhere_of_tests": elsewhere.resolve()}
    found = registry.models().load("popularity")
    refuse_unknown_modules(found, before)  # a part of recbench, whose imports are its own
    foreign = type(found)(found.card, found.config, found.build, plugin)
    with pytest.raises(PluginFailed, match=r"Model 'popularity' imported elsewhere_of_tests \(.*elsewhere_of_tests\.py\) in fit"):
        refuse_unknown_modules(foreign, before)


def test_a_stated_import_within_fit_is_known(plugin: Path, elsewhere: Path) -> None:
    before = loaded_modules()
    importlib.import_module("elsewhere_of_tests")
    assert unknown_modules(plugin, before) == {}
