"""Unique codes as a stage: who moves, where to, and what an RQ-VAE does on its last level."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from recbench.nn.codes.quantize.quantized import Quantized
from recbench.nn.codes.quantize.rqvae import nearest
from recbench.nn.codes.quantize.settings import QuantizerSettings, ResidualKMeansSettings, RQVAESettings, SinkhornSettings
from recbench.nn.codes.quantize.sinkhorn import sinkhorn_codes
from recbench.nn.codes.stage import quantize
from recbench.nn.codes.unique_stage import BalancedLastLevel, reassigned, unique_codes
from recbench.testing import LightContext, interactions

N_ITEMS = 84
KMEANS = QuantizerSettings(n_levels=2, codebook_size=20, rkmeans=ResidualKMeansSettings(iterations=5, restarts=1))
RQVAE = QuantizerSettings(
    quantizer="rqvae", n_levels=2, codebook_size=20, rqvae=RQVAESettings(hidden=(16,), latent=4, epochs=5, batch_size=64)
)


def vectors() -> np.ndarray[Any, Any]:
    """Some of them equal, so that items share a code."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(80, 10)).astype(np.float32)[np.minimum(np.arange(N_ITEMS), 79)]


def context(folder: Path) -> LightContext:
    return LightContext(interactions([[0]], N_ITEMS), folder)


@pytest.mark.parametrize("settings", [KMEANS, RQVAE])
def test_no_two_codes_are_alike_and_levels_above_the_last_stay(settings: QuantizerSettings, tmp_path: Path) -> None:
    found = unique_codes(context(tmp_path / "first"), vectors(), settings, SinkhornSettings()).codes
    again = unique_codes(context(tmp_path / "second"), vectors(), settings, SinkhornSettings()).codes
    np.testing.assert_array_equal(found.code, again.code)
    assert found.level_sizes == (20, 20)
    assert len(np.unique(found.code, axis=0)) == N_ITEMS
    assert len(np.unique(found.code[79:, 0])) == 1, "equal items differ on the last level alone"
    if settings is KMEANS:
        assert 1.0 > found.unexplained[0] > found.unexplained[1] > 0.0
        plain = quantize(context(tmp_path / "plain"), vectors(), KMEANS, KMEANS.seed)
        _, group, count = np.unique(plain.codes, axis=0, return_inverse=True, return_counts=True)
        is_alone = count[group.reshape(-1)] == 1
        assert not is_alone.all()
        np.testing.assert_array_equal(found.code[:, 0], plain.codes[:, 0])
        np.testing.assert_array_equal(found.code[is_alone], plain.codes[is_alone])


def test_an_item_goes_to_the_free_entry_that_is_nearest_in_the_space_of_the_codebooks() -> None:
    codebooks = (np.array([[10.0], [20.0]], np.float32), np.array([[-1.0], [0.0], [1.0], [5.0]], np.float32))
    codes = np.array([[0, 1], [0, 1], [0, 2], [1, 1]], np.int32)
    latent = np.array([[10.0], [9.8], [11.0], [20.0]], np.float32)
    # The vectors themselves lie elsewhere and are wider: they say nothing about distances from entries.
    found = reassigned(np.ones((4, 3), np.float32), Quantized(codes, codebooks, np.ones((4, 3), np.float32), (0.5, 0.1), latent))
    assert found.code.tolist() == [[0, 1], [0, 0], [0, 2], [1, 1]]
    plain = reassigned(latent, Quantized(codes, codebooks, latent, (0.5, 0.1)))
    np.testing.assert_array_equal(plain.code, found.code)


def test_only_the_last_level_is_balanced() -> None:
    extension = BalancedLastLevel(3, SinkhornSettings())
    rng = torch.Generator().manual_seed(0)
    residual, entries = torch.randn(60, 4, generator=rng) * 0.1, torch.randn(6, 4, generator=rng)
    for level in range(2):
        torch.testing.assert_close(extension.assign(level, residual, entries), nearest(residual, entries))
    balanced = extension.assign(2, residual, entries)
    torch.testing.assert_close(balanced, sinkhorn_codes(residual, entries))
    assert torch.bincount(balanced, minlength=6).tolist() != torch.bincount(nearest(residual, entries), minlength=6).tolist()
    off = BalancedLastLevel(3, SinkhornSettings(epsilon=None))
    torch.testing.assert_close(off.assign(2, residual, entries), nearest(residual, entries))
    assert extension.level_weight == pytest.approx(1 / 3)


def test_an_epsilon_that_leaves_the_range_of_numbers_is_refused() -> None:
    with pytest.raises(ValidationError, match="epsilon"):
        SinkhornSettings(epsilon=0.001)
