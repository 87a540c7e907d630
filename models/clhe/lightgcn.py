"""LightGCN (arXiv:2002.02126) on users' feedback, trained by BPR: the vectors of the items alone are of use."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from recbench.core import FitContext, Histories, Interactions, TimeKind
from recbench.core.ragged import LongArray
from recbench.nn.training import UnseenNegatives, torch_seeded, train
from recbench_models.clhe.config import FeedbackSettings

# U users, N items, P pairs of a batch, D width


class LightGCN(nn.Module):
    """Vectors of users and items that are passed along the edges between them, and their loss. Initialised with torch's default generator.

    Args:
        feedback: items of each user, distinct; no user has all.
        n_items: N.
        settings: width and layers.
    """

    edges: Tensor

    def __init__(self, feedback: Histories, n_items: int, settings: FeedbackSettings) -> None:
        super().__init__()
        self.n_users, self.n_layers, self.l2 = len(feedback), settings.lightgcn.n_layers, settings.lightgcn.l2
        self.embedding = nn.Embedding(self.n_users + n_items, settings.width)
        nn.init.xavier_uniform_(self.embedding.weight)
        self.user_of_pair, self.item_of_pair = feedback.row_of_entry(), feedback.item.astype(np.int64)
        self.register_buffer(
            "edges", _edges(self.user_of_pair, self.n_users + self.item_of_pair, len(self.embedding.weight)), persistent=False
        )
        none = np.zeros(len(feedback.item), np.int64)
        self.negatives = UnseenNegatives(Interactions(feedback.item, feedback.offsets, none, n_items, TimeKind.NONE))

    def vectors(self) -> Tensor:
        """The mean over layers, users before items, (U + N, D)."""
        layer = total = self.embedding.weight
        for _ in range(self.n_layers):
            layer = torch.sparse.mm(self.edges, layer)
            total = total + layer
        return total / (self.n_layers + 1)

    def forward(self, pairs: LongArray) -> tuple[Tensor, int]:
        """The BPR loss of some pairs, and their number."""
        device = self.embedding.weight.device
        user_P = torch.from_numpy(self.user_of_pair[pairs]).to(device)
        negative_P = self.negatives.draw(user_P, 1)[:, 0]
        compared = [user_P, *(self.n_users + item for item in (torch.from_numpy(self.item_of_pair[pairs]).to(device), negative_P))]
        vector = self.vectors()
        user_PD, positive_PD, negative_PD = (vector[rows] for rows in compared)
        loss = functional.softplus((user_PD * (negative_PD - positive_PD)).sum(1)).sum()
        # Of the vectors before they are passed on, as in the code of LightGCN.
        length = sum((self.embedding(rows).square().sum() for rows in compared), start=torch.zeros((), device=device))
        return loss + self.l2 / 2 * length, len(pairs)


def lightgcn_vectors(context: FitContext, feedback: Histories, settings: FeedbackSettings) -> NDArray[np.float32]:
    """Vectors of the items, (N, D), trained on all pairs to the end; nothing is validated."""
    with torch_seeded(context.seed, "lightgcn", "initial weights"):
        module = LightGCN(feedback, context.train.n_items, settings)
    size = settings.lightgcn.batch_size

    def batches(epoch: int) -> list[LongArray]:
        order = context.generator("lightgcn batches", epoch).permutation(len(feedback.item))
        return [order[start : start + size] for start in range(0, len(order), size)]

    train(
        context,
        module,
        batches=batches,
        settings=settings.lightgcn.training,
        examples_possible=len(feedback.item),
        name="lightgcn",
    )
    with torch.no_grad():
        vectors: NDArray[np.float32] = module.vectors()[module.n_users :].float().cpu().numpy()
    return vectors


def _edges(first: LongArray, second: LongArray, n: int) -> Tensor:
    """Both directions of each edge, weighted by `1 / sqrt(degree * degree)`, (n, n), sparse."""
    row, column = np.concatenate([first, second]), np.concatenate([second, first])
    degree = np.bincount(row, minlength=n)
    weight = torch.from_numpy((1.0 / np.sqrt(degree[row] * degree[column])).astype(np.float32))
    return torch.sparse_coo_tensor(torch.from_numpy(np.stack([row, column])), weight, (n, n), check_invariants=True).coalesce()
