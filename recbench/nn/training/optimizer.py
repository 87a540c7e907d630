"""Optimisers and the sorting of a module's parameters."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recbench.core.errors import StageFailed
from recbench.core.plugin import Parameters
from recbench.nn.training.settings import TrainingSettings
from recbench.nn.training.sharding import gathered, is_sharded, scattered


def make_optimizer(module: nn.Module, settings: TrainingSettings, rate_factors: Mapping[str, float] | None = None) -> torch.optim.Optimizer:
    """Adam or AdamW over the parameters that need a gradient, in groups of like decay and rate, whole and spread ones apart.

    Args:
        module: whose parameters are trained.
        settings: of the optimiser.
        rate_factors: by the first part of parameters' names, what the learning rate is multiplied with for them; 1 for all others. A
            group says its own as `rate_factor`.
    """
    tables = {id(table) for table in _embedding_tables(module)}
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            is_decayed = settings.decay_on == "all" or (parameter.ndim >= 2 and id(parameter) not in tables)
            factor = next((value for start, value in (rate_factors or {}).items() if name.startswith(start)), 1.0)
            groups.setdefault((factor, not is_decayed, is_sharded(parameter)), []).append(parameter)
    if not groups:
        raise StageFailed(f"{type(module).__name__} has no parameter that needs a gradient. There is nothing to train.")
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    described = [
        {"params": groups[key], "weight_decay": 0.0 if key[1] else settings.weight_decay, "rate_factor": key[0]} for key in sorted(groups)
    ]
    return kind(described, lr=settings.learning_rate, betas=settings.betas, eps=settings.epsilon, fused=True)


def count_parameters(module: nn.Module) -> Parameters:
    """How many numbers a module holds; shared ones count once."""
    parameters = list(module.parameters())
    return Parameters(
        total=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        embedding=sum(table.numel() for table in _embedding_tables(module)),
    )


def trained_weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy on the CPU of all that training changes: parameters with gradient, and buffers. Where they are spread all ranks must ask."""
    frozen = {name for name, p in module.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return {name: _on_cpu(tensor) for name, tensor in module.state_dict().items() if name not in frozen}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The running means and step counts of an optimiser, named `PARAMETER_NUMBER.KEY`, on the CPU; all ranks must ask."""
    state = optimizer.state_dict()["state"]
    return {f"{row}.{key}": _on_cpu(tensor) for row, group in state.items() for key, tensor in group.items()}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        row, _, key = name.partition(".")
        # Means have the shape of their parameter and are spread as it is; a step count is a single number.
        state.setdefault(int(row), {})[key] = scattered({key: tensor}, {key: parameters[int(row)]})[key]
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _on_cpu(tensor: Tensor) -> Tensor:
    return gathered(tensor.detach()).to("cpu", copy=True).contiguous()


def _embedding_tables(module: nn.Module) -> list[Tensor]:
    tables: dict[int, Tensor] = {}
    for part in module.modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag):
            tables[id(part.weight)] = part.weight
    return list(tables.values())
