"""Item codes from item vectors, made once for all models that ask alike."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.core.codes_file import CODES_FILE
from recbench.core.plugin import FitContext
from recbench.nn.codes.catalogue import ItemCodes, make_unique
from recbench.nn.codes.quantize.quantized import Quantized
from recbench.nn.codes.quantize.residual_kmeans import residual_kmeans
from recbench.nn.codes.quantize.scaling import scaled
from recbench.nn.codes.quantize.settings import QuantizerSettings


@dataclass(frozen=True, eq=False)
class CodesStage:
    """Item codes and the folder of the stage that holds them, as `codes.parquet`."""

    codes: ItemCodes
    folder: Path

    @property
    def file(self) -> Path:
        """For `FitReport.artefacts["codes"]`."""
        return self.folder / CODES_FILE


def item_codes(context: FitContext, vectors: NDArray[np.float32], settings: QuantizerSettings) -> CodesStage:
    """The codes of all items from their vectors, made now or found; all models that ask alike share them.

    Args:
        context: of the run.
        vectors: (n_items, d) float32; the key of the stage knows them by their content.
        settings: of the quantizer.

    Raises:
        StageFailed: a level of an RQ-VAE uses less than half of its codes.
    """
    config = settings.model_dump(mode="json", include={"quantizer", "n_levels", "codebook_size", "seed", settings.quantizer})

    def build(folder: Path) -> None:
        quantized = quantize(context.alone(), vectors, settings, settings.seed)
        codes = make_unique(quantized.codes, quantized.level_sizes, least_size=settings.codebook_size)
        replace(codes, unexplained=quantized.unexplained).save(folder)

    folder = context.common_stage("codes", build, config=config, inputs=[content_key(vectors)], trains=settings.trains)
    return CodesStage(ItemCodes.load(folder), folder)


def quantize(context: FitContext, vectors: NDArray[np.float32], settings: QuantizerSettings, seed: int) -> Quantized:
    """The vectors scaled and quantised as the settings say."""
    if settings.quantizer == "rkmeans":
        with context.progress.task("residual k-means", settings.n_levels) as task:
            return residual_kmeans(
                scaled(vectors, settings.rkmeans.scaling),
                n_levels=settings.n_levels,
                size=settings.codebook_size,
                seed=seed,
                iterations=settings.rkmeans.iterations,
                restarts=settings.rkmeans.restarts,
                after_level=task.advance,
            )
    from recbench.nn.codes.quantize.rqvae import train_rqvae

    return train_rqvae(context, scaled(vectors, settings.rqvae.scaling), settings, seed)


def content_key(array: NDArray[np.generic]) -> str:
    """An array's shape and a hash of its content, as an input of a stage."""
    return f"{array.shape} {hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()}"
