"""Optimisers and the sorting of a module's parameters."""

import torch
from torch import Tensor, nn

from recbench.core.errors import StageFailed
from recbench.core.plugin import Parameters
from recbench.nn.settings import TrainingSettings


def make_optimizer(module: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over the parameters that need a gradient, those without decay in a group of their own."""
    tables = {id(table) for table in _embedding_tables(module)}
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise StageFailed(f"{type(module).__name__} has no parameter that needs a gradient. There is nothing to train.")
    is_decayed = [settings.decay_on == "all" or (p.ndim >= 2 and id(p) not in tables) for p in parameters]
    groups = [
        {"params": [p for p, decayed in zip(parameters, is_decayed, strict=True) if decayed], "weight_decay": settings.weight_decay},
        {"params": [p for p, decayed in zip(parameters, is_decayed, strict=True) if not decayed], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(
        [group for group in groups if group["params"]], lr=settings.learning_rate, betas=settings.betas, eps=settings.epsilon, fused=True
    )


def count_parameters(module: nn.Module) -> Parameters:
    """How many numbers a module holds; shared ones count once."""
    parameters = list(module.parameters())
    return Parameters(
        total=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        embedding=sum(table.numel() for table in _embedding_tables(module)),
    )


def trained_weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy on the CPU of all that training changes: parameters with gradient, and buffers."""
    frozen = {name for name, p in module.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in module.state_dict().items() if name not in frozen}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The running means and step counts of an optimiser, named `PARAMETER_NUMBER.KEY`, on the CPU."""
    state = optimizer.state_dict()["state"]
    return {f"{row}.{key}": tensor.detach().cpu().contiguous() for row, group in state.items() for key, tensor in group.items()}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        row, _, key = name.partition(".")
        state.setdefault(int(row), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _embedding_tables(module: nn.Module) -> list[Tensor]:
    tables: dict[int, Tensor] = {}
    for part in module.modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag):
            tables[id(part.weight)] = part.weight
    return list(tables.values())
