"""How long the building of a stage takes, pauses left out and killed attempts counted."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recbench.core.elapsed import NO_TIME, Elapsed
from recbench.core.errors import BadData
from recbench.running.stages.facts import Attempts

log = logging.getLogger(__name__)


class Stopwatch:
    """Stopwatch that runs from the start, except while it is paused."""

    def __init__(self) -> None:
        self._before = NO_TIME
        self._since: Elapsed | None = Elapsed.now()

    def elapsed(self) -> Elapsed:
        """How long it has run."""
        since = self._since
        return self._before if since is None else self._before + (Elapsed.now() - since)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause the stopwatch for a block."""
        self._before, self._since = self.elapsed(), None
        try:
            yield
        finally:
            self._since = Elapsed.now()


class AttemptClock:
    """Time that earlier, killed attempts at a stage took, kept beside its checkpoints."""

    def __init__(self, partial: Path) -> None:
        self._file = partial / "attempts.json"
        self.before = self._earlier()

    def note(self, here: Elapsed) -> None:
        """Keep the time of this attempt; only stages with checkpoints can be resumed and have a folder for it."""
        if not self._file.parent.exists():
            return
        # Processes of a group build into one folder, and the first that is done removes it. What an attempt took is worth no failure.
        temporary = self._file.with_name(f"attempts-{os.getpid()}.tmp")
        so_far = self.before + here
        with suppress(OSError):
            Attempts(seconds=so_far.seconds, cpu_seconds=so_far.cpu_seconds).write(temporary)
            temporary.replace(self._file)

    def _earlier(self) -> Elapsed:
        try:
            attempts = Attempts.read(self._file)
        except FileNotFoundError:
            return NO_TIME
        except (BadData, IsADirectoryError):
            aside = self._file.with_name(f"attempts-damaged-{time.time_ns()}")
            self._file.rename(aside)
            log.warning("%s is damaged and was set aside as %s: what earlier attempts took counts as 0 s", self._file, aside.name)
            return NO_TIME
        return Elapsed(attempts.seconds, attempts.cpu_seconds)
