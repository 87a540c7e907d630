"""Names to plugins: lazily, with suggestions, and never the last one that claims a name."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recbench import registry
from recbench.core import BadRequest, Plugin, PluginFailed, UnknownPlugin
from recbench.registry import Claim, Registry


def accept(name: str, value: Any) -> Any:
    return value


def claims(loaded: list[str]) -> list[Claim]:
    def loader(name: str) -> Any:
        loaded.append(name)
        return name.upper()

    return [Claim(name, f"dist-{name}", lambda name=name: loader(name)) for name in ("alpha", "beta")]  # type: ignore[misc]


def test_a_plugin_is_loaded_when_it_is_asked_for_and_no_other() -> None:
    loaded: list[str] = []
    known = Registry("model", claims(loaded), accept)
    assert known.names() == ["alpha", "beta"]
    assert "alpha" in known
    assert "gamma" not in known
    assert known.distribution("beta") == "dist-beta"
    assert loaded == []
    assert known.load("beta") == "BETA"
    assert loaded == ["beta"]


def test_an_unknown_name_gets_the_nearest_and_all_known() -> None:
    known = Registry("model", claims([]), accept)
    with pytest.raises(UnknownPlugin, match=r"No model is called 'alhpa'\. Did you mean 'alpha'\? Known: alpha, beta\."):
        known.load("alhpa")
    with pytest.raises(UnknownPlugin, match="Known: none"):
        Registry("model", [], accept).distribution("alpha")


def test_two_claims_on_one_name_name_both_and_leave_the_others_alone() -> None:
    known = Registry("model", [*claims([]), Claim("beta", "dist-other", lambda: "OTHER")], accept)
    with pytest.raises(BadRequest, match="claim the model 'beta': dist-beta and dist-other"):
        known.load("beta")
    rows = {row.name: row for row in known.describe()}
    assert rows["beta"].plugin is None
    assert rows["beta"].distribution == "dist-beta and dist-other"
    assert rows["alpha"].plugin == "ALPHA"
    assert rows["alpha"].broken is None


def test_one_that_raises_is_a_row_with_the_reason() -> None:
    def broken() -> Any:
        raise ValueError("no such luck")

    known = Registry("model", [*claims([]), Claim("gamma", "dist-gamma", broken)], accept)
    with pytest.raises(PluginFailed, match="Model 'gamma' of dist-gamma raises on import: ValueError: no such luck"):
        known.load("gamma")
    assert [row.broken is None for row in known.describe()] == [True, True, False]


def test_card_and_entry_point_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    popularity = registry.models().load("popularity")
    assert isinstance(popularity, Plugin)
    renamed = Registry("model", [Claim("fame", "dist", lambda: popularity)], registry._model)
    with pytest.raises(PluginFailed, match=r"its card says name = 'popularity'"):
        renamed.load("fame")


def test_a_folder_is_imported_once_under_a_name_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "numpy"  # a name that must not hide anything
    folder.mkdir()
    (folder / "card.toml").write_text(
        'name = "own"\ntitle = "t"\nsummary = "s"\nfamily = "scoring"\n[presets.a]\n[default]\ncpu = "a"\ncuda = "a"\n'
    )
    (folder / "parts.py").write_text("from recbench.core import PluginConfig\nclass Config(PluginConfig):\n    pass\n")
    (folder / "__init__.py").write_text(
        "from recbench.core import Plugin\nfrom .parts import Config\nPLUGIN = Plugin.from_folder(__file__, Config, lambda c, k: None)\n"
    )
    known = registry.models((folder,))
    plugin = known.load("own")
    assert plugin.folder == folder
    assert known.distribution("own") == str(folder)
    assert registry.models((folder,)).load("own") is plugin
    assert sys.modules["numpy"].__name__ == "numpy"
    assert "own" not in registry.models()


@pytest.mark.parametrize("missing", ["folder", "init"])
def test_a_folder_that_is_none_is_refused(tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "plugin"
    if missing == "init":
        folder.mkdir()
    with pytest.raises(BadRequest, match=r"--plugin .*plugin: "):
        registry.models((folder,))


def test_readers_and_cards_are_there_too() -> None:
    assert {"parquet", "csv", "demo"} <= set(registry.readers().names())
    assert all(row.broken is None for row in registry.readers().describe())
    (row,) = [row for row in registry.card_folders().describe() if row.distribution == "genrecbench"]
    assert row.plugin.__path__


def test_listing_names_imports_no_plugin() -> None:
    code = (
        "import sys\nfrom recbench import registry\nregistry.models().names()\n"
        "print(any(name.startswith('recbench_models') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
