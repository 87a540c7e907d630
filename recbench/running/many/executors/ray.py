"""Executor of a ray cluster: runs as tasks. All machines see the working folder, the runs, the cache and the data under the same paths."""

import logging
import platform
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbench.core.errors import BadRequest, Interrupted
from recbench.running.host.workplace import Workplace
from recbench.running.many.executors.executor import Report
from recbench.running.many.executors.process import WorkerProcess
from recbench.running.many.worker import Job, request_to_json
from recbench.running.requests import MOST_JOBS, MOST_THREADS, ManyOptions, RunRequest, refuse_count

log = logging.getLogger(__name__)
_RETRIES = 2
"""Restarts of a run whose machine was lost. One that fails by itself is not started again."""
_EVERY_S = 0.5
_STOP_WAIT_S = 70.0


class RayExecutor:
    """Hands all runs to the cluster that RAY_ADDRESS names, or to one that it starts on this machine."""

    def __init__(self, request: ManyOptions, workplace: Workplace) -> None:
        """Connect to the cluster.

        Raises:
            BadRequest: ray is not installed, the cluster does not answer, or a device was named that only ray can choose.
        """
        refuse_count("--threads", request.threads, MOST_THREADS)
        refuse_count("--jobs", request.jobs, MOST_JOBS)
        if request.device not in {"auto", "cpu", "cuda"}:
            raise BadRequest(f"--device {request.device!r} with --executor ray: the cluster hands the GPUs out. Write --device cuda.")
        try:
            import ray
        except ImportError:
            raise BadRequest(
                "--executor ray: ray is not installed here. Install it on every machine: pip install 'genrecbench[ray]'"
            ) from None
        self._ray = ray
        self._workplace = workplace
        self.threads = request.threads or 1
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            on_sigterm = signal.getsignal(signal.SIGTERM)
            try:
                ray.init(log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
                raise BadRequest(
                    f"--executor ray: no cluster answers ({error}). Correct RAY_ADDRESS, or set RAY_AUTH_MODE=token if it asks for a token."
                ) from None
            if threading.current_thread() is threading.main_thread():
                # Ray's own handler aborts the process; ours lets the runs write their checkpoints.
                signal.signal(signal.SIGTERM, on_sigterm)
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        n_gpus = sum(machine.get("GPU", 0) for machine in machines)
        needs_gpu = request.device == "cuda" or (request.device == "auto" and n_gpus > 0)
        self.device = "cuda" if needs_gpu else "cpu"
        self.at_once = request.jobs
        most = max((int(machine.get("CPU", 0) // self.threads) for machine in machines), default=0)
        if most == 0:
            log.warning("no machine of the cluster has %d CPUs for a run now; all runs wait (see --threads)", self.threads)
        # What a record says about shared machines is the worst that can happen: who stands where is not known before.
        self.jobs = max(1, min(most, request.jobs or most))
        log.info("cluster: %d machines, %d CPUs, %d GPUs", len(machines), sum(machine.get("CPU", 0) for machine in machines), n_gpus)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board = ray.remote(num_cpus=0, scheduling_strategy=here)(Board).remote()
        self._task = ray.remote(num_cpus=self.threads, num_gpus=int(needs_gpu), max_retries=_RETRIES, retry_exceptions=[Interrupted])(
            make_run
        )
        self._n_started = 0
        self._reports: Mapping[int, Report] = {}
        self._answer: Any = None
        """The board's next answer, if it was asked."""
        self._read_at = float("-inf")

    def start(self, request: RunRequest, job: Job) -> "RayWork":
        """Hand a run over; it starts once a machine has room for it."""
        number = self._n_started
        self._n_started += 1
        asked = request_to_json(request, self._workplace, job)
        return RayWork(self, number, self._task.remote(number, asked, str(Path.cwd()), self._board))

    def report(self, number: int) -> Report:
        """Last report of the machine that makes a run."""
        # Nobody waits for the board here: on a busy machine it takes a while to start.
        now = time.monotonic()
        if self._answer is None and now - self._read_at >= _EVERY_S:
            self._answer, self._read_at = self._board.read.remote(), now
        if self._answer is not None and self._ray.wait([self._answer], timeout=0)[0]:
            self._reports, self._answer = self._ray.get(self._answer), None
        return self._reports.get(number, Report("waiting"))

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.kill(self._board)
        if self._is_ours:
            self._ray.shutdown()


class RayWork:
    """A run as a task."""

    def __init__(self, executor: RayExecutor, number: int, task: Any) -> None:
        self._executor, self._number, self._task = executor, number, task

    def report(self) -> Report:
        """Current state of the task."""
        ray = self._executor._ray
        ended, _ = ray.wait([self._task], timeout=0)
        if not ended:
            return self._executor.report(self._number)
        try:
            found: Report = ray.get(self._task)
        except ray.exceptions.RayTaskError as error:
            return Report("failed", text=f"{type(error.cause).__name__}: {error.cause}")
        except ray.exceptions.RayError as error:
            return Report("failed", text=f"given up after {1 + _RETRIES} attempts: {' '.join(str(error).split())}")
        return found

    def stop(self) -> None:
        """Ask it to write its checkpoint and end."""
        self._executor._ray.cancel(self._task, force=False)

    def join(self) -> None:
        """Wait for that, a minute at most."""
        self._executor._ray.wait([self._task], timeout=_STOP_WAIT_S)


class Board:
    """An actor beside the command that holds the last report of every run."""

    def __init__(self) -> None:
        self._reports: dict[int, Report] = {}

    def write(self, number: int, report: Report) -> None:
        """Keep the report of a run."""
        self._reports[number] = report

    def read(self) -> dict[int, Report]:
        """The last report of every run that has begun."""
        return self._reports


def make_run(number: int, request: Mapping[str, Any], folder: str, board: Any) -> Report:
    """Make a run in a process of its own and write its reports to the board; the body of a task.

    Raises:
        Interrupted: a signal ended the process, as when the machine is shut down; ray starts the task again.
    """
    if not Path(folder).is_dir():
        text = f"{platform.node()} does not see the folder {folder}. Give all machines of the cluster the same view of it."
        return Report("failed", text=text)
    process = WorkerProcess(request, Path(folder))
    last: Report | None = None
    try:
        while (report := process.report()).state == "running":
            if report != last:
                board.write.remote(number, replace(report, text=f"on {platform.node()}: {report.text}".removesuffix(": ")))
                last = report
            time.sleep(_EVERY_S)
    except BaseException:  # KeyboardInterrupt is how ray cancels
        process.stop()
        process.join()
        raise
    if process.is_interrupted:
        raise Interrupted(f"A signal ended the run on {platform.node()}. The same command goes on from its checkpoint.")
    return report
