"""DIN and the causal encoder: padding, windows, negatives, and that stage 1 learns what it should."""

from pathlib import Path

import numpy as np
import prorec_case as case
import pytest
import torch
from torch import nn

from recbench.testing import queries
from recbench_models.prorec.collaborative import DIN, sequences_as_tensors
from recbench_models.prorec.joint import JointTraining, joint_vectors


def din() -> DIN:
    torch.manual_seed(0)
    encoder = DIN(case.N_ITEMS, case.config().collaborative).eval()
    nn.init.normal_(encoder.item_embedding.weight)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean)
    return encoder


def test_the_first_layer_is_that_of_the_concatenation() -> None:
    """A matrix over [t, h, t - h, t * h] is three: over t, over h, over t * h."""
    encoder = din()
    t, h = torch.randn(5, 16), torch.randn(5, 16)
    whole = torch.cat([encoder.of_candidate.weight, encoder.of_history.weight, torch.zeros(16, 16), encoder.of_product.weight], 1)
    expected = torch.cat([t, h, t - h, t * h], 1) @ whole.T + encoder.of_candidate.bias
    found = encoder.of_candidate(t) + encoder.of_history(h) + encoder.of_product(t * h)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_places_before_the_history_add_nothing() -> None:
    encoder = din()
    history, candidates = torch.randn(1, 10, 16), torch.randn(1, 4, 16)
    is_real = torch.arange(10)[None] >= 6
    changed = history.clone()
    changed[:, :6] = 7.0
    with torch.no_grad():
        torch.testing.assert_close(encoder.scores(history, is_real, candidates), encoder.scores(changed, is_real, candidates))
        assert not torch.allclose(
            encoder.scores(history, is_real, candidates), encoder.scores(history, torch.ones_like(is_real), candidates)
        )


def test_windows_cover_every_place_once() -> None:
    assert din().is_in_GT.sum(0).tolist() == [1.0] * 10
    assert din().is_in_GT.sum(1).tolist() == [4, 2, 2, 1, 1]
    with pytest.raises(Exception, match=r"add up to 5, not to history=10"):
        case.config(collaborative={"din.windows": [3, 2]})


def test_a_target_among_the_negatives_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = din()
    windows = encoder.windows(case.walks())
    item, length, target = sequences_as_tensors(windows, np.array([5]), case.N_ITEMS, torch.device("cpu"))
    wanted = int(target.max())
    others = [row for row in range(3) if row != wanted][:2]
    losses = []
    for drawn in ([*others, wanted, wanted], others):
        monkeypatch.setattr(torch, "randint", lambda *a, drawn=drawn, **k: torch.tensor([drawn]))
        with torch.no_grad():
            losses.append(float(encoder.loss(encoder.item_embedding.weight, item, length, target)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["din", "sasrec"])
def test_stage_1_learns_both_tasks(encoder: str, tmp_path: Path) -> None:
    config = case.config(collaborative={"encoder": encoder, "sasrec.heads": 2}, joint={"max_epochs": 8, "learning_rate": 1e-2})
    context = case.context(tmp_path)
    before = JointTraining(context, config, case.text(), 1.0)
    found = joint_vectors(context, config, case.text(), tmp_path, align_weight=1.0)
    assert found.adapted is not None

    def match(collab: np.ndarray, adapted: np.ndarray) -> tuple[float, float]:
        left, right = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (collab, adapted))
        cosine = left @ right.T
        own = float(np.diag(cosine).mean())
        return own, float((cosine.sum() - np.trace(cosine)) / (cosine.size - len(cosine)))

    with torch.no_grad():
        start = match(before.encoder.item_embedding.weight[:-1].numpy(), before.vectors()[1].numpy())
    end = match(found.collab, found.adapted)
    assert end[0] - start[0] > 0.2
    assert end[0] - start[0] > end[1] - start[1]
    of_behaviour = case.clusters()[0]
    unit = found.collab / np.linalg.norm(found.collab, axis=1, keepdims=True)
    near = unit @ unit.T
    same = of_behaviour[:, None] == of_behaviour
    np.fill_diagonal(same, False)
    assert near[same].mean() > near[~same].mean()


def test_the_causal_encoder_ranks_for_validation(tmp_path: Path) -> None:
    module = JointTraining(case.context(tmp_path), case.config(collaborative={"encoder": "sasrec"}), case.text(), 0.0)
    lists = module.generate(queries([[1, 2], [], [5]]), 10)
    assert lists.items.shape == (2, 3, 10)
    assert not np.isin(lists.view("unseen")[0], [1, 2]).any()


def test_sequences_may_read_the_sum_of_both_vectors(tmp_path: Path) -> None:
    module = JointTraining(case.context(tmp_path), case.config(joint={"sequence_input": "integrated"}), case.text(), 0.0)
    loss, _ = module(np.arange(30))
    loss.backward()
    assert module.adapter.project.weight.grad.abs().sum() > 0
