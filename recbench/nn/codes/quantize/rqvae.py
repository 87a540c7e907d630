"""RQ-VAE: residual quantisation inside an autoencoder that is trained with it (arXiv:2305.05065, section 3.1).

Shapes: B vectors of a batch, L levels, K codes of a level, D width of the vectors, Z width of the latent space.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recbench.core.errors import StageFailed
from recbench.core.plugin import FitContext
from recbench.core.seeds import derived_seed, generator
from recbench.nn.codes.quantize.quantized import FloatArray, Quantized, unexplained_share
from recbench.nn.codes.quantize.residual_kmeans import residual_kmeans
from recbench.nn.codes.quantize.settings import QuantizerSettings
from recbench.nn.training.determinism import torch_seeded
from recbench.nn.training.loop import train
from recbench.nn.training.settings import TrainingSettings

LEAST_USAGE = 0.5
"""Share of the codes of a level; below it the autoencoder has collapsed."""
_START_ITERATIONS = 25
_ROWS_AT_A_TIME = 8192


@dataclass(frozen=True)
class RqvaeBatch:
    """Rows of the vectors, and what the module must know of its place in the training.

    Attributes:
        rows: (B,) int64.
        is_first: of its epoch; the count of used codes starts anew.
        restart_seed: what to draw from where codes that the last epoch left unused start again before this batch; else None.
    """

    rows: NDArray[np.int64]
    is_first: bool = False
    restart_seed: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def shard(self, rank: int, size: int) -> Self:
        """Every `size`-th row from `rank` on."""
        return type(self)(self.rows[rank::size], self.is_first, self.restart_seed)


@dataclass(frozen=True)
class Quantization:
    """A residual quantizer's output for a batch.

    Attributes:
        code: (B, L) int64.
        total: (B, Z), the sum of the codes' entries.
        to_entries: (B,) squared distance of entries from the residuals they stand for, summed over levels, averaged over Z; its
            gradient moves the entries alone.
        to_residuals: (B,) the same number; its gradient moves the residuals alone (the commitment, not weighted).
    """

    code: Tensor
    total: Tensor
    to_entries: Tensor
    to_residuals: Tensor


class ResidualQuantizer(nn.Module):
    """Codebooks of all levels; each quantises what the ones before left over."""

    def __init__(self, codebooks: Sequence[Tensor]) -> None:
        super().__init__()
        # Embeddings, so that no weight decay pulls the entries away from where the residuals are.
        self.levels = nn.ModuleList(nn.Embedding(len(codebook), codebook.shape[1], _weight=codebook.clone()) for codebook in codebooks)

    @property
    def codebooks(self) -> list[Tensor]:
        """The entries of each level, (K, Z)."""
        return [level.get_parameter("weight") for level in self.levels]

    def forward(self, latent_BZ: Tensor) -> Quantization:
        """The codes of a batch, what they add up to, and the two losses."""
        residual_BZ, sum_BZ = latent_BZ, torch.zeros_like(latent_BZ)
        to_entries_B = to_residuals_B = latent_BZ.new_zeros(len(latent_BZ))
        codes = []
        for level in self.levels:
            code_B = nearest(residual_BZ, level.get_parameter("weight"))
            entry_BZ = level(code_B)
            to_entries_B = to_entries_B + (residual_BZ.detach() - entry_BZ).square().mean(dim=1)
            to_residuals_B = to_residuals_B + (residual_BZ - entry_BZ.detach()).square().mean(dim=1)
            # The entry itself and not its straight-through copy, whose gradient would cancel the residual's: the encoder would
            # never hear of the commitment of the later levels.
            residual_BZ = residual_BZ - entry_BZ.detach()
            sum_BZ = sum_BZ + entry_BZ
            codes.append(code_B)
        return Quantization(torch.stack(codes, dim=1), sum_BZ, to_entries_B, to_residuals_B)


def nearest(vector_BZ: Tensor, codebook_KZ: Tensor) -> Tensor:
    """The number of the entry nearest to each vector, (B,) int64; of equally near ones the first."""
    with torch.no_grad():
        distance_BK = codebook_KZ.square().sum(dim=1) - 2.0 * vector_BZ @ codebook_KZ.T
        return distance_BK.argmin(dim=1)


class Rqvae(nn.Module):
    """Encoder, residual quantizer, decoder; called with a batch it gives the loss."""

    vectors: Tensor
    quantizer: ResidualQuantizer

    def __init__(self, vector_ND: Tensor, settings: QuantizerSettings) -> None:
        super().__init__()
        widths = (vector_ND.shape[1], *settings.rqvae.hidden, settings.rqvae.latent)
        self.register_buffer("vectors", vector_ND, persistent=False)
        self.encoder, self.decoder = _layers(widths), _layers(widths[::-1])
        self.beta = settings.rqvae.beta

    def start(self, settings: QuantizerSettings, seed: int) -> None:
        """Put the codebooks where residual k-means of the untrained encoder's output finds them, level by level."""
        with torch.no_grad():
            latent = torch.cat([self.encoder(part) for part in torch.split(self.vectors, _ROWS_AT_A_TIME)]).numpy()
        found = residual_kmeans(
            latent, n_levels=settings.n_levels, size=settings.codebook_size, seed=seed, iterations=_START_ITERATIONS, restarts=1
        )
        self.quantizer = ResidualQuantizer([torch.from_numpy(codebook) for codebook in found.codebooks])
        for level, size in enumerate(found.level_sizes):
            self.register_buffer(f"uses_{level}", torch.zeros(size, dtype=torch.int64))

    def forward(self, batch: RqvaeBatch) -> tuple[Tensor, int]:
        """Sum of the losses of a batch's vectors, and their number."""
        vector_BD = self.vectors[torch.from_numpy(batch.rows).to(self.vectors.device)]
        latent_BZ = self.encoder(vector_BD)
        # Codes are chosen in full precision, whatever the layers compute in.
        with torch.autocast(vector_BD.device.type, enabled=False):
            latent_BZ = latent_BZ.float()
            if batch.is_first:
                self._begin_epoch(latent_BZ.detach(), batch.restart_seed)
            found: Quantization = self.quantizer(latent_BZ)
        self._count(found.code)
        straight_through_BZ = latent_BZ + (found.total - latent_BZ).detach()
        reconstruction_BD = self.decoder(straight_through_BZ).float()
        # Means over D and over Z: the balance between the terms must not depend on how wide the vectors are.
        loss_B = (vector_BD - reconstruction_BD).square().mean(dim=1) + found.to_entries + self.beta * found.to_residuals
        return loss_B.sum(), len(batch)

    def _begin_epoch(self, latent_BZ: Tensor, restart_seed: int | None) -> None:
        residual_BZ = latent_BZ
        with torch.no_grad():
            for level, codebook_KZ in enumerate(self.quantizer.codebooks):
                uses = self.get_buffer(f"uses_{level}")
                if restart_seed is not None:
                    dead = torch.nonzero(uses == 0)[: len(residual_BZ), 0]
                    draw = torch.Generator().manual_seed(derived_seed(restart_seed, level))
                    rows = torch.randperm(len(residual_BZ), generator=draw)[: len(dead)].to(residual_BZ.device)
                    codebook_KZ[dead] = residual_BZ[rows]
                uses.zero_()
                residual_BZ = residual_BZ - codebook_KZ[nearest(residual_BZ, codebook_KZ)]

    def _count(self, code_BL: Tensor) -> None:
        for level, code_B in enumerate(code_BL.T):
            uses = self.get_buffer(f"uses_{level}")
            uses += torch.bincount(code_B, minlength=len(uses))

    @torch.no_grad()
    def quantized(self) -> Quantized:
        """Codes that the trained module makes of its vectors."""
        vectors = self.vectors.cpu().numpy()
        # Equal vectors must get equal codes, which the last digit of a distance could prevent: each is looked at once.
        distinct, row_of = np.unique(vectors + 0.0, axis=0, return_inverse=True)
        row_of = row_of.reshape(-1)
        codes, levels = [], []
        for start in range(0, len(distinct), _ROWS_AT_A_TIME):
            latent_BZ = self.encoder(torch.from_numpy(distinct[start : start + _ROWS_AT_A_TIME]).to(self.vectors.device))
            code_BL: Tensor = self.quantizer(latent_BZ).code
            entries = [codebook[code_B] for codebook, code_B in zip(self.quantizer.codebooks, code_BL.T, strict=True)]
            sum_LBZ = torch.stack(entries).cumsum(dim=0)
            codes.append(code_BL.cpu().numpy())
            levels.append(self.decoder(sum_LBZ).cpu().numpy())
        reconstruction_LND = np.concatenate(levels, axis=1)[:, row_of]
        return Quantized(
            codes=np.concatenate(codes)[row_of].astype(np.int32),
            codebooks=tuple(codebook.detach().cpu().numpy() for codebook in self.quantizer.codebooks),
            reconstruction=reconstruction_LND[-1],
            unexplained=tuple(unexplained_share(vectors, reconstruction) for reconstruction in reconstruction_LND),
        )


def train_rqvae(context: FitContext, vectors: FloatArray, settings: QuantizerSettings, seed: int) -> Quantized:
    """The codes of an RQ-VAE trained on all these vectors, with its last weights.

    Args:
        context: of a stage, alone: one process trains for all.
        vectors: (n, D) float32, scaled as the settings say.
        settings: of the quantizer.
        seed: of the first weights, the order of the vectors and the restarts.

    Raises:
        StageFailed: a level uses less than half of its codes.
    """
    with torch_seeded(seed, "rqvae", "weights"):
        module = Rqvae(torch.from_numpy(np.array(vectors, dtype=np.float32)), settings)
    module.start(settings, derived_seed(seed, "rqvae", "start"))
    last_restart = settings.rqvae.restart_share * settings.rqvae.epochs

    def batches(epoch: int) -> list[RqvaeBatch]:
        order = generator(seed, "rqvae", "order", epoch).permutation(len(vectors))
        size = settings.rqvae.batch_size
        restart_seed = derived_seed(seed, "rqvae", "restart", epoch) if 0 < epoch < last_restart else None
        return [
            RqvaeBatch(order[start : start + size], start == 0, restart_seed if start == 0 else None)
            for start in range(0, len(order), size)
        ]

    report = train(
        context,
        module,
        batches=batches,
        settings=TrainingSettings(
            learning_rate=settings.rqvae.learning_rate,
            weight_decay=settings.rqvae.weight_decay,
            clip_norm=settings.rqvae.clip_norm,
            max_epochs=settings.rqvae.epochs,
        ),
        examples_possible=len(vectors),
        name="rqvae",
    )
    found = module.quantized()
    usage = [len(np.unique(code)) / size for code, size in zip(found.codes.T, found.level_sizes, strict=True)]
    context.log.info(
        "RQ-VAE: loss %.4f after %d steps; usage of codes %s; left over of the variance %s",
        report.curve[-1].loss if report.curve and report.curve[-1].loss is not None else float("nan"),
        report.steps,
        ", ".join(f"{share:.0%}" for share in usage),
        ", ".join(f"{share:.0%}" for share in found.unexplained),
    )
    _refuse_collapse(usage, found.level_sizes, settings)
    return found


def _refuse_collapse(usage: Sequence[float], sizes: Sequence[int], settings: QuantizerSettings) -> None:
    level = int(np.argmin(usage))
    if usage[level] < LEAST_USAGE:
        scaling = "" if settings.rqvae.scaling == "standardised" else "codes.rqvae.scaling=standardised, "
        raise StageFailed(
            f"The RQ-VAE has collapsed: level {level + 1} uses {round(usage[level] * sizes[level])} of its {sizes[level]} codes "
            f"after {settings.rqvae.epochs} epochs. Change its settings: {scaling}more codes.rqvae.epochs, a lower "
            f"codes.rqvae.learning_rate than {settings.rqvae.learning_rate:g}, a smaller codes.codebook_size; or take "
            "codes.quantizer=rkmeans."
        )


def _layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them and none after the last."""
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
