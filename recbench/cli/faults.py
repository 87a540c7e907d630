"""Errors as a user meets them: one sentence and an exit code."""

import errno
import os
import re
import resource
from collections.abc import Iterator

INTERRUPTED = 130
_CUT_SHORT = re.compile(
    r"^\d+ requested and \d+ written$"  # numpy, which leaves out why
    r"|PytorchStreamWriter failed writing file|unexpected pos \d+ vs \d+"  # torch, likewise
)
_DISK_FULL = re.compile(rf"No space left on device|Disk quota exceeded|StorageFull|database or disk is full|{_CUT_SHORT.pattern}")
_TOO_LARGE = re.compile(r"File too large|FileTooLarge")
_TOO_MANY_FILES = {errno.EMFILE, errno.ENFILE}
_PLACES = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOENT,
    errno.ENOTEMPTY,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}
"""The request names a place that cannot be used as it stands."""


def explain(error: BaseException, *, debug: bool = False) -> tuple[str, int]:
    """The sentence for an error, and the exit code of the process."""
    from recbench.core.errors import Interrupted, OutOfMemory, RecbenchError

    if isinstance(error, KeyboardInterrupt):
        return "Interrupted. The same command goes on from the last finished stage or checkpoint.", INTERRUPTED
    chain = list(_causes(error))
    limited = next((cause for cause in chain if _is_file_limit(cause)), None)
    if limited is not None:
        return (
            f"Error: a file is larger than this process may write ({_one_line(limited)}). Raise the limit (ulimit -f unlimited), or see "
            "whether the disk is full, and give the same command again.",
            1,
        )
    full = next((cause for cause in chain if _is_disk_full(cause)), None)
    if full is not None:
        where = f" while writing {full.filename}" if isinstance(full, OSError) and full.filename else ""
        return (
            f"Error: the disk is full{where} ({_one_line(full)}). Nothing half-written was kept as finished. "
            "Make room (`recbench cache ls` shows what the cache holds) and give the same command again.",
            1,
        )
    handles = next((cause for cause in chain if isinstance(cause, OSError) and cause.errno in _TOO_MANY_FILES), None)
    if handles is not None:
        return (
            f"Error: too many files are open at a time ({_one_line(handles)}). Raise the limit (ulimit -n 4096) or run fewer jobs at a "
            "time, then give the same command again.",
            1,
        )
    if not isinstance(error, OutOfMemory) and any(_is_out_of_memory(cause) for cause in chain):
        return (
            f"Error: memory ran out ({_one_line(error)}). Set smaller batches (--set), run fewer jobs at a time or use a larger machine.",
            1,
        )
    if isinstance(error, Interrupted):
        return f"Interrupted: {error}", error.exit_code
    if isinstance(error, RecbenchError):
        return f"Error: {error}", error.exit_code
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return _of_place(error)
    what = f"something called sys.exit({_text(error)})" if isinstance(error, SystemExit) else f"{type(error).__name__}: {_one_line(error)}"
    more = "" if debug else " This is a fault of recbench or a plugin; --debug shows the traceback."
    return f"Error: {what}.{more}", 1


def _of_place(error: OSError) -> tuple[str, int]:
    """A file or folder that the system does not let us use."""
    where = " and ".join(os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes))
    reason = error.strerror or _one_line(error)
    if error.errno in _PLACES:
        return (
            f"Error: {where} cannot be used: {reason}. Free or change that path; RECBENCH_HOME, RECBENCH_RUNS and RECBENCH_BOARDS say "
            "where cache, runs and leaderboards are written.",
            2,
        )
    return f"Error: the system failed on {where}: {reason}. Check the disk, then give the same command again.", 1


def _causes(error: BaseException) -> Iterator[BaseException]:
    from recbench.core.errors import is_shortage

    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        # What `from None` hides is told by the sentence, except that the process is short of something: it was taken for the file's fault.
        hides = current.__suppress_context__ and not is_shortage(current.__context__)
        current = current.__cause__ or (None if hides else current.__context__)


def _is_file_limit(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return True
    is_limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
    # A library that leaves out why a write was cut short may have met either limit; the one that was set is the likelier.
    return _TOO_LARGE.search(_text(error)) is not None or (is_limited and _CUT_SHORT.search(_text(error)) is not None)


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return True
    # Libraries raise errors of their own, with the system's text in them or with the count of bytes alone.
    return _DISK_FULL.search(_text(error)) is not None


def _is_out_of_memory(error: BaseException) -> bool:
    from recbench.core.errors import is_exhaustion

    # torch.OutOfMemoryError, without importing torch; on a CPU it raises a RuntimeError with this text.
    return is_exhaustion(error) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in _text(error)


def _one_line(error: BaseException) -> str:
    return " ".join(_text(error).split()).rstrip(".") or type(error).__name__


def _text(error: BaseException) -> str:
    """The text of an error; among the causes may be one of a plugin that cannot be read."""
    from recbench.core.containment import text_of

    return text_of(error)
