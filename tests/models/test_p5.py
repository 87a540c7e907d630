"""P5: the IDs of each method, what they are made of, and that items of one cluster or category share tokens."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from recbench.core import BadConfig, BadRequest, Catalogue, Interactions, ItemTable
from recbench.core.seeds import generator
from recbench.nn.blocks import CodeGenerator, Seq2SeqSettings
from recbench.nn.codes import CodeTrie, ItemCodes
from recbench.testing import LightContext, assert_no_leak, interactions, queries
from recbench_models.p5 import PLUGIN
from recbench_models.p5.categories import category_ids
from recbench_models.p5.clusters import cluster_ids, co_occurrences, qr_labels, spectral_labels
from recbench_models.p5.config import ClusterSettings, IndexingSettings
from recbench_models.p5.item_ids import item_ids, number_ids, sequential_numbers
from recbench_models.p5.recommender import P5

N_ITEMS = 60
METHODS = ["sid", "cid", "semid", "random", "independent"]
CATEGORIES = ["Shop, Tools, Saws", "Shop, Tools, Saws", "Shop, Tools", "Shop, Garden", None]


def random() -> np.random.Generator:
    return generator(0, "test")


def texts(n_items: int = N_ITEMS) -> dict[str, list[str | None]]:
    return {"categories": [CATEGORIES[item % len(CATEGORIES)] for item in range(n_items)]}


def ids_of(method: str, train: Interactions, folder: Path, columns: dict[str, list[str | None]] | None = None, **changes: Any) -> ItemCodes:
    chosen = IndexingSettings.model_validate({"method": method, "cid": {"n_clusters": 4, "token_size": 20}} | changes)
    context = LightContext(train, folder, texts(train.n_items) if columns is None else columns)
    return item_ids(context, chosen).codes


def lists_of(codes: ItemCodes) -> list[list[int]]:
    return [row[row >= 0].tolist() for row in codes.code]


def blocks(n_users: int = 40, n_items: int = N_ITEMS) -> Interactions:
    """Each user has items of one half of the catalogue; the last four items nobody has."""
    half, rng = (n_items - 4) // 2, np.random.default_rng(0)
    return interactions([(rng.permutation(half)[:6] + (user % 2) * half).tolist() for user in range(n_users)], n_items)


@pytest.mark.parametrize("method", METHODS)
def test_all_ids_differ_and_are_the_same_again(method: str, tmp_path: Path) -> None:
    first, again = (ids_of(method, blocks(), tmp_path / name) for name in "ab")
    assert len({tuple(code) for code in lists_of(first)}) == N_ITEMS
    np.testing.assert_array_equal(first.code, again.code)
    CodeTrie.from_tokens(first.token_lists())  # refuses equal ones


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 39), max_size=8), min_size=1, max_size=12), st.integers(2, 4), st.integers(5, 12))
def test_ids_of_clusters_differ_whatever_users_have(lists: list[list[int]], n_clusters: int, token_size: int) -> None:
    codes = cluster_ids(interactions(lists, 40), ClusterSettings(n_clusters=n_clusters, token_size=token_size), random())
    found = lists_of(codes)
    assert len({tuple(code) for code in found}) == 40
    seen = {item for row in lists for item in row}
    assert all(len(code) == 1 for item, code in enumerate(found) if item not in seen)
    assert all(len(code) > 1 and max(code) < token_size for item, code in enumerate(found) if item in seen)


def test_sequential_numbers_follow_the_users_and_then_chance() -> None:
    train = interactions([[5, 2], [2, 7, 5], [0]], 10)
    numbers = sequential_numbers(train, random())
    assert numbers[[5, 2, 7, 0]].tolist() == [0, 1, 2, 3]
    orders = {tuple(sequential_numbers(train, np.random.default_rng(seed))[[1, 3, 4, 6, 8, 9]].tolist()) for seed in range(5)}
    assert len(orders) == 5
    assert {tuple(sorted(order)) for order in orders} == {(4, 5, 6, 7, 8, 9)}
    assert number_ids(numbers, 4).code[[5, 0]].tolist() == [[0, 0], [0, 3]]
    assert sorted(map(tuple, number_ids(numbers, 4).code.tolist())) == [(n // 4, n % 4) for n in range(10)]


def test_items_in_no_cluster_have_single_tokens_in_random_order() -> None:
    unseen = slice(N_ITEMS - 4, N_ITEMS)
    clusters = ClusterSettings(n_clusters=4, token_size=20)
    orders = {tuple(cluster_ids(blocks(), clusters, np.random.default_rng(seed)).code[unseen, 0].tolist()) for seed in range(4)}
    assert {tuple(sorted(order)) for order in orders} == {(0, 1, 2, 3)}
    assert len(orders) > 1
    assert (cluster_ids(blocks(), clusters, random()).lengths[unseen] == 1).all()


def test_sequential_ids_know_nothing_of_what_is_held_out(tmp_path: Path) -> None:
    assert_no_leak(PLUGIN, tmp_path, preset="smoke", overrides={"indexing.method": "sid", "training.max_steps": 1})


@pytest.mark.parametrize("n_items", [N_ITEMS, 1204])
def test_users_who_share_nothing_are_in_clusters_of_their_own(n_items: int) -> None:
    half = (n_items - 4) // 2
    codes = cluster_ids(blocks(3 * n_items, n_items), ClusterSettings(n_clusters=2, token_size=n_items), random())
    first = codes.code[:, 0]
    assert {*first[:half]}.isdisjoint(first[half : 2 * half])
    assert len({*first[:half]}) == len({*first[half : 2 * half]}) == 1


def test_clusters_of_parts_that_are_alike_are_the_same_again_on_any_number_of_threads() -> None:
    # Blocks that share nothing have equal eigenvalues, more of them than are asked for, and rounding decides between their vectors.
    rng = np.random.default_rng(1)
    train = interactions([(30 * block + rng.permutation(30)[:5]).tolist() for block in range(60) for _ in range(30)], 1800)
    codes = []
    for n_threads in (1, 2, 3, 1):
        with threadpool_limits(n_threads, user_api="blas"):
            codes.append(cluster_ids(train, ClusterSettings(), random()).code)
    for others in codes[1:]:
        np.testing.assert_array_equal(others, codes[0])


def test_clusters_are_numbered_breadth_first_over_the_whole_tree() -> None:
    # Two blocks of 12 items, each of them of three groups of 4.
    def users(block: int) -> list[list[int]]:
        groups = [[12 * block + 4 * group + item for item in range(4)] for group in range(3)]
        return [group for group in groups for _ in range(20)] + [[groups[one][0], groups[(one + 1) % 3][0]] for one in range(3)]

    codes = cluster_ids(interactions([*users(0), *users(1)], 24), ClusterSettings(n_clusters=2, token_size=7), random())
    found = lists_of(codes)
    assert {code[0] for code in found} == {0, 1}
    assert {code[1] for code in found} <= {2, 3, 4, 5}
    assert {code[1] for code in found if code[0] == 0}.isdisjoint({code[1] for code in found if code[0] == 1})
    for group in range(6):
        assert len({tuple(code[:-1]) for code in found[4 * group : 4 * group + 4]}) == 1
    assert codes.shared_tokens
    assert codes.n_tokens == 7
    # Published evaluators compare whole IDs, the place in the cluster among them.
    assert len(np.unique(codes.meaning(), axis=0)) == 24


def test_items_that_nobody_has_with_another_stand_apart_and_too_many_are_cut() -> None:
    lists = [[0, 1], [0, 1], [2, 3], [2, 3], *([item] for item in range(4, 24))]
    found = lists_of(cluster_ids(interactions(lists, 24), ClusterSettings(n_clusters=2, token_size=6), random()))
    assert {code[0] for code in found[:2]}.isdisjoint({code[0] for code in found[2:4]})
    alone = {code[0] for code in found[4:]}
    assert len(alone) == 1
    sizes = [sum(code[:-1] == path for code in found[4:]) for path in ([*path] for path in {tuple(code[:-1]) for code in found[4:]})]
    assert sorted(sizes) == [5, 5, 5, 5]


def test_co_occurrences_count_users() -> None:
    together = co_occurrences(interactions([[0, 1, 1], [1, 0, 2], [3]], 4)).toarray()
    assert together.tolist() == [[0, 2, 1, 0], [2, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]


def test_labels_of_blocks_are_the_blocks() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 30)
    affinity = (truth[:, None] == truth) * rng.integers(1, 5, (30, 30)) + 0.01
    labels = spectral_labels(csr_array((affinity + affinity.T) / 2), 3, random())
    assert len({(one, other) for one, other in zip(truth.tolist(), labels.tolist(), strict=True)}) == len(set(truth.tolist())) == 3
    # Any rotation of the columns gives the same parts.
    axes = np.eye(3)[truth]
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = qr_labels(axes @ rotation)
    assert len({*zip(truth.tolist(), turned.tolist(), strict=True)}) == 3


def test_ids_of_categories_name_the_path_and_count() -> None:
    semid = IndexingSettings().semid
    columns = {"categories": np.array(["S, A, B", "S, A, B", "S, B", "S, A, B", None, None, "S, B", "S, A"], object)}
    table = ItemTable(np.array(list("abcdefgh"), object), columns)
    codes = category_ids(table, semid, logging.getLogger(), random())
    found = lists_of(codes)
    # A = 0, B = 1 wherever they stand; numbers 2, 3, 4; then those without a category.
    assert [code[:-1] for code in found] == [[0, 1], [0, 1], [1], [0, 1], [], [], [1], [0]]
    assert sorted(found[item][-1] for item in (0, 1, 3)) == [2, 3, 4]
    assert sorted(found[item][-1] for item in (2, 6)) == [2, 3]
    assert sorted(found[item][-1] for item in (4, 5)) == [5, 6]
    assert codes.n_tokens == 7
    orders = {tuple(category_ids(table, semid, logging.getLogger(), np.random.default_rng(seed)).code[:, 2].tolist()) for seed in range(9)}
    assert len(orders) > 1


def test_categories_that_no_item_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="categories"):
        ids_of("semid", blocks(), tmp_path, {"title": ["t"] * N_ITEMS})


def test_siblings_need_tokens() -> None:
    with pytest.raises(BadConfig, match="token_size=20 must be above n_clusters=20"):
        PLUGIN.resolve("cpu", None, {"indexing.cid.token_size": 20})


def tiny(**changes: Any) -> Seq2SeqSettings:
    sizes = {"width": 16, "n_encoder_layers": 1, "n_decoder_layers": 1, "n_heads": 2, "head_width": 8, "hidden": 32, "max_history": 5}
    return Seq2SeqSettings.model_validate(sizes | changes)


@torch.no_grad()
def test_a_token_per_item_is_a_softmax_over_items(tmp_path: Path) -> None:
    model = CodeGenerator(tiny(n_beams=N_ITEMS, renormalise=True), ids_of("independent", blocks(), tmp_path), 0)
    network = model.network
    memory = network.encode(torch.tensor([[3, 4]]), None)
    state = network.decode(memory, torch.tensor([[[1]]]), torch.tensor([[1]]))[0, 0, 0]
    expected = torch.log_softmax(network.t5.shared.weight[3 : 3 + N_ITEMS] @ state, 0)
    found = model.generate(queries([[3, 4]]), N_ITEMS)
    assert found.view("keep")[0].tolist() == expected.argsort(descending=True, stable=True).tolist()
    np.testing.assert_allclose(found.scores[0, 0], expected.sort(descending=True).values, atol=1e-5)


def trained(lists: Sequence[Sequence[int]], method: str, folder: Path, **values: Any) -> P5:
    short = {"training.max_epochs": 200, "training.validate_every_epochs": 200, "generator.dropout": 0.0, "indexing.method": method}
    model = PLUGIN.build(PLUGIN.resolve("smoke", None, short | values), Catalogue(N_ITEMS, len(lists)))
    train = interactions([list(row) for row in lists], N_ITEMS)
    report = model.fit(LightContext(train, folder, texts(), judge=lambda _: 0.0))
    assert report.artefacts["codes"].is_file()
    assert isinstance(model, P5)
    return model


@pytest.mark.uncounted
def test_remembers_which_item_follows(tmp_path: Path) -> None:
    # No item belongs to two users, so that every item says which one follows.
    lists = np.random.default_rng(0).permutation(N_ITEMS)[:40].reshape(-1, 5).tolist()
    steps = {"training.max_steps": 320, "training.learning_rate": 3e-3, "training.weight_decay": 0.0}
    model = trained(lists, "cid", tmp_path, **steps, **{"generator.width": 64, "generator.hidden": 128})
    asked = queries([row[:place] for row in lists for place in range(1, 5)])
    targets = np.array([row[place] for row in lists for place in range(1, 5)])
    assert (model.generate(asked, 10).view("keep")[:, 0] == targets).mean() > 0.7  # 0.9 is usual, 1 / 60 is chance


@pytest.mark.parametrize("method", ["sid", "semid", "random", "independent"])
def test_every_method_trains_and_lists_items(method: str, tmp_path: Path) -> None:
    lists = [row.tolist() for row in np.random.default_rng(1).integers(0, N_ITEMS, (6, 5))]
    model = trained(lists, method, tmp_path, **{"training.max_steps": 2})
    listed = model.generate(queries([lists[0], []]), 10)
    assert (listed.items >= 0).all()


def test_presets_of_the_paper_have_its_sizes() -> None:
    methods = {"paper": "cid", "paper-sid": "sid", "paper-semid": "semid", "paper-random": "random", "paper-independent": "independent"}
    for preset, method in methods.items():
        config = PLUGIN.resolve(preset)
        assert config.indexing.method == method
        assert (config.indexing.cid.n_clusters, config.indexing.cid.token_size, config.indexing.base) == (20, 500, 100)
        sizes = config.generator
        assert (sizes.width, sizes.n_heads * sizes.head_width, sizes.hidden, sizes.n_encoder_layers, sizes.n_decoder_layers) == (
            512,
            512,
            2048,
            6,
            6,
        )
        assert (sizes.max_history, sizes.batch_targets, sizes.item_places, sizes.encoder_attention) == (20, 64, True, "full")
        training = config.training
        assert (training.learning_rate, training.weight_decay, training.warmup_share, training.clip_norm, training.max_epochs) == (
            1e-3,
            0.01,
            0.05,
            1,
            20,
        )
