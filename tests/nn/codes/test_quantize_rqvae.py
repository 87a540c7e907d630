"""The RQ-VAE: its loss to the digit, what its gradients reach, how it starts, restarts and fails."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recbench.core import Interactions, Interrupted, StageFailed, TimeKind
from recbench.nn.codes.quantize.quantized import unexplained_share
from recbench.nn.codes.quantize.residual_kmeans import residual_kmeans
from recbench.nn.codes.quantize.rqvae import Quantization, ResidualQuantizer, Rqvae, RqvaeBatch, nearest, train_rqvae
from recbench.nn.codes.quantize.settings import QuantizerSettings, RQVAESettings
from recbench.nn.training.optimizer import trained_weights
from recbench.testing import LightContext

SMALL = QuantizerSettings(
    quantizer="rqvae", n_levels=2, codebook_size=8, rqvae=RQVAESettings(hidden=(16,), latent=4, epochs=60, batch_size=64)
)


def small(**changes: Any) -> QuantizerSettings:
    return SMALL.model_copy(update={"rqvae": SMALL.rqvae.model_copy(update=changes)})


@pytest.fixture
def context(tmp_path: Path) -> LightContext:
    nothing = Interactions(np.empty(0, np.int32), np.zeros(1, np.int64), np.empty(0, np.int64), 0, TimeKind.NONE)
    return LightContext(nothing, tmp_path)


def clustered(n: int = 200, width: int = 12) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(10, width))[rng.integers(10, size=n)] + 0.2 * rng.normal(size=(n, width))).astype(np.float32)


def two_levels() -> ResidualQuantizer:
    return ResidualQuantizer([torch.tensor([[0.0, 0.0], [4.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, -1.0]])])


def started(vectors: np.ndarray[Any, Any], settings: QuantizerSettings = SMALL) -> Rqvae:
    torch.manual_seed(0)
    module = Rqvae(torch.from_numpy(vectors), settings)
    module.start(settings, seed=0)
    return module


def test_two_levels_by_hand() -> None:
    found: Quantization = two_levels()(torch.tensor([[5.0, 0.5], [0.0, -2.0]]))
    assert found.code.tolist() == [[1, 0], [0, 1]]
    assert found.total.tolist() == [[5.0, 0.0], [0.0, -1.0]]
    # First vector: residuals (1, 0.5) and (0, 0.5). Second: (0, -2) and (0, -1). Means over two dimensions.
    by_hand = [(1 + 0.25) / 2 + 0.25 / 2, 4 / 2 + 1 / 2]
    assert found.to_entries.tolist() == by_hand
    assert found.to_residuals.tolist() == by_hand


def test_the_loss_by_hand() -> None:
    settings = small(hidden=(), latent=2, beta=0.25)
    module = Rqvae(torch.tensor([[5.0, 0.5], [0.0, -2.0]]), settings)
    module.quantizer = two_levels()
    for level in range(2):
        module.register_buffer(f"uses_{level}", torch.zeros(2, dtype=torch.int64))
    for part in (module.encoder, module.decoder):
        layer = part[0]
        assert isinstance(layer, nn.Linear)
        with torch.no_grad():
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
    loss, n = module(RqvaeBatch(np.array([0, 1])))
    reconstruction = [(0 + 0.25) / 2, (0 + 1) / 2]
    quantisation = [0.75, 2.5]
    assert n == 2
    assert loss.item() == pytest.approx(sum(reconstruction) + 1.25 * sum(quantisation))
    assert [module.get_buffer(f"uses_{level}").tolist() for level in range(2)] == [[1, 1], [1, 1]]


def test_what_each_term_moves() -> None:
    """The commitment of the second level reaches the encoder: a straight-through residual would have lost it."""
    quantizer = two_levels()
    latent = torch.tensor([[5.0, 0.5]], requires_grad=True)
    found = quantizer(latent)
    found.to_residuals.sum().backward()
    # Both levels pull: 2 (1, 0.5) / 2 from the first, 2 (0, 0.5) / 2 from the second.
    assert latent.grad is not None
    assert latent.grad.tolist() == [[1.0, 1.0]]
    assert all(codebook.grad is None or not codebook.grad.any() for codebook in quantizer.codebooks)
    latent.grad = None
    quantizer(latent).to_entries.sum().backward()
    assert latent.grad is None or not latent.grad.any()
    first, second = (codebook.grad for codebook in quantizer.codebooks)
    assert first is not None
    assert second is not None
    assert first.tolist() == [[0.0, 0.0], [-1.0, -0.5]]
    assert second.tolist() == [[0.0, -0.5], [0.0, 0.0]]


def test_the_reconstruction_reaches_the_encoder_past_the_codes() -> None:
    module = started(clustered())
    loss, _ = module(RqvaeBatch(np.arange(50)))
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in module.encoder.parameters())


def test_the_nearest_entry_is_found_and_the_first_of_equals() -> None:
    vectors, codebook = torch.randn(300, 6), torch.randn(40, 6)
    by_hand = torch.stack([(codebook - vector).square().sum(dim=1).argmin() for vector in vectors])
    assert torch.equal(nearest(vectors, codebook), by_hand)
    assert nearest(torch.zeros(1, 2), torch.tensor([[1.0, 0.0], [0.0, 1.0]])).tolist() == [0]


def test_codebooks_start_where_the_latent_vectors_are() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 20)
    blobs = (np.eye(4, 12, dtype=np.float32)[group] * 20 + rng.normal(size=(80, 12)) * 0.01).astype(np.float32)
    module = started(blobs, SMALL.model_copy(update={"codebook_size": 4}))
    with torch.no_grad():
        latent = module.encoder(module.vectors)
        found = module.quantizer(latent)
    assert len({(int(a), int(b)) for a, b in zip(group, found.code[:, 0], strict=True)}) == 4
    assert (latent - found.total).square().sum() < 0.01 * (latent - latent.mean(dim=0)).square().sum()


def test_unused_codes_start_again_where_residuals_are() -> None:
    vectors = clustered()
    module = started(vectors)
    with torch.no_grad():
        for codebook in module.quantizer.codebooks:
            codebook[1:] = 1e4

    def usage() -> list[int]:
        with torch.no_grad():
            code = module.quantizer(module.encoder(module.vectors)).code
        return [len(torch.unique(level)) for level in code.T]

    everything = np.arange(len(vectors))
    module(RqvaeBatch(everything, is_first=True))
    assert usage() == [1, 1]
    module(RqvaeBatch(everything, is_first=True))
    assert usage() == [1, 1], "without a seed nothing starts again"
    weights = module.quantizer.codebooks[0][0].clone()
    module(RqvaeBatch(everything, is_first=True, restart_seed=1))
    assert min(usage()) >= 6
    assert torch.equal(module.quantizer.codebooks[0][0], weights), "a code in use stays where it is"
    assert {"uses_0", "uses_1"} <= set(trained_weights(module)), "a checkpoint without the counts would resume otherwise"
    assert "vectors" not in trained_weights(module)


def test_training_lowers_the_error_level_by_level_and_can_be_repeated(context: LightContext) -> None:
    vectors = clustered()
    found = train_rqvae(context, vectors, SMALL, seed=3)
    assert found.codes.shape == (200, 2)
    assert found.level_sizes == (8, 8)
    assert found.unexplained[1] < found.unexplained[0] < 1.0
    untrained = started(vectors).quantized()
    assert found.unexplained[1] < 0.6 * untrained.unexplained[1]
    assert found.unexplained[1] == pytest.approx(unexplained_share(vectors, found.reconstruction))
    again = train_rqvae(LightContext(context.train, context.folder / "again"), vectors, SMALL, seed=3)
    np.testing.assert_array_equal(found.codes, again.codes)
    np.testing.assert_array_equal(found.reconstruction, again.reconstruction)


@pytest.mark.parametrize("at_call", [5, 9])
def test_a_stopped_training_goes_on_to_the_same_codes(context: LightContext, monkeypatch: pytest.MonkeyPatch, at_call: int) -> None:
    """Also where it was stopped in the middle of an epoch, with half of the codes in use counted (four batches are an epoch)."""
    settings = small(epochs=6)
    vectors = clustered()
    whole = train_rqvae(LightContext(context.train, context.folder / "whole"), vectors, settings, seed=3)
    forward, calls = Rqvae.forward, iter(range(1, 1000))

    def stopping(self: Rqvae, batch: RqvaeBatch) -> tuple[Tensor, int]:
        if next(calls) == at_call:
            signal.raise_signal(signal.SIGTERM)
        return forward(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Rqvae, "forward", stopping)
        with pytest.raises(Interrupted):
            train_rqvae(context, vectors, settings, seed=3)
    again = train_rqvae(context, vectors, settings, seed=3)
    np.testing.assert_array_equal(again.codes, whole.codes)
    np.testing.assert_array_equal(again.reconstruction, whole.reconstruction)


def test_the_sum_of_the_entries_is_what_the_decoder_reads() -> None:
    vectors = clustered()
    module = started(vectors)
    found = module.quantized()
    total = sum(codebook[codes] for codebook, codes in zip(found.codebooks, found.codes.T, strict=True))
    with torch.no_grad():
        decoded: Tensor = module.decoder(torch.from_numpy(np.asarray(total)))
    np.testing.assert_allclose(found.reconstruction, decoded.numpy(), atol=1e-5)


def test_latent_vectors_are_what_the_encoder_makes_of_each_vector() -> None:
    vectors = clustered()
    vectors[[5, 50]] = vectors[0]
    module = started(vectors)
    found = module.quantized()
    with torch.no_grad():
        encoded: Tensor = module.encoder(module.vectors)
    assert found.latent is not None
    np.testing.assert_allclose(found.latent, encoded.numpy(), atol=1e-5)
    np.testing.assert_array_equal(found.latent[[5, 50]], found.latent[[0, 0]])
    assert residual_kmeans(vectors, n_levels=1, size=4, seed=0).latent is None


def test_equal_vectors_make_one_code(context: LightContext) -> None:
    found = train_rqvae(context, np.zeros((30, 6), np.float32), small(epochs=3), seed=0)
    assert found.level_sizes == (1, 1)
    assert not found.codes.any()
    vectors = clustered()
    vectors[[5, 50, 150]] = vectors[0]
    codes = started(vectors).quantized().codes
    assert len(np.unique(codes[[0, 5, 50, 150]], axis=0)) == 1


def test_a_collapse_is_an_error_that_says_what_to_change(context: LightContext, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Rqvae.start

    def far_away(self: Rqvae, settings: QuantizerSettings, seed: int) -> None:
        start(self, settings, seed)
        with torch.no_grad():
            self.quantizer.codebooks[1][3:] = 1e4

    monkeypatch.setattr(Rqvae, "start", far_away)
    settings = small(epochs=2, restart_share=0.0, scaling="raw")
    with pytest.raises(StageFailed, match=r"level 2 uses 3 of its 8 codes after 2 epochs.*codes.rqvae.scaling=standardised") as failure:
        train_rqvae(context, clustered(), settings, seed=0)
    assert "codes.quantizer=rkmeans" in str(failure.value)
