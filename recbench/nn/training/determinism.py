"""Equal numbers from equal seeds: first weights, and whole trainings on as many threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from recbench.core.seeds import derived_seed


@contextmanager
def torch_seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Let torch's default generator of the CPU draw the stream that `names` describe, and go on afterwards as if nothing had been drawn.

    First weights are drawn so: `with torch_seeded(context.seed, "my-model", "initial weights"): self.network = ...`.
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which seeds the GPUs as well.
        torch.default_generator.manual_seed(derived_seed(seed, *names))
        yield


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Let equal trainings on the CPU give equal weights, whatever the load of the machine.

    With several threads torch adds the gradients of rows that were picked more than once (`table[index]`) in whatever order the
    threads come, which after a thousand steps is another model. Its deterministic sums cost nothing that could be measured in a
    step of GRAM on two threads. On a GPU they do, and nothing is promised there.
    """
    if device.type != "cpu":
        yield
        return
    # The module's attribute is made at run time: no type checker knows of it.
    deterministic: Any = torch.utils.deterministic
    mode, fill = torch.get_deterministic_debug_mode(), deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic.fill_uninitialized_memory = False  # it would write NaN into every new tensor first
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        deterministic.fill_uninitialized_memory = fill
