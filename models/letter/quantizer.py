"""What LETTER adds to the training of an RQ-VAE (arXiv:2405.07314): alignment with behaviour, diversity of codes, codes in equal use."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from recbench.core.seeds import derived_seed
from recbench.nn.codes import QuantizerSettings, RqvaeExtension, balanced_kmeans, sinkhorn_codes
from recbench_models.letter.config import DiversitySettings, LETTERConfig

# B items of a batch, N items, L levels, K codes of a level, C clusters of codes, Z width of the latent space

FloatArray = NDArray[np.float32]
_START_ITERATIONS = 10
_LARGEST_LEAST = 50
"""Items that every code has at the start, at least, where the catalogue is large."""


class LETTERQuantizer(RqvaeExtension):
    """Losses, assignment and first entries of LETTER.

    Args:
        config: of the model.
        behaviour: (N, Z) vectors of behaviour; None where nothing is aligned.
    """

    behaviour_NZ: Tensor

    def __init__(self, config: LETTERConfig, behaviour: FloatArray | None) -> None:
        super().__init__()
        self._codes, self._alignment, self._diversity = config.codes, config.alignment, config.diversity
        # The source averages over levels where TIGER sums.
        self.level_weight = 1.0 / config.codes.n_levels
        if behaviour is not None:
            self.register_buffer("behaviour_NZ", torch.from_numpy(np.array(behaviour, dtype=np.float32)), persistent=False)

    def start(self, latent: FloatArray, settings: QuantizerSettings, seed: int) -> Sequence[FloatArray]:
        """First entries, and a place for the cluster of each."""
        starts = balanced_start if self._codes.start == "balanced" else super().start
        codebooks = starts(latent, settings, seed)
        for level, codebook in enumerate(codebooks):
            self.register_buffer(f"cluster_{level}", torch.zeros(len(codebook), dtype=torch.int64))
        return codebooks

    def begin_epoch(self, codebooks: Sequence[Tensor], seed: int) -> None:
        """Cluster the entries of each level."""
        if self._diversity.weight:
            for level, entry_KZ in enumerate(codebooks):
                found = clusters_of_entries(entry_KZ.cpu().numpy(), self._diversity, derived_seed(seed, level))
                self.get_buffer(f"cluster_{level}").copy_(torch.from_numpy(found))

    def assign(self, level: int, residual_BZ: Tensor, codebook_KZ: Tensor) -> Tensor:
        """The nearest entries; on the last level, codes in equal use."""
        if level == self._codes.n_levels - 1 and self._codes.last_level == "sinkhorn":
            return sinkhorn_codes(residual_BZ, codebook_KZ)
        return super().assign(level, residual_BZ, codebook_KZ)

    def loss(self, total_BZ: Tensor, rows_B: Tensor, code_BL: Tensor, codebooks: Sequence[Tensor]) -> Tensor | None:
        """Weighted alignment and diversity of each item, (B,); None where neither has a weight."""
        losses = []
        if self._alignment.weight:
            losses.append(self._alignment.weight * alignment_loss(total_BZ, self.behaviour_NZ[rows_B]))
        if self._diversity.weight:
            of_levels = [
                diversity_loss(code_B, entry_KZ, self.get_buffer(f"cluster_{level}"))
                for level, (code_B, entry_KZ) in enumerate(zip(code_BL.T, codebooks, strict=True))
            ]
            losses.append(self._diversity.weight * torch.stack(of_levels).mean(dim=0))
        return torch.stack(losses).sum(dim=0) if losses else None


def alignment_loss(total_BZ: Tensor, behaviour_BZ: Tensor) -> Tensor:
    """Cross-entropy of each item's quantised vector with its own vector of behaviour, among those of the batch, (B,).

    Logits are plain inner products: how long the vectors of behaviour are decides how sharp they are.
    """
    own_B = torch.arange(len(total_BZ), device=total_BZ.device)
    return functional.cross_entropy(total_BZ @ behaviour_BZ.T, own_B, reduction="none")


def diversity_loss(code_B: Tensor, entry_KZ: Tensor, cluster_K: Tensor) -> Tensor:
    """Cross-entropy of each code's entry with that of another code of its cluster, among all other entries of the level, (B,).

    The other code is drawn anew for each item. A code that is alone in its cluster has no loss.
    """
    other_B = drawn_neighbours(code_B, cluster_K)
    logit_KK = entry_KZ @ entry_KZ.T
    is_self_KK = torch.eye(len(entry_KZ), dtype=torch.bool, device=entry_KZ.device)
    # A level of one code would have no other logit at all: the finite bound keeps its gradient a number.
    log_KK = torch.log_softmax(logit_KK.masked_fill(is_self_KK, torch.finfo(logit_KK.dtype).min), dim=1)
    return torch.where(other_B == code_B, 0.0, -log_KK[code_B, other_B])


def drawn_neighbours(code_B: Tensor, cluster_K: Tensor) -> Tensor:
    """A random other code of each code's cluster, (B,) int64; the code itself where it is alone."""
    order_K = torch.argsort(cluster_K, stable=True)
    size_C = torch.bincount(cluster_K)
    start_C = torch.cumsum(size_C, dim=0) - size_C
    place_K = torch.empty_like(order_K)
    place_K[order_K] = torch.arange(len(order_K), device=order_K.device) - start_C[cluster_K[order_K]]
    cluster_B = cluster_K[code_B]
    size_B = size_C[cluster_B]
    step_B = 1 + (torch.rand(len(code_B)).to(size_B.device) * (size_B - 1)).long()
    return order_K[start_C[cluster_B] + (place_K[code_B] + step_B) % size_B]


def clusters_of_entries(entry_KZ: FloatArray, settings: DiversitySettings, seed: int) -> NDArray[np.int64]:
    """The cluster of each entry, (K,); clusters are fewer or smaller where a small catalogue left a level fewer entries than asked for."""
    size = len(entry_KZ)
    n_clusters = min(settings.n_clusters, size)
    least, most = min(settings.least, size // n_clusters), max(settings.most, -(-size // n_clusters))
    return balanced_kmeans(entry_KZ, n_clusters, least=least, most=most, seed=seed, iterations=_START_ITERATIONS)[1]


def balanced_start(latent_NZ: FloatArray, settings: QuantizerSettings, seed: int) -> list[FloatArray]:
    """First entries, (K, Z) of each level: centres of clusters of like size, of what the levels before leave to the nearest entries.

    A cluster has half of an equal share at least, and never more than four times that, where this can be.
    """
    residual_NZ = torch.from_numpy(latent_NZ.copy())
    codebooks = []
    for level in range(settings.n_levels):
        n, vectors = len(residual_NZ), residual_NZ.numpy()
        size = min(settings.codebook_size, len(np.unique(vectors, axis=0)))
        least = min(n // (2 * size), _LARGEST_LEAST)
        most = max(4 * least, -(-n // size))
        level_seed = derived_seed(seed, "balanced start", level)
        centres, _ = balanced_kmeans(vectors, size, least=least, most=most, seed=level_seed, iterations=_START_ITERATIONS)
        codebooks.append(centres)
        entry_KZ = torch.from_numpy(centres)
        residual_NZ = residual_NZ - entry_KZ[torch.cdist(residual_NZ, entry_KZ).argmin(dim=1)]
    return codebooks
