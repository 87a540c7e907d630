"""A process with a reckoner: a line of JSON per job on standard input, a line per answer on standard output.

It ends when its input does, so that none outlives the command that started it.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterable
from typing import IO

from recbench.core.errors import RecbenchError, StageFailed
from recbench.reporting.reckoner import Reckoner
from recbench.reporting.workers import ANSWERS, ERROR, JOB


def serve(jobs: Iterable[str], answers: IO[str]) -> None:
    """Answer jobs, a line each, until there are no more."""
    reckoner = Reckoner()
    for line in jobs:
        job = JOB.validate_json(line)
        try:
            text = ANSWERS[type(job)].dump_json(job.answer(reckoner)).decode()
        except (OSError, MemoryError) as error:
            text = ERROR + json.dumps([StageFailed.__name__, f"Figures could not be computed: {error or 'memory ran out'}."])
        except RecbenchError as error:
            text = ERROR + json.dumps([type(error).__name__, str(error)])
        answers.write(text + "\n")
        answers.flush()


if __name__ == "__main__":
    # Ctrl-C reaches the whole group of processes; the command that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Answers alone reach the command, whatever a metric of somebody else prints.
    stdout = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with contextlib.suppress(BrokenPipeError), stdout:
        serve(sys.stdin, stdout)
