"""The errors a user can meet.

    RecbenchError
    ├── BadRequest          exit code 2: asked for something impossible
    │   ├── UnknownPlugin   no model, data set, reader or preset of that name
    │   ├── BadConfig       unknown key, wrong type, values that contradict each other
    │   ├── BadData         a file that is not what its card says
    │   ├── BudgetTooSmall  a budget that cannot train the model
    │   ├── DataUnavailable a file that cannot be had: no network, cut off, altered, missing
    │   └── SplitMismatch   numbers that must not stand in one table
    ├── StageFailed         exit code 1: a step of a run broke
    │   ├── PluginFailed    a model broke its contract
    │   ├── OutOfMemory     memory ran out while a file was read
    │   ├── Untrained       the budget was used up before the first step
    │   └── Pruned          a search stopped a trial that fell behind
    ├── VerifyFailed        exit code 1: a published number does not follow from its record
    └── Interrupted         exit code 130: stopped by Ctrl-C or SIGTERM; says how to go on

Every message has three parts: what, with which value, what next.
"""

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path

from recbench.core.elapsed import NO_TIME, Elapsed
from recbench.core.visible import visible

_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class RecbenchError(Exception):
    """Base of all errors that are shown as a sentence, without a traceback.

    What a sentence quotes from data cannot steer a terminal: such characters are spelt out.
    """

    exit_code = 1

    def __init__(self, *parts: object) -> None:
        super().__init__(*(visible(part) if isinstance(part, str) else part for part in parts))


class BadRequest(RecbenchError):
    """The request cannot be met as it stands."""

    exit_code = 2


class UnknownPlugin(BadRequest):
    """No model, data set, reader or preset of that name."""


class BadConfig(BadRequest):
    """A card, config file or `--set` holds an unknown key or an impossible value."""


class BadData(BadRequest):
    """Data that contradict their card or themselves."""


class BudgetTooSmall(BadRequest):
    """A budget that ends before the model has seen its examples once."""


class DataUnavailable(BadRequest):
    """Data that cannot be had here."""


class SplitMismatch(BadRequest):
    """Records of different splits, texts or protocols, asked to stand side by side."""


class StageFailed(RecbenchError):
    """A step of a run broke."""


class PluginFailed(StageFailed):
    """A model plugin broke its contract."""


class OutOfMemory(StageFailed):
    """Memory ran out while a file was read; the file may be sound."""


class Untrained(StageFailed):
    """A training that made no step: what it would give is no result."""


class Pruned(StageFailed):
    """A trial of a search that others were ahead of: its training was stopped and is not gone on with.

    Attributes:
        steps: optimiser steps that its training made.
        epochs: passes of the examples.
        elapsed: what the trial took, all that its training asked for and earlier attempts included.
    """

    def __init__(self, sentence: str, *, steps: int, epochs: float, elapsed: Elapsed = NO_TIME) -> None:
        super().__init__(sentence)
        self.steps, self.epochs, self.elapsed = steps, epochs, elapsed


class VerifyFailed(RecbenchError):
    """A published number does not follow from its record."""


class Interrupted(RecbenchError):
    """Stopped by Ctrl-C or SIGTERM."""

    exit_code = 130


def is_shortage(error: BaseException | None) -> bool:
    """Whether the system says that this process is short of something: file handles, memory, space. The file at hand is not to blame."""
    return is_exhaustion(error) or (isinstance(error, OSError) and error.errno in _SHORTAGES)


def is_exhaustion(error: BaseException | None) -> bool:
    """Whether memory ran out: Python's and Arrow's own error, or that of the system."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def refuse_shortage(error: BaseException) -> None:
    """Raise a shortage again: for handlers that drop or set aside a file for whatever is raised while it is read."""
    if is_shortage(error):
        raise error


def refuse_exhaustion(error: BaseException, path: Path) -> None:
    """Raise `OutOfMemory` where memory ran out: for handlers that blame the file which was read for whatever is raised."""
    if is_exhaustion(error):
        raise OutOfMemory(
            f"Memory ran out while {path} was read. Close other programs, run fewer jobs at a time or use a machine with more memory; "
            "a small file that asks for so much is damaged."
        ) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence ` Did you mean 'x'?` for the nearest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
