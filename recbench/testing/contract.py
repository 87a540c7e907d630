"""Contract of every model plugin, as tests to inherit."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.core import VIEWS, Catalogue, Histories, Plugin, Queries, Rankings, Recommender
from recbench.core.config import setting_names
from recbench.data import Split
from recbench.evaluation import check_rankings
from recbench.running.run.training import MODEL_FOLDER, TrainedModel
from recbench.tasks import find_task
from recbench.testing.answer import MODEL, Answerer, environment_without_data, read_answer, write_question
from recbench.testing.canary import Learnt, assert_equally_blind, learn
from recbench.testing.small import small_split
from recbench.testing.training import train

TOLERANCE = 1e-5
"""How far scores may move with the company that a query keeps."""
_K = 20
_MANY = 256
"""Queries of a batch as a run asks for; here some come several times."""
_LONG = 250
"""Events of a history that is longer than any preset `smoke` reads."""
_HEAVY = ("torch", "transformers", "pandas", "faiss")


class PluginContract:
    """Inherit, and give the fixture `plugin`. Models train on a small data set, most tests sharing one training."""

    @pytest.fixture(scope="class")
    @classmethod
    def plugin(cls) -> Plugin:
        """The plugin to test."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def preset(cls, plugin: Plugin) -> str:
        """The preset to train with."""
        return "smoke" if "smoke" in plugin.card.presets else plugin.default_preset("cpu", plugin.card.tasks[0])

    @pytest.fixture(scope="class")
    @classmethod
    def overrides(cls) -> Mapping[str, Any]:
        """Settings laid over the preset."""
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def heavy_imports(cls, plugin: Plugin, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
        """As the function `heavy_imports` gives it; who tests many plugins may ask once for all."""
        return heavy_imports([plugin], tmp_path_factory.mktemp("imports"))

    @pytest.fixture(scope="class")
    @classmethod
    def answerer(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answerer]:
        """The process that has seen neither training nor data; who tests many plugins may ask one process for all."""
        with closing(Answerer(tmp_path_factory.mktemp("answers"))) as found:
            yield found

    @pytest.fixture(scope="class")
    @classmethod
    def home(cls, plugin: Plugin, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Folder of data and stages of the plugin's shared training, and of no other."""
        return tmp_path_factory.mktemp(f"contract-{plugin.card.name}")

    @pytest.fixture(scope="class")
    @classmethod
    def small(cls, plugin: Plugin, home: Path) -> Split:
        """The data, with a phrase for each item in every column that the card needs."""
        return small_split(home, columns=plugin.card.needs_columns, task=find_task(plugin.card.tasks[0]))

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, plugin: Plugin, preset: str, overrides: Mapping[str, Any], small: Split, home: Path) -> TrainedModel:
        """The model that most tests share."""
        return train(plugin, small, home, preset=preset, overrides=overrides)

    @pytest.fixture(scope="class")
    @classmethod
    def learnt(cls, small: Split, trained: TrainedModel, home: Path) -> Learnt:
        """What the shared training left."""
        return Learnt.of(small, trained, home)

    @pytest.fixture(scope="class")
    @classmethod
    def blind(
        cls, plugin: Plugin, preset: str, overrides: Mapping[str, Any], learnt: Learnt, tmp_path_factory: pytest.TempPathFactory
    ) -> Learnt:
        """The same training in a fresh cache on the small data whose test targets are others."""
        del learnt  # comes first, with answers from before anything of this training was there
        return learn(plugin, tmp_path_factory.mktemp("blind"), change_last=True, preset=preset, overrides=overrides)

    @pytest.fixture(scope="class")
    @classmethod
    def queries(cls, small: Split) -> Queries:
        """The test queries."""
        return small.test.queries(small.user_ids)

    def test_card_is_complete(self, plugin: Plugin) -> None:
        card = plugin.card
        assert card.name
        assert card.title
        assert card.summary
        assert bool(card.bibtex) == bool(card.paper), "a paper is cited with its BibTeX"
        for preset in card.presets:
            assert plugin.row_name(preset, plugin.resolve(preset)).startswith(f"{card.name}:{preset}")
        settings = setting_names(plugin.config)
        for name in (*card.label, *card.label_unless_default, *card.added, *card.backbone, *card.text):
            assert name in settings, f"the card names {name!r}, which is no setting"
        for name in card.moved.values():
            assert name in settings or name.startswith(tuple(f"{setting}." for setting in settings)), f"nothing stands at {name!r}"
        if card.tune is not None:
            plugin.trial(1, 0, card.tune.preset)
        for number in card.published:
            assert number.source, f"the published number for {number.dataset} names no source"
            assert all(0 <= value <= 1 for value in number.metrics.values()), "metrics are fractions"

    def test_import_is_light(self, plugin: Plugin, heavy_imports: Mapping[str, str]) -> None:
        assert heavy_imports[plugin.card.name] == "", f"importing the plugin imports {heavy_imports[plugin.card.name]}"

    def test_same_seed_same_lists(
        self, plugin: Plugin, preset: str, overrides: Mapping[str, Any], small: Split, learnt: Learnt, blind: Learnt, tmp_path: Path
    ) -> None:
        # Test targets are no part of a training: where one without them left the same, equal seeds give equal files and lists.
        if not learnt.learnt_from_the_same(blind) or learnt.difference(blind):
            again = Learnt.of(small, train(plugin, small, tmp_path, preset=preset, overrides=overrides), tmp_path)
            assert not learnt.difference(again), f"after another training with the same seed, {learnt.difference(again)}"

    def test_lists_are_valid(self, small: Split, trained: TrainedModel, queries: Queries) -> None:
        rankings = _ask(trained.recommender, queries, _K, small)
        assert (rankings.items[:, :, 0] >= 0).all(), "a query got an empty list"

    def test_equal_scores_stand_in_the_order_of_rows(self, small: Split, trained: TrainedModel, queries: Queries) -> None:
        # Down to the last item: scores of rare items tie most.
        rankings = _ask(trained.recommender, queries, len(small.items), small)
        items, scores = rankings.items, rankings.scores
        is_tied = (scores[..., 1:] == scores[..., :-1]) & (items[..., 1:] >= 0)
        assert (items[..., 1:] > items[..., :-1])[is_tied].all()

    def test_history_is_never_in_the_unseen_view(self, small: Split, trained: TrainedModel, queries: Queries) -> None:
        histories = queries.histories
        doubled = Histories.from_lists([[*map(int, histories[row]), *map(int, histories[row][::-1])] for row in range(len(histories))])
        asked = replace(queries, histories=doubled, timestamp=None)
        lists = _ask(trained.recommender, asked, _K, small).view("unseen")
        for row in range(len(asked)):
            assert not np.isin(lists[row], doubled[row]).any()

    def test_views_agree(self, plugin: Plugin, small: Split, trained: TrainedModel, queries: Queries) -> None:
        both = _ask(trained.recommender, queries, _K, small)
        for view in VIEWS:
            alone = _ask(trained.recommender, replace(queries, views=(view,)), _K, small)
            np.testing.assert_array_equal(alone.view(view), both.view(view))
        if plugin.card.family == "scoring":
            for row in range(len(queries)):
                kept = both.view("keep")[row]
                left = kept[~np.isin(kept, queries.histories[row])]
                np.testing.assert_array_equal(both.view("unseen")[row][: len(left)], left)

    def test_company_of_a_query_does_not_matter(self, small: Split, trained: TrainedModel, queries: Queries) -> None:
        whole = _ask(trained.recommender, queries, _K, small)
        longest = int(queries.histories.lengths.argmax())
        orders = [np.array([row]) for row in range(0, len(queries), 7)]
        orders += [np.array([longest, *range(row, min(row + 6, len(queries)))]) for row in range(3, len(queries), 21)]
        orders += [np.resize(np.arange(len(queries))[::-1], _MANY)]
        for rows in orders:
            _assert_close(_ask(trained.recommender, queries.take(rows), _K, small), whole, rows)

    def test_more_is_asked_than_there_is(self, small: Split, trained: TrainedModel, queries: Queries) -> None:
        n_items = len(small.items)
        few = queries.take(np.arange(5))
        rankings = _ask(trained.recommender, few, n_items + 7, small)
        assert rankings.items.shape == (len(VIEWS), 5, n_items + 7)
        assert (rankings.items[:, :, n_items:] == -1).all()

    def test_empty_history(self, small: Split, trained: TrainedModel, queries: Queries) -> None:
        few = queries.take(np.arange(3))
        lists: list[list[int]] = [few.histories[0].tolist(), [], few.histories[2].tolist()]
        empty = replace(few, histories=Histories.from_lists(lists), timestamp=None)
        rankings = _ask(trained.recommender, empty, _K, small)
        np.testing.assert_array_equal(rankings.view("keep")[1], rankings.view("unseen")[1])
        assert rankings.view("keep")[1, 0] >= 0
        nobody = replace(few.take([]), timestamp=None)
        assert _ask(trained.recommender, nobody, _K, small).items.shape == (len(VIEWS), 0, _K)

    def test_histories_of_one_item_and_of_more_than_a_model_reads(self, small: Split, trained: TrainedModel, queries: Queries) -> None:
        few = queries.take(np.arange(3))
        lists: list[list[int]] = [few.histories[0].tolist()[-1:], few.histories[1].tolist(), np.resize(few.histories[2], _LONG).tolist()]
        asked = replace(few, histories=Histories.from_lists(lists), timestamp=None)
        rankings = _ask(trained.recommender, asked, _K, small)
        assert (rankings.items[:, :, 0] >= 0).all(), "a query got an empty list"
        _assert_close(_ask(trained.recommender, asked.take([0]), _K, small), rankings, [0])

    def test_unknown_user(self, small: Split, trained: TrainedModel, queries: Queries) -> None:
        few = queries.take([0, 0, 1])
        strangers = replace(few, user=np.full(3, -1, np.int32), user_ids=np.array(["", "somebody", ""], object))
        rankings = _ask(trained.recommender, strangers, _K, small)
        np.testing.assert_array_equal(rankings.items[:, 0], rankings.items[:, 1])

    def test_questions_are_left_as_they_are(self, trained: TrainedModel, queries: Queries) -> None:
        item = queries.histories.item.copy()
        item.setflags(write=False)
        offsets = queries.histories.offsets.copy()
        offsets.setflags(write=False)
        asked = replace(queries, histories=Histories(item, offsets))
        trained.recommender.raw.generate(asked, _K)
        np.testing.assert_array_equal(item, queries.histories.item)
        np.testing.assert_array_equal(offsets, queries.histories.offsets)

    def test_new_process_without_the_data_gives_the_same_lists(
        self, plugin: Plugin, preset: str, overrides: Mapping[str, Any], small: Split, home: Path, trained: TrainedModel, queries: Queries,
        answerer: Answerer, tmp_path: Path,
    ) -> None:  # fmt: skip
        expected = trained.recommender.generate(queries, _K)
        shutil.copytree(trained.stage.folder / MODEL_FOLDER, tmp_path / MODEL)
        config = plugin.resolve(preset, None, overrides).model_dump(mode="json")
        write_question(tmp_path, plugin, config, Catalogue(len(small.items), len(small.user_ids)), queries, _K)
        with _hidden(home):
            answerer.ask(tmp_path)
        items, scores = read_answer(tmp_path)
        _assert_equal(Rankings(queries.views, items, scores), expected)

    def test_saved_files_are_not_pickled(self, trained: TrainedModel) -> None:
        files = [file for file in (trained.stage.folder / MODEL_FOLDER).rglob("*") if file.is_file()]
        assert files, "save wrote nothing"
        assert not [file.name for file in files if file.suffix in {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"}]

    def test_no_leak(
        self, plugin: Plugin, preset: str, overrides: Mapping[str, Any], learnt: Learnt, blind: Learnt, tmp_path: Path
    ) -> None:
        # Where `small` is overridden, the shared training is none on the data of the canary.
        is_shared = learnt.learnt_from_the_same(blind)
        assert_equally_blind(plugin, learnt if is_shared else learn(plugin, tmp_path, preset=preset, overrides=overrides), blind)


def _ask(recommender: Recommender, queries: Queries, k: int, split: Split) -> Rankings:
    """The answer, after the harness's own check: shapes, types, valid and distinct items, falling finite scores, no history."""
    return check_rankings(recommender.generate(queries, k), queries, n_items=len(split.items), k=k)


def _assert_equal(left: Rankings, right: Rankings) -> None:
    assert left.views == right.views
    np.testing.assert_array_equal(left.items, right.items)
    np.testing.assert_array_equal(left.scores, right.scores)


def _assert_close(part: Rankings, whole: Rankings, rows: Sequence[int] | np.ndarray[Any, Any]) -> None:
    """Scores agree place by place, and items that changed place did so within the tolerance."""
    for v in range(len(part.views)):
        for b, row in enumerate(rows):
            score, expected = part.scores[v, b], whole.scores[v, row]
            np.testing.assert_array_equal(np.isfinite(score), np.isfinite(expected))
            finite = np.isfinite(score)
            np.testing.assert_allclose(score[finite], expected[finite], rtol=0, atol=TOLERANCE)
            scores = dict(zip(part.items[v, b], score, strict=True))
            for item, value in zip(whole.items[v, row][finite], expected[finite], strict=True):
                # An item that left the list was within the tolerance of the last place.
                assert abs(scores.get(item, score[finite][-1]) - value) <= 2 * TOLERANCE


def heavy_imports(plugins: Sequence[Plugin], folder: Path) -> dict[str, str]:
    """Heavy libraries that importing each plugin imports, by its name: one new interpreter, which starts in `folder`, imports them in turn.

    A library counts for the first plugin that imports it.
    """
    code = (
        "import sys, json, pathlib; from recbench import registry; models = registry.models(); found, known = {}, set()\n"
        "for folder, name in json.loads(sys.argv[1]):\n"
        "    installed = name in models and models.load(name).folder == pathlib.Path(folder)\n"
        "    installed or registry.models([pathlib.Path(folder)]).load(name)\n"
        f"    heavy = [module for module in {_HEAVY!r} if module in sys.modules and module not in known]\n"
        "    found[name] = ' '.join(heavy); known.update(heavy)\n"
        "print(json.dumps(found))"
    )
    asked = json.dumps([(str(plugin.folder), plugin.card.name) for plugin in plugins])
    environment = environment_without_data(folder)
    done = subprocess.run([sys.executable, "-c", code, asked], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@contextmanager
def _hidden(folder: Path) -> Iterator[None]:
    """The folder under another name for a while."""
    aside = folder.with_name(f"{folder.name}-hidden")
    folder.rename(aside)
    try:
        yield
    finally:
        aside.rename(folder)
