"""RaMen: graph attention and scores by hand, what each part does alone, and that bundles find their items."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from next_item_case import assert_lists_do_not_depend_on_the_batch
from torch import Tensor
from torch.nn import functional

from recbench import registry
from recbench.core import BadConfig, BadRequest, Catalogue, Features, Histories, Ragged, SilentProgress
from recbench.data import Located, Split, dataset_card, make_split, read_dataset
from recbench.tasks import task_of_card
from recbench.testing import LightContext, interactions, latest_is_best, queries, train
from recbench_models.ramen import PLUGIN, graph_attention
from recbench_models.ramen.config import LossSettings, NetworkSettings, RaMenConfig
from recbench_models.ramen.graph import holds_only_sets, neighbours
from recbench_models.ramen.graph_attention import Graph, GraphAttention
from recbench_models.ramen.network import Answers, RaMenNetwork, RaMenTraining
from recbench_models.ramen.recommender import RaMen

N_ITEMS = 30
SETS = st.lists(st.sets(st.integers(0, 5), max_size=5).map(sorted), max_size=8)


def random_bundles(n: int = 20, size: int = 4, n_items: int = N_ITEMS) -> list[list[int]]:
    rng = np.random.default_rng(3)
    return [sorted(rng.choice(n_items, size, replace=False).tolist()) for _ in range(n)]


def random_content(n_items: int = N_ITEMS, widths: Sequence[int] = (6, 5)) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.standard_normal((n_items, width), np.float32) for width in widths]


def graph_of_bundles(n_items: int = N_ITEMS) -> Ragged:
    return neighbours(Ragged.from_lists(random_bundles(n_items=n_items)), n_items, min_count=1, max_neighbours=50)


def network_of(
    content: list[np.ndarray] | None = None, graph: Ragged | None = None, *, n_items: int = N_ITEMS, **values: Any
) -> RaMenNetwork:
    """A network in evaluation."""
    small = NetworkSettings(**{"width": 8, "tower_hidden": 8, "mix_bundle": 0.5, "mix_item": 0.5, **values})
    torch.manual_seed(0)
    network = RaMenNetwork(
        small, random_content(n_items) if content is None else content, graph_of_bundles(n_items) if graph is None else graph
    )
    return network.eval()


def model_of(network: RaMenNetwork, **values: Any) -> RaMen:
    """The model that answers by this network."""
    n_items = len(network.query.identity.weight)
    small = {"width": 8, "tower_hidden": 8, "mix_bundle": 0.5, "mix_item": 0.5, **values}
    model = PLUGIN.build(PLUGIN.resolve("smoke", None, {"network": small}), Catalogue(n_items, 1))
    assert isinstance(model, RaMen)
    model.reader, model.answers = network.reader, network.answers()
    return model


def scores_of(network: RaMenNetwork, bundles: list[list[int]]) -> Tensor:
    """(B, N)."""
    with torch.no_grad():
        answers = network.answers()
        return torch.cat(network.reader(answers.items, Histories.from_lists(bundles)), 1) @ answers.candidate_NX.T


@settings(max_examples=30, deadline=None)
@given(SETS, st.integers(1, 3), st.integers(1, 4))
def test_neighbours_are_those_of_a_loop_over_pairs(sets: list[list[int]], min_count: int, most: int) -> None:
    found = neighbours(Ragged.from_lists(sets), 6, min_count=min_count, max_neighbours=most)
    for item in range(6):
        counts = {other: sum(item in row and other in row for row in sets) for other in range(6) if other != item}
        kept = sorted((other for other, count in counts.items() if count >= min_count), key=lambda other: (-counts[other], other))
        assert found[item].tolist() == sorted(kept[:most])


@settings(max_examples=30, deadline=None)
@given(SETS, SETS)
def test_lists_made_of_whole_sets_are_told_from_others(unions: list[list[int]], sets: list[list[int]]) -> None:
    def covered(row: list[int]) -> bool:
        return set(row) == set().union(*(part for part in sets if set(part) <= set(row)))

    assert holds_only_sets(Ragged.from_lists(unions), Ragged.from_lists(sets), 6) == all(map(covered, unions))


def by_hand(layer: GraphAttention, node: Tensor, lists: list[list[int]]) -> Tensor:
    """One layer of graph attention, item by item and head by head."""
    n_heads, width = layer.attention.shape
    source, target = (part(node).view(-1, n_heads, width) for part in (layer.of_source, layer.of_target))
    rows = []
    for item, row in enumerate(lists):
        told = torch.zeros(width)
        for head in range(n_heads):
            logits = [functional.leaky_relu(target[item, head] + source[other, head], 0.2) @ layer.attention[head] for other in row]
            if row:
                told = told + torch.stack(logits).softmax(0) @ source[row, head] / n_heads
        rows.append(told + layer.bias)
    return torch.stack(rows)


def test_graph_attention_is_that_of_a_loop_and_so_are_its_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    # A few edges at a time, so that chunks meet.
    monkeypatch.setitem(graph_attention._CHUNK_BYTES, "cpu", 4 * 2 * 4 * 3)
    lists = [[1, 2], [0], [], [0, 1, 2, 4], [3]]
    torch.manual_seed(1)
    layer = GraphAttention(4, 2, 0.0)
    torch.nn.init.normal_(layer.bias)
    node, grad = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4)
    graph = Graph.of(Ragged.from_lists(lists))
    found, expected = layer(node, graph), by_hand(layer, node, lists)
    torch.testing.assert_close(found, expected)
    learnt = [node, *layer.parameters()]
    for one, other in zip(torch.autograd.grad(found, learnt, grad), torch.autograd.grad(expected, learnt, grad), strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_attention_over_neighbours_sums_to_one_in_whatever_order_they_stand() -> None:
    layer, node = GraphAttention(4, 2, 0.1).eval(), torch.randn(4, 4)
    graph, turned = (Graph.of(Ragged.from_lists(lists)) for lists in ([[1, 2, 3], [0], [], [2, 0]], [[3, 1, 2], [0], [], [0, 2]]))
    summed = torch.zeros(4, 2).index_add(0, graph.target_E, layer.weights(node, graph))
    torch.testing.assert_close(summed, torch.tensor([[1.0], [1.0], [0.0], [1.0]]).expand(4, 2))
    torch.testing.assert_close(layer(node, graph), layer(node, turned))


@torch.no_grad()
def test_an_item_without_neighbours_is_told_the_bias_alone() -> None:
    network = network_of(graph=Ragged.from_lists([[]] * N_ITEMS), residual=0.3)
    encoder = network.query
    torch.nn.init.normal_(encoder.layers[0].bias)
    expected = (encoder.node.weight + encoder.layers[0].bias) / 2 + 0.3 * encoder.node.weight
    torch.testing.assert_close(encoder.spread(network.graph), expected)


@torch.no_grad()
def test_scores_are_those_of_a_loop() -> None:
    network = network_of(mix_bundle=0.7, mix_item=0.4)
    graph = network.graph
    tau = 0.2

    def tables(encoder: Any) -> tuple[Tensor, Tensor, list[Tensor]]:
        tower = [part(matrix) for part, matrix in zip(encoder.towers, network.content, strict=True)]
        mixed = encoder.content(torch.cat(tower, 1))
        tokens = [functional.normalize(part) for part in (mixed, encoder.identity.weight)]
        rows = []
        for item in range(N_ITEMS):
            row = torch.stack([part[item] for part in tokens])
            rows.append(((encoder.fusion.query(row) @ encoder.fusion.key(row).T / math.sqrt(8)).softmax(1) @ row).mean(0))
        return torch.stack(rows), encoder.spread(graph), [part @ table for part, table in zip(tower, encoder.hyperedges, strict=True)]

    def hyperedges(members: list[Tensor], logits: list[Tensor], spread: Tensor) -> Tensor:
        parts = [(logit / tau).softmax(-1).T @ spread for logit in logits]
        return functional.normalize(sum((member / tau).softmax(-1) @ part for member, part in zip(members, parts, strict=True)), dim=-1)

    fused, spread, logits = tables(network.query)
    other_fused, other_spread, other_logits = tables(network.candidate)
    candidate = 0.4 * other_fused + 0.6 * other_spread
    of_edges = hyperedges(other_logits, other_logits, other_spread)
    for bundle, found in zip([[3, 7, 11], [5]], scores_of(network, [[3, 7, 11], [5]]), strict=True):
        value = functional.layer_norm(fused[bundle], (8,), eps=1e-9)
        attention = network.reader.attention
        weight = (attention.queries[0](value) @ attention.keys[0](value).T / math.sqrt(8)).softmax(1)
        own = 0.7 * (weight @ value).mean(0) + 0.3 * spread[bundle].mean(0)
        edges = hyperedges([logit[bundle].sum(0) for logit in logits], logits, spread)
        torch.testing.assert_close(found, candidate @ own + of_edges @ edges, atol=1e-5, rtol=1e-5)


def test_the_loss_is_that_of_the_three_parts() -> None:
    bundles = [[1, 2, 3], [2, 9], [4, 5, 6, 7]]
    network = network_of()
    rows = np.array([2, 0])
    with torch.no_grad():
        own, of_edges = network.candidates()
        own_of_bundle, edges_of_bundle = network.reader(network.query_tables(), Histories.from_lists([bundles[2], bundles[0]]))
        log = torch.log_softmax(own_of_bundle @ own.T + edges_of_bundle @ of_edges.T, 1)
        main = -(log[0, bundles[2]].mean() + log[1, bundles[0]].mean()) / 2

        def contrast(one: Tensor, other: Tensor) -> Tensor:
            cosine = functional.normalize(one) @ functional.normalize(other).T
            return functional.cross_entropy(cosine / 0.5, torch.arange(len(one)))

        items = [1, 2, 3, 4, 5, 6, 7]
        expected = main + 0.3 * contrast(own[items], of_edges[items]) + 0.7 * contrast(own_of_bundle, edges_of_bundle)
        weights = LossSettings(item_weight=0.3, bundle_weight=0.7, temperature=0.5)
        total, n_targets = RaMenTraining(network, Histories.from_lists(bundles), weights).eval()(rows)
    assert n_targets == 2
    torch.testing.assert_close(total / 2, expected)


@torch.no_grad()
def test_one_hyperedge_is_the_same_for_all() -> None:
    network = network_of(n_hyperedges=1)
    answers, bundles = network.answers(), random_bundles(5)
    own, of_edges = network.reader(answers.items, Histories.from_lists(bundles))
    second = of_edges @ answers.candidate_NX[:, 8:].T
    torch.testing.assert_close(second, second[:1, :1].expand_as(second))
    found = model_of(network, n_hyperedges=1).generate(queries(bundles), 5)
    ranked = (own @ answers.candidate_NX[:, :8].T).argsort(dim=1, descending=True, stable=True)
    np.testing.assert_array_equal(found.view("keep"), ranked[:, :5])


@torch.no_grad()
def test_noise_is_drawn_in_training_and_outside_it_for_the_flag_alone() -> None:
    bundles = random_bundles(3)
    for noisy in (False, True):
        network = network_of(ref_gumbel_in_eval=noisy)
        once = scores_of(network, bundles)
        assert torch.equal(once, scores_of(network.eval(), bundles)) is not noisy
    network = network_of(hyperedge_dropout=0.0, attention_dropout=0.0).train()
    assert not torch.equal(network.candidates()[1], network.candidates()[1])


@torch.no_grad()
def test_shares_of_one_leave_the_graph_to_the_hyperedges() -> None:
    network = network_of(mix_bundle=1.0, mix_item=1.0)
    answers, bundles = network.answers(), Histories.from_lists(random_bundles(4))
    own, _ = network.reader(answers.items, bundles)
    before = answers.candidate_NX[:, :8]
    for encoder in (network.query, network.candidate):
        encoder.node.weight.mul_(-3)
    changed = network.eval().answers()
    assert torch.equal(network.reader(changed.items, bundles)[0], own)
    assert torch.equal(changed.candidate_NX[:, :8], before)
    assert not torch.equal(changed.candidate_NX[:, 8:], answers.candidate_NX[:, 8:])


@torch.no_grad()
def test_without_hyperedges_of_its_own_an_item_belongs_to_all_alike() -> None:
    network = network_of()
    for hyperedge in network.query.hyperedges:
        hyperedge.zero_()
    items = network.answers().items
    _, of_edges = network.reader(items, Histories.from_lists([[4], [9]]))
    everything = functional.normalize(items.spread_ND.sum(0), dim=0)
    torch.testing.assert_close(of_edges, everything.expand(2, -1), atol=1e-5, rtol=0)


def test_numbers_of_weights_are_those_of_the_formula() -> None:
    config = PLUGIN.resolve("paper")
    assert isinstance(config, RaMenConfig)
    n_items = 3499
    content = [np.zeros((n_items, width), np.float32) for width in (128, 384)]
    network = RaMenNetwork(config.network, content, Ragged.from_lists([[]] * n_items))
    assert sum(weight.numel() for weight in network.parameters()) == 1_637_504


def test_the_reader_stays_as_it_starts_where_the_flag_says_so() -> None:
    for frozen in (False, True):
        network = network_of(ref_frozen_bundle_attn=frozen).train()
        total, _ = RaMenTraining(network, Histories.from_lists(random_bundles()), LossSettings())(np.arange(8))
        total.backward()
        assert all((weight.grad is None) is frozen for weight in network.reader.parameters())


def test_neither_order_nor_repeats_nor_company_of_a_bundle_matters() -> None:
    network = network_of()
    model = model_of(network)
    asked = queries([[], [2], *random_bundles(9, 5), list(range(20))], known=False)
    assert_lists_do_not_depend_on_the_batch(model, asked)
    one, other = (model.generate(queries([row]), 9) for row in ([3, 8, 20], [20, 3, 8, 8, 3]))
    np.testing.assert_array_equal(one.items, other.items)
    assert np.isfinite(model.generate(asked, 9).scores).all()


def test_of_a_large_bundle_the_first_items_are_read() -> None:
    network = network_of(max_items=3)
    model = model_of(network, max_items=3)
    keep = [model.generate(queries([row], views=("keep",)), 5).items for row in ([9, 1, 7, 4], [1, 4, 7])]
    np.testing.assert_array_equal(*keep)
    unseen = model.generate(queries([[9, 1, 7, 4]]), N_ITEMS).view("unseen")
    assert not np.isin(unseen, [1, 4, 7, 9]).any(), "what is not read is excluded all the same"


def context_of(bundles: list[list[int]], folder: Path, n_items: int = N_ITEMS, **values: Any) -> LightContext:
    rng = np.random.default_rng(6)
    image = Features(rng.standard_normal((n_items, 6), np.float32), np.ones(n_items, bool))
    given = {"features": {"image": image}, "judge": latest_is_best(), **values}
    return LightContext(interactions(bundles, n_items), folder, **given)


def trained(context: LightContext, **overrides: Any) -> tuple[RaMen, Any]:
    values = {"training.max_epochs": 1000, "training.max_steps": 2, "training.validate_every_epochs": 1000, **overrides}
    model = PLUGIN.build(PLUGIN.resolve("smoke", None, values), Catalogue(context.train.n_items, len(context.train)))
    assert isinstance(model, RaMen)
    return model, model.fit(context)


def test_twenty_bundles_find_their_own_items(tmp_path: Path) -> None:
    bundles = random_bundles(n_items=60)
    overrides = {
        "training.max_steps": 60,
        "training.learning_rate": 1e-2,
        "training.curve_every_steps": 10,
        "network.width": 32,
        "network.mix_bundle": 0.5,
        "network.mix_item": 0.5,
        "network.hyperedge_dropout": 0.0,
        "network.attention_dropout": 0.0,
        "loss": {"item_weight": 0.0, "bundle_weight": 0.0},
    }
    model, report = trained(context_of(bundles, tmp_path, 60), **overrides)
    # The four items of a bundle share the mass: no loss is smaller than log 4.
    assert math.log(4) < report.curve[-1].loss < 1.45
    found = model.generate(queries(bundles), 4).view("keep")
    assert [sorted(row) for row in found.tolist()] == bundles


def test_what_is_saved_answers_alike(tmp_path: Path) -> None:
    context = context_of(random_bundles(), tmp_path)
    model, _ = trained(context)
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    other = PLUGIN.build(model.config, Catalogue(N_ITEMS, 1))
    other.load(tmp_path / "model")
    asked = queries([[], [3, 4], [9]])
    np.testing.assert_array_equal(other.generate(asked, 9).scores, model.generate(asked, 9).scores)
    assert isinstance(other, RaMen)
    other.to("cpu")
    for name, tensor in Answers.zeros(model.config.network, N_ITEMS).tensors().items():
        assert other.answers.tensors()[name].shape == tensor.shape, name


def test_edges_come_from_feedback_or_else_from_train_bundles(tmp_path: Path) -> None:
    bundles = [[0, 1], [0, 1, 2], [4, 5], []]
    _, report = trained(context_of(bundles, tmp_path / "a"))
    assert (report.chosen["edges_from"], report.chosen["edges_min_count"], report.chosen["n_edges"]) == ("train bundles", 1, 8)
    assert report.examples_possible == 3
    used = Histories.from_lists([[0, 7], [0, 7, 8], [8, 9]])
    _, report = trained(context_of(bundles, tmp_path / "b", feedback=used))
    assert (report.chosen["edges_from"], report.chosen["edges_min_count"], report.chosen["n_edges"]) == ("feedback", 2, 2)
    whole = Histories.from_lists([[0, 1], [0, 1, 2, 4, 5]])
    _, report = trained(context_of(bundles, tmp_path / "c", feedback=whole))
    assert (report.chosen["edges_min_count"], report.chosen["n_edges"]) == (1, 20)
    _, report = trained(context_of(bundles, tmp_path / "d", feedback=whole), **{"graph.min_users": 2})
    assert (report.chosen["edges_min_count"], report.chosen["n_edges"]) == (2, 2)


def test_validation_looks_at_the_weights_of_the_moment(tmp_path: Path) -> None:
    seen = []

    def judge(ranker: Any) -> float:
        seen.append(ranker.generate(queries([[1, 2]]), 5).scores.copy())
        return float(len(seen))

    model, _ = trained(context_of(random_bundles(), tmp_path, judge=judge), **{"training.validate_every_epochs": 1})
    assert not np.array_equal(seen[0], seen[1]), "a step lies between the two"
    np.testing.assert_array_equal(model.generate(queries([[1, 2]]), 5).scores, seen[-1])


def test_a_modality_that_is_not_there_adds_nothing(tmp_path: Path) -> None:
    network = network_of(random_content(widths=(6,)))
    answers = network.answers()
    assert answers.items.logit_NMH.shape == (N_ITEMS, 2, 4)
    assert not answers.items.edge_MHD[1].any()
    with torch.no_grad():
        _, of_edges = network.reader(answers.items, Histories.from_lists([[3, 4]]))
        _, alone = network.reader(network.query_tables(), Histories.from_lists([[3, 4]]))
    torch.testing.assert_close(of_edges, alone)
    with pytest.raises(BadRequest, match=r"neither features nor words in title, categories\. Name columns .* --set text\.fields"):
        trained(context_of(random_bundles(), tmp_path, features={}))


def test_outfits_are_completed_better_than_by_popularity(tmp_path: Path) -> None:
    card = dataset_card("outfits")
    made = make_split(read_dataset(Located(card, "generated", {}), SilentProgress()), task_of_card(card).protocol(card.protocol))
    made.save(tmp_path / "split")
    split = Split.open(tmp_path / "split")
    asked, targets = split.test.queries(split.user_ids, ("unseen",)), split.test.targets
    recall = {}
    for name in ("ramen", "popularity"):
        lists = train(registry.models().load(name), split, tmp_path).recommender.generate(asked, 20).view("unseen")
        recall[name] = np.mean([np.isin(targets[row], lists[row]).mean() for row in range(len(asked))])
    assert recall["ramen"] > 2 * recall["popularity"]


def test_batches_that_are_cut_are_refused() -> None:
    with pytest.raises(BadConfig, match=r"accumulate=2 cuts batches .* smaller batch_size"):
        PLUGIN.resolve("smoke", None, {"training.accumulate": 2})


def test_the_log_says_what_the_graph_is_made_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        trained(context_of([[0, 1], [0, 1, 2]], tmp_path))
    assert "graph: 6 edges between 3 items" in caplog.text
