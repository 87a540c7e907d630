"""HSTU: a forward pass by hand, what a state may depend on, times, losses, and that it learns."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from next_item_case import assert_lists_do_not_depend_on_the_batch
from numpy.typing import NDArray
from torch.nn import functional

from recbench.core import UNKNOWN_TIME, BadConfig, BadRequest, Catalogue, Interactions, Queries, TimeKind
from recbench.core.config import by_dotted_name, nested
from recbench.nn.training import Windows, count_parameters
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunRequest
from recbench.running.run.execute import run_request
from recbench.testing import LightContext, interactions, latest_is_best, queries
from recbench_models.hstu import PLUGIN
from recbench_models.hstu.config import HSTUConfig, NetworkSettings
from recbench_models.hstu.data import padded_times, time_buckets
from recbench_models.hstu.network import HSTUEncoder, HSTULayer, HSTUTraining
from recbench_models.hstu.recommender import HSTU

N_ITEMS = 12
DAY = 86_400
FIRST = 1_400_000_000


def settings_of(**values: Any) -> NetworkSettings:
    return NetworkSettings(**{"width": 8, "n_layers": 2, "n_heads": 2, "head_width": 3, "max_length": 9, "dropout": 0.0, **values})


def encoder_of(**values: Any) -> HSTUEncoder:
    """An encoder with weights large enough that all of them matter."""
    torch.manual_seed(0)
    encoder = HSTUEncoder(settings_of(**values), N_ITEMS)
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            weight.mul_(1 if name.endswith("output.weight") else 20)
    encoder.eval()
    return encoder


def timed(lists: list[list[int]], n_items: int, seconds: NDArray[np.int64]) -> Interactions:
    """Positions with real times beside them."""
    return replace(interactions(lists, n_items), time=TimeKind.POSITION, unix_time=seconds)


def random_train(n_items: int = 40) -> Interactions:
    rng = np.random.default_rng(2)
    lists = [rng.integers(0, n_items, rng.integers(1, 30)).tolist() for _ in range(50)]
    gaps = rng.choice([0, 60, DAY, 40 * DAY], sum(map(len, lists)))
    return timed(lists, n_items, FIRST + np.cumsum(gaps))


def fitted(train: Interactions, folder: Path, **overrides: Any) -> HSTU:
    values = {"network": {"width": 32, "n_layers": 1, "n_heads": 2, "head_width": 16, "dropout": 0.0, "max_length": 12}}
    values |= {"training": {"learning_rate": 5e-3, "max_epochs": 2, "validate_every_epochs": 1000}, "loss": "ce", "n_negatives": 8}
    flat = by_dotted_name(values, HSTUConfig) | by_dotted_name(overrides, HSTUConfig)
    model = HSTU(HSTUConfig.model_validate(nested(flat)), Catalogue(train.n_items, len(train)))
    model.fit(LightContext(train, folder, judge=latest_is_best()))
    return model


def asked(train: Interactions) -> Queries:
    return replace(queries([train[user].tolist() for user in range(len(train))]), timestamp=train.seconds)


# buckets of times


@pytest.mark.parametrize(("seconds", "bucket"), [(0, 0), (1, 0), (2, 2), (DAY, 37), (-DAY, 37), (10**9, 68), (2**62, 128)])
def test_bucket_of_a_difference(seconds: int, bucket: int) -> None:
    found = time_buckets(torch.tensor([[FIRST, FIRST + seconds]]))[0]
    assert found.tolist() == [[0, bucket], [bucket, 0]]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 2**40) | st.just(UNKNOWN_TIME), min_size=1, max_size=6))
def test_buckets_of_a_history(times: list[int]) -> None:
    found = time_buckets(torch.tensor([times]))[0]
    for i, late in enumerate(times):
        for j, early in enumerate(times):
            gap = 0 if UNKNOWN_TIME in (late, early) else abs(late - early)
            # A float32 logarithm may fall on the other side of an edge.
            assert abs(found[i, j].item() - math.log(max(gap, 1)) / 0.301 + 0.5) <= 0.5 + 1e-4
            assert UNKNOWN_TIME not in (late, early) or found[i, j] == 0


def test_times_of_stretches() -> None:
    seconds = np.array([10, 11, UNKNOWN_TIME, 13, 14])
    found = padded_times(seconds, np.array([3, 0]), np.array([2, 3]))
    assert found.tolist() == [[13, 14, UNKNOWN_TIME], [10, 11, UNKNOWN_TIME]]
    assert padded_times(seconds, np.empty(0, np.int64), np.empty(0, np.int64)).shape == (0, 0)


# the network


def reference(encoder: HSTUEncoder, items: list[int], times: list[int]) -> NDArray[np.float64]:
    """States of one history by loops over slots and heads, in float64."""
    weights = {name: weight.double().numpy() for name, weight in encoder.state_dict().items()}

    def silu(x: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = x / (1 + np.exp(-x))
        return result

    def normed(x: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return result

    n, length, longest = len(encoder.layers), len(items), encoder.max_length
    x = math.sqrt(8) * weights["item_embedding.weight"][items] + weights["position_embedding.weight"][longest - length :]
    for layer in range(n):
        matrix, bias = weights[f"layers.{layer}.output.weight"], weights[f"layers.{layer}.output.bias"]
        p = weights[f"layers.{layer}.position_bias"]
        r = weights.get(f"layers.{layer}.time_bias", np.zeros(129))
        gate, value, query, key = np.split(silu(normed(x) @ weights[f"layers.{layer}.gate_value_query_key.weight"].T), 4, axis=1)
        read = np.zeros_like(value)
        for head in (slice(0, 3), slice(3, 6)):
            for i in range(length):
                for j in range(i + 1):
                    bucket = min(int(math.log(max(abs(times[i] - times[j]), 1)) / 0.301), 128)
                    score = query[i, head] @ key[j, head] + p[j - i + longest - 1] + r[bucket]
                    read[i, head] += silu(score) / longest * value[j, head]
        x = x + (gate * normed(read)) @ matrix.T + bias
    states: NDArray[np.float64] = x / np.linalg.norm(x, axis=1, keepdims=True)
    return states


@pytest.mark.parametrize("time_bias", ["own", "none"])
def test_states_equal_a_slow_reference(time_bias: str) -> None:
    encoder = encoder_of(time_bias=time_bias)
    items, times = [3, 1, 4, 1, 5, 9], [FIRST, FIRST, FIRST + 90, FIRST + DAY, FIRST + 9 * DAY, FIRST + 400 * DAY]
    state = functional.normalize(encoder(torch.tensor([items]), torch.tensor([6]), torch.tensor([times])), dim=-1)[0].detach().numpy()
    np.testing.assert_allclose(state, reference(encoder, items, times), atol=2e-5)


@pytest.mark.parametrize("time_bias", ["own", "none"])
def test_a_state_ignores_what_follows_its_slot(time_bias: str) -> None:
    encoder = encoder_of(time_bias=time_bias)
    item, time = torch.randint(0, N_ITEMS, (4, 7)), FIRST + torch.arange(7).expand(4, 7) * DAY
    item_after, time_after = item.clone(), time.clone()
    item_after[:, 4:] = (item[:, 4:] + 1) % N_ITEMS
    time_after[:, 4:] += 50 * DAY
    length = torch.full((4,), 7)
    before, after = encoder(item, length, time), encoder(item_after, length, time_after)
    torch.testing.assert_close(before[:, :4], after[:, :4], atol=1e-6, rtol=0)
    assert (before[:, 4:] - after[:, 4:]).abs().amax(-1).min() > 1e-3


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 2**31))
def test_company_and_padding_change_no_state(lengths: list[int], seed: int) -> None:
    encoder = encoder_of()
    rng = np.random.default_rng(seed)
    item, time = torch.full((len(lengths), 9), N_ITEMS), torch.full((len(lengths), 9), UNKNOWN_TIME)
    for row, length in enumerate(lengths):
        item[row, :length] = torch.from_numpy(rng.integers(0, N_ITEMS, length))
        time[row, :length] = torch.from_numpy(FIRST + np.sort(rng.integers(0, 99 * DAY, length)))
    together = encoder.last_states(item, torch.tensor(lengths), time)
    for row, length in enumerate(lengths):
        alone = encoder.last_states(item[row : row + 1, :length], torch.tensor([length]), time[row : row + 1, :length])
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=0)


def test_times_count_only_where_biases_differ() -> None:
    encoder = encoder_of()
    item, length = torch.randint(0, N_ITEMS, (1, 7)), torch.tensor([7])
    near, far = (FIRST + torch.arange(7)[None] * step for step in (1, 30 * DAY))
    assert (encoder(item, length, near) - encoder(item, length, far)).abs().max() > 1e-3
    # Without times all events count as simultaneous.
    torch.testing.assert_close(encoder(item, length), encoder(item, length, torch.full((1, 7), FIRST)), atol=0, rtol=0)
    with torch.no_grad():
        for layer in encoder.layers:
            layer.time_bias.fill_(0.7)  # type: ignore[union-attr, operator]
    torch.testing.assert_close(encoder(item, length, near), encoder(item, length, far), atol=0, rtol=0)


def test_gates_of_zero_leave_the_output_s_bias_alone() -> None:
    layer = HSTULayer(settings_of())
    with torch.no_grad():
        layer.gate_value_query_key.weight[:6] = 0
        layer.output.bias.copy_(torch.arange(8.0))
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(layer(x, None), x + torch.arange(8.0))


@pytest.mark.parametrize(("time_bias", "n_buckets"), [("own", 129), ("none", 0)])
def test_number_of_weights(time_bias: str, n_buckets: int) -> None:
    d, h, dv, n, layers = 8, 2, 3, 9, 2
    per_layer = d * (2 * h * dv + 2 * h * dv) + h * dv * d + d + (2 * n - 1) + n_buckets
    assert count_parameters(encoder_of(time_bias=time_bias)).total == (N_ITEMS + 1) * d + n * d + layers * per_layer


def test_how_weights_start() -> None:
    torch.manual_seed(0)
    encoder = HSTUEncoder(NetworkSettings(), 1000)
    assert not encoder.item_embedding.weight[1000].any()
    assert encoder.item_embedding.weight[:1000].std().item() == pytest.approx(0.02, rel=0.05)
    assert encoder.position_embedding.weight.std().item() == pytest.approx(math.sqrt(2 / (50 + 64)), rel=0.05)
    layer = encoder.layers[0]
    assert isinstance(layer, HSTULayer)
    assert layer.gate_value_query_key.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert layer.output.weight.abs().max().item() == pytest.approx(math.sqrt(6 / (64 + 64)), rel=0.01)
    assert not layer.output.bias.any()
    assert layer.time_bias is not None
    assert layer.time_bias.std().item() == pytest.approx(0.02, rel=0.3)


def halved(kept: torch.Tensor, whole: torch.Tensor) -> bool:
    """Whether some numbers are those of `whole` doubled, and the others, at least a quarter, are zero: a dropout of a half."""
    share = (kept == 0).float().mean().item()
    torch.testing.assert_close(kept, torch.where(kept == 0, 0.0, 2 * whole), atol=1e-4, rtol=1e-4)
    return 0.25 < share < 0.75


def test_dropout_stands_on_embeddings_and_on_gated_values() -> None:
    item, length = torch.randint(0, N_ITEMS, (6, 9)), torch.full((6,), 9)
    encoder = encoder_of(n_layers=0, dropout=0.5)
    whole = encoder(item, length)
    assert halved(encoder.train()(item, length), whole)
    torch.manual_seed(0)
    layer = HSTULayer(settings_of(width=6, dropout=0.5))
    with torch.no_grad():
        layer.gate_value_query_key.weight *= 50
        layer.output.weight.copy_(torch.eye(6))
    x = torch.randn(6, 9, 6)
    whole = layer.eval()(x, None) - x
    change = layer.train()(x, None) - x
    # The residual is added and taken away again, which leaves an error of rounding.
    assert halved(change.where(change.abs() > 1e-6, 0.0), whole)


# losses


def training_of(loss: str, train: Interactions, **values: Any) -> HSTUTraining:
    config = HSTUConfig.model_validate({"loss": loss, "network": settings_of().model_dump(), **values})
    return HSTUTraining(encoder_of(), config, train, Windows.of(train, 9))


def cosines(state: torch.Tensor, encoder: HSTUEncoder) -> torch.Tensor:
    return functional.normalize(state, dim=-1) @ functional.normalize(encoder.item_ID, dim=-1).T


def test_losses_are_sums_over_targets_and_use_the_temperature() -> None:
    train = timed([[0, 1, 2, 3], [4, 5], [6, 7, 8, 9, 0, 1, 2, 3]], N_ITEMS, FIRST + np.arange(14) * DAY)
    for loss in ("ce", "ssm"):
        module = training_of(loss, train)
        total, n_targets = module(np.arange(3))
        assert n_targets == 3 + 1 + 7
        total.backward()
        for name, weight in module.named_parameters():
            assert weight.grad is not None, name
            assert torch.isfinite(weight.grad).all(), name
            assert weight.grad.any(), name
        assert not module.encoder.item_embedding.weight.grad[N_ITEMS].any()
    module = training_of("ce", train, temperature=0.5)
    time = torch.from_numpy(FIRST + np.arange(4, 6) * DAY)[None]
    state = module.encoder(torch.tensor([[4]]), torch.tensor([1]), time[:, :1])[:, 0]
    expected = functional.cross_entropy(2 * cosines(state, module.encoder), torch.tensor([5]))
    assert module(np.array([1]))[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_windows_in_random_order_keep_their_own_times() -> None:
    train = timed([[0, 1, 2, 3], [4, 5], [6, 7, 8, 9, 0, 1, 2, 3]], N_ITEMS, FIRST + np.arange(14) ** 2 * DAY)
    module = training_of("ce", train, batch_order="random")
    whole, _ = module(np.array([2, 1, 0]))
    assert whole.item() == pytest.approx(sum(module(np.array([row]))[0].item() for row in range(3)), rel=1e-5)
    untimed = training_of("ce", replace(train, unix_time=None), batch_order="random")
    assert abs(untimed(np.array([2, 1, 0]))[0].item() - whole.item()) > 1e-3


def test_a_sampled_target_has_no_weight() -> None:
    # All items but the target, drawn again and again: on average the softmax over the sample, without the target, weighs like the whole.
    train = timed([[0, 1, 2, 3, 4, 5]], 6, FIRST + np.arange(6) * DAY)
    config = HSTUConfig.model_validate({"n_negatives": 200_000, "temperature": 0.5, "network": settings_of().model_dump()})
    torch.manual_seed(1)
    encoder = HSTUEncoder(config.network, 6)
    module = HSTUTraining(encoder, config, train, Windows.of(train, 9))
    found, n_targets = module(np.array([0]))
    state = encoder(torch.arange(5)[None], torch.tensor([5]), torch.from_numpy(FIRST + np.arange(5) * DAY)[None])[0]
    logit = cosines(state, encoder) / 0.5
    target = torch.arange(1, 6)
    is_other = functional.one_hot(target, 6) == 0
    negatives = (logit.exp() * is_other).sum(1) / 6 * 200_000
    own = logit.gather(1, target[:, None])[:, 0]
    expected = (torch.log(own.exp() + negatives) - own).sum()
    assert n_targets == 5
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)


# learning


@pytest.mark.parametrize("loss", ["ce", "ssm"])
def test_learns_a_cycle(loss: str, tmp_path: Path) -> None:
    starts = np.arange(64) * 7
    lists = [[(s + t) % 50 for t in range(10)] for s in starts.tolist()]
    train = timed(lists, 50, FIRST + np.arange(640) * DAY)
    model = fitted(train, tmp_path, loss=loss, batch_size=64, training={"max_epochs": 40, "learning_rate": 1e-2}, n_negatives=16)
    assert (model.generate(asked(train), 1).view("keep")[:, 0] == (starts + 10) % 50).mean() > 0.95


def test_times_tell_what_order_does_not(tmp_path: Path) -> None:
    # After items 0, 1 within a minute comes 2, after 0, 1 within a year comes 3.
    lists = [[0, 1, 2 + user % 2] for user in range(64)]
    gaps = np.array([[0, 30, 30] if user % 2 == 0 else [0, 300 * DAY, 300 * DAY] for user in range(64)])
    train = timed(lists, 4, FIRST + gaps.cumsum(1).ravel())
    model = fitted(train, tmp_path, batch_size=64, training={"max_epochs": 100, "learning_rate": 3e-3})
    questions = queries([[0, 1]] * 2)
    near_and_far = replace(questions, timestamp=np.array([FIRST, FIRST + 30, FIRST, FIRST + 300 * DAY]))
    assert model.generate(near_and_far, 1).view("keep")[:, 0].tolist() == [2, 3]
    # Somebody who is recommended to by item ids alone is somebody all of whose events have the same time.
    at_once = replace(questions, timestamp=np.full(4, FIRST))
    np.testing.assert_array_equal(model.generate(questions, 4).scores, model.generate(at_once, 4).scores)


def test_same_seed_same_weights(tmp_path: Path) -> None:
    train = random_train()
    first, second = (fitted(train, tmp_path / name, loss="ssm", network={"dropout": 0.3}) for name in ("a", "b"))
    for name, weight in first.encoder.state_dict().items():
        torch.testing.assert_close(weight, second.encoder.state_dict()[name], atol=0, rtol=0)


# the plugin


def test_scores_are_cosines_over_the_temperature(tmp_path: Path) -> None:
    train = random_train()
    model = fitted(train, tmp_path)
    questions = asked(train)
    ranked = model.generate(questions, 5)
    score = 20 * cosines(model.encode(questions), model.encoder)
    expected = torch.from_numpy(ranked.scores[0])
    torch.testing.assert_close(score.gather(1, torch.from_numpy(ranked.view("keep")).long()), expected, atol=2e-5, rtol=0)
    assert ranked.scores.max() <= 20.0001


def test_lists_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    train = random_train()
    model = fitted(train, tmp_path)
    questions = asked(train)
    assert_lists_do_not_depend_on_the_batch(model, questions)


def test_a_long_history_is_read_from_its_newest_end(tmp_path: Path) -> None:
    model = fitted(random_train(), tmp_path)
    long, times = list(range(30)), FIRST + np.arange(30) ** 2 * DAY
    questions = [replace(queries([long[-n:]]), timestamp=times[-n:]) for n in (30, 12, 11)]
    state = torch.cat([model.encode(question) for question in questions])
    torch.testing.assert_close(state[0], state[1], atol=1e-5, rtol=0)
    assert (state[0] - state[2]).abs().max() > 1e-4


def test_data_without_times_are_refused_unless_times_do_not_count(tmp_path: Path) -> None:
    train = replace(random_train(), unix_time=None)
    with pytest.raises(BadRequest, match=r"'hstu'.*reads real times.*kind 'position'.*time_bias=none.*cpu-untimed"):
        fitted(train, tmp_path)
    assert fitted(train, tmp_path, network={"time_bias": "none"}).generate(asked(train), 3).items.shape == (2, 50, 3)


def test_other_real_times_are_another_run(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path / "home", None, tmp_path / "runs", tmp_path / "leaderboards")
    outcomes = []
    for name, step in (("a", 1), ("b", DAY)):
        folder = tmp_path / name / "own"
        folder.mkdir(parents=True)
        rows = [f"u{u},i{(u + t) % 7},{t},{FIRST + u + t * step}" for u in range(20) for t in range(6)]
        (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp,unix_time", *rows]) + "\n", encoding="utf-8")
        overrides = {"training.max_steps": 2, "network.max_length": 5}
        request = RunRequest("hstu", str(folder), preset="smoke", threads=1, overrides=overrides)
        outcomes.append(run_request(request, workplace))
    first, second = outcomes
    assert first is not None
    assert second is not None
    assert first.record.fingerprints == second.record.fingerprints
    assert second.is_new
    reused = {stage.name: stage.reused for stage in second.record.stages}
    assert not reused["training-hstu"]
    assert not reused["ranking"]


@pytest.mark.parametrize(
    ("preset", "words", "batch"),
    [
        ("paper", "(ssm, own)", (128, "sequences")),
        ("paper-untimed", "(ssm, none)", (128, "sequences")),
        ("paper-ml-1m", "(ssm, own)", (128, "sequences")),
        ("cpu", "(ce, own)", (1024, "targets")),
        ("cpu-untimed", "(ce, none)", (1024, "targets")),
        ("smoke", "(ce, own)", (1024, "targets")),
    ],
)
def test_presets_resolve(preset: str, words: str, batch: tuple[int, str]) -> None:
    config = PLUGIN.resolve(preset)
    assert isinstance(config, HSTUConfig)
    assert (config.batch_size, config.batch_unit, config.temperature) == (*batch, 0.05)
    assert (config.normalise, config.negatives_from, config.negatives_per, config.mask_hits) == (True, "all", "slot", True)
    assert (config.batch_order, config.windows) == (("random", "newest") if preset.startswith("paper") else ("bucketed", "all"))
    assert PLUGIN.row_name(preset, config) == f"hstu:{preset} {words}"


def test_the_target_s_time_is_out_of_reach() -> None:
    with pytest.raises(BadConfig, match=r"network\.time_bias='target'.*reads the time of the target.*own or none"):
        PLUGIN.resolve("cpu", overrides={"network.time_bias": "target"})


def test_settings_of_the_source_for_each_data_set() -> None:
    settings = {}
    for preset in ("paper", "paper-ml-1m"):
        config = PLUGIN.resolve(preset)
        assert isinstance(config, HSTUConfig)
        net, training = config.network, config.training
        assert (training.learning_rate, training.betas, training.weight_decay) == (1e-3, (0.9, 0.98), 0.0)
        sizes = (net.max_length, net.width, net.n_layers, net.n_heads, net.head_width, net.dropout)
        settings[preset] = (*sizes, config.n_negatives, training.max_epochs)
    assert settings == {"paper": (50, 64, 4, 4, 16, 0.5, 256, 201), "paper-ml-1m": (200, 50, 2, 1, 50, 0.2, 128, 101)}


def test_published_figures_belong_to_presets_that_read_times() -> None:
    # All of them were printed of code that reads times: a run without times gets no verdict from them.
    for published in PLUGIN.card.published:
        config = PLUGIN.resolve(published.preset)
        assert isinstance(config, HSTUConfig)
        assert config.network.time_bias == "own"
