"""A comparison: models x data sets x seeds, each cell in a process of its own."""

import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from recbench.core.errors import BadRequest
from recbench.running.api import Cell, CompareRequest, RunRequest
from recbench.running.machine import cores
from recbench.running.places import Places
from recbench.running.worker import request_to_json

_POLL_S = 0.1
_STOP_WAIT_S = 60.0


def cells_of(request: CompareRequest) -> list[Cell]:
    """The matrix, data set by data set, then model by model, then seed by seed."""
    cells = []
    for dataset in request.datasets:
        for model in request.models:
            name, _, preset = model.partition(":")
            cells += [Cell(name, preset or None, dataset, seed, "waiting") for seed in range(request.seeds)]
    return cells


def compare_request(request: CompareRequest, places: Places, on_change: Callable[[list[Cell]], None]) -> list[Cell]:
    """Run every cell that has no finished record; a failed cell stops no other.

    Args:
        request: which cells, how many at a time.
        places: shared by all cells.
        on_change: is told of every change of a cell's state, and of progress within cells.

    Returns:
        The cells, `done` with their folder or `failed` with the reason.
    """
    _check(request)
    cells = cells_of(request)
    threads = request.threads or max(1, cores() // request.jobs)
    waiting = deque(range(len(cells)))
    running: dict[int, _Worker] = {}
    try:
        while waiting or running:
            changed = False
            while waiting and len(running) < request.jobs:
                index = waiting.popleft()
                running[index] = _Worker(_cell_request(request, cells[index], threads), places)
                cells[index] = replace(cells[index], state="running")
                changed = True
            for index, worker in list(running.items()):
                cell = worker.poll(cells[index])
                if cell != cells[index]:
                    cells[index] = cell
                    changed = True
                if cell.state != "running":
                    del running[index]
            if changed:
                on_change(list(cells))
            time.sleep(_POLL_S)
    finally:
        # Ctrl-C: every cell writes its checkpoint before it ends.
        for worker in running.values():
            worker.stop()
    return cells


def _check(request: CompareRequest) -> None:
    """Names and presets are checked before the first cell starts: a typing error must not show hours later."""
    from recbench import registry

    if not request.models or not request.datasets:
        raise BadRequest("A comparison needs at least one model and one data set. Name them with --models and --datasets.")
    if request.seeds < 1 or request.jobs < 1:
        raise BadRequest(f"--seeds {request.seeds} and --jobs {request.jobs} must both be at least 1.")
    from recbench.core.budget import Budget
    from recbench.data import SplitProtocol, dataset_card

    Budget.parse(request.budget)
    SplitProtocol.parse(request.protocol, ties=request.ties)
    models = registry.models(request.plugins)
    for model in request.models:
        name, _, preset = model.partition(":")
        plugin = models.load(name)
        if preset:
            plugin.resolve(preset, None, request.overrides)
    for dataset in request.datasets:
        dataset_card(dataset)


def _cell_request(request: CompareRequest, cell: Cell, threads: int) -> RunRequest:
    return RunRequest(
        model=cell.model,
        dataset=cell.dataset,
        preset=cell.preset,
        seed=cell.seed,
        overrides=request.overrides,
        budget=request.budget,
        device=request.device,
        threads=threads,
        ties=request.ties,
        protocol=request.protocol,
        plugins=request.plugins,
        jobs=request.jobs,
    )


class _Worker:
    """A cell's process."""

    def __init__(self, request: RunRequest, places: Places) -> None:
        self._start = time.monotonic()
        self._last_line = ""
        # -P keeps the current folder off the path, so that a checkout's `datasets/` hides no library of that name.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "recbench.running.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        json.dump(request_to_json(request, places), self._process.stdin)
        self._process.stdin.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.strip():
                self._last_line = line.strip()

    def poll(self, cell: Cell) -> Cell:
        """The cell as it now is."""
        seconds = time.monotonic() - self._start
        code = self._process.poll()
        if code is None:
            return replace(cell, reason=self._last_line, seconds=round(seconds))
        self._reader.join(timeout=1.0)
        assert self._process.stdout is not None
        with self._process.stdout, self._process.stderr or self._process.stdout:
            text = self._process.stdout.read()
        answer = json.loads(text) if text.strip() else {}
        if code == 0:
            return replace(cell, state="done", reason="", folder=Path(answer["folder"]), seconds=seconds)
        reason = answer.get("error") or self._last_line or f"the process ended with code {code}"
        return replace(cell, state="failed", reason=reason, seconds=seconds)

    def stop(self) -> None:
        """End the process and give it time for its checkpoint."""
        self._process.terminate()
        try:
            self._process.wait(timeout=_STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
