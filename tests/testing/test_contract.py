"""The contract itself: every rule has a model that breaks it and is caught."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from recbench import registry
from recbench.core import Catalogue, Plugin, PluginFailed, Queries, Rankings
from recbench.data import Split
from recbench.testing import PluginContract, heavy_imports, small_split
from recbench_models.popularity.recommender import Popularity

Spoil = Callable[[Rankings, Queries], Rankings]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return small_split(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def plugin() -> Plugin:
    return registry.models().load("popularity")


def model_that(spoil: Spoil, split: Split) -> SimpleNamespace:
    """A training's result whose model answers by popularity, spoilt."""
    popularity = Popularity(Catalogue(len(split.items), len(split.user_ids)))
    popularity.count_I = split.train.item_counts()
    model = SimpleNamespace(generate=lambda queries, k: spoil(popularity.generate(queries, k), queries))
    return SimpleNamespace(recommender=SimpleNamespace(generate=model.generate, raw=model))


def honest(rankings: Rankings, queries: Queries) -> Rankings:
    return rankings


def moved_by_company(rankings: Rankings, queries: Queries) -> Rankings:
    return replace(rankings, scores=rankings.scores + np.float32(2e-5) * np.float32(len(queries) > 10))


def moved_in_sevens(rankings: Rankings, queries: Queries) -> Rankings:
    return replace(rankings, scores=rankings.scores + np.float32(2e-5) * np.float32(len(queries) == 7))


def moved_in_large_batches(rankings: Rankings, queries: Queries) -> Rankings:
    return replace(rankings, scores=rankings.scores + np.float32(2e-5) * np.float32(len(queries) >= 256))


def other_items_in_company(rankings: Rankings, queries: Queries) -> Rankings:
    swapped = rankings.items.copy()
    if len(queries) > 10 and rankings.scores[0, 0, 0] > rankings.scores[0, 0, 1]:
        swapped[:, :, [0, 1]] = swapped[:, :, [1, 0]]
    return replace(rankings, items=swapped)


def history_shown(rankings: Rankings, queries: Queries) -> Rankings:
    items = rankings.items.copy()
    if "keep" in rankings.views and "unseen" in rankings.views:
        items[rankings.views.index("unseen")] = rankings.view("keep")
    return replace(rankings, items=items)


def ties_reversed(rankings: Rankings, queries: Queries) -> Rankings:
    return replace(rankings, scores=np.where(rankings.items >= 0, np.float32(1), -np.inf).astype(np.float32))


def not_a_number(rankings: Rankings, queries: Queries) -> Rankings:
    return replace(rankings, scores=np.full_like(rankings.scores, np.nan))


def views_apart(rankings: Rankings, queries: Queries) -> Rankings:
    if len(rankings.views) == 2:
        return rankings
    return replace(rankings, items=rankings.items[:, :, ::-1].copy(), scores=np.zeros_like(rankings.scores))


def user_decides(rankings: Rankings, queries: Queries) -> Rankings:
    items, scores = rankings.items.copy(), rankings.scores.copy()
    items[:, queries.user_ids == "somebody", 10:], scores[:, queries.user_ids == "somebody", 10:] = -1, -np.inf
    return replace(rankings, items=items, scores=scores)


def nothing_for_newcomers(rankings: Rankings, queries: Queries) -> Rankings:
    items, scores = rankings.items.copy(), rankings.scores.copy()
    items[:, queries.histories.lengths == 0], scores[:, queries.histories.lengths == 0] = -1, -np.inf
    return replace(rankings, items=items, scores=scores)


def nothing_beyond_the_longest(rankings: Rankings, queries: Queries) -> Rankings:
    items, scores = rankings.items.copy(), rankings.scores.copy()
    items[:, queries.histories.lengths > 50], scores[:, queries.histories.lengths > 50] = -1, -np.inf
    return replace(rankings, items=items, scores=scores)


def single_items_moved_by_longer_histories(rankings: Rankings, queries: Queries) -> Rankings:
    lengths = queries.histories.lengths
    scores = rankings.scores.copy()
    scores[:, lengths == 1] += np.float32(lengths.max(initial=0) / 1000)
    return replace(rankings, scores=scores)


def short_by_one(rankings: Rankings, queries: Queries) -> Rankings:
    return replace(rankings, items=rankings.items[:, :, :-1], scores=rankings.scores[:, :, :-1])


def question_changed(rankings: Rankings, queries: Queries) -> Rankings:
    queries.histories.item[:] = 0
    return rankings


RULES: list[tuple[str, Spoil]] = [
    ("test_company_of_a_query_does_not_matter", moved_by_company),
    ("test_company_of_a_query_does_not_matter", moved_in_sevens),
    ("test_company_of_a_query_does_not_matter", moved_in_large_batches),
    ("test_company_of_a_query_does_not_matter", other_items_in_company),
    ("test_history_is_never_in_the_unseen_view", history_shown),
    ("test_equal_scores_stand_in_the_order_of_rows", ties_reversed),
    ("test_lists_are_valid", not_a_number),
    ("test_views_agree", views_apart),
    ("test_unknown_user", user_decides),
    ("test_empty_history", nothing_for_newcomers),
    ("test_histories_of_one_item_and_of_more_than_a_model_reads", nothing_beyond_the_longest),
    ("test_histories_of_one_item_and_of_more_than_a_model_reads", single_items_moved_by_longer_histories),
    ("test_more_is_asked_than_there_is", short_by_one),
    ("test_questions_are_left_as_they_are", question_changed),
]


def put_through(rule: str, spoil: Spoil, plugin: Plugin, split: Split) -> None:
    fixtures = {"plugin": plugin, "small": split, "trained": model_that(spoil, split), "queries": split.test.queries(split.user_ids)}
    test = getattr(PluginContract(), rule)
    test(**{name: fixtures[name] for name in test.__code__.co_varnames[1 : test.__code__.co_argcount]})


@pytest.mark.parametrize(("rule", "spoil"), RULES, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_model_is_caught(rule: str, spoil: Spoil, plugin: Plugin, small: Split) -> None:
    put_through(rule, honest, plugin, small)
    with pytest.raises((AssertionError, PluginFailed, ValueError)):
        put_through(rule, spoil, plugin, small)


def test_a_heavy_import_is_caught(tmp_path: Path, plugin: Plugin) -> None:
    folder = tmp_path / "heavy"
    folder.mkdir()
    card = (plugin.folder / "card.toml").read_text(encoding="utf-8").replace('name = "popularity"', 'name = "heavy"')
    (folder / "card.toml").write_text(card, encoding="utf-8")
    lines = [
        "import pandas",
        "from recbench.core import Plugin",
        "from recbench_models.popularity.config import PopularityConfig",
        "PLUGIN = Plugin.from_folder(__file__, PopularityConfig, PopularityConfig)",
    ]
    (folder / "__init__.py").write_text("\n".join(lines), encoding="utf-8")
    heavy = registry.models([folder]).load("heavy")
    with pytest.raises(AssertionError, match="imports pandas"):
        PluginContract().test_import_is_light(heavy, heavy_imports([plugin, heavy], tmp_path))


def test_an_incomplete_card_is_caught(plugin: Plugin) -> None:
    PluginContract().test_card_is_complete(plugin)
    card = plugin.card.model_copy(update={"paper": "arXiv:1", "bibtex": ""})
    with pytest.raises(AssertionError, match="BibTeX"):
        PluginContract().test_card_is_complete(replace(plugin, card=card))


@pytest.mark.slow
def test_a_plugin_in_a_folder_can_be_put_through_it(tmp_path: Path, small: Split, plugin: Plugin) -> None:
    """What the module's docstring shows, through pytest in a process of its own."""
    folder = tmp_path / "my_model"
    folder.mkdir()
    sources = {
        "card.toml": """name = "my-model"
title = "t"
summary = "s"
family = "scoring"
[presets.default]
[default]
cpu = "default"
cuda = "default"
""",
        "__init__.py": """from recbench.core import Plugin
from .config import MyConfig
def _build(config, catalogue):
    from recbench_models.popularity.recommender import Popularity
    return Popularity(catalogue)
PLUGIN = Plugin.from_folder(__file__, MyConfig, _build)
""",
        "config.py": "from recbench.core import PluginConfig\nclass MyConfig(PluginConfig):\n    pass\n",
        "../test_mine.py": """from pathlib import Path
import pytest
from recbench import registry
from recbench.core import Plugin
from recbench.testing import PluginContract
class TestMyModel(PluginContract):
    @pytest.fixture(scope="class")
    @classmethod
    def plugin(cls) -> Plugin:
        return registry.models([Path("my_model")]).load("my-model")
""",
    }
    for name, text in sources.items():
        (folder / name).write_text(text, encoding="utf-8")
    # Forked with its libraries loaded, pytest can no longer rewrite the assertions of those that have some.
    strict = ["-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py", *strict]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
