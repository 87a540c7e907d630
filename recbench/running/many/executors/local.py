"""Executor of this machine: runs in processes of their own."""

from pathlib import Path

from recbench.running.host.machine import cores, refuse_too_many, resolve_device
from recbench.running.host.workplace import Workplace
from recbench.running.many.executors.process import WorkerProcess
from recbench.running.many.worker import Job, request_to_json
from recbench.running.requests import ManyOptions, RunRequest


class LocalExecutor:
    """Starts as many processes at a time as there are jobs; they share the cores."""

    def __init__(self, request: ManyOptions, workplace: Workplace) -> None:
        refuse_too_many(threads=request.threads, jobs=request.jobs)
        self.at_once = self.jobs = request.jobs or 1
        self.threads = request.threads or max(1, cores() // self.jobs)
        self._device = request.device
        self._workplace = workplace

    @property
    def device(self) -> str:
        """Kind of device that runs compute on; a `BadRequest` where it is not there."""
        return resolve_device(self._device).partition(":")[0]

    def start(self, request: RunRequest, job: Job) -> WorkerProcess:
        """Start a process."""
        return WorkerProcess(request_to_json(request, self._workplace, job), Path.cwd())

    def close(self) -> None:
        """Release nothing: a process ends with its run."""
