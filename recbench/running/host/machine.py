"""Device, precision and threads of a run."""

import os
import platform
import reprlib
from dataclasses import dataclass

import psutil

from recbench.core.errors import BadRequest
from recbench.core.plugin import Precision
from recbench.nn.compute.memory import keep_freed_memory

_THREADS_PER_CORE, _LEAST_BOUND = 16, 256
"""Most threads of each core, and the bound for small machines, which may still repeat what a large one did."""


@dataclass(frozen=True)
class Machine:
    """Device and arithmetic of a run.

    Attributes:
        device: `cpu` or `cuda:N`.
        name: name of the processor or accelerator.
        precision: matmul precision during training: `fp32` or `bf16`.
        threads: number of CPU threads to use.
    """

    device: str
    name: str
    precision: Precision
    threads: int

    @property
    def type(self) -> str:
        """`cpu` or `cuda`."""
        return self.device.partition(":")[0]

    @classmethod
    def resolve(cls, device: str, precision: str, threads: int | None, local_rank: int = 0) -> "Machine":
        """Find the requested machine; a `BadRequest` where it is not there. Sets torch's threads, and keeps freed memory.

        Args:
            device: `auto`, `cpu`, `cuda` or `cuda:N`. Only `auto` may choose.
            precision: `auto` (bf16 on a CUDA device that has it), `fp32` or `bf16`.
            threads: None: as many as there are cores for this process; torchrun's processes share them.
            local_rank: number of this process on this machine; `cuda` means its own device.
        """
        import torch

        device = resolve_device(device, local_rank)
        kind = device.partition(":")[0]
        if kind == "cuda":
            torch.cuda.set_device(device)
        has_bf16 = kind == "cuda" and torch.cuda.is_bf16_supported()
        if precision not in {"auto", "fp32", "bf16"}:
            raise BadRequest(f"--precision {precision!r} is not known. Use auto, fp32 or bf16.")
        if precision == "bf16" and not has_bf16:
            raise BadRequest(f"--precision bf16: device {device} does not compute in it. Use --precision fp32.")
        chosen: Precision = "bf16" if precision != "fp32" and has_bf16 else "fp32"
        refuse_too_many(threads=threads)
        n_threads = threads or max(1, cores() // processes_here())
        torch.set_num_threads(n_threads)
        keep_freed_memory()
        return cls(device, torch.cuda.get_device_name(device) if kind == "cuda" else processor(), chosen, n_threads)


def resolve_device(device: str, local_rank: int = 0) -> str:
    """`cpu` or `cuda:N` for `auto`, `cpu`, `cuda` or `cuda:N`; a `BadRequest` where it is not there."""
    if device == "cpu":
        return device
    import torch

    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = "cuda" if n_cuda else "cpu"
    kind, _, number = device.partition(":")
    if kind not in {"cpu", "cuda"} or (number and not number.isdigit()):
        raise BadRequest(f"--device {device!r} is not known. Use auto, cpu, cuda or cuda:N.")
    if kind == "cpu":
        return device
    index = int(number) if number else local_rank
    if index >= n_cuda:
        raise BadRequest(f"--device {device!r}: this machine has {n_cuda} CUDA devices. Use --device cpu, or see `recbench doctor`.")
    return f"cuda:{index}"


def refuse_too_many(*, threads: int | None = None, jobs: int | None = None) -> None:
    """Raise a `BadRequest` for more threads of a run, or runs at a time, than this machine can run.

    OpenMP ends the process with a segmentation fault where the system has no room for one more thread.
    """
    most = max(_LEAST_BOUND, _THREADS_PER_CORE * cores())
    for option, asked in (("--threads", threads), ("--jobs", jobs)):
        if asked is not None and not 1 <= asked <= most:
            raise BadRequest(f"{option} {asked} is not possible here: from 1 to {most:,} for {cores()} cores. One for each core is best.")


def processes_here() -> int:
    """Number of processes of one run on this machine, as torchrun says; 1 without it."""
    text = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise BadRequest(
            f"LOCAL_WORLD_SIZE={reprlib.repr(text)} is no whole number from 1 on. Start the processes with torchrun, or unset it."
        )
    return int(text)


def cores() -> int:
    """Cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else psutil.cpu_count(logical=False) or 1


def processor() -> str:
    """Name that the processor gives itself."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:  # noqa: PTH123 (a pseudo file)
            for line in stream:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
