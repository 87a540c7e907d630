import inspect
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from recbench.core.config import hash_value
from recbench.nn.text.tfidf import tfidf_svd
from recbench.nn.training.losses import full_cross_entropy
from recbench.running.stages import keys
from recbench.running.stages.keys import hash_path, plugin_source_hash


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "__init__.py").write_text("from recbench.nn.training.losses import full_cross_entropy\n")
    (folder / "card.toml").write_text('name = "model"\n')
    (folder / "README.md").write_text("about\n")
    return folder


def edit(monkeypatch: pytest.MonkeyPatch, function: Callable[..., object]) -> None:
    """Let the file that defines a function have another hash."""
    home, real = Path(inspect.getfile(function)), keys.file_sha256
    monkeypatch.setattr(keys, "file_sha256", lambda file: "edited" if file == home else real(file))


def test_an_edited_source_is_another_hash(plugin: Path) -> None:
    before = plugin_source_hash(plugin)
    (plugin / "__init__.py").write_text("from recbench.nn.training.losses import full_cross_entropy\nx = 1\n")
    assert plugin_source_hash(plugin) != before


@pytest.mark.parametrize("name", ["card.toml", "README.md"])
def test_words_about_a_model_do_not_count(plugin: Path, name: str) -> None:
    before = plugin_source_hash(plugin)
    (plugin / name).write_text("edited = true\n")
    assert plugin_source_hash(plugin) == before


def test_the_place_of_a_plugin_does_not_count(plugin: Path, tmp_path: Path) -> None:
    shutil.copytree(plugin, tmp_path / "elsewhere")
    assert plugin_source_hash(tmp_path / "elsewhere") == plugin_source_hash(plugin)


def test_shared_parts_count_where_they_are_reached(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = plugin.with_name("other")
    shutil.copytree(plugin, other)
    (other / "__init__.py").write_text("import json\n")
    before = plugin_source_hash(plugin), plugin_source_hash(other)
    edit(monkeypatch, full_cross_entropy)
    after = plugin_source_hash(plugin), plugin_source_hash(other)
    assert after[0] != before[0]
    assert after[1] == before[1]


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("from recbench.nn.text import text_vectors", True),
        ("from recbench.nn import text", True),
        ("import recbench.nn.text", True),
        ("from recbench.nn.text import *", True),
        ("from recbench.nn.text.tfidf import tfidf_svd", True),
        ("from recbench.nn.text import TextSettings", False),
        ("from recbench.nn.text.names import TFIDF_SVD", False),
    ],
)
def test_a_name_of_a_package_counts_where_it_is_defined(plugin: Path, monkeypatch: pytest.MonkeyPatch, line: str, counts: bool) -> None:
    (plugin / "__init__.py").write_text(f"{line}\n")
    before = plugin_source_hash(plugin)
    edit(monkeypatch, tfidf_svd)
    assert (plugin_source_hash(plugin) != before) == counts


def test_folders_are_hashed_by_names_and_contents(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "file").write_text("x")
    assert hash_path(first) == hash_path(second)
    (second / "deep" / "file").rename(second / "deep" / "other")
    assert hash_path(first) != hash_path(second)


def test_the_order_of_keys_does_not_count() -> None:
    assert hash_value({"a": 1, "b": [2, 3]}) == hash_value({"b": [2, 3], "a": 1})
    assert hash_value({"b": [3, 2]}) != hash_value({"b": [2, 3]})
