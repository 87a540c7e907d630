"""One cell of a comparison in a process of its own: a request as JSON on stdin, the outcome as JSON on stdout.

Run as `python -m recbench.running.worker`. The log goes to stderr, where the parent reads how far the cell is.
"""

import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from recbench.core.errors import RecbenchError
from recbench.core.progress import ConsoleProgress
from recbench.running.api import RunRequest
from recbench.running.measure import process_start
from recbench.running.places import Places


def request_to_json(request: RunRequest, places: Places) -> dict[str, Any]:
    """A request and its folders as JSON values."""
    values = {name: getattr(request, name) for name in request.__dataclass_fields__}
    values["config_file"] = None if request.config_file is None else str(request.config_file)
    values["plugins"] = [str(path) for path in request.plugins]
    values["overrides"] = dict(request.overrides)
    folders = {"home": places.home, "data": places.data, "runs": places.runs, "boards": places.boards}
    return {"request": values, "places": {name: None if path is None else str(path) for name, path in folders.items()}}


def request_from_json(value: dict[str, Any]) -> tuple[RunRequest, Places]:
    """What `request_to_json` made."""
    fields = dict(value["request"])
    fields["config_file"] = None if fields["config_file"] is None else Path(fields["config_file"])
    fields["plugins"] = tuple(Path(path) for path in fields["plugins"])
    fields["rerun"] = tuple(fields["rerun"])
    folders = value["places"]
    data = None if folders["data"] is None else Path(folders["data"])
    return RunRequest(**fields), Places(Path(folders["home"]), data, Path(folders["runs"]), Path(folders["boards"]))


def main() -> int:
    """Run the request on stdin; exit codes as on the command line."""
    from recbench.running.execute import run_request

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # The comparison ends its cells with SIGTERM; raised as an exception it lets them clean up outside training, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    request, places = request_from_json(json.load(sys.stdin))
    try:
        outcome = run_request(request, places, ConsoleProgress(), started_at=process_start())
    except KeyboardInterrupt:
        return 130
    except RecbenchError as error:
        json.dump({"error": str(error)}, sys.stdout)
        return error.exit_code
    if outcome is not None:
        json.dump({"folder": str(outcome.folder), "is_new": outcome.is_new}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
