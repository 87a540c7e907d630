"""A bound on the memory of this process, for work whose size a stranger chose."""

import contextlib
import resource
from collections.abc import Iterator

import psutil


@contextlib.contextmanager
def bounded_memory(n_bytes: int) -> Iterator[None]:
    """Let this process take so many bytes more than it has; what asks for more is refused its memory, as on a machine that has none left.

    Files that are mapped to be read do not count. A system that does not say how much a process has (macOS) sets no bound.
    """
    has = getattr(psutil.Process().memory_info(), "data", None)
    if has is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (has + n_bytes, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
