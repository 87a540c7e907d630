"""How much memory of a CUDA device torch has allocated."""

import torch


class CudaMemory:
    """Torch's counter of allocated bytes on one device; what torch keeps for later allocations does not count."""

    def __init__(self, device: str) -> None:
        self._device = device

    def reset(self) -> None:
        """Forget the peak so far; what is allocated now is the new one."""
        torch.cuda.reset_peak_memory_stats(self._device)

    def peak_bytes(self) -> int:
        """Most bytes allocated since the last reset."""
        return torch.cuda.max_memory_allocated(self._device)


def device_memory(device: str) -> CudaMemory | None:
    """The counter of `cuda:N`; None for `cpu`, where the process's own memory says it all."""
    return CudaMemory(device) if device.startswith("cuda") else None
