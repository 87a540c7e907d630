"""Assignment of a batch to codes so that all codes are used alike: entropic optimal transport (Cuturi, arXiv:1306.0895)."""

import torch
from torch import Tensor

# B vectors of a batch, K codes, Z width

LEAST_EPSILON = 0.003
"""With costs between -1 and 1 a smaller one would leave the range of float64; LETTER's code (arXiv:2405.07314) has just this."""


def sinkhorn(cost_BK: Tensor, *, epsilon: float, iterations: int) -> Tensor:
    """The transport plan (B, K) float64 from equal shares of vectors to equal shares of codes: columns sum to B / K, rows to 1.

    Columns do so exactly, rows as nearly as the iterations bring them.

    Args:
        cost_BK: between -1 and 1.
        epsilon: weight of the entropy, at least `LEAST_EPSILON`; the smaller, the nearer to a plan of whole vectors.
        iterations: how often rows and columns are scaled.

    Raises:
        ValueError: `epsilon` is too small.
    """
    if epsilon < LEAST_EPSILON:
        raise ValueError(f"epsilon={epsilon:g} is too small for float64. Use {LEAST_EPSILON:g} or more.")
    n_vectors, n_codes = cost_BK.shape
    # What is taken from a row or a column the scaling gives back; every row and column then has an entry of 1.
    cost_BK = cost_BK.double() - cost_BK.double().amin(dim=1, keepdim=True)
    kernel_BK = torch.exp((cost_BK.amin(dim=0, keepdim=True) - cost_BK) / epsilon)
    column_K = kernel_BK.new_ones(n_codes)
    for _ in range(iterations):
        row_B = 1.0 / (kernel_BK @ column_K)
        column_K = (n_vectors / n_codes) / (kernel_BK.T @ row_B)
    return row_B[:, None] * kernel_BK * column_K


@torch.no_grad()
def sinkhorn_codes(vector_BZ: Tensor, codebook_KZ: Tensor, *, epsilon: float = LEAST_EPSILON, iterations: int = 50) -> Tensor:
    """The code of each vector by its largest share in the transport plan, (B,) int64.

    Costs are squared distances, shifted and scaled so that they reach from -1 to 1 over the batch. A code's use is balanced over the batch
    that is given: of a batch of one vector nothing is to be balanced.

    Args:
        vector_BZ: residuals of a batch.
        codebook_KZ: entries of the level.
        epsilon, iterations: as for `sinkhorn`.
    """
    distance_BK = torch.cdist(vector_BZ.double(), codebook_KZ.double()).square()
    low, high = distance_BK.aminmax()
    half = ((high - low) / 2).clamp(min=torch.finfo(torch.float64).tiny)
    return sinkhorn((distance_BK - (high + low) / 2) / half, epsilon=epsilon, iterations=iterations).argmax(dim=1)
