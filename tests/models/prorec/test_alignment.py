"""The alignment against closed forms, the adapter at its start, and which items are aligned."""

import math

import numpy as np
import prorec_case as case
import pytest
import torch
from torch.nn import functional

from recbench_models.prorec.alignment import Adapter, alignment_loss
from recbench_models.prorec.joint import JointTraining


def aligned(collab: torch.Tensor, adapted: torch.Tensor, temperature: float = 0.1, symmetric: bool = True) -> float:
    return float(alignment_loss(collab, adapted, temperature=temperature, symmetric=symmetric))


def test_closed_forms() -> None:
    assert aligned(torch.ones(7, 5), torch.ones(7, 5)) == pytest.approx(math.log(7), abs=1e-5)
    assert aligned(torch.eye(8), torch.eye(8)) == pytest.approx(math.log(1 + 7 * math.exp(-10)), rel=1e-3)
    assert aligned(torch.randn(1, 4), torch.randn(1, 4)) == 0


def test_items_have_no_order_and_both_directions_count() -> None:
    collab, adapted = torch.randn(9, 6), torch.randn(9, 6)
    order = torch.randperm(9)
    assert aligned(collab, adapted) == pytest.approx(aligned(collab[order], adapted[order]), rel=1e-5)
    one, other = aligned(collab, adapted, symmetric=False), aligned(adapted, collab, symmetric=False)
    assert aligned(collab, adapted) == pytest.approx((one + other) / 2, rel=1e-5)
    assert one != pytest.approx(other, rel=1e-3)


def adapter(**changes: object) -> Adapter:
    return Adapter(case.TEXT_WIDTH, 16, case.config(**changes).adapter, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("condition", ["self", "collab", "none"])
def test_the_adapter_begins_as_layer_normalisation(condition: str) -> None:
    module, vectors, collab = adapter(adapter={"condition": condition}), torch.randn(10, case.TEXT_WIDTH), torch.randn(10, 16)
    with torch.no_grad():
        found = module(vectors, collab)
        torch.testing.assert_close(found, functional.layer_norm(module.project(vectors), (16,)), rtol=0, atol=1e-6)
        torch.testing.assert_close(found.mean(1), torch.zeros(10), rtol=0, atol=1e-5)
        torch.testing.assert_close(found.var(1, unbiased=False), torch.ones(10), rtol=0, atol=1e-3)


def test_the_condition_reaches_scale_and_shift_without_a_gradient_to_behaviour() -> None:
    module = adapter(adapter={"condition": "collab"})
    torch.nn.init.normal_(module.modulate.weight)
    collab = torch.randn(4, 16, requires_grad=True)
    out = module(torch.randn(4, case.TEXT_WIDTH), collab)
    out.sum().backward()
    assert collab.grad is None
    assert module.modulate.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_plain_adapters_have_the_width_of_behaviour(kind: str) -> None:
    assert adapter(adapter={"kind": kind})(torch.randn(3, case.TEXT_WIDTH), torch.randn(3, 16)).shape == (3, 16)


def joint(tmp_path, align_weight: float = 1.0, **changes: object) -> JointTraining:
    return JointTraining(case.context(tmp_path), case.config(**changes), case.text(), align_weight)


def test_an_item_is_aligned_once_however_often_a_batch_holds_it(tmp_path) -> None:
    module = joint(tmp_path)
    once, often = torch.tensor([3, 5, 9]), torch.tensor([9, 5, 5, 3, -1, case.N_ITEMS, 3])
    with torch.no_grad():
        assert float(module._alignment(once)) == pytest.approx(float(module._alignment(often)), rel=1e-5)


def test_detached_behaviour_gets_no_gradient_from_the_alignment(tmp_path) -> None:
    for detached in (False, True):
        module = joint(tmp_path, align={"detach_collab": detached})
        module._alignment(torch.arange(20)).backward()
        gradient = module.encoder.item_embedding.weight.grad
        assert (gradient is None or gradient.abs().sum() == 0) == detached
        assert module.adapter.project.weight.grad.abs().sum() > 0


def test_so_many_items_at_most_are_aligned(tmp_path) -> None:
    module = joint(tmp_path, align={"max_items": 7})
    seen = []
    module.adapter.register_forward_hook(lambda m, inputs, out: seen.append(len(out)))
    module._alignment(torch.arange(50))
    assert seen == [7]


def test_without_alignment_the_encoder_is_trained_as_if_there_were_no_text(tmp_path) -> None:
    losses, tables = [], []
    for text in (case.text(), np.zeros((case.N_ITEMS, case.TEXT_WIDTH), np.float32)):
        module = JointTraining(case.context(tmp_path), case.config(), text, 0.0)
        torch.manual_seed(0)
        loss, _ = module(np.arange(40))
        loss.backward()
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in module.adapter.parameters())
        losses.append(loss.item())
        tables.append(module.encoder.item_embedding.weight.grad.clone())
    assert losses[0] == losses[1]
    assert torch.equal(*tables)
    # The encoder starts alike, whatever the adapter is.
    assert torch.equal(joint(tmp_path, adapter={"kind": "mlp"}).encoder.item_embedding.weight, module.encoder.item_embedding.weight)
