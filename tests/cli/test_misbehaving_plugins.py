"""Kinds of misbehaviour through `recbench run --plugin`; `benchmarks/faults/plugins.py` runs all of them."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "benchmarks" / "faults" / "plugins.py"
FEW = (
    "import: calls sys.exit(0)",
    "import: needs a library nobody has",
    "build: raises ValueError",
    "fit: calls sys.exit(0)",
    "fit: raises an error whose text calls sys.exit(0)",
    "fit: raises an error class of recbench",
    "fit: empties the places of modules",
    "fit: prints",
    "fit: closes files 1 and 2",
    "fit: replaces the item ids",
    "fit: unlocks and writes into the item ids",
    "fit: writes into the train part",
    "fit: imports a file by a computed name",
    "report: returns None",
    "report: a mapping that calls sys.exit(0) when it is read",
    "report: an artefact outside the cache",
    "generate: raises KeyboardInterrupt",
    "generate: writes into the histories",
    "generate: unlocks and writes into the histories",
    "rankings: returns the views in another order",
    "rankings: returns an array that lies",
    "rankings: equal scores in an order of its own",
    "rankings: returns a tuple",
    "save: starts a thread that fails",
    "load: raises an error of many lines and escapes",
    "built: returns None",
)


def faults() -> Any:
    spec = importlib.util.spec_from_file_location("faults_of_plugins", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FAULTS = faults()
KINDS = {str(kind): kind for kind in FAULTS.KINDS}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that all kinds share, so that the data set is read once."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def figures(home: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECBENCH_HOME", str(home / "home"))
        (home / "good").mkdir()
        return FAULTS.good_figures(home / "good")


@pytest.mark.parametrize("name", FEW)
def test_a_kind_ends_in_a_sentence_or_changes_nothing(
    name: str, home: Path, figures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECBENCH_HOME", str(home / "home"))
    outcome = FAULTS.try_kind(KINDS[name], tmp_path, figures)
    assert outcome.wrong == "", outcome


def test_there_are_more_than_eighty_kinds_each_with_a_name_of_its_own() -> None:
    assert len(KINDS) == len(FAULTS.KINDS) > 80


def test_a_folder_that_cannot_be_imported_says_why_whatever_name_is_given(recbench: Any, write_plugin: Any) -> None:
    folder = write_plugin("sick", init="x = 1\nimport nobody_has_this\n")
    for name in ("sick", "another", "popularit"):
        answer = recbench("run", "-m", name, "-d", "demo", "--plugin", folder)
        answer.refuses(f"{folder}/__init__.py, line 2", "ModuleNotFoundError: No module named 'nobody_has_this'", code=1)


def test_a_plugin_with_parts_of_a_wrong_kind_is_refused(recbench: Any, write_plugin: Any) -> None:
    folder = write_plugin("parts")
    text = (folder / "__init__.py").read_text().replace("from_folder(__file__, Config, Model)", "from_folder(__file__, dict, Model)")
    (folder / "__init__.py").write_text(text)
    recbench("run", "-m", "parts", "-d", "demo", "--plugin", folder).refuses("PLUGIN has config = <class 'dict'>", code=1)


def test_settings_whose_check_breaks_are_named(recbench: Any, write_plugin: Any) -> None:
    folder = write_plugin("checked")
    text = (
        (folder / "__init__.py")
        .read_text()
        .replace("    width: int = 4", "    width: int = 4\n    def model_post_init(self, _):\n        1 / 0")
    )
    (folder / "__init__.py").write_text(text)
    recbench("run", "-m", "checked", "-d", "demo", "--plugin", folder).refuses(
        "Model 'checked' failed in its settings: ZeroDivisionError", code=1
    )


def test_settings_that_cannot_be_written_down_are_named(recbench: Any, write_plugin: Any) -> None:
    folder = write_plugin("silent")
    text = (
        (folder / "__init__.py")
        .read_text()
        .replace("    width: int = 4", "    width: int = 4\n    def model_dump(self, **_):\n        return {'width': float('nan')}")
    )
    (folder / "__init__.py").write_text(text)
    recbench("run", "-m", "silent", "-d", "demo", "--plugin", folder).refuses("Model 'silent' failed in its settings: ValueError", code=1)


@pytest.mark.slow
def test_a_cell_whose_process_disappears_is_one_failed_cell(recbench: Any, tmp_path: Path) -> None:
    folder = FAULTS.write_plugin(tmp_path / "plugins" / FAULTS.NAME, KINDS["fit: calls os._exit(0)"])
    answer = recbench("compare", "-m", f"{FAULTS.NAME},popularity", "-d", "demo", "--plugin", folder, "--threads", "1")
    assert answer.code == 1
    assert "The process ended by itself during model 'wayward' in fit, with code 0" in answer.stderr
    assert "popularity:default" in answer.stdout
    assert recbench.half_written() == []
