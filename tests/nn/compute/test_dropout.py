"""Dropout of a byte per number."""

import pytest
import torch

from recbench.nn.compute import Dropout


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_share_is_dropped_and_the_mean_is_kept(share: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    out = Dropout(share)(torch.ones(300, 331, dtype=dtype))
    dropped = min(max(round(256 * share), 1), 255) / 256
    assert out.dtype == dtype
    assert set(out.unique().tolist()) == {0.0, torch.tensor(1 / (1 - dropped), dtype=dtype).item()}
    assert abs((out == 0).double().mean().item() - dropped) < 0.01


def test_views_in_any_order_are_dropped_number_by_number() -> None:
    x = torch.ones(64, 48).T.requires_grad_()
    torch.manual_seed(0)
    out = Dropout(0.25)(x)
    out.sum().backward()
    assert out.shape == (48, 64)
    torch.testing.assert_close(x.grad, out.detach())


def test_nothing_is_dropped_outside_training_or_without_a_share() -> None:
    x = torch.ones(4, 5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
