"""A step's loss and gradients: by the tower or from the cache, every item encoded once or at each place, in one process or in two."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import hllm_case as case
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from recbench_models.hllm.network import CachedItems, HLLMTraining
from recbench_models.hllm.objective import unit

ROWS = [0, 1, 2, 5, 8]


def by_hand(training: HLLMTraining, rows: list[int], seed: int) -> Tensor:
    """The mean-free loss with every place encoded on its own, sequence by sequence, negative by negative."""
    tower, user, windows = training.items, training.user, training._windows
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pool = torch.randint(case.N_ITEMS, (training._config.negatives.count,)).tolist()
    negatives = [unit(user.projected(tower(np.array([item]))))[0] for item in pool]
    loss = torch.zeros(())
    item_BT, target_BT = windows.padded(np.array(rows), case.N_ITEMS)
    for items, targets in zip(item_BT, target_BT, strict=True):
        history = [int(item) for item in items if item < case.N_ITEMS]
        states = user.tower(torch.stack([user.projected(tower(np.array([item])))[0] for item in history])[None])[0]
        for slot in range(len(history)):
            if targets[slot] < 0:
                continue
            query = unit(states[slot])
            near = query @ unit(user.projected(tower(targets[slot : slot + 1])))[0]
            far = [query @ vector for item, vector in zip(pool, negatives, strict=True) if item != targets[slot]]
            logits = torch.stack([near, *far]) * user.temperature()
            loss = loss + torch.logsumexp(logits, 0) - logits[0]
    return loss


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_encoding_every_item_once_changes_neither_loss_nor_gradients(kind: str) -> None:
    training = case.module(case.tower(kind), case.config(negatives={"count": 15}))
    loss, n, gradients = case.loss_and_gradients(training, ROWS, seed=4)
    training.zero_grad()
    expected = by_hand(training, ROWS, seed=4)
    expected.backward()
    assert n == int(training._windows.n_targets[ROWS].sum())
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-5, atol=1e-4)
    for name, parameter in training.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-4)


def test_the_cache_of_a_frozen_tower_gives_what_the_tower_gives() -> None:
    tower = case.tower(item={"layers": "none", "pooling": "mean"})
    settings = case.config(item={"layers": "none", "pooling": "mean"}, negatives={"count": 20})
    with torch.no_grad():
        vectors = tower(np.arange(case.N_ITEMS + 1)).numpy()
    before = {name: p.clone() for name, p in tower.named_parameters()}
    user = case.user_side(settings)
    results = []
    for items in (tower, CachedItems(vectors, torch.device("cpu"))):
        loss, _, gradients = case.loss_and_gradients(case.module(items, settings, user=user), ROWS)
        results.append((loss, {name: g for name, g in gradients.items() if name.startswith("user.")}))
        assert all(name.startswith("user.") for name in gradients)
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(results[1][1][name], gradient, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(p, before[name]) for name, p in tower.named_parameters())


def test_what_fills_up_a_batch_changes_nothing() -> None:
    """Short sequences have the same loss beside long ones, and the filler's vector gets no gradient."""
    vectors = np.random.default_rng(0).normal(size=(case.N_ITEMS + 1, case.WIDTH)).astype(np.float32)
    settings, events = case.config(negatives={"count": 12}), [[1, 2, 3], [4, 5, 6, 7, 8, 9], [3, 9]]
    user = case.user_side(settings)
    losses = []
    for filler in (0.0, 100.0):
        vectors[-1] = filler
        items = CachedItems(vectors, torch.device("cpu"))
        losses.append(
            [case.loss_and_gradients(case.module(items, settings, events, user=user), rows)[0] for rows in ([0, 1, 2], [0], [1], [2])]
        )
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(losses[0][0], sum(losses[0][1:], torch.zeros(())), rtol=1e-5, atol=1e-4)


def test_towers_of_different_width_meet_in_one_matrix() -> None:
    settings = case.config(user={"width": 16, "heads": 2, "key_heads": 1})
    user = case.user_side(settings)
    assert user.projection is not None
    assert user.projection.weight.shape == (16, case.WIDTH)
    gradients = case.loss_and_gradients(case.module(case.tower(), settings, user=user), ROWS)[2]
    assert gradients["user.projection.weight"].abs().sum() > 0
    assert case.user_side().projection is None
    forced = case.user_side(case.config(user={"projection": True}))
    assert torch.equal(forced.projection.weight, torch.eye(case.WIDTH))
    with pytest.raises(ValueError, match="projection=false"):
        case.user_side(case.config(user={"width": 16, "heads": 2, "key_heads": 1, "projection": False}))


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two gloo processes wrote what they computed."""
    out = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [sys.executable, str(Path(__file__).parent / "hllm_child.py"), str(out)]
    children = [
        subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for child in children:
        _, log = child.communicate(timeout=150)
        assert child.returncode == 0, log
    return out


@pytest.mark.slow
def test_two_processes_share_their_negatives_and_have_one_process_s_gradients(two_ranks: Path) -> None:
    from hllm_child import POOLS, ROWS_OF, one_process

    loss, n, gradients = one_process()
    facts = [json.loads((two_ranks / f"facts-{rank}.json").read_text()) for rank in range(2)]
    assert [fact["n_negatives"] for fact in facts] == [sum(map(len, POOLS))] * 2
    assert sum(fact["n"] for fact in facts) == n == int(sum(len(rows) for rows in ROWS_OF) * 3)
    assert sum(fact["loss"] for fact in facts) == pytest.approx(float(loss), rel=1e-5)
    summed = [load_file(two_ranks / f"gradients-{rank}.safetensors") for rank in range(2)]
    assert any(gradient.abs().sum() > 0 for name, gradient in summed[1].items() if name.startswith("items."))
    for name, gradient in gradients.items():
        torch.testing.assert_close(summed[0][name] + summed[1][name], gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["whole", "spread"])
def test_two_processes_train_to_the_same_lists_with_weights_whole_or_spread(two_ranks: Path, kind: str) -> None:
    trained = [np.load(two_ranks / f"{kind}-{rank}.npz") for rank in range(2)]
    reference = np.load(two_ranks / "whole-0.npz")
    for part in trained:
        np.testing.assert_allclose(part["scores"], reference["scores"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(part["vectors"], reference["vectors"], rtol=0, atol=1e-4)
    assert (two_ranks / f"saved-{kind}" / "user.safetensors").is_file()
