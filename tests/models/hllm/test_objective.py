"""The loss against loops over Python's floats, its temperature, and which negatives count."""

import math

import hllm_case as case
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import StageFailed
from recbench_models.hllm import objective
from recbench_models.hllm.collapse import Verdict, Watch
from recbench_models.hllm.network import CachedItems
from recbench_models.hllm.objective import Contrast, Temperature, info_nce, unit


def in_loops(query: list, positive: list, pool: list, scale: float, is_false: list) -> float:
    """Equation 1 of the paper, one place at a time."""
    total = 0.0
    for q, p, false in zip(query, positive, is_false, strict=True):
        near = scale * sum(a * b for a, b in zip(q, p, strict=True))
        far = [scale * sum(a * b for a, b in zip(q, n, strict=True)) for n, f in zip(pool, false, strict=True) if not f]
        total += -math.log(math.exp(near) / (math.exp(near) + sum(math.exp(value) for value in far)))
    return total


def drawn(n_places: int, n_pool: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    query, positive, pool = (unit(torch.randn(n, 5, generator=generator)) for n in (n_places, n_places, n_pool))
    return query, positive, pool, torch.rand(n_places, n_pool, generator=generator) < 0.3


@given(st.integers(1, 6), st.integers(1, 7), st.floats(1.0, 30.0), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_loss_is_the_loop_s(n_places: int, n_pool: int, scale: float, seed: int) -> None:
    parts = drawn(n_places, n_pool, seed)
    found = info_nce(*parts[:3], torch.tensor(scale), parts[3])
    assert float(found.loss) == pytest.approx(
        in_loops(*(part.tolist() for part in parts[:3]), scale, parts[3].tolist()), rel=1e-4, abs=1e-5
    )
    assert found.n_candidates.tolist() == (1 + (~parts[3]).sum(1)).tolist()
    assert found.n_negatives == n_pool
    nearer = [
        sum(float(n @ q) > float(p @ q) and not f for n, f in zip(parts[2], false, strict=True))
        for q, p, false in zip(parts[0], parts[1], parts[3], strict=True)
    ]
    assert found.n_in_front.tolist() == nearer


def test_gradients_are_finite_differences() -> None:
    query, positive, pool, is_false = drawn(3, 4, 0)
    given_ = [part.double().requires_grad_() for part in (query, positive, pool, torch.tensor(7.0))]

    def loss(*parts: torch.Tensor) -> torch.Tensor:
        logits = torch.cat([(parts[0] * parts[1]).sum(1, keepdim=True), parts[0] @ parts[2].T], 1) * parts[3]
        logits = logits.masked_fill(torch.cat([torch.zeros(3, 1, dtype=torch.bool), is_false], 1), -torch.inf)
        return (torch.logsumexp(logits, 1) - logits[:, 0]).sum()

    assert torch.autograd.gradcheck(loss, given_)
    expected = torch.autograd.grad(loss(*given_), given_)
    ours = [part.detach().clone().requires_grad_() for part in (query, positive, pool, torch.tensor(7.0))]
    found = torch.autograd.grad(info_nce(*ours, is_false).loss, ours)
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left.double(), right, rtol=1e-4, atol=1e-5)


def test_large_losses_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    query, positive, pool, is_false = drawn(11, 6, 1)
    results = []
    for size in (10**6, 18):
        monkeypatch.setitem(objective._CHUNK_NUMBERS, "cpu", size)
        leaves = [part.clone().requires_grad_() for part in (query, positive, pool)]
        found = info_nce(*leaves, torch.tensor(5.0), is_false)
        found.loss.backward()
        results.append((found, [leaf.grad for leaf in leaves]))
    torch.testing.assert_close(results[0][0].loss, results[1][0].loss)
    assert torch.equal(results[0][0].n_candidates, results[1][0].n_candidates)
    for left, right in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_the_temperature_is_learnt_between_1_and_a_hundredth() -> None:
    learnt = Temperature(None)
    assert learnt.log_scale.item() == pytest.approx(math.log(1 / 0.07))
    for value, clamped in ((10.0, math.log(100)), (-3.0, 0.0)):
        with torch.no_grad():
            learnt.log_scale.fill_(value)
        assert learnt().item() == pytest.approx(math.exp(clamped))
        assert learnt.log_scale.item() == pytest.approx(clamped)
    learnt().backward()
    assert learnt.log_scale.grad.item() != 0
    fixed = Temperature(0.05)
    assert fixed().item() == pytest.approx(20)
    assert not fixed.log_scale.requires_grad


def cached(seed: int = 0, n_items: int = case.N_ITEMS) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_items + 1, case.WIDTH)).astype(np.float32)


@pytest.mark.parametrize(("rule", "same_text_counts"), [("cosine", False), ("id", True), ("both", False)])
def test_a_negative_that_is_the_target_never_counts(rule: str, same_text_counts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = cached()
    vectors[9] = vectors[4]  # another item with the same text
    settings_ = case.config(negatives={"masked": rule, "count": 5})
    pools = {"with": [4, 1, 2, 9, 3], "without": [1, 2, 3] if not same_text_counts else [1, 2, 9, 3]}
    losses, seen = {}, {}
    for name, pool in pools.items():
        monkeypatch.setattr("recbench_models.hllm.network.drawn", lambda n, n_items, pool=pool: torch.tensor(pool))
        training = case.module(CachedItems(vectors, torch.device("cpu")), settings_, [[7, 4]])
        monkeypatch.setattr(training, "_look_at", lambda contrast, name=name: seen.__setitem__(name, contrast))
        losses[name] = case.loss_and_gradients(training, [0])[0]
    torch.testing.assert_close(losses["with"], losses["without"])
    assert seen["with"].n_candidates.tolist() == seen["without"].n_candidates.tolist() == [len(pools["without"]) + 1]


def contrast(n_candidates: int, n_negatives: int = 64) -> Contrast:
    return Contrast(torch.zeros(()), torch.full((8,), n_candidates), torch.zeros(8, dtype=torch.int64), n_negatives)


def test_the_guard_warns_once_and_stops_after_twenty_steps_without_a_choice() -> None:
    watch = Watch()
    verdicts = [watch.saw(contrast(65)) for _ in range(20)] + [watch.saw(contrast(20)) for _ in range(40)]
    assert [v for v in verdicts if v is not Verdict.NOT_YET] == [Verdict.FINE, Verdict.SUSPICIOUS, Verdict.FINE]
    assert "20.0 of 65.0 candidates" in watch.report
    verdicts = [watch.saw(contrast(1)) for _ in range(20)]
    assert verdicts[-1] is Verdict.COLLAPSED


def test_constant_item_vectors_stop_training_with_what_to_change() -> None:
    settings_ = case.config(negatives={"masked": "cosine"})
    training = case.module(CachedItems(np.ones((case.N_ITEMS + 1, case.WIDTH), np.float32), torch.device("cpu")), settings_)
    for step in range(19):
        case.loss_and_gradients(training, [0, 1, 2], seed=step)
    with pytest.raises(StageFailed, match=r"item vectors have collapsed: 1\.0 of 65\.0 candidates.*negatives\.masked=id"):
        case.loss_and_gradients(training, [0, 1, 2])
    healthy = case.module(CachedItems(cached(), torch.device("cpu")), settings_)
    for step in range(40):
        case.loss_and_gradients(healthy, [0, 1, 2], seed=step)
