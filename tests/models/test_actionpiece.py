"""ActionPiece: weights by hand, merges against a plain implementation, codes, segmentations, joined lists, and that it learns."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from next_item_case import assert_lists_do_not_depend_on_the_batch

from recbench.core import BadConfig, BadData, BadRequest, Catalogue, Rankings, SilentProgress
from recbench.core.config import hash_value
from recbench.core.ragged import IntArray
from recbench.nn.blocks import FIRST_CODE, START, CodeGenerator
from recbench.nn.codes import CodeTrie
from recbench.running.stages.keys import hash_path
from recbench.testing import LightContext, interactions, queries
from recbench_models.actionpiece import PLUGIN
from recbench_models.actionpiece.chains import NOTHING, Chains, pair_tokens
from recbench_models.actionpiece.features import feature_tokens, hash_values
from recbench_models.actionpiece.merges import PairTotals, learn_vocabulary
from recbench_models.actionpiece.network import SegmentedSeq2Seq
from recbench_models.actionpiece.recommender import ActionPiece, joined, vocabulary_stage
from recbench_models.actionpiece.vocabulary import GONE, Vocabulary

N_ITEMS = 40
THEMES = ("anchor rope sail deck", "dough oven flour yeast", "comet orbit star moon", "spade soil seed rake", "pedal chain wheel brake")


def random_features(n_items: int, sizes: Sequence[int], seed: int) -> IntArray:
    """Features of random items, of which no two have all in common."""
    every = np.stack(np.unravel_index(np.arange(np.prod(sizes)), tuple(sizes)), axis=1)
    rows = np.random.default_rng(seed).permutation(len(every))[:n_items]
    return (every[rows] + np.cumsum(sizes) - sizes).astype(np.int32)


def random_lists(n_items: int, n_users: int, longest: int, seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, n_items, rng.integers(1, longest + 1)).tolist() for _ in range(n_users)]


@cache
def learnt(sizes: tuple[int, ...] = (4, 4, 4, 4, 8), n_items: int = N_ITEMS, size: int = 120, *, across: bool = True) -> Vocabulary:
    lists = random_lists(n_items, 30, 8, seed=1)
    return learn_vocabulary(
        random_features(n_items, sizes, seed=0),
        sizes,
        interactions(lists, n_items),
        size=size,
        across_items=across,
        progress=SilentProgress(),
    )


def weights_of(chains: Chains) -> dict[tuple[int, int], float]:
    """The total of every pair, smaller token first."""
    totals: Counter[tuple[int, int]] = Counter()
    for pairs, weights in chains.all_weights():
        for pair, weight in zip(pairs.tolist(), weights.tolist(), strict=True):
            totals[pair_tokens(pair)[::-1]] += weight
    return {pair: total / chains.scale for pair, total in totals.items()}


def test_weights_of_two_items_by_hand() -> None:
    features = np.array([[0, 2, 4], [1, 3, 5]], np.int32)
    chains = Chains(features, 6, interactions([[0, 1]], 2), across_items=True)
    within, between = 2 / 3, 1 / 9
    inside = {(0, 2): within, (0, 4): within, (2, 4): within, (1, 3): within, (1, 5): within, (3, 5): within}
    across = {(min(a, b), max(a, b)): between for a in (0, 2, 4) for b in (1, 3, 5)}
    assert weights_of(chains) == pytest.approx(inside | across)
    chains.merge(0, 1, 6)
    # Two tokens are left in each node; the slot's token has taken the place of the pairs across.
    assert weights_of(chains) == pytest.approx({(2, 4): 1, (3, 5): 1, (2, 6): 0.5, (4, 6): 0.5, (3, 6): 0.5, (5, 6): 0.5})
    chains.merge(2, 4, 7)
    assert weights_of(chains) == pytest.approx({(3, 5): 1, (6, 7): 1, (3, 6): 0.5, (5, 6): 0.5})
    chains.merge(7, 6, 8)
    # The first node is empty and takes the slot's token: pairs across are back.
    assert weights_of(chains) == pytest.approx({(3, 5): 1, (3, 8): 0.5, (5, 8): 0.5})
    assert weights_of(Chains(features, 6, interactions([[0, 1]], 2), across_items=False)) == pytest.approx(inside)


class PlainChains:
    """The rules again, one sequence, node and token at a time."""

    def __init__(self, sequences: list[list[list[int]]]) -> None:
        self.chains = [[[list(node), None] for node in nodes] for nodes in sequences]
        """Nodes, each with the token of the slot behind it."""

    def totals(self) -> dict[tuple[int, int], float]:
        found: Counter[tuple[int, int]] = Counter()

        def count(one: int, other: int, weight: float) -> None:
            found[min(one, other), max(one, other)] += weight  # type: ignore[assignment]

        for chain in self.chains:
            for place, (node, slot) in enumerate(chain):
                for number, one in enumerate(node):
                    for other in node[number + 1 :]:
                        count(one, other, 2 / len(node))
                if place + 1 == len(chain):
                    continue
                behind = chain[place + 1][0]
                if slot is None:
                    for one in node:
                        for other in behind:
                            count(one, other, 1 / len(node) / len(behind))
                else:
                    for beside in (node, behind):
                        for token in beside:
                            count(slot, token, 1 / len(beside))
        return dict(found)

    def merge(self, one: int, other: int, new: int) -> None:
        for chain in self.chains:
            for place, unit in enumerate(chain):
                node = unit[0]
                if one != other and one in node and other in node:
                    node.remove(one)
                    node[node.index(other)] = new
                if place + 1 < len(chain):
                    self._merge_beside(unit, chain[place + 1][0], one, other, new)
            place = 0
            while place < len(chain):
                place += self._tidied(chain, place)

    @staticmethod
    def _merge_beside(unit: list[Any], behind: list[int], one: int, other: int, new: int) -> None:
        node, slot = unit
        if slot is None:
            for first, second in ((one, other), (other, one)):
                if first in node and second in behind:
                    node.remove(first)
                    behind.remove(second)
                    unit[1] = new
                    return
            return
        for here, partner in ((one, other), (other, one)):
            for beside in (node, behind):
                if slot == here and partner in beside:
                    beside.remove(partner)
                    unit[1] = new
                    return

    @staticmethod
    def _tidied(chain: list[list[Any]], place: int) -> int:
        """Fills or drops an empty node; how many places to go on by."""
        if chain[place][0]:
            return 1
        giver = chain[max(place - 1, 0)]
        if giver[1] is not None:
            chain[place][0].append(giver[1])
            giver[1] = None
            return 1
        if place:
            giver[1] = chain[place][1]
        del chain[place]
        return 0


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_merges_are_those_of_a_plain_implementation(seed: int, across: bool) -> None:
    sizes, n_items = (2, 2, 3), 6
    features = random_features(n_items, sizes, seed)
    lists = random_lists(n_items, 4, 7, seed)
    vocabulary = learn_vocabulary(features, sizes, interactions(lists, n_items), size=60, across_items=across, progress=SilentProgress())
    nodes = [[features[item].tolist() for item in row] for row in lists]
    plain = PlainChains(nodes if across else [[node] for row in nodes for node in row])
    chains = Chains(features, sum(sizes), interactions(lists, n_items), across_items=across)
    merged: list[tuple[int, int]] = []
    while (totals := plain.totals()) and len(merged) < 60 - sum(sizes):
        most = max(totals.values())
        # Of equal totals the pair of the smallest tokens, the larger token first.
        one, other = min((pair for pair, total in totals.items() if total > most - 1e-9), key=lambda pair: (pair[1], pair[0]))
        assert (other, one) not in merged, "two tokens came together again after they were merged"
        assert vocabulary.priority_M[len(merged)] == pytest.approx(most)
        new = sum(sizes) + len(merged)
        merged.append((other, one))
        plain.merge(one, other, new)
        chains.merge(one, other, new)
        assert weights_of(chains) == pytest.approx(plain.totals())
        assert held_features(chains, vocabulary) == Counter(features[np.concatenate(lists)].ravel().tolist())
    assert [tuple(pair) for pair in vocabulary.parts_M2.tolist()] == merged


def held_features(chains: Chains, vocabulary: Vocabulary) -> Counter[int]:
    """The features of all tokens that nodes and slots hold."""
    tokens = np.concatenate([chains.token.ravel(), chains.slot])
    return Counter(feature for token in tokens[tokens != NOTHING].tolist() for feature in vocabulary.features_of(token))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_changes_of_weights_add_up_to_the_weights(seed: int) -> None:
    features = random_features(10, (3, 3, 3, 2), seed)
    chains = Chains(features, 11, interactions(random_lists(10, 5, 9, seed), 10), across_items=True)
    totals = PairTotals()
    for part in chains.all_weights():
        totals.add(*part)
    for new in range(11, 40):
        pair, total = totals.best()
        if not total:
            break
        totals.add(*chains.merge(*pair_tokens(pair), new))
        expected = weights_of(chains)
        best = max(expected.values(), default=0.0)
        assert totals.best()[1] / chains.scale == pytest.approx(best)
        if best:
            assert expected[pair_tokens(totals.best()[0])[::-1]] == pytest.approx(best)


def test_codes_are_their_items_and_none_is_the_beginning_of_another() -> None:
    vocabulary = learnt(sizes=(6, 6, 6, 6, 8), n_items=500, size=400)
    codes = vocabulary.codes()
    tokens = [row[row >= 0].tolist() for row in codes.code]
    for code, features in zip(tokens, vocabulary.feature_IF, strict=True):
        assert sorted(feature for token in code for feature in vocabulary.features_of(token)) == sorted(features.tolist())
        assert code == plain_code(vocabulary, features.tolist())
    beginnings = {tuple(code[:length]) for code in tokens for length in range(1, len(code))}
    assert len({tuple(code) for code in tokens}) == 500
    assert not beginnings & {tuple(code) for code in tokens}
    assert set(codes.lengths.tolist()) > {2, 3}
    CodeTrie.from_tokens(codes.token_lists(FIRST_CODE))


def plain_code(vocabulary: Vocabulary, code: list[int]) -> list[int]:
    rules = {tuple(pair): vocabulary.n_values + number for number, pair in enumerate(vocabulary.parts_M2.tolist())}
    while True:
        found = [rules[max(a, b), min(a, b)] for a in code for b in code if (max(a, b), min(a, b)) in rules]
        if not found:
            return code
        new = min(found, key=lambda token: (-vocabulary.priority_M[token - vocabulary.n_values], token))
        code = [new, *(token for token in code if token not in vocabulary.parts_M2[new - vocabulary.n_values])]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=14), min_size=1, max_size=5))
def test_segmentation_takes_the_earliest_merge_and_the_leftmost_place(rows: list[list[int]]) -> None:
    vocabulary = learnt(sizes=(2, 2, 3), n_items=8, size=60)
    width = max(map(len, rows))
    padded = np.array([row + [GONE] * (width - len(row)) for row in rows]).reshape(len(rows), width)
    found = vocabulary.segmented(padded)
    rules = {tuple(pair): vocabulary.n_values + number for number, pair in enumerate(vocabulary.parts_M2.tolist())}
    for row, tokens in zip(rows, found.tolist(), strict=True):
        while True:
            merges = [(rules.get((max(a, b), min(a, b)), 10**9), place) for place, (a, b) in enumerate(pairwise(row))]
            if not merges or min(merges)[0] == 10**9:
                break
            new, place = min(merges)
            row = [*row[:place], new, *row[place + 2 :]]
        assert [token for token in tokens if token != GONE] == row
        assert tokens[len(row) :] == [GONE] * (len(tokens) - len(row))


def network_of(vocabulary: Vocabulary, *, across: bool = True, n_readings: int = 2, seed: int = 0) -> SegmentedSeq2Seq:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SegmentedSeq2Seq(PLUGIN.resolve("smoke").generator, vocabulary, across_items=across, n_readings=n_readings, seed=seed).eval()


def read(network: SegmentedSeq2Seq, items: list[list[int]]) -> list[list[int]]:
    """Tokens of histories without start and end, as the vocabulary counts them."""
    tokens, slots = network.memory_tokens(torch.tensor(items), None)
    assert (tokens[:, 0] == START).all()
    assert ((tokens > 0) == (slots == 0)).all()
    ends = () if network.end is None else (network.end,)
    return [[token - FIRST_CODE for token in row if token >= FIRST_CODE and token not in ends] for row in tokens.tolist()]


def features_of(vocabulary: Vocabulary, tokens: list[int]) -> list[int]:
    return sorted(feature for token in tokens for feature in vocabulary.features_of(token))


def test_histories_are_read_in_other_orders_and_keep_their_features() -> None:
    vocabulary = learnt()
    network = network_of(vocabulary)
    histories = [[3, 7, 3], [5, -1, -1], [-2, -1, -1]]
    expected = [sorted(vocabulary.feature_IF[[i for i in row if i >= 0]].ravel().tolist()) for row in histories]
    fixed = []
    for number in range(2):
        network.reading = number
        fixed.append(read(network, histories))
        assert fixed[-1] == read(network, histories)
    network.train()
    torch.manual_seed(1)
    shuffled = [read(network, histories) for _ in range(5)]
    torch.manual_seed(1)
    assert [read(network, histories) for _ in range(5)] == shuffled
    for tokens in (*fixed, *shuffled):
        assert [features_of(vocabulary, row) for row in tokens] == expected
    assert len({str(tokens[0]) for tokens in shuffled}) > 1
    assert fixed[0] != fixed[1]
    assert any(len(tokens[0]) < 15 for tokens in shuffled), "no merge was ever applied"


def test_end_follows_the_last_token_of_every_history() -> None:
    network = network_of(learnt())
    tokens, _ = network.memory_tokens(torch.tensor([[3, 7, 3], [5, -1, -1], [-2, -1, -1]]), None)
    last = (tokens > 0).sum(1) - 1
    assert tokens[torch.arange(3), last].tolist() == [network.end] * 3
    assert last[2] == 1, "an empty history is a start and an end"


def test_pairs_inside_items_alone_make_histories_concatenations() -> None:
    alone = learnt(across=False)
    network = network_of(alone, across=False)
    parts = [read(network, [[item]])[0] for item in (4, 9, 4)]
    assert read(network, [[4, 9, 4]])[0] == [token for part in parts for token in part]
    for token in range(alone.n_values, alone.n_tokens):
        kinds = np.searchsorted(np.cumsum(alone.sizes), alone.features_of(token), side="right")
        assert len(set(kinds.tolist())) == len(kinds), "a token of one item has a feature of each kind once at most"
    crossing = learnt()
    joint = network_of(crossing)
    assert any(read(joint, [[a, b]])[0] != read(joint, [[a]])[0] + read(joint, [[b]])[0] for a in range(9) for b in range(9))


def test_without_merges_items_are_their_features() -> None:
    vocabulary = learnt(size=1)
    assert vocabulary.n_tokens == vocabulary.n_values == 24
    np.testing.assert_array_equal(vocabulary.codes().code, vocabulary.feature_IF)
    network = network_of(vocabulary)
    assert network.end is None
    assert [len(row) for row in read(network, [[1, 2], [3, -1]])] == [10, 5]


def test_hash_values_tell_items_of_equal_digits_apart() -> None:
    digits = np.array([[0, 1], [2, 2], [0, 1], [0, 1], [2, 2], [5, 5]], np.int32)
    values = hash_values(digits, 3, seed=0)
    assert sorted(values[[0, 2, 3]].tolist()) == [0, 1, 2]
    assert values[1] != values[4]
    np.testing.assert_array_equal(values, hash_values(digits, 3, seed=0))
    assert any((hash_values(digits, 3, seed) != values).any() for seed in range(1, 5))
    tokens, sizes = feature_tokens(digits, (6, 6), 3, seed=0)
    assert sizes == (6, 6, 3)
    np.testing.assert_array_equal(tokens, np.column_stack([digits[:, 0], 6 + digits[:, 1], 12 + values]))
    with pytest.raises(BadRequest, match=r"3 items share all 2 digits, and vocabulary\.hash_size=2 .*--set vocabulary\.hash_size=4"):
        hash_values(digits, 2, seed=0)


def rankings(lists: list[list[int]]) -> Rankings:
    items = np.array([lists], np.int32)
    return Rankings(("keep",), items, np.where(items >= 0, 0, -np.inf).astype(np.float32), {"sequences": 2})


def test_lists_are_joined_by_reciprocal_logarithms_of_ranks() -> None:
    first, second = rankings([[7, 2, 5], [1, 0, -1]]), rankings([[2, 9, 7], [0, 1, -1]])
    found = joined([first, second], 4)
    gain = 1 / np.log2([2, 3, 4])
    # 7: ranks 1 and 3; 2: ranks 2 and 1; then 9 at rank 2, 5 at rank 3.
    assert found.items[0].tolist() == [[2, 7, 9, 5], [0, 1, -1, -1]]
    expected = [[gain[0] + gain[1], gain[0] + gain[2], gain[1], gain[2]], [gain[0] + gain[1]] * 2 + [-np.inf] * 2]
    np.testing.assert_allclose(found.scores[0], expected, rtol=1e-6)
    assert found.counters == {"sequences": 4}
    assert joined([first, second], 2).items[0].tolist() == [[2, 7], [0, 1]]


def titles() -> list[str]:
    """Words of the item's theme in an order of its own."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(THEMES[item % len(THEMES)].split(), 6)) + f" {item}" for item in range(N_ITEMS)]


def trained(lists: list[list[int]], folder: Path, **overrides: Any) -> ActionPiece:
    values = {"generator.dropout": 0.0, "training.max_epochs": 1000, "training.validate_every_epochs": 1000, "codes.width": 12}
    model = PLUGIN.build(PLUGIN.resolve("smoke", None, values | overrides), Catalogue(N_ITEMS, len(lists)))
    context = LightContext(interactions(lists, N_ITEMS), folder, {"title": titles()}, judge=lambda ranker: float(ranker is model))
    report = model.fit(context)
    assert report.chosen["ndcg@10"] == 1, "something else than the model was validated"
    assert report.artefacts["codes"].name == "codes.parquet"
    assert report.artefacts["codes"].is_file()
    assert isinstance(model, ActionPiece)
    return model


def test_answers_do_not_depend_on_batches_and_are_kept(tmp_path: Path) -> None:
    lists = random_lists(N_ITEMS, 20, 9, seed=3)
    model = trained(lists, tmp_path, **{"training.max_steps": 2})
    asked = queries([[], *lists])
    assert_lists_do_not_depend_on_the_batch(model, asked)
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    other = PLUGIN.build(model.config, Catalogue(N_ITEMS, 2))
    other.load(tmp_path / "model")
    before, after = model.generate(asked, 10), other.generate(asked, 10)
    np.testing.assert_array_equal(after.items, before.items)
    np.testing.assert_array_equal(after.scores, before.scores)
    (tmp_path / "model" / "vocabulary.safetensors").write_bytes(b"x")
    with pytest.raises(BadData, match=r"vocabulary\.safetensors holds no vocabulary"):
        other.load(tmp_path / "model")


def test_every_reading_has_an_order_of_its_own_and_lists_are_joined(tmp_path: Path) -> None:
    lists = random_lists(N_ITEMS, 10, 9, seed=3)
    model = trained(lists, tmp_path, **{"training.max_steps": 2, "vocabulary.across_items": False})
    network = model.generator.network
    assert isinstance(network, SegmentedSeq2Seq)
    assert not network.across_items
    asked = queries(lists)
    found = model.generate(asked, 10)
    readings = []
    for number in range(2):
        network.reading = number
        readings.append(model.generator.generate(asked, model.config.generator.n_beams))
    assert (readings[0].scores != readings[1].scores).any()
    np.testing.assert_array_equal(found.items, joined(readings, 10).items)
    np.testing.assert_array_equal(found.scores, joined(readings, 10).scores)


@dataclass
class Asked(LightContext):
    """Notes what the key of the vocabulary is made of, in place of making it."""

    key: tuple[Any, Any] | None = None

    def stage(self, name: str, build: Callable[[Path], None], **question: Any) -> Path:
        if name != "vocabulary":
            return super().stage(name, build)
        self.key = question["config"], question["inputs"]
        raise KeyError(name)


def test_the_vocabulary_is_made_anew_for_other_digits_and_settings(tmp_path: Path) -> None:
    lists = random_lists(N_ITEMS, 20, 9, seed=3)

    def key(number: int, **changes: Any) -> tuple[Any, str]:
        context = Asked(interactions(lists, N_ITEMS), tmp_path / str(number), {"title": titles()})
        with pytest.raises(KeyError, match="vocabulary"):
            vocabulary_stage(context, PLUGIN.resolve("smoke", None, {"codes.width": 12} | changes))
        assert context.key is not None
        config, inputs = context.key
        return repr(config), hash_value([hash_path(path) for path in inputs])

    changes: list[dict[str, Any]] = [{f"vocabulary.{name}": value} for name, value in (("size", 120), ("hash_size", 65), ("seed", 1))]
    changes += [{"vocabulary.across_items": False}, {"text.shuffle_seed": 0}, {"codes.seed": 1}]
    keys = [key(number, **change) for number, change in enumerate([{}, *changes])]
    assert len(set(keys)) == len(keys)
    assert key(99) == keys[0]


def test_one_reading_gives_the_lists_of_the_search(tmp_path: Path) -> None:
    lists = random_lists(N_ITEMS, 10, 9, seed=3)
    model = trained(lists, tmp_path, n_segmentations=1, **{"training.max_steps": 2})
    asked = queries(lists)
    searched = model.generator.generate(asked, 10)
    np.testing.assert_array_equal(model.generate(asked, 10).scores, searched.scores)
    assert isinstance(model.generator, CodeGenerator)
    assert (searched.scores < 0).all(), "log-likelihoods, not sums of gains"


@pytest.mark.uncounted
def test_remembers_which_item_follows(tmp_path: Path) -> None:
    # No item belongs to two users, so that every item says which one follows.
    lists = np.random.default_rng(0).permutation(N_ITEMS)[:40].reshape(-1, 5).tolist()
    steps = {"training.max_steps": 150, "training.learning_rate": 1e-2, "training.weight_decay": 0.0, "generator.width": 64}
    model = trained(lists, tmp_path, **steps)
    asked = queries([row[:place] for row in lists for place in range(1, 5)])
    targets = np.array([row[place] for row in lists for place in range(1, 5)])
    assert (model.generate(asked, 10).view("keep")[:, 0] == targets).mean() > 0.7


def test_the_published_preset_has_the_published_number_of_weights() -> None:
    config = PLUGIN.resolve("paper")
    vocabulary = Vocabulary(
        np.array([config.vocabulary.size - 3, 1, 1, 1], np.int32),
        np.array([[0, 39_996, 39_997, 39_998]], np.int32),
        np.empty((0, 2), np.int32),
        np.empty(0),
    )
    network = SegmentedSeq2Seq(config.generator, vocabulary, across_items=True, n_readings=1, seed=0)
    # One row for a reserved token, which the source does not have; one for the end, which codes of one length do not need.
    assert sum(weight.numel() for weight in network.parameters()) == 9_579_904
    assert (config.codes.n_digits, config.codes.codebook_size, config.n_segmentations, config.generator.n_beams) == (4, 256, 5, 50)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"generator.encoder_attention": "causal"}, "a token may belong to two items"),
        ({"generator.item_places": True}, "a token may belong to two items"),
        ({"generator.user_tokens": 3}, "reads features alone"),
        ({"generator.compile": True}, "histories are cut into tokens"),
        ({"codes.collisions": "number"}, "the hash feature tells items"),
        ({"codes.n_digits": 11}, "above 8"),
    ],
)
def test_settings_that_contradict_the_model_are_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        PLUGIN.resolve("smoke", None, overrides)
