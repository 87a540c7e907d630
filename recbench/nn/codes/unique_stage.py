"""Unique item codes of as many levels as were asked for, made once for all models that ask alike.

Apart from `item_codes`, so that no change here makes those codes anew.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recbench.core.plugin import FitContext
from recbench.nn.codes.catalogue import ItemCodes
from recbench.nn.codes.quantize.quantized import FloatArray, Quantized
from recbench.nn.codes.quantize.reassignment import reassign_last_level
from recbench.nn.codes.quantize.rqvae import RqvaeExtension, nearest, train_rqvae
from recbench.nn.codes.quantize.scaling import scaled
from recbench.nn.codes.quantize.settings import QuantizerSettings, SinkhornSettings
from recbench.nn.codes.quantize.sinkhorn import sinkhorn_codes
from recbench.nn.codes.stage import CodesStage, content_key, quantize


class BalancedLastLevel(RqvaeExtension):
    """An RQ-VAE whose last level is used evenly by every batch, and whose loss has the mean over levels (RUCAIBox/LC-Rec)."""

    def __init__(self, n_levels: int, settings: SinkhornSettings) -> None:
        super().__init__()
        self.level_weight = 1 / n_levels
        self._last, self._settings = n_levels - 1, settings

    def assign(self, level: int, residual_BZ: Tensor, codebook_KZ: Tensor) -> Tensor:
        """Codes by optimal transport on the last level, those of the nearest entries above it."""
        if level < self._last or self._settings.epsilon is None:
            return nearest(residual_BZ, codebook_KZ)
        return sinkhorn_codes(residual_BZ, codebook_KZ, epsilon=self._settings.epsilon, iterations=self._settings.iterations)


def unique_codes(
    context: FitContext, vectors: NDArray[np.float32], settings: QuantizerSettings, last_level: SinkhornSettings
) -> CodesStage:
    """The codes of all items, no two alike: items that a quantizer gives one code get free codes of the last level.

    Only where more items share all levels but the last than that has codes, one more level numbers equal codes. What the levels leave
    unexplained is said of the quantizer, before any item is given another code than the nearest.

    Args:
        context: of the run.
        vectors: (n_items, d) float32; the key of the stage knows them by their content.
        settings: of the quantizer.
        last_level: how an RQ-VAE chooses the codes of its last level in training; residual k-means has no use for it.

    Raises:
        StageFailed: a level of an RQ-VAE uses less than half of its codes.
    """
    is_trained = settings.quantizer == "rqvae"
    config = settings.model_dump(mode="json", include={"quantizer", "n_levels", "codebook_size", "seed", settings.quantizer})
    if is_trained:
        config["last_level"] = last_level.model_dump(mode="json")

    def build(folder: Path) -> None:
        if is_trained:
            extension = BalancedLastLevel(settings.n_levels, last_level)
            seen = scaled(vectors, settings.rqvae.scaling)
            quantized = train_rqvae(context.alone(), seen, settings, settings.seed, extension)
        else:
            seen = scaled(vectors, settings.rkmeans.scaling)
            quantized = quantize(context.alone(), vectors, settings, settings.seed)
        replace(reassigned(seen, quantized), unexplained=quantized.unexplained).save(folder)

    folder = context.common_stage("unique-codes", build, config=config, inputs=[content_key(vectors)], trains=is_trained)
    return CodesStage(ItemCodes.load(folder), folder)


def reassigned(vectors: FloatArray, quantized: Quantized) -> ItemCodes:
    """Unique codes from those of a residual quantizer.

    Args:
        vectors: (n, d) float32, as they were quantised.
        quantized: of them; its codebooks are in the space of `latent`, or of the vectors where there is none.
    """
    residual = np.array(vectors if quantized.latent is None else quantized.latent, dtype=np.float32)
    for code, codebook in zip(quantized.codes.T[:-1], quantized.codebooks[:-1], strict=True):
        residual -= codebook[code]
    return reassign_last_level(quantized.codes, quantized.level_sizes, residual, quantized.codebooks[-1])
