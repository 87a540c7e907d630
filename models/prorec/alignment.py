"""Text vectors in the collaborative space, and the contrastive task that brings both together."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench_models.prorec.config import AdapterSettings

# M items, D width, S width of the text vectors


class Adapter(nn.Module):
    """Text vectors (M, S) to the collaborative space, (M, D).

    `adaln`: `(1 + g) * LN(W s + b) + c`, with g and c linear in what `condition` names and 0 at first. An account of the paper's
    equation 2 says that it adapts by AdaLN, and not on what that is conditioned: this is ours.

    Args:
        text_width: S.
        width: D.
        settings: of the adapter.
        generator: of the first weights; its own, so that nothing else is drawn differently with or without an adapter.
    """

    def __init__(self, text_width: int, width: int, settings: AdapterSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.kind, self.condition = settings.kind, settings.condition
        self.project = nn.Linear(text_width, width)
        self.second = nn.Linear(width, width) if settings.kind == "mlp" else None
        self.modulate: nn.Linear | None = None
        self.scale_shift: nn.Parameter | None = None
        if settings.kind == "adaln" and self.condition == "none":
            self.scale_shift = nn.Parameter(torch.zeros(2 * width))
        elif settings.kind == "adaln":
            self.modulate = nn.Linear(text_width if self.condition == "self" else width, 2 * width)
        with torch.no_grad():
            for layer in (self.project, self.second):
                if layer is not None:
                    nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
                    layer.bias.zero_()
            if self.modulate is not None:
                self.modulate.weight.zero_()
                self.modulate.bias.zero_()

    def forward(self, text_MS: Tensor, collab_MD: Tensor) -> Tensor:
        """The adapted vectors; `collab_MD` is read where the condition is `collab`, and gets no gradient."""
        hidden_MD: Tensor = self.project(text_MS)
        if self.kind == "linear":
            return hidden_MD
        if self.second is not None:
            out: Tensor = self.second(functional.gelu(hidden_MD))
            return out
        normed_MD = functional.layer_norm(hidden_MD, hidden_MD.shape[-1:], eps=1e-5)
        if self.scale_shift is not None:
            scale, shift = self.scale_shift.chunk(2)
        else:
            assert self.modulate is not None
            scale, shift = self.modulate(text_MS if self.condition == "self" else collab_MD.detach()).chunk(2, -1)
        return (1 + scale) * normed_MD + shift


def alignment_loss(collab_MD: Tensor, adapted_MD: Tensor, *, temperature: float, symmetric: bool) -> Tensor:
    """InfoNCE between the two vectors of each of M distinct items, a scalar: the mean over items, and over both directions.

    Others of the batch are the negatives. One item alone has none, and the loss is 0.
    """
    cosine_MM = functional.normalize(collab_MD.float(), dim=1) @ functional.normalize(adapted_MD.float(), dim=1).T / temperature
    own_M = torch.arange(len(cosine_MM), device=cosine_MM.device)
    loss = functional.cross_entropy(cosine_MM, own_M)
    return 0.5 * (loss + functional.cross_entropy(cosine_MM.T, own_M)) if symmetric else loss
