"""Unique codes of all items, made once for a text encoder and vectors of behaviour."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from recbench.core import FitContext
from recbench.nn.codes import (
    CodesStage,
    ItemCodes,
    Quantized,
    QuantizerSettings,
    content_key,
    one_thread,
    reassign_last_level,
    scaled,
    sinkhorn_codes,
    train_rqvae,
)
from recbench_models.letter.config import CodeSettings, LETTERConfig
from recbench_models.letter.quantizer import FloatArray, LETTERQuantizer

# N items, L levels, K codes of a level, Z width of the latent space

IntArray = NDArray[np.int32]


def letter_codes(context: FitContext, vectors: FloatArray, config: LETTERConfig) -> CodesStage:
    """The codes of all items, made now or found, and the folder of the stage that holds them.

    One thread makes them: the last digit of a sum decides about codes, and the order of summation depends on the number of threads.

    Args:
        context: of the run; the train part shapes the codes through the vectors of behaviour.
        vectors: (N, d) float32 vectors of the items' texts.
        config: of the model.

    Raises:
        StageFailed: a level uses less than half of its codes.
    """
    behaviour = _behaviour(context, config) if config.alignment.weight else None
    settings = {part: getattr(config, part).model_dump(mode="json") for part in ("codes", "diversity")}
    settings |= {"alignment": config.alignment.weight, "seed": config.codes.seed}

    def build(folder: Path) -> None:
        alone = context.alone()
        with one_thread(), threadpool_limits(limits=1, user_api="blas"):
            quantized = _trained(alone, vectors, config, behaviour)
            unique_codes(quantized, config.codes, alone.log).save(folder)

    inputs = [content_key(array) for array in (vectors, behaviour) if array is not None]
    folder = context.common_stage("letter-codes", build, config=settings, inputs=inputs, trains=True)
    return CodesStage(ItemCodes.load(folder), folder)


def _behaviour(context: FitContext, config: LETTERConfig) -> FloatArray:
    """Item vectors of SASRec on the train part, as wide as the latent space."""
    settings = config.alignment
    overrides = {**settings.settings, "network.width": config.codes.rqvae.latent}
    vectors = context.item_vectors("sasrec", preset=settings.preset, overrides=overrides, seed=settings.seed, trainings_left=1)
    context.log.info(
        "vectors of behaviour: mean length %.2f; %d of %d items do not occur in the train part, theirs are what training began with",
        float(np.linalg.norm(vectors, axis=1).mean()),
        int(np.count_nonzero(context.train.item_counts() == 0)),
        len(vectors),
    )
    return vectors


def _trained(context: FitContext, vectors: FloatArray, config: LETTERConfig, behaviour: FloatArray | None) -> Quantized:
    codes = config.codes
    settings = QuantizerSettings(
        quantizer="rqvae", n_levels=codes.n_levels, codebook_size=codes.codebook_size, seed=codes.seed, rqvae=codes.rqvae
    )
    extension = LETTERQuantizer(config, behaviour)
    return train_rqvae(context, scaled(vectors, codes.rqvae.scaling), settings, codes.seed, extension)


def unique_codes(quantized: Quantized, settings: CodeSettings, log: logging.Logger) -> ItemCodes:
    """The codes with those that several items share told apart on the last level; by one more level where too many share a prefix."""
    if quantized.latent is None:
        raise ValueError("The quantizer gave no latent vectors, which say where an item may move. Take those of an RQ-VAE.")
    entries = zip(quantized.codebooks[:-1], quantized.codes.T, strict=False)
    residual: FloatArray = quantized.latent - sum((codebook[code] for codebook, code in entries), start=np.float32(0))
    last = quantized.codebooks[-1]
    parted = part_collisions(quantized.codes, residual, last, settings.parting_rounds)
    found = reassign_last_level(parted, quantized.level_sizes, residual, last)
    log.info(
        "codes: of %d items, %d share theirs with another one after training, %d after at most %d rounds of equal use, none in the end",
        len(parted),
        _n_sharing(quantized.codes),
        _n_sharing(parted),
        settings.parting_rounds,
    )
    return replace(found, unexplained=quantized.unexplained)


def part_collisions(codes: IntArray, residual: FloatArray, codebook: FloatArray, rounds: int) -> IntArray:
    """The codes after so many rounds in each of which every group of items of one code is given codes of the last level in equal use.

    Args:
        codes: (N, L) int32.
        residual: (N, Z) float32, what the levels before the last leave over.
        codebook: (K, Z) float32, entries of the last level.
        rounds: at most; it ends early where no code is shared or none changes.
    """
    codes = codes.copy()
    residual_NZ, entry_KZ = torch.from_numpy(residual), torch.from_numpy(codebook)
    for _ in range(rounds):
        before = codes[:, -1].copy()
        for members in _sharing(codes):
            codes[members, -1] = sinkhorn_codes(residual_NZ[members], entry_KZ).numpy()
        if (codes[:, -1] == before).all():
            break
    return codes


def _sharing(codes: IntArray) -> list[NDArray[np.int64]]:
    """The rows of each group of two or more items of one code."""
    _, group, size = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    return [members for members in np.split(order, np.cumsum(size)[:-1]) if len(members) > 1]


def _n_sharing(codes: IntArray) -> int:
    """Items that share their code with another one."""
    return sum(map(len, _sharing(codes)))
