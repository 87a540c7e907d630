"""EASE, arXiv 1905.03375."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_array
from torch import Tensor

from recbench.core import Catalogue, FitContext, FitReport, Parameters, Queries, Rankings
from recbench.nn.ranking import binary_matrix, decayed_weights, topk_from_scores
from recbench_models.ease.config import EASEConfig

_ROWS_AT_A_TIME = 1_024

# B queries, b queries of one block, N entries of histories, U users, I items


class EASE:
    """Scores an item by a weight from every item of the history, all weights solved for at once."""

    def __init__(self, config: EASEConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.weight_II = torch.zeros(catalogue.n_items, catalogue.n_items)

    def fit(self, context: FitContext) -> FitReport:
        """Solve for the weights, once per candidate where validation is to choose."""
        # An item that a user has several times counts once.
        count_II = _together(binary_matrix(context.train))
        chosen = self.config.regularisation
        if chosen == "validation":
            best, chosen = -1.0, self.config.candidates[0]
            for candidate in self.config.candidates:
                # Single precision is enough to tell candidates apart, in half the time.
                self.weight_II = _solve(count_II, candidate, torch.float32, context.device)
                result = context.validate(self)
                context.log.info("regularisation %g: validation %s %.4f", candidate, result.metric, result.value)
                if result.value > best:
                    best, chosen = result.value, candidate
        self.weight_II = torch.empty(0)  # the last candidate's, which would lie beside those that are solved for now
        self.weight_II = _solve(count_II, chosen, torch.float64, context.device)
        return FitReport(parameters=Parameters(total=self.weight_II.numel()), chosen={"regularisation": chosen})

    def generate(self, queries: Queries, k: int) -> Rankings:
        """Items with the largest weighted sum over the history."""
        histories = queries.histories
        weight_N = torch.from_numpy(decayed_weights(histories, self.config.decay))
        item_N = torch.from_numpy(histories.item.astype(np.int64))

        def score_block(rows: NDArray[np.int64]) -> Tensor:
            # Row by row the sum over the history of weight times the item's row of the matrix.
            low, high = int(histories.offsets[rows[0]]), int(histories.offsets[rows[-1] + 1])
            device = self.weight_II.device
            offsets_b = torch.from_numpy(histories.offsets[rows] - low).to(device)
            return torch.nn.functional.embedding_bag(
                item_N[low:high].to(device), self.weight_II, offsets_b, mode="sum", per_sample_weights=weight_N[low:high].to(device)
            )

        return topk_from_scores(score_block, queries, k, len(self.weight_II))

    def save(self, folder: Path) -> None:
        """Write the weights, (I, I) float32."""
        save_file({"weight": self.weight_II.cpu()}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        """Read the weights."""
        self.weight_II = load_file(folder / "model.safetensors")["weight"]


def _together(user_UI: csr_array) -> Tensor:
    """How many users have both of two items, (I, I) float32; a part of the rows at a time, for a sparse product of all takes more."""
    n_items = user_UI.shape[1]
    user_IU = user_UI.T.tocsr()
    count_II = torch.empty(n_items, n_items)
    for start in range(0, n_items, _ROWS_AT_A_TIME):
        part = user_IU[start : start + _ROWS_AT_A_TIME] @ user_UI
        count_II[start : start + _ROWS_AT_A_TIME] = torch.from_numpy(part.toarray())
    return count_II


def _solve(count_II: Tensor, regularisation: float, dtype: torch.dtype, device: str) -> Tensor:
    """Weights (I, I) float32, row: item of the history, column: candidate, zero diagonal (equation 8 of the paper)."""
    # Each step writes over its input: at 30,000 items a matrix in double precision takes 7 GB.
    matrix_II = count_II.to(device, dtype, copy=True)
    matrix_II.diagonal().add_(regularisation)
    torch.linalg.cholesky(matrix_II, out=matrix_II)
    torch.cholesky_inverse(matrix_II, out=matrix_II)
    matrix_II /= -matrix_II.diagonal().clone()
    matrix_II.fill_diagonal_(0.0)
    return matrix_II.float()
