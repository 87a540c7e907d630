"""Modules whose weights are spread over the processes that train together (torch's FSDP), for networks that fit no single device.

The parameters of such a module are DTensors: each process holds a part. Forward and backward gather a block's weights when it runs, and
the gradient that arrives at a part is the sum over the processes. All processes must run the same blocks in the same order; whoever
computes alone does so within `whole`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recbench.core.plugin import World
from recbench.nn.compute.distributed import copy_from_first


def shard_weights(module: nn.Module, blocks: Sequence[nn.Module], world: World, device: torch.device) -> None:
    """Spread the weights of `module`, block by block, so that the weights of one block at a time are whole anywhere.

    Rank 0's weights are everybody's first. Nothing happens in a world of one.

    Args:
        module: on the device.
        blocks: parts of it that are gathered one at a time, such as the layers of a transformer.
        world: of the run; connected.
        device: of this process.
    """
    if world.size == 1:
        return
    # Here, not above: importing it takes a good part of a second, and hardly any run needs it.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    copy_from_first((parameter.detach() for parameter in module.parameters()), world)
    mesh = init_device_mesh(device.type, (world.size,))
    # Single numbers are left whole: they are cheap, and some are set in place, which a part would not see.
    single = {parameter for parameter in module.parameters() if parameter.numel() == 1}
    for block in (*blocks, module):
        fully_shard(block, mesh=mesh, ignored_params=single)
    for part in _sharded(module):
        # The training loop divides by the number of targets of the whole batch: it wants sums, not means over processes.
        part.set_force_sum_reduction_for_comms(True)
        part.set_gradient_divide_factor(1.0)


def is_sharded(tensor: Tensor) -> bool:
    """Whether this process holds a part of it only."""
    return hasattr(tensor, "full_tensor")


def gathered(tensor: Any) -> Tensor:
    """The whole of a tensor; all processes must ask for it together."""
    whole: Tensor = tensor.full_tensor() if is_sharded(tensor) else tensor
    return whole


def scattered(whole: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors as those of the same name are: this process's part where they are spread."""
    return {name: _part_of(tensor, like.get(name)) for name, tensor in whole.items()}


def _part_of(tensor: Tensor, like: Any) -> Tensor:
    if like is None or not is_sharded(like) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def clip_norm(parameters: Sequence[nn.Parameter], longest: float) -> None:
    """Shorten all gradients together to the norm `longest` where they are longer; some may be spread and others not."""
    groups = [[p for p in parameters if is_sharded(p) == spread] for spread in (True, False)]
    gradients = [[p.grad for p in group if p.grad is not None] for group in groups]
    norms = [gathered(nn.utils.get_total_norm(group)) for group in gradients if group]
    total = torch.linalg.vector_norm(torch.stack(norms))
    for group in groups:
        nn.utils.clip_grads_with_norm_(group, longest, total)


@contextmanager
def whole(module: nn.Module) -> Iterator[None]:
    """All weights of the module are here while the block runs, which may compute as often as it likes, alone; no gradients."""
    parts = list(_sharded(module))
    for part in parts:
        part.set_reshard_after_forward(False)
    for part in parts:
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(True)


def _sharded(module: nn.Module) -> Iterator[Any]:
    return (part for part in module.modules() if hasattr(part, "set_reshard_after_forward"))
