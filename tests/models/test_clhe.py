"""CLHE: the encoders, the views, the losses, what becomes of cold items, and that it learns."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from recbench.core import BadConfig, Catalogue, Features, Histories, Interactions
from recbench.nn.blocks import info_nce
from recbench.nn.training import train as train_loop
from recbench.testing import LightContext, interactions, latest_is_best, queries
from recbench_models.clhe import PLUGIN
from recbench_models.clhe.config import BundleViewSettings, CLHEConfig, FeedbackSettings, ItemViewSettings
from recbench_models.clhe.feedback import feedback_features, svd_vectors
from recbench_models.clhe.lightgcn import LightGCN
from recbench_models.clhe.network import CLHENetwork, ItemFacts
from recbench_models.clhe.recommender import CLHE
from recbench_models.clhe.training import CLHETraining
from recbench_models.clhe.views import Bundles, bundle_view, item_views, n_kept

N_ITEMS, WIDTH = 12, 8


def config_of(**values: Any) -> CLHEConfig:
    """Small, and without contrast unless asked for; names are dotted with two underscores."""
    small = {"network.width": WIDTH, "network.tower_hidden": 16, "item_views.weight": 0.0, "bundle_views.weight": 0.0}
    return CLHEConfig.model_validate(
        PLUGIN.resolve("smoke", None, small | {name.replace("__", "."): value for name, value in values.items()}).model_dump()
    )


def random_matrix(rows: int, columns: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def features(n_items: int = N_ITEMS, width: int = 6, *, seed: int = 0, lacking: tuple[int, ...] = ()) -> Features:
    matrix, is_present = random_matrix(n_items, width, seed), np.ones(n_items, dtype=bool)
    matrix[list(lacking)], is_present[list(lacking)] = 0.0, False
    return Features(matrix, is_present)


def facts_of(
    *, media: Features | None = None, text: Features | None = None, feedback: Features | None = None, cold: tuple[int, ...] = ()
) -> ItemFacts:
    content = {"media": media or features(seed=1), "text": text or features(seed=2)}
    is_cold = np.zeros(N_ITEMS, dtype=bool)
    is_cold[list(cold)] = True
    return ItemFacts(content, feedback or features(seed=3, lacking=(5,)), is_cold)


def network_of(config: CLHEConfig | None = None, facts: ItemFacts | None = None) -> CLHENetwork:
    torch.manual_seed(0)
    return CLHENetwork(config or config_of(), facts or facts_of())


def fused(network: CLHENetwork, facts: ItemFacts | None = None) -> Tensor:
    return network.items(facts or network.facts, network.every_item_N)


def bundles_of(*lists: list[int]) -> Bundles:
    longest = max(map(len, lists))
    rows = torch.tensor([row + [0] * (longest - len(row)) for row in lists])
    return Bundles(rows, torch.arange(longest) < torch.tensor([[len(row)] for row in lists]))


def sets_of(bundles: Bundles) -> list[list[int]]:
    return [row[is_real].tolist() for row, is_real in zip(*bundles, strict=True)]


# items


@torch.no_grad()
def test_without_attention_an_item_is_the_mean_of_three_unit_vectors() -> None:
    network = network_of()
    network.items.fusion.query.weight.zero_()
    modality = network.items.modalities(network.facts, network.every_item_N)
    unit = functional.normalize(modality, dim=-1)
    torch.testing.assert_close(fused(network), unit.mean(1))
    content = sum(
        functional.normalize(network.items.towers[name](functional.normalize(network.facts.of(name, network.every_item_N)[0])), dim=-1)
        for name in ("media", "text")
    )
    torch.testing.assert_close(modality[:, 0], content)
    torch.testing.assert_close(modality[:, 1], network.items.id_embedding.weight)


@torch.no_grad()
def test_an_item_depends_on_its_own_row_of_each_matrix() -> None:
    network = network_of()
    before = fused(network)
    for name in ("media", "text", "feedback"):
        parts = {"media": features(seed=1), "text": features(seed=2), "feedback": features(seed=3, lacking=(5,))}
        parts[name].matrix[3] = random_matrix(1, 6, seed=9)
        is_changed = (fused(network, facts_of(**parts)) - before).abs().amax(1) > 1e-4
        assert is_changed.nonzero().flatten().tolist() == [3]


@torch.no_grad()
def test_missing_feedback_is_filled_with_content() -> None:
    network = network_of()
    other = features(seed=3, lacking=(5,))
    other.matrix[5] = 7.0
    assert torch.equal(fused(network, facts_of(feedback=other)), fused(network))
    modality = network.items.modalities(network.facts, torch.tensor([5, 6]))
    assert torch.equal(modality[0, 2], modality[0, 0])
    assert not torch.equal(modality[1, 2], modality[1, 0])


def test_one_content_stands_alone_where_the_other_is_missing_and_a_learnt_vector_where_both_are() -> None:
    network = network_of(facts=facts_of(media=features(seed=1, lacking=(2, 4)), text=features(seed=2, lacking=(4,))))
    for name, parameter in network.items.towers.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    content = network.items.modalities(network.facts, torch.tensor([2, 4]))[:, 0]
    text, _ = network.facts.of("text", torch.tensor([2]))
    torch.testing.assert_close(content[0], functional.normalize(network.items.towers["text"](text), dim=-1)[0])
    assert torch.equal(content[1], network.items.missing_content)
    (fused(network)[4] * torch.from_numpy(random_matrix(1, WIDTH))).sum().backward()
    gradients = [network.items.missing_content.grad, *(parameter.grad for parameter in network.items.towers.parameters())]
    assert gradients[0] is not None
    assert gradients[0].any()
    assert all(gradient is None or (gradient.isfinite().all() and not gradient.any()) for gradient in gradients[1:])


@torch.no_grad()
def test_content_in_the_place_of_the_ids_of_cold_items() -> None:
    network = network_of(config_of(network__cold_id="content"), facts_of(cold=(3,)))
    for encoder in (network.items, network.candidates):
        modality = encoder.modalities(network.facts, torch.tensor([3, 4]))
        assert torch.equal(modality[0, 1], modality[0, 0])
        assert torch.equal(modality[1, 1], encoder.id_embedding.weight[4])


def test_the_size_of_the_network() -> None:
    """The count of the source's layers for 600 items and features of 32 columns, and the vector of missing content in each encoder."""
    content = {name: features(600, 32) for name in ("media", "text")}
    facts = ItemFacts(content, features(600, 64), np.zeros(600, dtype=bool))
    network = network_of(CLHEConfig(), facts)
    assert sum(parameter.numel() for parameter in network.parameters()) == 213_504 + 2 * 64


# bundles


def test_scores_are_inner_products_of_bundle_and_candidate() -> None:
    network = network_of()
    asked = queries([[3, 7], [1, 2, 4, 9], [5]], known=False, views=("unseen", "keep"))
    rankings = network.ranker().generate(asked, N_ITEMS)
    with torch.no_grad():
        for row, bundle in enumerate([[3, 7], [1, 2, 4, 9], [5]]):
            vector = network.attention(fused(network)[None, bundle], torch.ones(1, len(bundle), dtype=torch.bool))
            score = (vector @ network.candidates(network.facts, network.every_item_N).T)[0]
            listed = torch.from_numpy(rankings.view("keep")[row]).long()
            torch.testing.assert_close(torch.from_numpy(rankings.scores[1, row]), score[listed])
            assert score.abs().max() <= WIDTH**0.5 + 1e-5
    assert not any(np.isin(rankings.view("unseen")[row], bundle).any() for row, bundle in enumerate([[3, 7], [1, 2, 4, 9], [5]]))


def test_order_repeats_and_company_of_a_bundle_mean_nothing() -> None:
    ranker = network_of(config_of(network__max_items=4)).ranker()
    alone = ranker.bundle_vectors(Histories.from_lists([[2, 5, 9]]))
    together = ranker.bundle_vectors(Histories.from_lists([[9, 2, 5, 9], [], [0, 1, 2, 3, 4, 5, 6], [6, 4, 3, 5]]))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=0)
    assert not together[1].any()
    torch.testing.assert_close(together[2], together[3], atol=1e-5, rtol=0)


# views


@pytest.mark.parametrize(("share", "expected"), [(0.5, [1, 1, 2, 2, 3, 4, 6, 30]), (0.05, [1, 1, 1, 1, 1, 1, 1, 4])])
def test_how_many_items_a_copy_keeps(share: float, expected: list[int]) -> None:
    assert n_kept(torch.tensor([1, 2, 3, 4, 5, 6, 10, 60]), share).tolist() == expected


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.integers(0, N_ITEMS - 1), min_size=1, max_size=8, unique=True), min_size=1, max_size=4),
    st.sampled_from(["dropout", "replacement"]),
    st.sampled_from([0.25, 0.5, 0.75, 1.0, 1.5, 9.0]),
    st.integers(0, 99),
)
@example([[3], [4, 5]], "dropout", 9.0, 0)
def test_copies_of_bundles(lists: list[list[int]], kind: str, kept: float, seed: int) -> None:
    bundles, view_settings = bundles_of(*lists), BundleViewSettings.model_validate({"kind": kind, "kept": kept})
    torch.manual_seed(seed)
    copies = sets_of(bundle_view(bundles, view_settings, N_ITEMS))
    torch.manual_seed(seed)
    assert sets_of(bundle_view(bundles, view_settings, N_ITEMS)) == copies
    n_added = round((kept - 1) * max(map(len, lists))) if kept > 1 else 0
    for row, copy in zip(lists, copies, strict=True):
        n_old = len(row) if kept >= 1 else int(n_kept(torch.tensor([len(row)]), kept))
        n_new = {"dropout": 0, "replacement": len(row) - n_old}[kind] + n_added
        assert len(set(copy)) == len(copy)
        assert len(set(copy) & set(row)) == n_old
        assert len(copy) == n_old + min(n_new, N_ITEMS - len(row))


def test_the_faulty_mask_of_the_source_puts_the_first_item_in_the_place_of_dropped_ones() -> None:
    faulty = BundleViewSettings(kept=0.5, ref_mask_bug=True)
    torch.manual_seed(0)
    copies = sets_of(bundle_view(bundles_of([3, 4, 5, 6], [7, 8]), faulty, N_ITEMS))
    assert [row.count(0) for row in copies] == [2, 1]
    assert [len(row) for row in copies] == [4, 2]


def test_views_of_items() -> None:
    network = network_of()
    modality = torch.from_numpy(random_matrix(10_000, 3 * WIDTH)).view(-1, 3, WIDTH)
    torch.manual_seed(0)
    with torch.no_grad():
        first, second = item_views(modality, network.items.fusion, ItemViewSettings(kind="modality-dropout", rate=0.2), None)
        assert not torch.equal(first, second)
        # An item all of whose vectors are dropped is zero.
        assert (first == 0).all(1).float().mean().item() == pytest.approx(0.2**3, abs=0.003)
        plain = network.items.fusion(modality)
        kept = (first - plain).abs().amax(1) < 1e-6
        assert kept.float().mean().item() == pytest.approx(0.8**3, abs=0.02)
        noisy, _ = item_views(modality, network.items.fusion, ItemViewSettings(kind="feature-noise", noise=0.02), None)
        assert (noisy - plain).std().item() == pytest.approx(0.02, abs=1e-3)
        dropped, _ = item_views(modality, network.items.fusion, ItemViewSettings(kind="feature-dropout", rate=0.2), None)
        assert (dropped == 0).float().mean().item() == pytest.approx(0.2, abs=0.01)
        same, again = item_views(modality, network.items.fusion, ItemViewSettings(kind="none"), None)
        assert torch.equal(same, plain)
        assert torch.equal(again, plain)
        projected, _ = item_views(modality, network.items.fusion, ItemViewSettings(kind="feature-noise", noise=0.0), torch.nn.Linear(8, 5))
        assert projected.shape == (10_000, 5)


# losses


TRAIN = [[0, 1, 2], [], [2, 3], [4, 5, 6, 7], [8, 9]]


def loss_of(config: CLHEConfig, rows: list[int], lists: list[list[int]] | None = None) -> float:
    network = network_of(config, facts_of(cold=(10, 11)))
    torch.manual_seed(3)
    loss, n_targets = CLHETraining(network, config, interactions(lists or TRAIN, N_ITEMS))(np.array(rows))
    assert n_targets == len(rows)
    return loss.item() / n_targets


@torch.no_grad()
def test_the_main_loss_is_that_of_a_loop_over_bundles_and_items() -> None:
    network = network_of(facts=facts_of(cold=(10, 11)))
    candidate = network.candidates(network.facts, network.every_item_N)
    for negatives, allowed in ((True, range(12)), (False, range(10))):
        losses = []
        for row in (0, 3, 2):
            vector = network.attention(fused(network)[None, TRAIN[row]], torch.ones(1, len(TRAIN[row]), dtype=torch.bool))
            log = (vector @ candidate[list(allowed)].T)[0].log_softmax(0)
            losses.append(-log[TRAIN[row]].mean())
        config = config_of(cold_negatives=negatives)
        assert loss_of(config, [0, 3, 2]) == pytest.approx(float(torch.stack(losses).mean()), abs=1e-5)


def test_a_batch_of_one_and_a_bundle_of_one() -> None:
    contrast = {"item_views__weight": 1.0, "bundle_views__weight": 1.0}
    for target in ("full", "rest"):
        assert math.isfinite(loss_of(config_of(target=target, **contrast), [2]))
        assert math.isfinite(loss_of(config_of(target=target, **contrast), [0], [[7]]))


def test_the_rest_is_what_was_not_given() -> None:
    config = config_of(target="rest")
    network = network_of(config)
    given: list[Tensor] = []
    network.attention.register_forward_pre_hook(lambda _, read: given.append(read[0][read[1]].detach()))
    with torch.no_grad():
        loss, _ = CLHETraining(network, config, interactions([[3, 4]], N_ITEMS))(np.array([0]))
        items = fused(network)
        (first,) = given[0]
        other = 4 if torch.allclose(first, items[3]) else 3
        assert torch.allclose(first, items[7 - other])
        vector = network.attention(items[None, [7 - other]], torch.ones(1, 1, dtype=torch.bool))
        logit = vector @ network.candidates(network.facts, network.every_item_N).T
    torch.testing.assert_close(loss, functional.cross_entropy(logit, torch.tensor([other])))


def test_contrast_is_added_with_its_weights() -> None:
    main = loss_of(config_of(), [0, 2, 3])
    items = loss_of(config_of(item_views__weight=1.0, item_views__rate=0.0), [0, 2, 3]) - main
    twice = loss_of(config_of(item_views__weight=2.0, item_views__rate=0.0), [0, 2, 3]) - main
    assert twice == pytest.approx(2 * items, rel=1e-4)
    bundles = loss_of(config_of(bundle_views__weight=1.0, bundle_views__kept=1.0), [0, 2, 3]) - main
    # Views that are equal stand above chance.
    assert 0 < items < math.log(8)
    assert 0 < bundles < math.log(3)


def test_the_contrast_of_bundles_leaves_out_those_of_one_item() -> None:
    lists = [[7], [1, 2], [3, 4, 5]]
    contrast = loss_of(config_of(bundle_views__weight=2.0, bundle_views__kept=1.0), [0, 1, 2], lists) - loss_of(
        config_of(), [0, 1, 2], lists
    )
    network = network_of()
    with torch.no_grad():
        vector = torch.cat([network.attention(fused(network)[None, row], torch.ones(1, len(row), dtype=torch.bool)) for row in lists[1:]])
    assert contrast == pytest.approx(2 * info_nce(vector, vector, config_of().bundle_views.temperature).item(), abs=1e-5)


def test_large_bundles_are_cropped_but_all_of_their_items_are_targets() -> None:
    config = config_of(network__max_items=2)
    network = network_of(config)
    read: list[Tensor] = []
    vectors: list[Tensor] = []
    network.attention.register_forward_pre_hook(lambda _, given: read.append(given[1]))
    network.attention.register_forward_hook(lambda _, given, made: vectors.append(made))
    with torch.no_grad():
        loss, _ = CLHETraining(network, config, interactions(TRAIN, N_ITEMS))(np.array([3, 4]))
        log = (vectors[0] @ network.candidates(network.facts, network.every_item_N).T).log_softmax(1)
    assert read[0].sum(1).tolist() == [2, 2]
    torch.testing.assert_close(loss, -(log[0, TRAIN[3]].mean() + log[1, TRAIN[4]].mean()))


@pytest.mark.parametrize("is_frozen", [False, True])
def test_the_attention_within_bundles_learns_unless_it_is_frozen(is_frozen: bool) -> None:
    config = config_of(network__ref_frozen_bundle_attention=is_frozen)
    network = network_of(config)
    CLHETraining(network, config, interactions(TRAIN, N_ITEMS))(np.array([0, 3]))[0].backward()
    assert [parameter.grad is None for parameter in network.attention.parameters()] == [is_frozen] * 2


def test_settings_that_contradict_each_other() -> None:
    for values in ({"training.accumulate": 2}, {"bundle_views.kept": 0.0}, {"bundle_views.ref_mask_bug": True, "bundle_views.kept": 1.0}):
        with pytest.raises(BadConfig):
            PLUGIN.resolve("cpu", None, values)


# features


def context_of(train: Interactions, folder: Path, **known: Any) -> LightContext:
    return LightContext(train, folder, judge=latest_is_best(), **known)


@pytest.mark.parametrize("width", [8, 30])
def test_a_whole_svd_of_feedback_keeps_its_inner_products(width: int) -> None:
    rng = np.random.default_rng(0)
    # Nobody has the last two items.
    lists = [sorted(rng.choice(8, 4, replace=False).tolist()) for _ in range(30)]
    vectors = svd_vectors(Histories.from_lists(lists), 10, width=width)
    dense = np.zeros((30, 10))
    for row, items in enumerate(lists):
        dense[row, items] = 1 / 2
    dense /= np.sqrt(np.maximum(4 * (dense**2).sum(0), 1))
    np.testing.assert_allclose(vectors @ vectors.T, dense.T @ dense, atol=1e-4)
    assert not vectors[8:].any()


def test_feedback_of_one_user() -> None:
    vectors = svd_vectors(Histories.from_lists([[0, 2]]), 3, width=4)
    np.testing.assert_allclose(np.abs(vectors), [[math.sqrt(0.5)], [0.0], [math.sqrt(0.5)]], atol=1e-6)


def test_feedback_that_is_there_and_feedback_that_is_not(tmp_path: Path) -> None:
    train = interactions([[0, 1]], 4)
    feedback = Histories.from_lists([[0, 1], [], [1, 3]])
    assert feedback_features(context_of(train, tmp_path), FeedbackSettings()) is None
    assert feedback_features(context_of(train, tmp_path, feedback=Histories.from_lists([[], []])), FeedbackSettings()) is None
    assert feedback_features(context_of(train, tmp_path, feedback=feedback), FeedbackSettings(kind="none")) is None
    found = feedback_features(context_of(train, tmp_path, feedback=feedback), FeedbackSettings())
    assert found is not None
    assert found.is_present.tolist() == [True, True, False, True]
    assert found.matrix.std() == pytest.approx(0.1, rel=1e-5)


def test_lightgcn_passes_vectors_on_by_hand() -> None:
    feedback = Histories.from_lists([[0, 1], [1]])
    torch.manual_seed(0)
    module = LightGCN(feedback, 3, FeedbackSettings(width=4, lightgcn={"n_layers": 2}))
    first = module.embedding.weight.detach().numpy()
    edges = np.zeros((5, 5))
    edges[0, 2] = edges[2, 0] = 1 / math.sqrt(2)
    edges[0, 3] = edges[3, 0] = 1 / 2
    edges[1, 3] = edges[3, 1] = 1 / math.sqrt(2)
    expected = (first + edges @ first + edges @ edges @ first) / 3
    np.testing.assert_allclose(module.vectors().detach(), expected, atol=1e-6)
    np.testing.assert_allclose(expected[4], first[4] / 3, atol=1e-7)


def test_lightgcn_brings_items_together_that_users_have_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lists = [sorted((rng.choice(5, 3, replace=False) + 5 * (user % 2)).tolist()) for user in range(20)]
    settings = FeedbackSettings.model_validate(
        {"kind": "lightgcn", "width": 8, "lightgcn": {"training": {"learning_rate": 0.05, "max_epochs": 30}}}
    )
    context = context_of(interactions([[0, 1]], 10), tmp_path, feedback=Histories.from_lists(lists))
    found = feedback_features(context, settings)
    assert found is not None
    assert found.matrix.std() == pytest.approx(0.1, rel=1e-5)
    cosine = np.corrcoef(found.matrix)
    assert cosine[:5, :5].min() > cosine[:5, 5:].max()


# training


def test_it_learns_bundles_by_heart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lists = [sorted(rng.choice(60, 4, replace=False).tolist()) for _ in range(20)]
    train = interactions(lists, 60)
    training = {"training__learning_rate": 3e-3, "training__max_epochs": 150, "training__validate_every_epochs": 1000}
    model = CLHE(config_of(network__width=64, network__tower_hidden=256, **training), Catalogue(60, 20))
    known = {"image": features(60, 32, seed=1), "text": features(60, 32, seed=2)}
    report = model.fit(context_of(train, tmp_path, features=known))
    # No loss is below that of four answers of equal probability.
    assert report.curve[-1].loss is not None
    assert math.log(4) < report.curve[-1].loss < 1.45
    lists_kept = model.generate(queries(lists, known=False), 4).view("keep")
    np.testing.assert_array_equal(np.sort(lists_kept, axis=1), lists)


@pytest.mark.parametrize("decay_on", ["matrices", "all"])
def test_the_id_of_a_cold_item_stays_unless_it_decays(tmp_path: Path, decay_on: str) -> None:
    train = interactions([[0, 1, 2], [2, 3], [4, 5]], N_ITEMS)
    config = config_of(
        network__width=64, item_views__weight=0.1, bundle_views__weight=0.5, training__decay_on=decay_on, training__learning_rate=1e-3,
        training__max_epochs=60, training__validate_every_epochs=1000,
    )  # fmt: skip
    assert config.training.weight_decay > 0
    network = network_of(config)
    with torch.no_grad():
        # As short as in a catalogue of thousands.
        network.items.id_embedding.weight.mul_(0.14)
    before = network.items.id_embedding.weight.detach().clone()
    module = CLHETraining(network, config, train)
    train_loop(context_of(train, tmp_path), module, batches=lambda _: [np.arange(3)], settings=config.training)
    after = network.items.id_embedding.weight.detach()
    assert not torch.equal(after[0], before[0])
    if decay_on == "matrices":
        assert torch.equal(after[6:], before[6:])
    else:
        assert after[6:].norm(dim=1).max() < 0.05


def test_a_saved_model_gives_the_same_scores_to_the_bit(tmp_path: Path) -> None:
    train = interactions(TRAIN, N_ITEMS)
    model = CLHE(config_of(), Catalogue(N_ITEMS, len(train)))
    model.fit(context_of(train, tmp_path, features={"image": features()}))
    model.save(tmp_path)
    other = CLHE(model.config, Catalogue(N_ITEMS, 5))
    other.load(tmp_path)
    asked = queries([[0, 3], [], [5]], known=False)
    first, second = model.generate(asked, 5), other.generate(asked, 5)
    np.testing.assert_array_equal(first.items, second.items)
    np.testing.assert_array_equal(first.scores, second.scores)
