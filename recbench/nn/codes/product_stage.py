"""Item codes by product quantization, made once for all models that ask alike.

Apart from `item_codes`, so that no change of one quantizer makes the other's codes anew.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.core.plugin import FitContext
from recbench.nn.codes.catalogue import ItemCodes, make_unique
from recbench.nn.codes.quantize.product import product_quantization
from recbench.nn.codes.quantize.quantized import FloatArray, Quantized
from recbench.nn.codes.quantize.reassignment import reassign_last_level
from recbench.nn.codes.quantize.settings import ProductSettings
from recbench.nn.codes.quantize.whitening import whitened
from recbench.nn.codes.stage import CodesStage, content_key


def product_codes(context: FitContext, vectors: NDArray[np.float32], settings: ProductSettings) -> CodesStage:
    """The digits of all items from their vectors, made now or found; all models that ask alike share them.

    What the levels leave unexplained is said of the quantizer, before any item is given another code than the nearest.

    Args:
        context: of the run; its train part says which items are trained on, and is part of the key only where the settings ask for that.
        vectors: (n_items, d) float32; the key of the stage knows them by their content.
        settings: of whitening and quantizer.
    """
    config = settings.model_dump(mode="json", exclude={"rounds"} if settings.rotation == "none" else None)
    inputs = [content_key(vectors)]
    train_rows = None
    if "train" in (settings.whitened_on, settings.trained_on):
        train_rows = np.unique(context.train.item).astype(np.int64)
        inputs.append(content_key(train_rows))

    def build(folder: Path) -> None:
        whitened_on = train_rows if settings.whitened_on == "train" else None
        white = whitened(vectors, settings.width, fit_rows=whitened_on, unit_length=settings.unit_length)
        n_steps = settings.n_digits + (settings.rounds if settings.rotation == "opq" else 0)
        with context.progress.task("product quantization", n_steps) as task:
            quantized = product_quantization(
                white,
                n_digits=settings.n_digits,
                size=settings.codebook_size,
                seed=settings.seed,
                rotation=settings.rotation,
                train_rows=train_rows if settings.trained_on == "train" else None,
                iterations=settings.iterations,
                rounds=settings.rounds,
                after_step=task.advance,
            )
        replace(_item_codes(white, quantized, settings), unexplained=quantized.unexplained).save(folder)

    folder = context.common_stage("product-codes", build, config=config, inputs=inputs)
    return CodesStage(ItemCodes.load(folder), folder)


def _item_codes(vectors: FloatArray, quantized: Quantized, settings: ProductSettings) -> ItemCodes:
    """Codes that may be equal, or are made unique as the settings say."""
    if settings.collisions == "keep":
        return ItemCodes(quantized.codes, quantized.level_sizes)
    if settings.collisions == "number":
        return make_unique(quantized.codes, quantized.level_sizes)
    last = quantized.codebooks[-1]
    return reassign_last_level(
        quantized.codes, quantized.level_sizes, vectors - quantized.reconstruction + last[quantized.codes[:, -1]], last
    )
