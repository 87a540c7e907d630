"""Processes that train together: connection, agreement, sums. Everything also works for one process alone.

Who takes part is said by the `World` that is passed, usually a context's, and never guessed from torch's state: work that one
process of a group does alone passes `World()` and waits for nobody.
"""

import itertools
import json
import os
import reprlib
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # documented, but exported by no __all__

from recbench.core.errors import BadRequest, refuse_shortage
from recbench.core.plugin import World

_TIMEOUT = timedelta(hours=24)
"""Rank 0 may build text vectors or codes for hours while the others wait; torchrun ends them all if one dies."""

_WAIT_VARIABLE = "RECBENCH_WAIT_S"
_WAIT_S = 30 * 60
"""Seconds until every process of a run must have begun, unless the variable says otherwise; as long as torch waits by default."""

_POLL_S = 0.1
_NAMED = 8
"""Ranks that a sentence names."""

_START = "Start several processes with torchrun, which sets these variables, or unset them to run one."


_MOST_DIGITS = 9
_LAST_PORT = 65_535


@dataclass(frozen=True)
class Group:
    """The processes of one run, as the stage cache sees them."""

    rank: int = 0
    size: int = 1

    def broadcast(self, value: Any) -> Any:
        """Rank 0's JSON value, on every rank."""
        return broadcast(value, World(self.rank, self.size))

    def barrier(self) -> None:
        """Wait until all ranks are here, for up to 24 hours."""
        barrier(World(self.rank, self.size))


def world_from_environment() -> tuple[World, int]:
    """Rank and size of this process as torchrun set them, and its number on this machine; one process alone without torchrun.

    Raises:
        BadRequest: one of the variables is set without another, is no whole number, or a rank is not below its size.
    """
    rank, size, local_rank = (_number(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if rank is None and size is None and local_rank is None:
        return World(), 0
    if rank is None or size is None:
        missing, there = ("RANK", "WORLD_SIZE") if rank is None else ("WORLD_SIZE", "RANK")
        there = there if there in os.environ else "LOCAL_RANK"
        raise BadRequest(f"{there}={os.environ[there]} is set and {missing} is not. {_START}")
    if rank >= size:
        raise BadRequest(f"RANK={rank} and WORLD_SIZE={size}: ranks count from 0 to WORLD_SIZE - 1. {_START}")
    if local_rank is not None and local_rank > rank:
        raise BadRequest(f"LOCAL_RANK={local_rank} and RANK={rank}: no process is further on its machine than among all. {_START}")
    return World(rank, size), local_rank or 0


def _number(variable: str) -> int | None:
    """The whole number from 0 on in a variable of the environment; None where it is not set."""
    text = os.environ.get(variable)
    if text is not None and not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise BadRequest(f"{variable}={reprlib.repr(text)} is no whole number from 0 on, of at most {_MOST_DIGITS} digits. {_START}")
    return None if text is None else int(text)


def _checked_address(size: int) -> tuple[str, int]:
    """Host and port at which the processes meet; a `BadRequest` where the variables name no such place."""
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise BadRequest(
            f"{size} processes are asked for, but {missing[0]} is not set. "
            f"Start them with: torchrun --nproc-per-node {size} -m recbench run ..."
        )
    host, port = os.environ["MASTER_ADDR"], _number("MASTER_PORT") or 0
    if not 0 < port <= _LAST_PORT:
        raise BadRequest(f"MASTER_PORT={port} is no port: those count from 1 to {_LAST_PORT}. {_START}")
    try:
        # Torch would ask again for as long as the processes may wait for one another, which is a day.
        socket.getaddrinfo(host, port)
    except (OSError, UnicodeError) as error:
        refuse_shortage(error)
        raise BadRequest(f"MASTER_ADDR={host!r} is no machine that is known here: {error}. {_START}") from None
    return host, port


def _meet(world: World) -> TCPStore:
    """The store through which the processes of a run find each other, once every one of them has come to it.

    Raises:
        BadRequest: the place of meeting cannot be had, or some process has not come in time; the sentence names their ranks.
    """
    host, port = _checked_address(world.size)
    wait_s = _number(_WAIT_VARIABLE)
    wait_s = _WAIT_S if wait_s is None else wait_s
    deadline = time.monotonic() + wait_s
    try:
        # torchrun keeps a store of its own at that place; without it rank 0 does.
        is_host = world.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True)
        store = TCPStore(
            host, port, world.size, is_host, timeout=timedelta(seconds=max(wait_s, 1)), wait_for_workers=False, multi_tenant=True
        )
        store.set(_came(world.rank), "")
        first_missing = 0
        while (first_missing := _first_missing(store, first_missing, world.size)) < world.size:
            if time.monotonic() >= deadline:
                raise BadRequest(_who_is_missing(store, first_missing, world.size, wait_s))
            time.sleep(_POLL_S)  # rather than one long call of torch, which Ctrl-C cannot end
    except (dist.DistNetworkError, dist.DistStoreError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise BadRequest(
            f"The {world.size} processes cannot meet at {host}:{port}: {reason}. Choose another MASTER_PORT, or use torchrun; see whether "
            "rank 0 runs."
        ) from None
    store.set_timeout(_TIMEOUT)
    return store


def _came(rank: int) -> str:
    """The key that a process sets in the store as soon as it is there."""
    return f"recbench/came/{rank}"


def _first_missing(store: TCPStore, start: int, size: int) -> int:
    """The first rank from `start` on that has not come; `size` where all have."""
    return next((rank for rank in range(start, size) if not store.check([_came(rank)])), size)


def _who_is_missing(store: TCPStore, first: int, size: int, wait_s: int) -> str:
    missing = list(itertools.islice((rank for rank in range(first, size) if not store.check([_came(rank)])), _NAMED + 1))
    named = ", ".join(map(str, missing[:_NAMED])) + (" and others" if len(missing) > _NAMED else "")
    return (
        f"{'Rank' if len(missing) == 1 else 'Ranks'} {named} of the {size} processes that WORLD_SIZE promises did not come within "
        f"{wait_s:,} s. Start all of them, which torchrun does, or set WORLD_SIZE to as many as there are; {_WAIT_VARIABLE} says how many "
        "seconds to wait."
    )


@contextmanager
def connected(world: World, device: str) -> Iterator[Group]:
    """The group of all processes of `world`, connected while the block runs; nothing to connect where the size is 1.

    Sums of CPU tensors go through gloo, sums of CUDA tensors through NCCL. The address of the meeting place comes from the variables
    that torchrun sets.

    Raises:
        BadRequest: the processes cannot meet, or some of them do not come in time.
    """
    if world.size == 1:
        yield Group()
        return
    store = _meet(world)
    is_cuda = device.startswith("cuda")
    if is_cuda:
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if is_cuda else "gloo"
    dist.init_process_group(backend, store=store, rank=world.rank, world_size=world.size, timeout=_TIMEOUT)
    try:
        yield Group(world.rank, world.size)
    finally:
        dist.destroy_process_group()


def barrier(world: World) -> None:
    """Wait until all ranks are here; a world of one waits for nobody."""
    # A sum of a CPU tensor goes through gloo, whose waiting needs no GPU; NCCL's barrier would occupy one.
    sum_over_ranks(np.zeros(1), world)


def broadcast(value: Any, world: World) -> Any:
    """Rank 0's JSON value, on every rank; the values that other ranks pass are ignored."""
    if world.size == 1:
        return value
    text = json.dumps(value).encode() if world.rank == 0 else b""
    size = torch.tensor([len(text)], dtype=torch.int64)
    dist.broadcast(size, src=0)
    content = torch.zeros(int(size), dtype=torch.uint8)
    if text:
        content = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    dist.broadcast(content, src=0)
    return json.loads(content.numpy().tobytes())


def sum_over_ranks(values: NDArray[np.float64], world: World) -> NDArray[np.float64]:
    """The sum over all ranks of equally shaped arrays, float64; the array itself in a world of one."""
    if world.size == 1:
        return values
    total = torch.from_numpy(np.array(values, dtype=np.float64))
    dist.all_reduce(total)
    return total.numpy()


def sum_in_place(tensors: Iterable[Tensor], world: World) -> None:
    """Replace each tensor by its sum over all ranks, in one message."""
    parts = list(tensors)
    if not parts or world.size == 1:
        return
    flat = torch.cat([part.reshape(-1) for part in parts])
    dist.all_reduce(flat)
    start = 0
    for part in parts:
        part.copy_(flat[start : start + part.numel()].view_as(part))
        start += part.numel()


def copy_from_first(tensors: Iterable[Tensor], world: World) -> None:
    """Replace each tensor by rank 0's."""
    if world.size > 1:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def gather_rows(rows_ND: Tensor, world: World) -> Tensor:
    """The rows of all ranks, rank by rank; as many columns on each, any number of rows.

    A gradient with respect to a row goes back to the rank that gave it, summed over all ranks: losses that are summed over ranks later get
    the gradient of their sum.
    """
    if world.size == 1:
        return rows_ND
    gathered: Tensor = _GatheredRows.apply(rows_ND, world)  # type: ignore[no-untyped-call]
    return gathered


class _GatheredRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_ND: Tensor, world: World) -> Tensor:
        counts = np.zeros(world.size)
        counts[world.rank] = len(rows_ND)
        counts = sum_over_ranks(counts, world).astype(np.int64)
        # Ranks send alike many rows; those that fill up are cut off again.
        mine = rows_ND.new_zeros(int(counts.max()), *rows_ND.shape[1:])
        mine[: len(rows_ND)] = rows_ND
        received = [torch.empty_like(mine) for _ in range(world.size)]
        dist.all_gather(received, mine)
        start = int(counts[: world.rank].sum())
        ctx.own = slice(start, start + len(rows_ND))
        return torch.cat([part[:count] for part, count in zip(received, counts.tolist(), strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.own], None
