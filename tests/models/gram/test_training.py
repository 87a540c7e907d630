"""Training by user is training by prefix, and it learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gram_case import N_ITEMS, batch, model

from recbench.core import Catalogue
from recbench.core.plugin import Precision
from recbench.nn.training.settings import rate_factor
from recbench.testing import LightContext, interactions, queries
from recbench_models.gram import PLUGIN
from recbench_models.gram.data import Examples
from recbench_models.gram.network import GRAMTraining
from recbench_models.gram.recommender import GRAM

pytestmark = pytest.mark.uncounted

THEMES = ("anchor rope sail deck", "dough oven flour yeast", "comet orbit star moon", "spade soil seed rake", "pedal chain wheel brake")


def titles() -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(THEMES[item % len(THEMES)].split(), 3)) + f" {item}" for item in range(N_ITEMS)]


def trained(lists: list[list[int]], folder: Path, precision: Precision = "fp32", **settings: Any) -> GRAM:
    values = {
        "neighbours.count": 0,
        "training.max_epochs": 1000,
        "training.warmup_steps": 20,
        "training.validate_every_epochs": 1000,
        **settings,
    }
    built = PLUGIN.build(PLUGIN.resolve("smoke", None, values), Catalogue(N_ITEMS, len(lists)))
    assert isinstance(built, GRAM)
    built.fit(LightContext(interactions(lists, N_ITEMS), folder, {"title": titles()}, judge=lambda _: 0.0, precision=precision))
    return built


def loss_and_gradients(gram: GRAM, lists: list[list[int]], rows_at_a_time: int | None) -> tuple[float, dict[str, torch.Tensor], int]:
    """The sum of the losses of all targets' tokens and its gradients, in one batch or in several."""
    network = gram._trained
    examples = Examples(gram.config, interactions(lists, N_ITEMS), gram._user_prompts)
    module = GRAMTraining(network, examples).train()
    rows = np.arange(len(examples.windows))
    total, n_total = 0.0, 0
    network.zero_grad()
    for part in np.array_split(rows, 1 if rows_at_a_time is None else -(-len(rows) // rows_at_a_time)):
        loss, n_targets = module(part)
        read = examples.batch(part)
        label = network.label_IY[torch.from_numpy(read.target_BC[read.target_BC >= 0])]
        # The loss is a mean over tokens times the number of targets: back to the sum over tokens, which does not depend on the parts.
        scaled = loss * ((label != 0).sum() / n_targets)
        scaled.backward()
        total, n_total = total + scaled.item(), n_total + n_targets
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    return total, gradients, n_total


@pytest.mark.parametrize("parts", [{}, {"prompts.user": False}, {"prompts.items": False}, {"prompts.slot_vectors": False}])
def test_packed_by_user_gives_the_loss_and_gradients_of_one_prefix_at_a_time(parts: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, N_ITEMS, length).tolist() for length in (2, 3, 5, 9, 24)]
    packed_loss, packed, n_packed = loss_and_gradients(model(examples={"packing": "user"}, **parts), lists, None)
    apart_loss, apart, n_apart = loss_and_gradients(model(examples={"packing": "none"}, **parts), lists, 1)
    assert n_packed == n_apart == sum(len(row) - 1 for row in lists)
    assert packed_loss == pytest.approx(apart_loss, rel=1e-5)
    assert packed.keys() == apart.keys()
    for name, gradient in packed.items():
        torch.testing.assert_close(gradient, apart[name], rtol=1e-4, atol=1e-4 * float(apart[name].abs().max()), msg=name)


def test_dropout_changes_the_loss_and_seeds_repeat_it() -> None:
    gram = model(backbone={"dropout": 0.3, "attention_dropout": 0.2})
    network, read = gram._trained.train(), batch(gram, [[1, 2, 3, 4], [7, 8]])

    def loss(seed: int) -> float:
        torch.manual_seed(seed)
        return float(network.loss(read)[0].detach())

    with torch.random.fork_rng(devices=[]):
        assert loss(0) == loss(0)
        assert loss(0) != loss(1)


@pytest.mark.parametrize(("packing", "precision", "max_steps"), [("user", "fp32", 90), ("none", "fp32", 180), ("user", "bf16", 90)])
def test_remembers_who_went_where(packing: str, precision: Precision, max_steps: int, tmp_path: Path) -> None:
    # No item belongs to two users, so that every item says which one follows: there is nothing that could not be learnt.
    lists = np.random.default_rng(0).permutation(N_ITEMS)[:30].reshape(-1, 5).tolist()
    sizes = {
        "backbone.width": 64,
        "backbone.hidden": 128,
        "training.max_steps": max_steps,
        "training.learning_rate": 5e-3,
        "training.weight_decay": 0.0,
        "examples.packing": packing,
        "examples.batch_targets": 128,
    }
    built = trained(lists, tmp_path, precision, **sizes)
    examples = Examples(built.config, interactions(lists, N_ITEMS), built._user_prompts)
    with torch.no_grad():
        loss, n_targets = built._trained.loss(examples.batch(np.arange(len(examples.windows))))
    assert loss / n_targets < 0.3  # a tenth of it is usual, and an untrained model has about 4
    asked = queries([row[:place] for row in lists for place in range(1, 5)])
    targets = np.array([row[place] for row in lists for place in range(1, 5)])
    assert (built.generate(asked, 10).view("keep")[:, 0] == targets).mean() > 0.85  # 1 is usual, 1 / 60 is chance


def test_texts_that_mean_something_beat_the_same_model_without_them(tmp_path: Path) -> None:
    # The next item is of the same theme, and no pair of items is seen often: only what names and texts share can be learnt.
    rng = np.random.default_rng(0)
    themes = [[item for item in range(N_ITEMS) if item % len(THEMES) == theme] for theme in range(len(THEMES))]
    lists = [rng.permutation(themes[user % len(THEMES)])[:5].tolist() for user in range(60)]
    asked = queries([row[:-1] for row in lists])
    built = trained([row[:-1] for row in lists], tmp_path, training={"max_steps": 150})
    listed = built.generate(asked, 10).view("unseen")
    of_theme = np.mean([(items % len(THEMES) == user % len(THEMES)).mean() for user, items in enumerate(listed)])
    # Chance is a fifth; 8 of a theme's 12 items are not in the history.
    assert of_theme > 0.6


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    settings = PLUGIN.resolve("paper")
    n_steps, warmup = 1000, 50
    rates = [
        rate_factor(settings.training.schedule, step=step, warmup_steps=warmup, decayed=max(step - warmup, 0) / (n_steps - warmup))
        for step in range(n_steps + 1)
    ]
    assert settings.training.schedule == "linear"
    assert rates[0] == pytest.approx(1 / warmup)
    assert np.argmax(rates) in {warmup - 1, warmup}
    assert max(rates) == 1.0
    assert rates[-1] == 0.0
    np.testing.assert_allclose(np.diff(rates[:warmup]), 1 / warmup)
    np.testing.assert_allclose(np.diff(rates[warmup:]), -1 / (n_steps - warmup))


def test_saved_and_read_again_it_gives_the_same_lists(tmp_path: Path) -> None:
    gram = model(search={"n_beams": N_ITEMS})
    gram.save(tmp_path)
    read = GRAM(gram.config)
    read.load(tmp_path)
    asked = queries([[3, 4, 5], [7], [], list(range(20))])
    before, after = gram.generate(asked, 30), read.generate(asked, 30)
    np.testing.assert_array_equal(before.items, after.items)
    np.testing.assert_array_equal(before.scores, after.scores)
