"""S3-Rec: its four tasks, and that fine-tuning is SASRec's."""

import time
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import ANY

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from recbench.core import BadConfig, BadRequest, Catalogue, FitReport, Interactions
from recbench.core.budget import Budget
from recbench.core.config import by_dotted_name, nested
from recbench.core.ragged import Ragged
from recbench.nn.blocks import EncoderSettings, post_norm_encoder
from recbench.nn.training import Stretches
from recbench.nn.training import train as train_for_real
from recbench.testing import LightContext, interactions, queries
from recbench_models.s3rec import PLUGIN
from recbench_models.s3rec.config import PretrainSettings, S3RecConfig
from recbench_models.s3rec.network import Pretraining, PretrainTasks, pair_loss
from recbench_models.s3rec.recommender import S3Rec
from recbench_models.sasrec import PLUGIN as SASREC

N_ITEMS = 20
TEXTS = {
    "categories": [f"All, c{item % 3}, d{item % 4}" for item in range(N_ITEMS)],
    "brand": ["b" if item % 2 else None for item in range(N_ITEMS)],
}
WITHOUT_DROPOUT = {"network": {"width": 16, "hidden": 32, "dropout": 0.0, "max_length": 8}}


def config_of(*layers: Mapping[str, Any]) -> S3RecConfig:
    """Settings without dropout, later layers over earlier ones."""
    values = [by_dotted_name(layer, S3RecConfig) for layer in (WITHOUT_DROPOUT, *layers)]
    return S3RecConfig.model_validate(nested({name: value for layer in values for name, value in layer.items()}))


def pretraining(users: Sequence[Sequence[int]], attributes: Sequence[Sequence[int]], **pretrain: Any) -> Pretraining:
    """The first training over whole sequences, with weights large enough for their effects to be seen."""
    torch.manual_seed(0)
    config = config_of()
    encoder = post_norm_encoder(N_ITEMS, config.network, has_mask=True)
    encoder.causal = False
    settings = PretrainSettings(**pretrain)
    n_attributes = max(max(row, default=0) for row in attributes) + 1
    tasks = PretrainTasks(config.network.width, Ragged.from_lists(attributes), n_attributes, settings.pair_loss)
    with torch.no_grad():
        for weight in [*encoder.parameters(), *tasks.parameters()]:
            weight.add_(torch.randn_like(weight) * 0.3)
        encoder.item_embedding.weight[N_ITEMS].zero_()
    return Pretraining(encoder, tasks, settings, Stretches.tiles(interactions(users, N_ITEMS), config.network.max_length))


ATTRIBUTES = [[item % 3, 3 + item % 4] for item in range(N_ITEMS)]


def losses(module: Pretraining, seed: int = 0) -> dict[str, float]:
    torch.manual_seed(seed)
    with torch.no_grad():
        return {task: float(loss) for task, loss in module.losses(np.arange(len(module._examples))).items()}


# tasks


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_the_published_pair_loss_ends_at_0_313(true: float, false: float) -> None:
    bounded = pair_loss(torch.tensor([true]), torch.tensor([false]), "sigmoid").item()
    assert 0.3132 < bounded < 1.3134
    assert pair_loss(torch.tensor([true]), torch.tensor([false]), "logit").item() == pytest.approx(np.logaddexp(0, false - true), abs=1e-5)


def test_equal_segments_cannot_be_told_apart() -> None:
    # All items are one item, so that every segment is every other.
    for kind in ("sigmoid", "logit"):
        module = pretraining([[7] * 6, [7] * 3, [7]], ATTRIBUTES, pair_loss=kind)
        assert losses(module)["hidden segments"] == pytest.approx(2 * np.log(2), rel=1e-5)


def test_segments_of_other_items_can() -> None:
    module = pretraining([[1, 2, 3, 4, 5, 6], [7, 8, 9]], ATTRIBUTES, pair_loss="logit")
    assert abs(losses(module)["hidden segments"] - 2 * np.log(2)) > 1e-3


def test_attributes_of_hidden_items_enter_one_task_and_those_of_seen_items_the_other() -> None:
    users = [[1, 2, 3, 4]]
    changed = {item: [[0, 4] if row == item else attributes for row, attributes in enumerate(ATTRIBUTES)] for item in range(N_ITEMS)}
    before = losses(pretraining(users, ATTRIBUTES, mask_rate=0.5))
    torch.manual_seed(0)
    is_hidden = torch.rand(1, 4)[0] < 0.5
    is_hidden[-1] = True
    assert 1 < is_hidden.sum() < 4, "the seed hides some of the items"
    for item, hidden in zip(users[0], is_hidden.tolist(), strict=True):
        after = losses(pretraining(users, changed[item], mask_rate=0.5))
        moved = {task for task in before if abs(before[task] - after[task]) > 1e-4}
        assert moved == {"attributes of hidden" if hidden else "attributes of seen"}
    untouched = losses(pretraining(users, changed[9], mask_rate=0.5))
    assert untouched == before


def test_attribute_loss_is_the_cross_entropy_of_every_attribute() -> None:
    attributes = [[0, 2], [], [1]]
    tasks = PretrainTasks(8, Ragged.from_lists(attributes), 4, "sigmoid")
    state_SD, item_S = torch.randn(4, 8), torch.tensor([2, 0, 1, 0])
    has_SA = torch.tensor([[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0]]).float()
    for loss, project in ((tasks.attributes_of_seen, tasks.of_seen), (tasks.attributes_of_hidden, tasks.of_hidden)):
        logit_SA = project(state_SD) @ tasks.attribute_embedding.weight.T
        expected = functional.binary_cross_entropy_with_logits(logit_SA, has_SA, reduction="sum")
        torch.testing.assert_close(loss(state_SD, item_S), expected)


def test_the_item_task_compares_the_hidden_item_with_another() -> None:
    # With 19 of 20 items in the sequence there is one other.
    torch.manual_seed(0)
    config = config_of({"network": {"max_length": 19}})
    encoder = post_norm_encoder(N_ITEMS, config.network, has_mask=True)
    encoder.causal = False
    tasks = PretrainTasks(16, Ragged.from_lists(ATTRIBUTES), 7, "logit")
    module = Pretraining(encoder, tasks, PretrainSettings(mask_rate=0.0), Stretches.tiles(interactions([range(19)], N_ITEMS), 19))
    item_BT = torch.tensor([[*range(18), encoder.mask_row]])
    state_D = encoder(item_BT, torch.tensor([19]))[0, 18]
    query_D, item_ID = tasks.of_item(state_D), encoder.item_ID
    expected = -functional.logsigmoid(query_D @ item_ID[18] - query_D @ item_ID[19])
    assert losses(module)["hidden items"] == pytest.approx(expected.item(), rel=1e-4)


def test_the_loss_weighs_the_tasks_and_counts_sequences() -> None:
    weights = {"attribute_weight": 0.3, "item_weight": 2.0, "hidden_attribute_weight": 0.7, "segment_weight": 1.5}
    module = pretraining([[1, 2, 3, 4], [5, 6], [7]], ATTRIBUTES, **weights)
    parts = losses(module)
    torch.manual_seed(0)
    total, n = module(np.arange(3))
    assert n == 3
    expected = zip(weights.values(), ("attributes of seen", "hidden items", "attributes of hidden", "hidden segments"), strict=True)
    assert total.item() == pytest.approx(sum(weight * parts[task] for weight, task in expected), rel=1e-5)
    total.backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in module.parameters())


def test_sequences_are_trained_alike_in_any_company() -> None:
    # With these weights nothing that is drawn counts: the newest item alone is hidden.
    users = [[*range(19)], [5]]
    config = config_of({"network": {"max_length": 19}})
    torch.manual_seed(0)
    encoder = post_norm_encoder(N_ITEMS, config.network, has_mask=True)
    encoder.causal = False
    tasks = PretrainTasks(16, Ragged.from_lists(ATTRIBUTES), 7, "sigmoid")
    settings = PretrainSettings(mask_rate=0.0, segment_weight=0.0, item_weight=0.0)
    module = Pretraining(encoder, tasks, settings, Stretches.tiles(interactions(users, N_ITEMS), 19))
    with torch.no_grad():
        together = module(np.array([0, 1]))[0].item()
        assert together == pytest.approx(module(np.array([0]))[0].item() + module(np.array([1]))[0].item(), rel=1e-5)


# fine-tuning


class Asked(NamedTuple):
    """What a model asked of the training loop."""

    module: nn.Module
    arguments: dict[str, Any]


LOOP_OF_NEXT_ITEMS = "recbench.nn.training.next_item_training.train"


def asked_of_the_loop(model: Any, train: Interactions, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = []

    def train_nothing(context: LightContext, module: nn.Module, **arguments: Any) -> FitReport:
        asked.append(Asked(module, arguments))
        return FitReport()

    monkeypatch.setattr(LOOP_OF_NEXT_ITEMS, train_nothing)
    model.fit(LightContext(train, folder, TEXTS))
    (only,) = asked
    return only


def test_without_pretraining_it_is_sasrec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    train = interactions([rng.integers(0, 100, rng.integers(2, 70)).tolist() for _ in range(300)], 100)
    catalogue = Catalogue(100, len(train))
    models = (
        SASREC.build(SASREC.resolve("s3rec"), catalogue),
        PLUGIN.build(PLUGIN.resolve("paper", overrides={"pretrain.epochs": 0}), catalogue),
    )
    sasrec, ours = (asked_of_the_loop(model, train, tmp_path, monkeypatch) for model in models)
    assert (sasrec.arguments["name"], ours.arguments["name"]) == ("training", "finetune")
    # The budget of the run: nothing was spent on pre-training.
    assert (sasrec.arguments["budget"], ours.arguments["budget"]) == (None, Budget(started_at=ANY))
    assert ours.arguments.keys() == sasrec.arguments.keys()
    assert all(ours.arguments[name] == sasrec.arguments[name] for name in ("settings", "examples_possible"))
    batches, expected = ours.arguments["batches"](3), sasrec.arguments["batches"](3)
    assert len(batches) == len(expected) == 2
    assert all(map(np.array_equal, batches, expected))

    table = "encoder.item_embedding.weight"
    weights = sasrec.module.state_dict()
    ours.module.load_state_dict(weights | {table: torch.cat([weights[table], ours.module.state_dict()[table][101:]])})
    for module in (sasrec.module, ours.module):
        torch.manual_seed(1)
        loss, n_targets = module.train()(batches[0])
        (loss / n_targets).backward()
    gradients = {name: weight.grad for name, weight in ours.module.named_parameters()}
    gradients[table], of_mask = gradients[table].split([101, 1])
    assert not of_mask.any()
    expected_gradients = {name: weight.grad for name, weight in sasrec.module.named_parameters()}
    assert gradients.keys() == expected_gradients.keys()
    # Not to the last bit: several threads add up the gradients of a table's rows in any order.
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-5, atol=1e-7)


def test_number_of_weights() -> None:
    # sasrec:s3rec on beauty has 877,824; MASK is one more row.
    encoder = post_norm_encoder(12_101, EncoderSettings(), has_mask=True)
    assert sum(weight.numel() for weight in encoder.parameters()) == 877_824 + 64


# the plugin


def fitted(train: Interactions, folder: Path, *, budget: Budget | None = None, texts: Any = TEXTS, **overrides: Any) -> tuple[S3Rec, Any]:
    values = {"training": {"learning_rate": 5e-3, "validate_every_epochs": 1000, "max_epochs": 2}, "batch_size": 16}
    config = config_of(values, overrides)
    model = S3Rec(config, Catalogue(train.n_items, len(train)))
    # Every validation is better than the one before it: the last weights are taken.
    rising = count()
    context = LightContext(train, folder, texts, judge=lambda _: float(next(rising)), budget=budget or Budget())
    return model, model.fit(context)


def some_users() -> Interactions:
    rng = np.random.default_rng(2)
    return interactions([rng.integers(0, N_ITEMS, rng.integers(0, 14)).tolist() for _ in range(30)], N_ITEMS)


def test_it_looks_both_ways_in_pretraining_and_back_alone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def watched(context: LightContext, module: Any, *, name: str, **arguments: Any) -> FitReport:
        seen[name] = (module.encoder.causal, "ranker" in arguments)
        return train_for_real(context, module, name=name, **arguments)

    for loop in ("recbench_models.s3rec.recommender.train", LOOP_OF_NEXT_ITEMS):
        monkeypatch.setattr(loop, watched)
    model, _ = fitted(some_users(), tmp_path, pretrain={"epochs": 1})
    assert seen == {"pretrain": (False, False), "finetune": (True, True)}
    state = model.encoder(torch.tensor([[1, 2, 3], [1, 2, 9]]), torch.tensor([3, 3]))
    torch.testing.assert_close(state[0, :2], state[1, :2])


def test_both_trainings_are_reported(tmp_path: Path) -> None:
    train = some_users()
    model, report = fitted(train, tmp_path, pretrain={"epochs": 2, "batch_size": 50, "examples": "one-per-user"})
    n_users, n_windows = int((train.lengths > 0).sum()), int((train.lengths > 1).sum())
    assert report.steps == 2 * 1 + 2 * -(-n_windows // 16)
    assert n_users <= 50
    assert report.examples_seen == 2 * report.examples_possible
    assert report.curve[-1].step == report.chosen["step"] == report.steps
    lists = model.generate(queries([[], [1, 2], list(range(18))]), N_ITEMS).view("keep")
    assert (np.sort(lists, 1) == np.arange(N_ITEMS)).all()


def test_pretraining_moves_the_first_weights_of_finetuning(tmp_path: Path) -> None:
    train = some_users()
    with_it, _ = fitted(train, tmp_path / "with", pretrain={"epochs": 1})
    without, report = fitted(train, tmp_path / "without", pretrain={"epochs": 0}, texts={})
    assert report.steps == 2 * -(-int((train.lengths > 1).sum()) // 16)
    assert np.abs(with_it.item_vectors() - without.item_vectors()).max() > 1e-3


def test_pretraining_spends_its_share_of_a_budget(tmp_path: Path) -> None:
    _, report = fitted(
        some_users(),
        tmp_path,
        budget=Budget("steps", 10),
        pretrain={"epochs": 50, "budget_share": 0.4, "batch_size": 5},
        training={"max_epochs": 50},
    )
    assert report.steps == 10
    assert report.stopped_by == "budget"
    # One validation, of fine-tuning alone.
    assert [point.step for point in report.curve if point.validation] == [10]


def test_items_without_attributes_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"attributes\.fields"):
        fitted(some_users(), tmp_path, texts={"title": ["t"] * N_ITEMS}, pretrain={"epochs": 1})


@pytest.mark.uncounted
def test_overfits_a_cycle(tmp_path: Path) -> None:
    began = time.process_time()
    starts = np.arange(64) * 7
    train = interactions([[(s + t) % 50 for t in range(10)] for s in starts.tolist()], 50)
    texts = {"categories": [f"All, c{item // 5}" for item in range(50)]}
    model, _ = fitted(
        train,
        tmp_path,
        texts=texts,
        batch_size=64,
        training={"max_epochs": 150, "learning_rate": 1e-2},
        pretrain={"epochs": 5, "examples": "one-per-user"},
        network={"max_length": 12, "width": 32},
    )
    ranked = model.generate(queries([train[user].tolist() for user in range(64)]), 1)
    # Items of a user's own history are never negatives, so that only the view without them says what was learnt.
    assert (ranked.view("unseen")[:, 0] == (starts + 10) % 50).mean() > 0.95
    assert time.process_time() - began < 20


@pytest.mark.parametrize("preset", ["paper", "paper-100", "cpu", "cpu-no-pretraining", "smoke"])
def test_presets_resolve(preset: str) -> None:
    config = PLUGIN.resolve(preset)
    assert isinstance(config, S3RecConfig)
    assert PLUGIN.row_name(preset, config) == f"s3rec:{preset} (categories+brand)"
    changed = PLUGIN.resolve(preset, overrides={"pretrain.pair_loss": "logit"})
    assert PLUGIN.row_name(preset, changed) == f"s3rec:{preset} (categories+brand, pair_loss=logit)"


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(BadConfig, match="width=64 is not a multiple of n_heads=3"):
        PLUGIN.resolve("paper", overrides={"network.n_heads": 3})
