"""A run or a trial in a process of its own: a request as a line of JSON on stdin, events as lines of JSON on stdout, the log on stderr.

Run as `python -m recbench.running.many.worker`. Events: `{"step": "training", "left_s": 70.0}` now and then, with null for the step between
two of them; `{"calling": "model 'gram' in fit"}` before each call into a plugin, with an empty text after it; at the end
`{"result": {...}}` or `{"error": "..."}`. A run's result is its `folder` and whether it `is_new`, that of a trial has the fields of
`TrialOutcome`. Where stdin ends, nobody wants either any more.
"""

import json
import logging
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, TextIO

from recbench.core.console import VisibleConsole
from recbench.core.containment import described, text_of, watch_calls, without_input
from recbench.core.errors import RecbenchError, is_exhaustion, is_shortage
from recbench.core.progress import ConsoleProgress
from recbench.core.visible import LineFormatter
from recbench.running.host.measure import process_start
from recbench.running.host.workplace import Workplace
from recbench.running.many.told_progress import Step, TellingProgress
from recbench.running.requests import RunRequest

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM."""

Job = Literal["run", "trial"]
_PATHS = ("config_file", "tune_log", "journal")
"""Fields of a request that are a path or None."""


def request_to_json(request: RunRequest, workplace: Workplace, job: Job = "run") -> dict[str, Any]:
    """Request, folders and job as JSON values; a job is a whole run or a trial, which is only validated."""
    values = {name: getattr(request, name) for name in request.__dataclass_fields__}
    values |= {name: None if values[name] is None else str(values[name]) for name in _PATHS}
    values["plugins"] = [str(path) for path in request.plugins]
    values["overrides"] = dict(request.overrides)
    folders = {"home": workplace.home, "data": workplace.data, "runs": workplace.runs, "boards": workplace.boards}
    return {"job": job, "request": values, "workplace": {name: None if path is None else str(path) for name, path in folders.items()}}


def request_from_json(value: dict[str, Any]) -> tuple[RunRequest, Workplace, Job]:
    """The arguments that `request_to_json` was given."""
    fields = dict(value["request"])
    fields |= {name: None if fields[name] is None else Path(fields[name]) for name in _PATHS}
    fields["plugins"] = tuple(Path(path) for path in fields["plugins"])
    fields |= {name: tuple(fields[name]) for name in ("rerun", "track", "measure")}
    return RunRequest(**fields), workplace_from_json(value["workplace"]), value["job"]


def workplace_from_json(folders: dict[str, Any]) -> Workplace:
    """The folders of a request."""
    data = None if folders["data"] is None else Path(folders["data"])
    return Workplace(Path(folders["home"]), data, Path(folders["runs"]), Path(folders["boards"]))


def main() -> int:
    """Do the job that stdin names; exit codes as on the command line."""
    events = _events()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # Whoever wants the work ends it with SIGTERM; raised as an exception it lets them clean up outside training, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    watch_calls(lambda text: _write({"calling": text}, events))
    parent = _parent()
    request, workplace, job = request_from_json(json.loads(parent.readline()))
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()

    def tell(step: Step | None) -> None:
        _write({"step": None} if step is None else {"step": step.text, "left_s": step.left_s}, events)

    # Whoever reads stderr here wants lines, also under a notebook, which sets FORCE_COLOR for its processes.
    console = VisibleConsole(stderr=True, force_terminal=False)
    try:
        workplace = replace(workplace, progress=TellingProgress(ConsoleProgress(console), tell))
        result = do_job(job, request, workplace, started_at=process_start())
    except KeyboardInterrupt:
        return INTERRUPTED
    except RecbenchError as error:
        _write({"error": str(error)}, events)
        return error.exit_code
    except SystemExit as end:  # of a plugin or a library; its code may be 0
        _write({"error": f"Something called sys.exit({text_of(end)}). This is a fault of recbench or a plugin."}, events)
        return 1
    except Exception as error:  # told as an event, for the stream of errors may be closed
        _write({"error": f"{described(error)}. {_remedy(error)}"}, events)
        with suppress(OSError, ValueError):
            traceback.print_exc()
        return 1
    _write({"result": result}, events)
    return 0


def do_job(job: Job, request: RunRequest, workplace: Workplace, *, started_at: float | None = None) -> dict[str, Any]:
    """Make a run, or train and validate a trial, in this process; the result as JSON values.

    Args:
        job: `run` or `trial`.
        request: settings of either.
        workplace: folders and the display of progress.
        started_at: `time.monotonic()` from which a budget of seconds counts; default: now.
    """
    if job == "trial":
        from recbench.running.many.trial import run_trial

        return asdict(run_trial(request, workplace, started_at=started_at))
    from recbench.running.run.execute import run_request

    outcome = run_request(request, workplace, started_at=started_at)
    assert outcome is not None  # torchrun alone has processes without one
    return {"folder": str(outcome.folder), "is_new": outcome.is_new}


def _remedy(error: Exception) -> str:
    """Advice for an error that is no `RecbenchError`."""
    if is_exhaustion(error):
        return "Memory ran out: run fewer jobs at a time or use a larger machine."
    return "Free what it needs, and repeat the command." if is_shortage(error) else "This is a fault of recbench or a plugin."


def _events() -> TextIO:
    """Standard output for events alone: what a plugin or a library prints goes to the log."""
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return events


def _write(event: dict[str, Any], events: TextIO) -> None:
    """Write one event and flush it; one is lost where the parent has gone, for then the end of stdin stops this process in good order."""
    with suppress(BrokenPipeError):
        events.write(json.dumps(event) + "\n")
        events.flush()


def _parent() -> TextIO:
    """The pipe from the process that started this one, under a number of its own: the stdin that plugins see is empty."""
    pipe = os.fdopen(os.dup(0), encoding="utf-8")
    without_input()
    return pipe


def _end_with(parent: TextIO) -> None:
    """Stop this worker as Ctrl-C would when the parent closes its end of the pipe."""
    parent.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
