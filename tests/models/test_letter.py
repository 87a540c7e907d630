"""LETTER: each loss by hand, what its gradient reaches, how codes start, are assigned and made unique, and the temperature."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits
from torch.nn import functional

from recbench.core import BadConfig, Catalogue
from recbench.nn.blocks import CodeGenerator, CodeTraining, Examples
from recbench.nn.codes import ItemCodes, Quantized, QuantizerSettings, RqvaeExtension, make_unique, train_rqvae
from recbench.nn.codes.quantize.rqvae import Rqvae, RqvaeBatch
from recbench.testing import LightContext, assert_no_leak, interactions, queries
from recbench_models.letter import PLUGIN, item_codes, recommender
from recbench_models.letter.config import DiversitySettings, LETTERConfig
from recbench_models.letter.item_codes import letter_codes, part_collisions, unique_codes
from recbench_models.letter.network import TemperedTraining
from recbench_models.letter.quantizer import (
    LETTERQuantizer,
    alignment_loss,
    balanced_start,
    clusters_of_entries,
    diversity_loss,
    drawn_neighbours,
)
from recbench_models.letter.recommender import LETTER
from recbench_models.sasrec import PLUGIN as SASREC
from recbench_models.tiger import PLUGIN as TIGER

N_ITEMS, WIDTH, LATENT = 90, 12, 4
Array = NDArray[np.float32]
PLAIN = {"alignment.weight": 0.0, "diversity.weight": 0.0, "codes.start": "kmeans", "codes.last_level": "nearest"}


def config_of(**changes: Any) -> LETTERConfig:
    values = {"codes.codebook_size": 8, "codes.n_levels": 2, "codes.rqvae.hidden": (16,), "codes.rqvae.latent": LATENT}
    values |= {"codes.rqvae.epochs": 2, "codes.rqvae.batch_size": 32, "diversity.least": 2}
    config = PLUGIN.resolve("smoke", None, values | changes)
    assert isinstance(config, LETTERConfig)
    return config


def quantizer_settings(config: LETTERConfig) -> QuantizerSettings:
    codes = config.codes
    return QuantizerSettings(quantizer="rqvae", n_levels=codes.n_levels, codebook_size=codes.codebook_size, rqvae=codes.rqvae)


def vectors(n: int = N_ITEMS, width: int = WIDTH, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


@dataclass
class Behaved(LightContext):
    """A context whose SASRec gives these vectors, and which notes what was asked."""

    behaviour: Array | None = None
    asked: tuple[str, Mapping[str, Any]] | None = None

    def item_vectors(self, model: str, **question: Any) -> Array:
        assert self.behaviour is not None, "no vectors were wanted"
        self.asked = model, question
        return self.behaviour


def context_of(folder: Path, behaviour: Array | None = None, n_items: int = N_ITEMS) -> Behaved:
    return Behaved(interactions([[0, 1]], n_items), folder, behaviour=behaviour)


def started(config: LETTERConfig, extension: RqvaeExtension) -> Rqvae:
    torch.manual_seed(0)
    module = Rqvae(torch.from_numpy(vectors()), quantizer_settings(config), extension)
    module.start(quantizer_settings(config), seed=0)
    return module


class Mean(RqvaeExtension):
    level_weight = 0.5


def test_without_its_losses_and_assignment_it_is_the_quantizer_of_tiger_with_levels_averaged(tmp_path: Path) -> None:
    config = config_of(**PLAIN)
    quantized = [
        train_rqvae(context_of(tmp_path / type(extension).__name__), vectors(), quantizer_settings(config), 0, extension)
        for extension in (LETTERQuantizer(config, None), Mean())
    ]
    for one, other in zip(*(vars(result).values() for result in quantized), strict=True):
        np.testing.assert_equal(one, other)
    batch = RqvaeBatch(np.arange(50), is_first=True)
    letter, tiger = started(config, LETTERQuantizer(config, None)), started(config, RqvaeExtension())
    found = tiger.quantizer(tiger.encoder(tiger.vectors[:50]))
    levels = (found.to_entries + tiger.beta * found.to_residuals).sum().item()
    assert tiger(batch)[0].item() - letter(batch)[0].item() == pytest.approx(levels * (1 - 1 / 2), rel=1e-5)


def test_alignment_of_three_items_by_hand() -> None:
    total = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    behaviour = torch.tensor([[1.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    logits = [[1.0, 0.0, 3.0], [2.0, 2.0, 0.0], [2.0, 1.0, 3.0]]
    by_hand = [np.log(np.exp(row).sum()) - row[item] for item, row in enumerate(logits)]
    torch.testing.assert_close(alignment_loss(total, behaviour), torch.tensor(by_hand, dtype=torch.float32))


def test_alignment_pulls_the_encoder_and_leaves_the_vectors_of_behaviour() -> None:
    config = config_of(**PLAIN | {"alignment.weight": 0.7})
    module = started(config, LETTERQuantizer(config, vectors(width=LATENT, seed=1)))
    plain = started(config, Mean())
    rows = np.arange(20, 60)
    loss, same = (part(RqvaeBatch(rows, is_first=True))[0] for part in (module, plain))
    total = plain.quantizer(plain.encoder(plain.vectors[20:60])).total
    aligned = alignment_loss(total, torch.from_numpy(vectors(width=LATENT, seed=1)[20:60])).sum()
    assert loss.item() == pytest.approx((same + 0.7 * aligned).item(), rel=1e-5)
    for value in (loss, same):
        value.backward()
    pulled, unpulled = (part.encoder[0].get_parameter("weight").grad for part in (module, plain))
    assert pulled is not None
    assert unpulled is not None
    assert (pulled - unpulled).abs().max() > 1e-3
    assert [name for name, _ in module.extension.named_parameters()] == []
    assert "extension.behaviour_NZ" not in module.state_dict(), "a checkpoint has no need of them"


def test_diversity_of_two_pairs_by_hand_moves_the_entries_alone() -> None:
    entries = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [0.0, -1.0]], requires_grad=True)
    cluster = torch.tensor([0, 1, 0, 1])
    loss = diversity_loss(torch.tensor([0, 3, 2]), entries, cluster)
    # The only other entry of each cluster is known: 2 for 0, 1 for 3, 0 for 2. Logits are products with all other entries.
    by_hand = [
        np.log(np.exp(0) + np.exp(2) + np.exp(0)) - 2,
        np.log(np.exp(0) + np.exp(-1) + np.exp(-1)) + 1,
        np.log(np.exp(2) + np.exp(1) + np.exp(-1)) - 2,
    ]
    torch.testing.assert_close(loss.detach(), torch.tensor(by_hand, dtype=torch.float32))
    config = config_of(**PLAIN | {"diversity.weight": 0.5})
    module = started(config, LETTERQuantizer(config, None))
    module.train()
    batch = RqvaeBatch(np.arange(40), is_first=True, epoch_seed=3)
    plain = started(config, Mean())
    for part in (module, plain):
        part(batch)[0].backward()
    weights = [dict(part.named_parameters()) for part in (module, plain)]
    moved = {name for name, weight in weights[0].items() if not torch.equal(weight.grad, weights[1][name].grad)}  # type: ignore[arg-type]
    assert moved == {"quantizer.levels.0.weight", "quantizer.levels.1.weight"}


def test_diversity_is_averaged_over_levels() -> None:
    config = config_of(**PLAIN | {"diversity.weight": 0.5})
    extension = LETTERQuantizer(config, None)
    extension.start(vectors(width=LATENT), quantizer_settings(config), 0)
    codebooks = [torch.randn(8, LATENT, generator=torch.Generator().manual_seed(level)) for level in range(2)]
    extension.begin_epoch(codebooks, seed=1)
    code = torch.tensor([[0, 5], [3, 2]])
    torch.manual_seed(0)
    by_hand = sum(diversity_loss(code[:, level], codebooks[level], extension.get_buffer(f"cluster_{level}")) for level in range(2)) / 2
    torch.manual_seed(0)
    found = extension.loss(torch.zeros(2, LATENT), torch.arange(2), code, codebooks)
    torch.testing.assert_close(found, 0.5 * by_hand)


def test_entries_are_clustered_anew_before_every_pass() -> None:
    config = config_of(**PLAIN | {"diversity.weight": 0.5, "diversity.most": 6})
    extension = LETTERQuantizer(config, None)
    extension.start(vectors(width=LATENT), quantizer_settings(config), 0)
    for members in ([0, 1, 2, 3], [0, 2, 4, 6]):
        entries = torch.zeros(8, LATENT)
        entries[members] = 10.0
        extension.begin_epoch([entries, -entries], seed=1)
        for level in range(2):
            cluster = extension.get_buffer(f"cluster_{level}")
            assert torch.nonzero(cluster == cluster[0]).flatten().tolist() == members


@settings(max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 1000))
def test_a_neighbour_is_another_code_of_the_cluster_or_the_code_alone(cluster: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    code = torch.arange(len(cluster)).repeat(3)
    for own, other in zip(code.tolist(), drawn_neighbours(code, torch.tensor(cluster)).tolist(), strict=True):
        assert cluster[own] == cluster[other]
        assert (own == other) == (cluster.count(cluster[own]) == 1)


def test_neighbours_are_drawn_evenly() -> None:
    torch.manual_seed(0)
    cluster = torch.tensor([1, 0, 1, 1, 0, 1])
    drawn = torch.bincount(drawn_neighbours(torch.full((6000,), 2), cluster), minlength=6)
    assert drawn[[1, 2, 4]].tolist() == [0, 0, 0]
    assert drawn[[0, 3, 5]].min() > 1850


@pytest.mark.parametrize("size", [1, 3])
def test_a_code_alone_in_its_cluster_has_no_loss_and_no_gradient(size: int) -> None:
    entries = torch.randn(size, 2, requires_grad=True)
    loss = diversity_loss(torch.zeros(4, dtype=torch.int64), entries, torch.arange(size))
    loss.sum().backward()
    assert loss.tolist() == [0.0] * 4
    assert entries.grad is not None
    assert not entries.grad.any()


@settings(max_examples=30)
@given(size=st.integers(1, 60), n_clusters=st.integers(1, 10), least=st.integers(1, 12), most=st.integers(1, 30))
def test_clusters_of_entries_keep_their_bounds_where_these_can_be_kept(size: int, n_clusters: int, least: int, most: int) -> None:
    chosen = DiversitySettings(n_clusters=n_clusters, least=least, most=most)
    sizes = np.bincount(clusters_of_entries(vectors(size, 3), chosen, seed=0))
    assert sizes.sum() == size
    if n_clusters * least <= size <= n_clusters * most:
        assert len(sizes) == n_clusters
        assert sizes.min() >= least
        assert sizes.max() <= most


def test_a_balanced_start_gives_no_entry_to_an_outlier_and_a_plain_one_does() -> None:
    latent = np.concatenate([vectors(40, 2), np.full((1, 2), 1000, np.float32)])
    chosen = QuantizerSettings(n_levels=1, codebook_size=4)
    plain = RqvaeExtension().start(latent, chosen, 0)[0]
    balanced = balanced_start(latent, chosen, 0)[0]
    assert balanced.shape == plain.shape == (4, 2)
    assert np.abs(plain - 1000).min() == 0
    # It stands for five items at least, and four of them are near 0.
    assert balanced.max() < 300


def test_a_balanced_start_quantises_what_the_levels_before_leave() -> None:
    group = np.repeat(np.arange(4), 10)
    latent = (np.eye(4, dtype=np.float32)[group] * 20 + np.tile([[0.5], [-0.5]], (20, 4))).astype(np.float32)
    codebooks = balanced_start(latent, QuantizerSettings(n_levels=2, codebook_size=4), 0)
    assert np.abs(codebooks[0]).max() > 15
    assert np.abs(codebooks[1]).max() == pytest.approx(0.5)
    assert len(codebooks[1]) == 2, "two different leftovers are two entries"


def test_the_last_level_alone_is_assigned_in_equal_use() -> None:
    config = config_of()
    extension = LETTERQuantizer(config, vectors(width=LATENT))
    residual = torch.linspace(1.0, 2.0, 12)[:, None]
    entries = torch.tensor([[0.0], [-1.0], [-2.0]])
    assert extension.assign(0, residual, entries).tolist() == [0] * 12
    uses = torch.bincount(extension.assign(1, residual, entries), minlength=3)
    assert uses.min() >= 3
    assert uses.max() <= 5
    nearest = LETTERQuantizer(config_of(**{"codes.last_level": "nearest"}), vectors(width=LATENT))
    assert nearest.assign(1, residual, entries).tolist() == [0] * 12


def test_collisions_part_on_the_last_level_without_touching_others() -> None:
    entries = np.array([[0.0], [1.0], [2.0], [3.0]], np.float32)
    codes = np.array([[0, 0], [0, 0], [1, 0], [2, 2], [0, 3]], np.int32)
    residual = np.array([[0.1], [0.9], [0.0], [2.0], [3.0]], np.float32)
    found = part_collisions(codes, residual, entries, rounds=20)
    assert found[2:].tolist() == codes[2:].tolist()
    assert found[:2, 0].tolist() == [0, 0]
    assert found[0, 1] != found[1, 1]
    assert codes[1].tolist() == [0, 0], "what was handed in stays"
    assert part_collisions(codes, residual, entries, rounds=0).tolist() == codes.tolist()


def quantized_of(codes: NDArray[np.int32], latent: Array, codebooks: tuple[Array, ...]) -> Quantized:
    return Quantized(codes, codebooks, latent, (0.5,) * len(codebooks), latent)


@settings(max_examples=25)
@given(n=st.integers(1, 12), size=st.integers(2, 4), rounds=st.integers(0, 3), seed=st.integers(0, 100))
def test_codes_are_unique_whatever_collides(n: int, size: int, rounds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codebooks = tuple(rng.normal(size=(size, 2)).astype(np.float32) for _ in range(2))
    codes = rng.integers(0, size, (n, 2)).astype(np.int32)
    latent = rng.normal(size=(n, 2)).astype(np.float32)[rng.integers(n, size=n)]
    context = LightContext(interactions([[0]], n), Path())
    found = unique_codes(quantized_of(codes, latent, codebooks), config_of(**{"codes.parting_rounds": rounds}).codes, context.log)
    assert len(np.unique(found.code, axis=0)) == n
    assert found.unexplained == (0.5, 0.5)
    np.testing.assert_array_equal(found.code[:, 0], codes[:, 0])
    # More items of one prefix than codes of the last level are told apart by one more level.
    assert found.n_extra == int(np.bincount(codes[:, 0]).max() > size)


def test_items_of_one_code_go_where_their_own_residual_is_near() -> None:
    codebooks = np.zeros((1, 1), np.float32), np.array([[0.0], [5.0], [9.0]], np.float32)
    latent = np.array([[5.0], [8.0]], np.float32)
    found = unique_codes(
        quantized_of(np.array([[0, 1], [0, 1]], np.int32), latent, codebooks),
        config_of(**{"codes.parting_rounds": 0}).codes,
        context_of(Path()).log,
    )
    assert found.code.tolist() == [[0, 1], [0, 2]]


def made(config: LETTERConfig, folder: Path, behaviour: Array | None, texts: Array | None = None) -> tuple[ItemCodes, Behaved]:
    texts = vectors() if texts is None else texts
    context = context_of(folder, behaviour, len(texts))
    return letter_codes(context, texts, config).codes, context


def test_codes_follow_behaviour_as_far_as_it_has_a_weight(tmp_path: Path) -> None:
    pulled = config_of(**{"alignment.weight": 3.0, "alignment.preset": "cpu", "alignment.seed": 4})
    first, context = made(pulled, tmp_path / "first", vectors(width=LATENT, seed=1))
    assert context.asked is not None
    model, question = context.asked
    assert (model, question["preset"], question["seed"]) == ("sasrec", "cpu", 4)
    assert question["overrides"]["network.width"] == LATENT
    other, _ = made(pulled, tmp_path / "other", vectors(width=LATENT, seed=2))
    assert (first.code != other.code).any()
    assert all(len(np.unique(codes.code, axis=0)) == N_ITEMS for codes in (first, other))
    alone, context = made(config_of(**{"alignment.weight": 0.0}), tmp_path / "alone", None)
    assert context.asked is None
    assert len(alone) == N_ITEMS


class Stopped(Exception):
    """What a test wanted to see has been seen."""


@dataclass
class Asked(Behaved):
    """Notes what the key of a stage is made of, in place of making it."""

    key: tuple[Any, Any] | None = None

    def common_stage(self, name: str, build: Callable[[Path], None], **question: Any) -> Path:
        assert question["trains"], "a budget would not end it, nor be a part of its key"
        self.key = question["config"], question["inputs"]
        raise Stopped


def key_of(folder: Path, texts: Array | None = None, behaviour_seed: int = 1, **changes: Any) -> str:
    config = config_of(**changes)
    context = Asked(interactions([[0, 1]], N_ITEMS), folder, behaviour=vectors(width=LATENT, seed=behaviour_seed))
    with pytest.raises(Stopped):
        letter_codes(context, vectors() if texts is None else texts, config)
    return repr(context.key)


def test_codes_are_made_anew_for_other_texts_behaviour_and_settings(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {"texts": vectors(seed=3)},
        {"behaviour_seed": 2},
        {"alignment.weight": 0.2},
        {"alignment.weight": 0.0},
        {"diversity.weight": 0.0},
        {"diversity.n_clusters": 1},
        {"codes.seed": 1},
        {"codes.start": "kmeans"},
        {"codes.last_level": "nearest"},
        {"codes.parting_rounds": 3},
        {"codes.rqvae.epochs": 3},
    ]
    keys = [key_of(tmp_path), *(key_of(tmp_path, **change) for change in changes)]
    assert len(set(keys)) == len(keys)
    assert key_of(tmp_path, temperature=0.7) == keys[0], "what shapes the generator alone leaves the codes"


def test_settings_reach_the_model_of_behaviour_but_for_the_width(tmp_path: Path) -> None:
    chosen = {"training": {"max_steps": 7}, "network": {"dropout": 0.1, "width": 99}}
    _, context = made(config_of(**{"alignment.settings": chosen}), tmp_path, vectors(width=LATENT))
    assert context.asked is not None
    sasrec = SASREC.resolve("smoke", None, context.asked[1]["overrides"])
    assert (sasrec.training.max_steps, sasrec.network.dropout, sasrec.network.width) == (7, 0.1, LATENT)


def test_one_thread_makes_the_codes_whatever_the_run_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def noting(*arguments: Any) -> Quantized:
        seen.append({torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")})
        return train_rqvae(*arguments)

    monkeypatch.setattr(item_codes, "train_rqvae", noting)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threadpool_limits(2, user_api="blas"):
            made(config_of(**PLAIN), tmp_path, None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [{1}]


@pytest.mark.parametrize("n_items", [1, 3, 20])
def test_small_catalogues_and_equal_texts_get_codes(n_items: int, tmp_path: Path) -> None:
    texts = np.zeros((n_items, WIDTH), np.float32)
    texts[n_items // 2 :] = vectors(n_items - n_items // 2)
    codes, _ = made(config_of(), tmp_path, vectors(n_items, LATENT), texts)
    assert len(np.unique(codes.code, axis=0)) == n_items


def test_codes_know_nothing_of_what_is_held_out(tmp_path: Path) -> None:
    short = {"codes.rqvae.epochs": 2, "alignment.settings": {"training.max_steps": 2}, "training.max_steps": 1}
    assert_no_leak(PLUGIN, tmp_path, preset="smoke", overrides=short)


def test_a_temperature_divides_logits_and_1_is_the_loss_of_tiger() -> None:
    config = PLUGIN.resolve("smoke")
    rng = np.random.default_rng(0)
    codes = make_unique(rng.integers(0, 4, (30, 2)).astype(np.int32), (4, 4))
    network = CodeGenerator(config.generator, codes, seed=0).network
    examples = Examples(config.generator, interactions(rng.integers(0, 30, (6, 4)).tolist(), 30), np.array(list("abcdef"), object))
    rows = np.arange(len(examples.windows.n_targets))
    with torch.no_grad():
        assert TemperedTraining(network, examples, 1.0)(rows) == CodeTraining(network, examples)(rows)
        warm, n_targets = TemperedTraining(network, examples, 0.5)(rows)
        item, user, target, slot = examples.tensors(rows, torch.device("cpu"))
        state = network.decode(network.encode(item, user), network.decoder_input(target), slot)
        is_target = target >= 0
        logits = state[is_target] @ network.t5.shared.weight.T / 0.5
        by_hand = functional.cross_entropy(logits.flatten(0, 1), network.written_tokens[target[is_target]].flatten(), reduction="sum")
    torch.testing.assert_close(warm, by_hand)
    assert n_targets == int(is_target.sum())


def test_the_temperature_of_the_settings_is_that_of_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(*_: Any, temperature: float) -> None:
        assert temperature == 0.7
        raise Stopped

    monkeypatch.setattr(recommender, "TemperedTraining", noted)
    context = LightContext(interactions([[0, 1, 2], [2, 3]], 20), tmp_path, {"title": [f"word {row % 7} {row}" for row in range(20)]})
    with pytest.raises(Stopped):
        LETTER(config_of(**PLAIN | {"temperature": 0.7})).fit(context)


def test_clusters_that_cannot_hold_the_entries_are_refused() -> None:
    with pytest.raises(BadConfig, match=r"codebook_size=8 entries cannot be divided .*=2 clusters of 5 to 12"):
        config_of(**{"diversity.least": 5})
    with pytest.raises(BadConfig, match=r"codebook_size=300 .*n_clusters=10 clusters of 10 to 20"):
        PLUGIN.resolve("cpu", None, {"codes.codebook_size": 300, "diversity.most": 20})


def test_the_published_preset_has_the_published_sizes() -> None:
    config = PLUGIN.resolve("paper")
    codes, generator = config.codes, config.generator
    assert (codes.n_levels, codes.codebook_size, codes.rqvae.latent, codes.rqvae.beta) == (4, 256, 32, 0.25)
    assert codes.rqvae.hidden == (2048, 1024, 512, 256, 128, 64)
    assert (config.alignment.weight, config.diversity.weight, config.temperature) == (0.1, 1e-4, 1.0)
    assert (generator.width, generator.n_heads, generator.head_width, generator.hidden, generator.n_beams) == (128, 6, 64, 1024, 20)


def test_the_generator_of_cpu_is_that_of_tiger() -> None:
    letter, tiger = PLUGIN.resolve("cpu"), TIGER.resolve("cpu")
    assert letter.generator == tiger.generator
    assert letter.training == tiger.training
    assert letter.text == tiger.text


def test_asking_before_training_says_so() -> None:
    model = PLUGIN.build(PLUGIN.resolve("smoke"), Catalogue(5, 1))
    assert isinstance(model, LETTER)
    with pytest.raises(RuntimeError, match="fit or load"):
        model.generate(queries([[1]]), 5)
