"""The leak canary itself: honest models pass, models that peek do not, however they do it."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from recbench.core import Catalogue, FitContext, FitReport, ModelCard, Plugin, PluginConfig, Queries, Rankings
from recbench.testing import PluginContract, assert_no_leak, read_split, small_split, train, write_source
from recbench.testing.canary import Learnt, learn

Peek = Callable[[FitContext], np.ndarray]


class CountingConfig(PluginConfig):
    """Nothing to set."""


class Counting:
    """Ranks by counts that it gets from `look`, and at answering time by whatever lies in `trap`."""

    def __init__(self, n_items: int, look: Peek, trap: list[np.ndarray]) -> None:
        self.count = np.zeros(n_items, np.int64)
        self.look, self.trap = look, trap

    def fit(self, context: FitContext) -> FitReport:
        self.count = self.look(context)
        return FitReport()

    def generate(self, queries: Queries, k: int) -> Rankings:
        count = self.trap[-1] if self.trap else self.count
        order = np.argsort(-count, kind="stable")[:k].astype(np.int32)
        shape = (len(queries.views), len(queries), k)
        return Rankings(queries.views, np.broadcast_to(order, shape), np.broadcast_to(count[order].astype(np.float32), shape))

    def save(self, folder: Path) -> None:
        save_file({"count": self.count}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        self.count = load_file(folder / "model.safetensors")["count"]


def plugin_that(look: Peek, folder: Path, trap: list[np.ndarray] | None = None) -> Plugin:
    card = ModelCard(
        name="counting", title="t", summary="s", family="scoring", presets={"smoke": {}}, default={"cpu": "smoke", "cuda": "smoke"}
    )

    def build(config: CountingConfig, catalogue: Catalogue) -> Counting:
        return Counting(catalogue.n_items, look, trap if trap is not None else [])

    folder.mkdir()
    return Plugin(card, CountingConfig, build, folder)


def train_counts(context: FitContext) -> np.ndarray:
    return context.train.item_counts()


def counts_of_the_source(context: FitContext) -> np.ndarray:
    """Every event in the file that the split was made from; found beside the stages, as in a user's cache."""
    home = next(folder for folder in context.checkpoints.parents if folder.name == "stages").parent
    events = pq.read_table(next(home.glob("datasets/*/interactions.parquet")))["item_id"].to_pylist()
    row = {item_id: row for row, item_id in enumerate(context.items.item_ids)}
    return np.bincount([row[item_id] for item_id in events], minlength=len(row))


def counts_of_the_split(context: FitContext) -> np.ndarray:
    """The test targets, through the harness's own split."""
    return np.bincount(context._split.test.targets.item, minlength=len(context.items)).astype(np.int64)


def test_an_honest_model_passes(tmp_path: Path) -> None:
    assert_no_leak(plugin_that(train_counts, tmp_path / "plugin"), tmp_path)


@pytest.mark.parametrize("look", [counts_of_the_source, counts_of_the_split])
def test_a_model_that_learns_from_test_targets_is_caught(look: Peek, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"counting leaks: .* training-counting-\w+/model/model.safetensors has other content"):
        assert_no_leak(plugin_that(look, tmp_path / "plugin"), tmp_path)


def test_a_sub_stage_made_from_test_targets_is_caught(tmp_path: Path) -> None:
    def look(context: FitContext) -> np.ndarray:
        counts = counts_of_the_source(context)
        context.stage("clusters", lambda folder: save_file({"count": counts}, folder / "c.safetensors"), config={})
        return train_counts(context)

    with pytest.raises(AssertionError, match=r"counting\.clusters-\w+/c.safetensors has other content"):
        assert_no_leak(plugin_that(look, tmp_path / "plugin"), tmp_path)


def test_a_stage_keyed_by_test_targets_is_caught(tmp_path: Path) -> None:
    def look(context: FitContext) -> np.ndarray:
        config = {"seen": counts_of_the_split(context).tolist()}
        context.stage("clusters", lambda folder: save_file({"a": np.zeros(1)}, folder / "c.safetensors"), config=config)
        return train_counts(context)

    with pytest.raises(AssertionError, match="is there only once"):
        assert_no_leak(plugin_that(look, tmp_path / "plugin"), tmp_path)


def test_a_model_that_peeks_only_when_it_answers_is_caught(tmp_path: Path) -> None:
    trap: list[np.ndarray] = []

    def look(context: FitContext) -> np.ndarray:
        trap.append(counts_of_the_source(context))
        return train_counts(context)

    with pytest.raises(AssertionError, match="answers the same queries differently"):
        assert_no_leak(plugin_that(look, tmp_path / "plugin", trap), tmp_path)


def luck(context: FitContext) -> np.ndarray:
    """Something else at every call."""
    return np.random.default_rng().permutation(len(context.items))


@pytest.mark.parametrize(("look", "broken"), [(train_counts, set()), (counts_of_the_split, {"leak"}), (luck, {"seed", "leak"})])
def test_the_contract_tells_a_leak_from_a_training_without_a_seed(look: Peek, broken: set[str], tmp_path: Path) -> None:
    plugin, home = plugin_that(look, tmp_path / "plugin"), tmp_path / "shared"
    small = small_split(home)
    learnt = Learnt.of(small, train(plugin, small, home), home)
    blind = learn(plugin, tmp_path / "blind", change_last=True)
    contract = PluginContract()
    (tmp_path / "again").mkdir()
    with pytest.raises(AssertionError, match=r"with the same seed, .* has other content") if "seed" in broken else nullcontext():
        contract.test_same_seed_same_lists(plugin, "smoke", {}, small, learnt, blind, tmp_path / "again")
    with pytest.raises(AssertionError, match="counting leaks") if "leak" in broken else nullcontext():
        contract.test_no_leak(plugin, "smoke", {}, learnt, blind, tmp_path / "canary")


def test_a_contract_on_other_data_trains_twice_on_those_of_the_canary(tmp_path: Path) -> None:
    plugin = plugin_that(counts_of_the_split, tmp_path / "plugin")
    other = read_split(_without_the_last_user(write_source(tmp_path / "other")), tmp_path)
    learnt = Learnt.of(other, train(plugin, other, tmp_path), tmp_path)
    blind = learn(plugin, tmp_path / "blind", change_last=True)
    PluginContract().test_same_seed_same_lists(plugin, "smoke", {}, other, learnt, blind, tmp_path / "again")
    with pytest.raises(AssertionError, match="counting leaks"):
        PluginContract().test_no_leak(plugin, "smoke", {}, learnt, blind, tmp_path / "canary")


def _without_the_last_user(source: Path) -> Path:
    events = pq.read_table(source / "interactions.parquet")
    pq.write_table(events.filter(pc.not_equal(events["user_id"], events["user_id"][-1])), source / "interactions.parquet")
    return source


def test_the_two_sources_differ_in_the_last_items_alone(tmp_path: Path) -> None:
    before = read_split(write_source(tmp_path / "a" / "small"), tmp_path / "a")
    after = read_split(write_source(tmp_path / "b" / "small", change_last=True), tmp_path / "b")
    for name in ("train", "valid", "item_text"):
        assert getattr(before.fingerprints, name) == getattr(after.fingerprints, name)
    assert (before.test.targets.item != after.test.targets.item).mean() > 0.9


def test_the_small_data_hold_what_trips_models_up(tmp_path: Path) -> None:
    split = read_split(write_source(tmp_path / "small"), tmp_path)
    counts = np.bincount(split.train.item, minlength=len(split.items))
    counts += np.bincount(np.concatenate([split.valid.targets.item, split.test.targets.item]), minlength=len(split.items))
    assert (counts == 0).sum() >= len(split.items) // 100
    same_user = np.diff(split.train.row_of_entry()) == 0
    assert (np.diff(split.train.timestamp)[same_user] == 0).any()
    assert any(len(np.unique(split.train[user])) < len(split.train[user]) for user in range(len(split.train)))
    assert split.n_users_train_only > 0
    assert not split.train.item.flags.writeable
    assert None in set(split.items.columns["title"])
