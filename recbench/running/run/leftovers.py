"""Clean-up after a process that died without a message: its run becomes a failed run, its half-built stages are removed."""

import itertools
import platform
import re
import shutil
import signal
from pathlib import Path

from filelock import FileLock, Timeout

from recbench.core.errors import PluginFailed
from recbench.core.records import RECORD_FILE
from recbench.running.host.workplace import Workplace
from recbench.running.run.folders import write_failure


def sudden_end(code: int, calling: str) -> str:
    """Describe the end of a process that gave no reason, in a sentence.

    Args:
        code: its exit code; below 0 the number of the signal that ended it.
        calling: the plugin call that was under way, such as `model 'gram' in fit`; empty where none was. A whole sentence, which
            ends with a full stop, is why the process ended itself, and is the answer.
    """
    if calling.endswith("."):
        return calling
    during = f" during {calling}" if calling else ""
    if code >= 0:
        return f"The process ended by itself{during}, with code {code}, no result and no error. A plugin must not end the process."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "no known signal"
    more = " A system that is short of memory does so." if -code == signal.SIGKILL else ""
    return f"Signal {-code} ({name}) ended the process{during}.{more}"


def bury(pid: int, workplace: Workplace, sentence: str) -> list[Path]:
    """Keep the half-written runs of a dead process of this machine as failed runs, and remove half-built stages nobody works on.

    Args:
        pid: id of the process.
        workplace: folders of its runs and stages.
        sentence: reason of its end, for `failure.json`.

    Returns:
        The folders of the failed runs.
    """
    owner = f"-{platform.node()}-{pid}"
    buried = []
    for folder in sorted(workplace.runs.glob(f".writing-*{owner}")):
        stem = folder.name.removeprefix(".writing-").removesuffix(owner)
        write_failure(folder, PluginFailed(sentence))
        # Where the process died between writing the record and giving the folder its name: a failed run has none.
        (folder / RECORD_FILE).unlink(missing_ok=True)
        final = next(path for number in itertools.count(1) if not (path := workplace.runs / f"{stem}-{number}").exists())
        folder.rename(final)
        buried.append(final)
    for folder in (workplace.stages).glob(".building-*"):
        stage = re.sub(r"-rank\d+$", "", folder.name.removeprefix(".building-"))
        try:
            with FileLock(workplace.locks / f"{stage}.lock").acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):
            continue  # another process builds it
    return buried
