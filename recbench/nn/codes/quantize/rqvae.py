"""RQ-VAE: residual quantisation inside an autoencoder that is trained with it (arXiv:2305.05065, section 3.1).

Shapes: B vectors of a batch, L levels, K codes of a level, D width of the vectors, Z width of the latent space.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recbench.core.errors import StageFailed
from recbench.core.plugin import FitContext
from recbench.core.seeds import derived_seed, generator
from recbench.nn.codes.quantize.quantized import FloatArray, Quantized, shares_of_spread
from recbench.nn.codes.quantize.residual_kmeans import residual_kmeans
from recbench.nn.codes.quantize.settings import QuantizerSettings
from recbench.nn.training.determinism import torch_seeded
from recbench.nn.training.loop import train
from recbench.nn.training.settings import TrainingSettings

LEAST_USAGE = 0.5
"""Share of the codes of a level; below it the autoencoder has collapsed."""
_START_ITERATIONS = 25
_ROWS_AT_A_TIME = 8192

Assignment = Callable[[int, Tensor, Tensor], Tensor]
"""The codes (B,) int64 of residuals (B, Z) on a level (from 0), given its entries (K, Z)."""


@dataclass(frozen=True)
class RqvaeBatch:
    """Rows of the vectors, and what the module must know of its place in the training.

    Attributes:
        rows: (B,) int64.
        is_first: of its epoch; the count of used codes starts anew.
        restart_seed: what to draw from where codes that the last epoch left unused start again before this batch; else None.
        epoch_seed: what an extension draws from at the start of this batch's epoch.
    """

    rows: NDArray[np.int64]
    is_first: bool = False
    restart_seed: int | None = None
    epoch_seed: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def shard(self, rank: int, size: int) -> Self:
        """Every `size`-th row from `rank` on."""
        return replace(self, rows=self.rows[rank::size])


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
    """Codebooks of all levels; each quantises what the ones before left over.

    Args:
        codebooks: (K, Z) of each level.
        assign: how codes are chosen in training; None: the nearest entry, as outside of it.
    """

    def __init__(self, codebooks: Sequence[Tensor], assign: Assignment | None = None) -> None:
        super().__init__()
        self._assign = assign
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
        assign = self._assign if self.training else None
        for number, level in enumerate(self.levels):
            entry_KZ = level.get_parameter("weight")
            code_B = nearest(residual_BZ, entry_KZ) if assign is None else assign(number, residual_BZ.detach(), entry_KZ.detach())
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


class RqvaeExtension(nn.Module):
    """What a model adds to the training of an RQ-VAE; this class adds nothing, and training with it is that without any.

    Tensors that a step of an epoch leaves for later steps stand in buffers: these are kept in checkpoints. What is drawn at random in
    `loss` and `assign` comes from torch's default generators, which the training loop seeds for every step.

    Attributes:
        level_weight: weight of the two losses of the levels, which are summed over levels: 1 / L makes their mean of it.
    """

    level_weight: float = 1.0

    def start(self, latent: FloatArray, settings: QuantizerSettings, seed: int) -> Sequence[FloatArray]:
        """First codebooks, (K, Z) float32 of each level, from the untrained encoder's output (N, Z)."""
        return residual_kmeans(
            latent, n_levels=settings.n_levels, size=settings.codebook_size, seed=seed, iterations=_START_ITERATIONS, restarts=1
        ).codebooks

    def begin_epoch(self, codebooks: Sequence[Tensor], seed: int) -> None:
        """Look at the entries, (K, Z) of each level, before the first batch of an epoch, with a seed of the epoch's own."""

    def assign(self, level: int, residual_BZ: Tensor, codebook_KZ: Tensor) -> Tensor:  # noqa: ARG002
        """Codes of a batch in training, as `Assignment`; the codes that are handed out in the end are those of the nearest entries."""
        return nearest(residual_BZ, codebook_KZ)

    def loss(self, total_BZ: Tensor, rows_B: Tensor, code_BL: Tensor, codebooks: Sequence[Tensor]) -> Tensor | None:  # noqa: ARG002
        """One more loss of each vector, (B,) float32, or None.

        Args:
            total_BZ: the sum of the codes' entries, whose gradient goes on to the encoder as if it were its output.
            rows_B: int64, which of the vectors these are.
            code_BL: their codes.
            codebooks: the entries of each level, (K, Z), with gradient.
        """
        return None


class Rqvae(nn.Module):
    """Encoder, residual quantizer, decoder; called with a batch it gives the loss."""

    vectors: Tensor
    quantizer: ResidualQuantizer

    def __init__(self, vector_ND: Tensor, settings: QuantizerSettings, extension: RqvaeExtension | None = None) -> None:
        super().__init__()
        widths = (vector_ND.shape[1], *settings.rqvae.hidden, settings.rqvae.latent)
        self.register_buffer("vectors", vector_ND, persistent=False)
        self.encoder, self.decoder = _layers(widths), _layers(widths[::-1])
        self.beta = settings.rqvae.beta
        self.extension = RqvaeExtension() if extension is None else extension

    def start(self, settings: QuantizerSettings, seed: int) -> None:
        """Put the codebooks where the extension finds them in the untrained encoder's output: by residual k-means, level by level."""
        with torch.no_grad():
            latent = torch.cat([self.encoder(part) for part in torch.split(self.vectors, _ROWS_AT_A_TIME)]).numpy()
        codebooks = self.extension.start(latent, settings, seed)
        self.quantizer = ResidualQuantizer([torch.from_numpy(codebook) for codebook in codebooks], self.extension.assign)
        for level, codebook in enumerate(codebooks):
            self.register_buffer(f"uses_{level}", torch.zeros(len(codebook), dtype=torch.int64))

    def forward(self, batch: RqvaeBatch) -> tuple[Tensor, int]:
        """Sum of the losses of a batch's vectors, and their number."""
        rows_B = torch.from_numpy(batch.rows).to(self.vectors.device)
        vector_BD = self.vectors[rows_B]
        latent_BZ = self.encoder(vector_BD)
        # Codes are chosen in full precision, whatever the layers compute in.
        with torch.autocast(vector_BD.device.type, enabled=False):
            latent_BZ = latent_BZ.float()
            if batch.is_first:
                self._begin_epoch(latent_BZ.detach(), batch.restart_seed)
                self.extension.begin_epoch([codebook.detach() for codebook in self.quantizer.codebooks], batch.epoch_seed)
            found: Quantization = self.quantizer(latent_BZ)
        self._count(found.code)
        straight_through_BZ = latent_BZ + (found.total - latent_BZ).detach()
        reconstruction_BD = self.decoder(straight_through_BZ).float()
        # Means over D and over Z: the balance between the terms must not depend on how wide the vectors are.
        levels_B = found.to_entries + self.beta * found.to_residuals
        loss_B = (vector_BD - reconstruction_BD).square().mean(dim=1) + self.extension.level_weight * levels_B
        more_B = self.extension.loss(straight_through_BZ, rows_B, found.code, self.quantizer.codebooks)
        return (loss_B if more_B is None else loss_B + more_B).sum(), len(batch)

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
        """Codes of the nearest entries that the trained module has for its vectors."""
        self.eval()
        vectors = self.vectors.cpu().numpy()
        # Equal vectors must get equal codes, which the last digit of a distance could prevent: each is looked at once.
        distinct, row_of, counts = np.unique(vectors + 0.0, axis=0, return_inverse=True, return_counts=True)
        row_of = row_of.reshape(-1)
        codes, latent, last_level, errors = [], [], [], []
        for start in range(0, len(distinct), _ROWS_AT_A_TIME):
            latent_BZ = self.encoder(torch.from_numpy(distinct[start : start + _ROWS_AT_A_TIME]).to(self.vectors.device))
            code_BL: Tensor = self.quantizer(latent_BZ).code
            entries = [codebook[code_B] for codebook, code_B in zip(self.quantizer.codebooks, code_BL.T, strict=True)]
            sum_LBZ = torch.stack(entries).cumsum(dim=0)
            codes.append(code_BL.cpu().numpy())
            latent.append(latent_BZ.cpu().numpy())
            level_LBD = self.decoder(sum_LBZ).cpu().numpy()
            error_LB = np.square(level_LBD - distinct[start : start + _ROWS_AT_A_TIME], dtype=np.float64).sum(axis=2)
            errors.append(error_LB @ counts[start : start + _ROWS_AT_A_TIME])
            last_level.append(level_LBD[-1])
        return Quantized(
            codes=np.concatenate(codes)[row_of].astype(np.int32),
            codebooks=tuple(codebook.detach().cpu().numpy() for codebook in self.quantizer.codebooks),
            reconstruction=np.concatenate(last_level)[row_of],
            unexplained=shares_of_spread(np.sum(errors, axis=0), vectors),
            latent=np.concatenate(latent)[row_of],
        )


def train_rqvae(
    context: FitContext, vectors: FloatArray, settings: QuantizerSettings, seed: int, extension: RqvaeExtension | None = None
) -> Quantized:
    """The codes of an RQ-VAE trained on all these vectors, with its last weights.

    Args:
        context: of a stage, alone: one process trains for all.
        vectors: (n, D) float32, scaled as the settings say.
        settings: of the quantizer.
        seed: of the first weights, the order of the vectors and the restarts.
        extension: what a model adds; None: nothing.

    Raises:
        StageFailed: a level uses less than half of its codes.
    """
    with torch_seeded(seed, "rqvae", "weights"):
        module = Rqvae(torch.from_numpy(np.array(vectors, dtype=np.float32)), settings, extension)
    module.start(settings, derived_seed(seed, "rqvae", "start"))
    last_restart = settings.rqvae.restart_share * settings.rqvae.epochs

    def batches(epoch: int) -> list[RqvaeBatch]:
        order = generator(seed, "rqvae", "order", epoch).permutation(len(vectors))
        size = settings.rqvae.batch_size
        restart_seed = derived_seed(seed, "rqvae", "restart", epoch) if 0 < epoch < last_restart else None
        epoch_seed = derived_seed(seed, "rqvae", "epoch", epoch)
        return [
            RqvaeBatch(order[start : start + size], start == 0, restart_seed if start == 0 else None, epoch_seed)
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
