"""The discriminative task: heads, fusion, and its loss beside the generative one."""

import hllm_case as case
import numpy as np
import pytest
import torch
from torch.nn import functional

from recbench.testing import queries
from recbench_models.hllm.answers import Answers
from recbench_models.hllm.network import CachedItems

VECTORS = np.random.default_rng(0).normal(size=(case.N_ITEMS + 1, case.WIDTH)).astype(np.float32)


def settings(fusion: str, **changes: object):
    return case.config(**{"task": "discriminative", "discriminative.fusion": fusion, "negatives.count": 12, **changes})


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_candidates_in_one_pass_have_the_logits_they_have_alone(fusion: str) -> None:
    user = case.user_side(settings(fusion))
    history, candidates = torch.randn(1, 5, case.WIDTH), torch.randn(1, 7, case.WIDTH)
    slot = torch.full((1, 7), 4)
    with torch.no_grad():
        together = user.logits_behind(history, slot, candidates)[0]
        for n in range(7):
            if fusion == "early":
                state = user.tower(torch.cat([history, candidates[:, n : n + 1]], 1))[:, -1:]
                alone = user.head(state)
            else:
                state = user.tower(torch.cat([history, user.user_token[None, None]], 1))[:, -1]
                hidden = user.head.of_user(state) + user.head.of_item(candidates[:, n]) + user.head.of_product(state * candidates[:, n])
                alone = user.head.out(functional.silu(hidden))
            torch.testing.assert_close(together[n], alone.squeeze(), rtol=0, atol=1e-5)


def test_the_user_s_vector_of_late_fusion_does_not_depend_on_the_candidate() -> None:
    user = case.user_side(settings("late"))
    history = torch.randn(1, 5, case.WIDTH)
    with torch.no_grad():
        vectors = user.users_behind(history, torch.full((1, 3), 4))[0]
    torch.testing.assert_close(vectors[0], vectors[2], rtol=0, atol=1e-6)


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_without_the_auxiliary_weight_the_loss_is_the_cross_entropy_of_the_labels(fusion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(fusion, discriminative={"auxiliary_weight": 0.0})
    candidates = np.array([[2, 30, 31], [3, 32, 33]])
    monkeypatch.setattr("recbench_models.hllm.network.HLLMTraining._labelled", lambda self, own, row, target: candidates)
    training = case.module(CachedItems(VECTORS, torch.device("cpu")), config, [[1, 2, 3]])
    loss, n, _ = case.loss_and_gradients(training, [0])
    item = torch.from_numpy(VECTORS)
    expected = 0.0
    with torch.no_grad():
        for place, row in enumerate(candidates):
            history = item[[1, 2][: place + 1]][None]
            logit = training.user.logits_behind(history, torch.full((1, 3), place), item[row][None])[0]
            expected += functional.binary_cross_entropy_with_logits(logit, torch.tensor([1.0, 0.0, 0.0]))
    assert n == 2
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)


def test_the_auxiliary_weight_adds_the_generative_loss() -> None:
    losses = {}
    for weight in (0.0, 0.1, 1.0):
        training = case.module(CachedItems(VECTORS, torch.device("cpu")), settings("late", discriminative={"auxiliary_weight": weight}))
        losses[weight] = float(case.loss_and_gradients(training, [0, 1])[0])
    assert losses[0.0] < losses[0.1] < losses[1.0]


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_the_whole_catalogue_is_ranked_by_the_head(fusion: str) -> None:
    config = settings(fusion)
    user = case.user_side(config)
    asked = queries([[1, 2, 3], [], [4, 4, 9, 12]])
    found = Answers(user, VECTORS, config, 0).rank(asked, 5)
    item = torch.from_numpy(VECTORS)
    for row, history in enumerate(([1, 2, 3], [case.N_ITEMS], [4, 4, 9, 12])):
        with torch.no_grad():
            slot = torch.full((1, case.N_ITEMS), len(history) - 1)
            logit = user.logits_behind(item[history][None], slot, item[None, :-1])[0]
        best = torch.topk(logit, 5)
        np.testing.assert_array_equal(found.items[0, row], best.indices.numpy())
        np.testing.assert_allclose(found.scores[0, row], best.values.numpy(), atol=1e-5)
