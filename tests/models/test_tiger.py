"""TIGER: the search against exhaustive scoring, what its codes depend on, and that it learns."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbench.core import Catalogue, Movable, Queries
from recbench.core.plugin import Precision
from recbench.nn.blocks.seq2seq.generator import CodeGenerator
from recbench.nn.blocks.seq2seq.model import START
from recbench.nn.blocks.seq2seq.settings import Seq2SeqSettings
from recbench.nn.codes.catalogue import ItemCodes, make_unique
from recbench.testing import LightContext, interactions, queries
from recbench_models.tiger import PLUGIN
from recbench_models.tiger.recommender import TIGER

THEMES = ("anchor rope sail deck", "dough oven flour yeast", "comet orbit star moon", "spade soil seed rake", "pedal chain wheel brake")
N_ITEMS = 60


def tiny_settings(**changes: Any) -> Seq2SeqSettings:
    sizes = {
        "width": 32,
        "n_encoder_layers": 1,
        "n_decoder_layers": 1,
        "n_heads": 2,
        "head_width": 16,
        "hidden": 64,
        "max_history": 5,
    }
    return Seq2SeqSettings.model_validate(sizes | changes)


def random_codes(n_items: int) -> ItemCodes:
    rng = np.random.default_rng(0)
    return make_unique(rng.integers(0, 4, (n_items, 2)).astype(np.int32), (4, 4))


def titles(n_items: int) -> list[str]:
    """Words of the item's theme in an order of its own, so that texts of one theme are alike and none are equal."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(THEMES[item % len(THEMES)].split(), 6)) + f" {item}" for item in range(n_items)]


def trained(lists: list[list[int]], folder: Path, precision: Precision = "fp32", **settings: Any) -> TIGER:
    values = {
        "generator.dropout": 0.0,
        "training.max_epochs": 1000,
        "training.learning_rate": 1e-2,
        "training.warmup_steps": 10,
        "training.validate_every_epochs": 1000,
    } | settings
    model = PLUGIN.build(PLUGIN.resolve("smoke", None, values), Catalogue(N_ITEMS, len(lists)))
    context = LightContext(interactions(lists, N_ITEMS), folder, {"title": titles(N_ITEMS)}, judge=lambda _: 0.0, precision=precision)
    model.fit(context)
    assert isinstance(model, TIGER)
    return model


@torch.no_grad()
def log_likelihoods(generator: CodeGenerator, asked: Queries) -> np.ndarray:
    """The score of every item for each query, (B, n_items), by teacher forcing: what an exhaustive search would rank by."""
    network = generator.network.eval()
    item_BT, user_B = generator._read(asked)
    length_B = torch.from_numpy(asked.histories.lengths).clamp(1, generator.settings.max_history)
    code_IL = network.item_tokens[: len(generator.codes)]
    input_IL = torch.cat([code_IL.new_full((len(code_IL), 1), START), code_IL[:, :-1]], 1)
    slot_BI = (length_B[:, None] - 1).expand(-1, len(code_IL))
    state_BILD = network.decode(network.encode(item_BT, user_B), input_IL.expand(len(asked), -1, -1), slot_BI)
    log_BILV = torch.log_softmax(state_BILD @ network.t5.shared.weight.T, -1)
    return log_BILV.gather(3, code_IL.expand(len(asked), -1, -1)[..., None]).squeeze(3).sum(2).numpy()


@pytest.mark.parametrize(("attention", "user_tokens"), [("full", 3), ("causal", 0)])
def test_a_beam_as_wide_as_the_catalogue_gives_the_order_of_exhaustive_scores(attention: str, user_tokens: int) -> None:
    settings = tiny_settings(n_beams=N_ITEMS, encoder_attention=attention, user_tokens=user_tokens)
    generator = CodeGenerator(settings, random_codes(N_ITEMS), seed=1)
    asked = queries([[3, 4, 5], [7], [], list(range(20)), [9, 9, 11]])
    rankings = generator.generate(asked, N_ITEMS)
    exhaustive = log_likelihoods(generator, asked)
    for row in range(len(asked)):
        seen = set(asked.histories[row].tolist())
        best = np.argsort(-exhaustive[row], kind="stable")
        for view in asked.views:
            expected = [item for item in best if view == "keep" or item not in seen]
            found = rankings.items[asked.views.index(view), row]
            assert found[found >= 0].tolist() == expected
            np.testing.assert_allclose(rankings.scores[asked.views.index(view), row, : len(expected)], exhaustive[row, expected], atol=2e-5)
    assert rankings.counters["invalid"] == rankings.counters["duplicates"] == 0


def test_user_tokens_tell_users_apart_and_strangers_share_one() -> None:
    asked = replace(queries([[3, 4]] * 3), user_ids=np.array(["a", "b", "a"], object))
    with_tokens = CodeGenerator(tiny_settings(user_tokens=50), random_codes(N_ITEMS), seed=1)
    scores = with_tokens.generate(asked, 5).scores[0]
    np.testing.assert_allclose(scores[0], scores[2], atol=1e-5)
    assert np.abs(scores[0] - scores[1]).max() > 1e-3
    strangers = replace(asked, user=np.full(3, -1, np.int32))
    unknown = with_tokens.generate(strangers, 5).scores[0]
    np.testing.assert_allclose(unknown, unknown[[0, 0, 0]], atol=1e-5)
    without = CodeGenerator(tiny_settings(), random_codes(N_ITEMS), seed=1).generate(asked, 5).scores[0]
    np.testing.assert_allclose(without[0], without[1], atol=1e-5)


def test_all_of_the_network_moves_and_the_trie_with_the_question(tmp_path: Path) -> None:
    CodeGenerator(tiny_settings(), random_codes(N_ITEMS), 0).save(tmp_path)
    model = PLUGIN.build(PLUGIN.resolve("smoke"), Catalogue(N_ITEMS, 1))
    assert isinstance(model, TIGER)
    assert isinstance(model, Movable)
    model.load(tmp_path)
    before = model.generate(queries([[1, 2]]), 5)
    model.to("cpu")
    np.testing.assert_array_equal(model.generate(queries([[1, 2]]), 5).scores, before.scores)
    model.to("meta")
    network = model.generator.network
    assert {part.device.type for part in (*network.parameters(), *network.buffers())} == {"meta"}


def test_codes_do_not_depend_on_events(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    folders = [tmp_path / name for name in ("first", "second")]
    models = [trained(rng.integers(0, N_ITEMS, (8, 4)).tolist(), folder, training={"max_steps": 2}) for folder in folders]
    first, second = (model.generator.codes for model in models)
    np.testing.assert_array_equal(first.code, second.code)
    assert len(np.unique(first.code, axis=0)) == N_ITEMS


@pytest.mark.uncounted
@pytest.mark.parametrize(("attention", "precision"), [("causal", "fp32"), ("causal", "bf16"), ("full", "fp32")])
def test_remembers_which_item_follows(attention: str, precision: Precision, tmp_path: Path) -> None:
    # No item belongs to two users, so that every item says which one follows: there is nothing that could not be learnt.
    lists = np.random.default_rng(0).permutation(N_ITEMS)[:40].reshape(-1, 5).tolist()
    sizes = {
        "training.max_steps": 160,
        "training.learning_rate": 3e-3,
        "training.weight_decay": 0.0,
        "generator.width": 64,
        "generator.hidden": 128,
    }
    model = trained(lists, tmp_path, precision, generator={"encoder_attention": attention}, **sizes)
    asked = queries([row[:place] for row in lists for place in range(1, 5)])
    targets = np.array([row[place] for row in lists for place in range(1, 5)])
    assert (model.generate(asked, 10).view("keep")[:, 0] == targets).mean() > 0.85  # 1 is usual, 1 / 60 is chance


@pytest.mark.uncounted
def test_codes_that_mean_something_beat_shuffled_ones(tmp_path: Path) -> None:
    # The next item is of the same theme, and no pair of items is seen often: only what the codes share can be learnt.
    rng = np.random.default_rng(0)
    themes = [[item for item in range(N_ITEMS) if item % len(THEMES) == theme] for theme in range(len(THEMES))]
    lists = [rng.permutation(themes[user % len(THEMES)])[:5].tolist() for user in range(60)]
    asked = queries([row[:-1] for row in lists])
    hits = []
    for seed in (None, 0):
        model = trained([row[:-1] for row in lists], tmp_path / str(seed), training={"max_steps": 80}, text={"shuffle_seed": seed})
        lists_of_ten = model.generate(asked, 10).view("unseen")
        hits.append(np.mean([row[-1] in listed for row, listed in zip(lists, lists_of_ten, strict=True)]))
    assert hits[0] > hits[1] + 0.2


def test_the_published_presets_have_the_published_sizes() -> None:
    for preset, width in (("original", 128), ("original-13m", 384)):
        config = PLUGIN.resolve(preset)
        assert (
            config.generator.width,
            config.generator.n_heads * config.generator.head_width,
            config.generator.hidden,
            config.generator.user_tokens,
        ) == (width, 384, 1024, 2000)
        assert (config.codes.n_levels, config.codes.codebook_size, config.codes.quantizer, config.generator.encoder_attention) == (
            3,
            256,
            "rqvae",
            "full",
        )


def test_each_published_figure_stands_beside_the_recipe_that_made_it() -> None:
    """Recipes as their sources print them: passes of the RQ-VAE, layers, dropout, rate, targets of a step, user tokens."""
    recipes = {
        "paper": ("rqvae", 6, 0.2, 3e-4, 64, 0),
        "paper-sports": ("rkmeans", 6, 0.2, 1e-4, 256, 0),
        "paper-toys": ("rkmeans", 6, 0.2, 3e-4, 64, 0),
        "paper-paischer": ("rqvae", 6, 0.2, 3e-4, 256, 0),
        "paper-grid": ("rkmeans", 4, 0.1, 5e-4, 256, 0),
    }
    for preset, recipe in recipes.items():
        config = PLUGIN.resolve(preset)
        generator = config.generator
        assert (
            config.codes.quantizer,
            generator.n_decoder_layers,
            generator.dropout,
            config.training.learning_rate,
            generator.batch_targets,
            generator.user_tokens,
        ) == recipe
    rqvae = PLUGIN.resolve("paper").codes.rqvae
    assert (rqvae.hidden, rqvae.latent, rqvae.epochs, rqvae.batch_size, rqvae.weight_decay) == ((768, 512, 256), 128, 8000, 2048, 0.1)
    beside = {(row.dataset, row.preset) for row in PLUGIN.card.published if "cornac" in row.source}
    assert {("beauty", "paper"), ("sports", "paper-sports"), ("toys", "paper-toys"), ("beauty", "paper-grid")} <= beside


def test_asking_before_training_says_so() -> None:
    asked: Queries = queries([[1]])
    with pytest.raises(RuntimeError, match="fit or load"):
        PLUGIN.build(PLUGIN.resolve("smoke"), Catalogue(N_ITEMS, 1)).generate(asked, 5)
