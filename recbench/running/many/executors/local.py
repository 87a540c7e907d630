"""Cells in processes of this machine."""

from dataclasses import replace
from pathlib import Path

from recbench.running.host.machine import cores
from recbench.running.host.workplace import Workplace
from recbench.running.many.executors.process import WorkerProcess
from recbench.running.many.worker import request_to_json
from recbench.running.requests import CompareRequest, RunRequest


class LocalExecutor:
    """So many cells at a time as there are jobs; they share the cores."""

    def __init__(self, request: CompareRequest, workplace: Workplace) -> None:
        self.at_once = request.jobs or 1
        self._threads = request.threads or max(1, cores() // self.at_once)
        self._workplace = workplace

    def start(self, request: RunRequest) -> WorkerProcess:
        """Start a cell."""
        request = replace(request, threads=self._threads, jobs=self.at_once)
        return WorkerProcess(request_to_json(request, self._workplace), Path.cwd())

    def close(self) -> None:
        """Nothing is held."""
