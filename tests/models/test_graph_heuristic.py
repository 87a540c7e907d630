"""Graph heuristic: the graph, the walk and the rings against cases made by hand, and against a plain reading of the formula."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from recbench.core import BadConfig, BadRequest, Catalogue, Histories
from recbench.core.ranking import VIEWS
from recbench.testing import LightContext, interactions, queries
from recbench_models.graph_heuristic import PLUGIN
from recbench_models.graph_heuristic import walk as walk_module
from recbench_models.graph_heuristic.graph import newest_items, transition_graph, transition_probabilities
from recbench_models.graph_heuristic.likeness import TextLikeness
from recbench_models.graph_heuristic.rings import placed
from recbench_models.graph_heuristic.walk import Walk

BY_HAND = [[0, 1, 2], [0, 1], [3, 1, 0]]
WORDS = ["sail", "rope", "deck", "mast", "tide", "buoy", "oar"]
PLAIN = {"graph.gap_weights": (1.0,), "graph.back": 0.0, "walk.last_weights": (1.0,), "walk.two_hop": 0.0, "walk.text_weight": 0.0}
lists_of_items = st.lists(st.lists(st.integers(0, 7), max_size=6), min_size=1, max_size=8)


def fitted(
    lists: list[list[int]],
    n_items: int,
    folder: Path,
    preset: str = "default",
    texts: dict[str, Any] | None = None,
    **settings: object,
) -> Any:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    model = PLUGIN.build(PLUGIN.resolve(preset, None, named), Catalogue(n_items, len(lists)))
    model.fit(LightContext(interactions(lists, n_items), folder, texts or {}))
    return model


def random_titles(n_items: int, seed: int = 0) -> list[str | None]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 3)) for _ in range(n_items)]


def test_the_graph_by_hand() -> None:
    train = interactions(BY_HAND, 4)
    directed = transition_probabilities(transition_graph(train, (1.0,), 0.0)).toarray()
    np.testing.assert_allclose(directed, [[0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 0], [0, 1, 0, 0]])
    both_ways = transition_probabilities(transition_graph(train, (1.0,), 1.0)).toarray()
    np.testing.assert_allclose(both_ways[1], [3 / 5, 0, 1 / 5, 1 / 5])
    # 0 to 2 and 3 to 0 stand two places apart.
    np.testing.assert_allclose(
        transition_graph(train, (0.0, 0.25), 0.0).toarray(), np.array([[0, 0, 1, 0], [0] * 4, [0] * 4, [1, 0, 0, 0]]) / 4
    )


@given(lists_of_items, st.randoms())
def test_the_order_of_users_changes_no_bit(lists: list[list[int]], random: Any) -> None:
    mixed = list(lists)
    random.shuffle(mixed)
    one, other = (transition_graph(interactions(part, 8), (1.0, 0.7, 0.1), 0.3) for part in (lists, mixed))
    for left, right in ((one.data, other.data), (one.indices, other.indices), (one.indptr, other.indptr)):
        np.testing.assert_array_equal(left, right)


def test_starts_weigh_the_newest_items_and_add_up_repeats() -> None:
    start = newest_items(Histories.from_lists([[0, 1, 2], [3], [], [2, 2]]), (1.0, 0.3), 4)
    np.testing.assert_allclose(start.toarray(), [[0, 0.3, 1, 0], [0, 0, 0, 1], [0] * 4, [0, 0, 1.3, 0]])


@given(lists_of_items, st.lists(st.lists(st.integers(0, 7), max_size=4), min_size=1, max_size=5), st.sampled_from([0.0, 0.4]))
def test_scores_are_those_of_the_formula(lists: list[list[int]], asked: list[list[int]], floor: float) -> None:
    settings = {
        "graph.gap_weights": (1.0, 0.5),
        "graph.back": 0.2,
        "walk.two_hop": 0.3,
        "walk.text_weight": 2.0,
        "walk.text_floor": floor,
    }
    vectors = np.random.default_rng(len(lists)).normal(size=(8, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = 0
    train = interactions(lists, 8)
    counts = train.item_counts()
    walk = Walk(PLUGIN.resolve("default", None, settings), transition_graph(train, (1.0, 0.5), 0.2), counts, TextLikeness(vectors))
    rankings = walk.generate(queries(asked), 8)
    weight = np.zeros((8, 8))
    for row in lists:
        for place, item in enumerate(row):
            for gap, value in ((1, 1.0), (2, 0.5)):
                if place + gap < len(row):
                    weight[item, row[place + gap]] += value
    weight = weight + 0.2 * weight.T
    step = weight / np.maximum(weight.sum(1, keepdims=True), 1e-300)
    for b, history in enumerate(asked):
        start = np.zeros(8)
        for age, item in enumerate(reversed(history[-2:])):
            start[item] += (1.0, 0.3)[age]
        reached = start @ step
        reached = reached + 0.3 * (reached @ step)
        alike = np.maximum(0, vectors @ (start @ vectors))
        score = reached * (1 + 2.0 * alike) + floor * alike + 1e-4 * counts / max(counts.max(), 1)
        np.testing.assert_allclose(rankings.scores[0, b], np.sort(score)[::-1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(score[rankings.items[0, b]], rankings.scores[0, b], rtol=1e-5, atol=1e-6)


def test_a_bare_walk_ranks_as_the_last_item_markov_chain(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, 30, rng.integers(1, 12)).tolist() for _ in range(60)]
    asked = queries([[], *lists])
    bare = fitted(lists, 30, tmp_path, "no-text", **{name.replace(".", "__"): value for name, value in PLAIN.items()})
    from recbench_models.last_item_markov import PLUGIN as MARKOV

    chain = MARKOV.build(MARKOV.resolve("default"), Catalogue(30, len(lists)))
    chain.fit(LightContext(interactions(lists, 30), tmp_path))
    np.testing.assert_array_equal(bare.generate(asked, 30).items, chain.generate(asked, 30).items)


def test_an_empty_history_and_an_item_without_edges_get_popularity(tmp_path: Path) -> None:
    model = fitted([[0, 1, 1], [2]], 4, tmp_path, "no-text")
    assert model.generate(queries([[], [3], [2]]), 4).view("keep").tolist() == [[1, 0, 2, 3]] * 3


def test_a_text_floor_ranks_what_the_graph_does_not_reach(tmp_path: Path) -> None:
    titles = ["red wool hat", "steel anchor", "iron chain", "red wool scarf"]
    model = fitted([[0, 1], [1, 2]], 4, tmp_path, texts={"title": titles}, walk__text_floor=0.01)
    assert model.generate(queries([[3]]), 2).view("unseen").tolist() == [[0, 1]]


def test_texts_do_not_matter_without_their_weight_and_equal_texts_move_nothing(tmp_path: Path) -> None:
    lists = [[0, 1, 2, 3], [2, 3, 0], [4, 1]]
    asked = queries([[0], [2, 3], [4]])
    bare = fitted(lists, 5, tmp_path, "no-text").generate(asked, 5)
    np.testing.assert_array_equal(fitted(lists, 5, tmp_path, "no-text", {"title": random_titles(5)}).generate(asked, 5).scores, bare.scores)
    same = fitted(lists, 5, tmp_path, texts={"title": ["red wool hat"] * 5}).generate(asked, 5)
    np.testing.assert_array_equal(same.items, bare.items)


def test_item_vectors_are_those_of_the_texts(tmp_path: Path) -> None:
    titles = ["red wool hat", "steel anchor", "red wool hat", None]
    vectors = fitted([[0, 1], [1, 2]], 4, tmp_path, texts={"title": titles}).item_vectors()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(vectors @ vectors.T, [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0] * 4], atol=1e-6)
    with pytest.raises(BadRequest, match="only where it reads texts"):
        fitted([[0, 1]], 2, tmp_path, "no-text").item_vectors()


def test_a_walk_that_starts_nowhere_is_refused() -> None:
    with pytest.raises(BadConfig, match="let the walk start nowhere"):
        PLUGIN.resolve("default", None, {"walk.last_weights": [0.0, 0.0]})


def test_data_without_text_are_refused_with_the_preset_that_needs_none(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="--preset no-text"):
        fitted([[0, 1]], 2, tmp_path)
    with pytest.raises(BadRequest, match="--preset no-text"):
        fitted([[0, 1]], 2, tmp_path, "tgh1")


def test_the_rule_against_repeats_makes_both_views_equal(tmp_path: Path) -> None:
    model = fitted([[0, 1, 0, 2], [1, 2, 3]], 5, tmp_path, "no-text", rule="no-repeats")
    rankings = model.generate(queries([[0, 1], [2]]), 3)
    np.testing.assert_array_equal(rankings.view("keep"), rankings.view("unseen"))
    assert PLUGIN.row_name("default", PLUGIN.resolve("default")) == "graph-heuristic:default"
    assert (
        PLUGIN.row_name("default", PLUGIN.resolve("default", None, {"rule": "no-repeats"})) == "graph-heuristic:default (rule=no-repeats)"
    )
    assert PLUGIN.row_name("minilm", PLUGIN.resolve("minilm")) == "graph-heuristic:minilm (encoder=minilm)"
    with pytest.raises(BadConfig, match="rings have no scores"):
        PLUGIN.resolve("tgh1", None, {"rule": "no-repeats"})


def test_texts_compared_with_reached_items_alone_give_the_same_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    lists = [rng.integers(0, 40, 9).tolist() for _ in range(50)]
    model = fitted(lists, 40, tmp_path, texts={"title": random_titles(40)})
    scores = []
    # None, some and all of the queries reach few enough items.
    for gain in (1000.0, 1.5, 0.0):
        monkeypatch.setattr(walk_module, "_DENSE_GAIN", gain)
        scores.append(model.generate(queries(lists), 20).scores)
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)
    np.testing.assert_allclose(scores[0], scores[2], rtol=1e-5)


@pytest.mark.parametrize("preset", ["default", "tgh1", "tgh2"])
def test_lists_do_not_move_with_the_batch(tmp_path: Path, preset: str) -> None:
    rng = np.random.default_rng(2)
    lists = [rng.integers(0, 300, rng.integers(0, 9)).tolist() for _ in range(257)]
    model = fitted(lists, 300, tmp_path, preset, {"title": random_titles(300)})
    asked = queries(lists)
    whole = model.generate(asked, 20)
    for size in (1, 7, 256):
        for first in range(0, 257, 13 * size):
            rows = range(first, min(first + size, 257))
            np.testing.assert_array_equal(model.generate(asked.take(rows), 20).items, whole.items[:, rows])


# The rings around item 0: successors 1, 2, 3; theirs 4, 5; theirs 6. Item 7 has an edge into the ring alone.
GRAPH = [[0, 1, 4], [0, 2, 5], [0, 3], [4, 6], [0, 1], [7, 1]]


def test_rings_hold_each_item_once_and_never_their_centre(tmp_path: Path) -> None:
    model = fitted(GRAPH, 8, tmp_path, "tgh1", {"title": random_titles(8, seed=3)})
    centre = csr_array(([1.0], ([0], [0])), shape=(1, 8))
    like = model._likeness.of_all(centre)
    rings = model._scorer._ring_scores(centre, like, 3)
    assert [np.flatnonzero(ring[0] > -np.inf).tolist() for ring in rings] == [[1, 2, 3], [4, 5], [6]]
    bonus = 0.5 * np.log1p([2, 1, 1]) / np.log1p(2)
    np.testing.assert_allclose(rings[0][0, 1:4], like[0, 1:4] + bonus, rtol=1e-6)
    np.testing.assert_allclose(rings[1][0, 4:6], like[0, 4:6])


def test_places_are_given_in_the_order_of_the_rings() -> None:
    rings = [[10, 11, 12, 13], [20, 21, 22], [30, 31]]
    assert placed(rings, (2, 1, 1), [[40]], 8) == [10, 11, 20, 30, 12, 13, 21, 22]
    assert placed(rings, (2, 1, 1), [[40]], 3) == [10, 11, 20]


def test_a_short_ring_takes_left_overs_before_its_own_items() -> None:
    rings = [[10, 11, 12, -1], [20, -1], []]
    # The second ring lacks one of two places: 11 comes before 20. The third is empty: 12 takes its place.
    assert placed(rings, (1, 2, 1), [[20, 40], [41, 10]], 7) == [10, 11, 20, 12, 40, 41, -1]


def test_the_second_item_adds_what_the_first_has_not_listed() -> None:
    assert placed([[1, 2, 3], [4], [2, 5, 6], [4, 7]], (2, 1, 1, 1), [], 9) == [1, 2, 4, 5, 7, 3, 6, -1, -1]


def test_rings_answer_in_both_views(tmp_path: Path) -> None:
    model = fitted(GRAPH, 8, tmp_path, "tgh1", {"title": ["red wool hat"] * 8}, rings__newest=(1, 1, 1))
    rankings = model.generate(queries([[1, 0], []]), 4)
    # Equal texts: the bonus for two counts puts 1 first; for `unseen` it leaves the ring before its place is given away.
    assert rankings.view("keep")[0, :3].tolist() == [1, 4, 6]
    assert rankings.view("unseen")[0, :3].tolist() == [2, 4, 6]
    assert rankings.view("keep")[1].tolist() == [0, 1, 4, 2]
    np.testing.assert_allclose(rankings.scores[0], [[1, 1 / 2, 1 / 3, 1 / 4]] * 2)
    assert rankings.views == VIEWS


@pytest.mark.real_data
@pytest.mark.parametrize(("dataset", "expected"), [("beauty", 114_582), ("sports", 180_610), ("yelp", 219_632)])
def test_distinct_pairs_of_real_train_parts(dataset: str, expected: int) -> None:
    from recbench.core import SilentProgress
    from recbench.data import locate, make_split, read_dataset
    from recbench.tasks import NEXT_ITEM

    located = locate(dataset, data_dir=Path(os.environ["RECBENCH_DATA"]), home=Path(os.devnull), progress=SilentProgress(), fetch=False)
    train = make_split(read_dataset(located, SilentProgress()), NEXT_ITEM.protocol()).train
    assert transition_graph(train, (1.0,), 0.0).nnz == expected
