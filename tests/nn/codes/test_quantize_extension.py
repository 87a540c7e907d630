"""What a model may add to the training of an RQ-VAE: nothing changes nothing, and each hook does what it says."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recbench.core import Interactions, Interrupted, TimeKind
from recbench.nn.codes.quantize.quantized import FloatArray
from recbench.nn.codes.quantize.rqvae import Rqvae, RqvaeBatch, RqvaeExtension, train_rqvae
from recbench.nn.codes.quantize.settings import QuantizerSettings, RQVAESettings
from recbench.nn.codes.quantize.sinkhorn import sinkhorn_codes
from recbench.testing import LightContext

SMALL = QuantizerSettings(
    quantizer="rqvae", n_levels=2, codebook_size=8, rqvae=RQVAESettings(hidden=(16,), latent=4, epochs=6, batch_size=64)
)


@pytest.fixture
def context(tmp_path: Path) -> LightContext:
    nothing = Interactions(np.empty(0, np.int32), np.zeros(1, np.int64), np.empty(0, np.int64), 0, TimeKind.NONE)
    return LightContext(nothing, tmp_path)


def clustered(n: int = 200, width: int = 12) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(10, width))[rng.integers(10, size=n)] + 0.2 * rng.normal(size=(n, width))).astype(np.float32)


def started(extension: RqvaeExtension) -> Rqvae:
    torch.manual_seed(0)
    module = Rqvae(torch.from_numpy(clustered()), SMALL, extension)
    module.start(SMALL, seed=0)
    return module


class Watching(RqvaeExtension):
    """Adds a loss of weight 0 and keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[tuple[int, list[tuple[int, ...]]]] = []
        self.losses: list[tuple[tuple[int, ...], list[int], tuple[int, ...]]] = []

    def begin_epoch(self, codebooks: Sequence[Tensor], seed: int) -> None:
        self.epochs.append((seed, [tuple(codebook.shape) for codebook in codebooks]))

    def loss(self, total_BZ: Tensor, rows_B: Tensor, code_BL: Tensor, codebooks: Sequence[Tensor]) -> Tensor:
        self.losses.append((tuple(total_BZ.shape), rows_B.tolist(), tuple(code_BL.shape)))
        return 0.0 * (total_BZ.sum(dim=1) + codebooks[0].sum())


def test_hooks_of_weight_0_change_no_bit_and_see_every_epoch_and_batch(context: LightContext) -> None:
    plain = train_rqvae(LightContext(context.train, context.folder / "plain"), clustered(), SMALL, seed=3)
    watching = Watching()
    watched = train_rqvae(context, clustered(), SMALL, seed=3, extension=watching)
    np.testing.assert_array_equal(watched.codes, plain.codes)
    np.testing.assert_array_equal(watched.reconstruction, plain.reconstruction)
    assert [shapes for _, shapes in watching.epochs] == [[(8, 4), (8, 4)]] * 6
    assert len({seed for seed, _ in watching.epochs}) == 6
    assert [total for total, _, _ in watching.losses[:4]] == [(64, 4), (64, 4), (64, 4), (8, 4)]
    assert sorted(row for _, rows, _ in watching.losses[:4] for row in rows) == list(range(200))
    assert {codes for _, _, codes in watching.losses} == {(64, 2), (8, 2)}


def test_an_extra_loss_adds_up_and_its_gradient_reaches_the_encoder() -> None:
    class Pull(RqvaeExtension):
        def loss(self, total_BZ: Tensor, rows_B: Tensor, code_BL: Tensor, codebooks: Sequence[Tensor]) -> Tensor:
            return 10.0 * total_BZ.square().sum(dim=1)

    pulled, plain = started(Pull()), started(RqvaeExtension())
    batch = RqvaeBatch(np.arange(50))
    more = 10.0 * plain.quantizer(plain.encoder(plain.vectors[:50])).total.square().sum()
    assert pulled(batch)[0].item() == pytest.approx(plain(batch)[0].item() + more.item(), rel=1e-5)
    for module in (pulled, plain):
        module(batch)[0].backward()
    gradients = [module.encoder[0].get_parameter("weight").grad for module in (pulled, plain)]
    assert gradients[0] is not None
    assert gradients[1] is not None
    assert (gradients[0] - gradients[1]).norm() > gradients[1].norm()


def test_the_mean_over_levels_is_the_sum_over_their_number() -> None:
    class Mean(RqvaeExtension):
        level_weight = 0.5

    batch = RqvaeBatch(np.arange(50))
    plain = started(RqvaeExtension())
    found = plain.quantizer(plain.encoder(plain.vectors[:50]))
    levels = (found.to_entries + plain.beta * found.to_residuals).sum().item()
    assert started(Mean())(batch)[0].item() == pytest.approx(plain(batch)[0].item() - 0.5 * levels, rel=1e-5)


def test_another_assignment_is_for_training_alone() -> None:
    class Balanced(RqvaeExtension):
        def assign(self, level: int, residual_BZ: Tensor, codebook_KZ: Tensor) -> Tensor:
            return sinkhorn_codes(residual_BZ, codebook_KZ) if level == 1 else super().assign(level, residual_BZ, codebook_KZ)

    module, plain = started(Balanced()), started(RqvaeExtension())
    with torch.no_grad():
        latent = module.encoder(module.vectors[:80])
        chosen, nearest = module.quantizer(latent).code, plain.quantizer(latent).code
    assert torch.equal(chosen[:, 0], nearest[:, 0])
    uses, plain_uses = (torch.bincount(code[:, 1], minlength=8) for code in (chosen, nearest))
    assert uses.min() > plain_uses.min()
    assert uses.max() < plain_uses.max()
    np.testing.assert_array_equal(module.quantized().codes, plain.quantized().codes)


def test_codebooks_start_where_the_extension_says() -> None:
    class Grid(RqvaeExtension):
        def start(self, latent: FloatArray, settings: QuantizerSettings, seed: int) -> list[FloatArray]:
            return [latent[:5], latent[5:8]]

    module = started(Grid())
    assert [len(codebook) for codebook in module.quantizer.codebooks] == [5, 3]
    with torch.no_grad():
        assert torch.equal(module.quantizer.codebooks[0], module.encoder(module.vectors)[:5])


class Drifting(RqvaeExtension):
    """Pulls the sum of the entries to a point that is drawn once an epoch."""

    point: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("point", torch.zeros(4))

    def begin_epoch(self, codebooks: Sequence[Tensor], seed: int) -> None:
        self.point.copy_(torch.randn(4, generator=torch.Generator().manual_seed(seed)))

    def loss(self, total_BZ: Tensor, rows_B: Tensor, code_BL: Tensor, codebooks: Sequence[Tensor]) -> Tensor:
        return (total_BZ - self.point - torch.rand(4)).square().sum(dim=1)


def test_a_training_stopped_within_an_epoch_goes_on_with_what_the_epoch_began_with(
    context: LightContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_rqvae(LightContext(context.train, context.folder / "whole"), clustered(), SMALL, seed=3, extension=Drifting())
    forward, calls = Rqvae.forward, iter(range(1, 1000))

    def stopping(self: Rqvae, batch: RqvaeBatch) -> tuple[Tensor, int]:
        if next(calls) == 7:
            signal.raise_signal(signal.SIGTERM)
        return forward(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Rqvae, "forward", stopping)
        with pytest.raises(Interrupted):
            train_rqvae(context, clustered(), SMALL, seed=3, extension=Drifting())
    again = train_rqvae(context, clustered(), SMALL, seed=3, extension=Drifting())
    np.testing.assert_array_equal(again.reconstruction, whole.reconstruction)
