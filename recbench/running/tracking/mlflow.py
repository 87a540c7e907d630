"""MLflow: runs of the experiment `recbench`, in a database file unless the user has named a server."""

import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbench.running.tracking.tracker import State, TrackedRun, need

_EXPERIMENT, _TAG = "recbench", "recbench.run"
_STATUS: dict[State, str] = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "pruned": "KILLED"}


class MlflowTracker:
    """Goes through a client of its own, so that it meets no active run of the process."""

    def __init__(self, run: TrackedRun) -> None:
        with _quiet():
            import mlflow

            uri = None
            if run.folder is not None or not mlflow.is_tracking_uri_set():
                folder = (run.folder or run.default_folder).resolve()
                folder.mkdir(parents=True, exist_ok=True)
                uri = f"sqlite:///{folder / 'mlflow.db'}"
            self._client: Any = mlflow.MlflowClient(tracking_uri=uri)
            self._run_id = self._begun(run)
            for name, value in run.settings.items():
                self._client.log_param(self._run_id, _name(name), value)

    @staticmethod
    def check(_folder: Path | None) -> None:
        """Refuse where MLflow, or what it keeps a database file with, is not installed."""
        # Read while it is imported: unless the user says otherwise, no word about how it is used goes to its makers.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        with _quiet():
            need("mlflow", "mlflow", "sqlalchemy", "alembic")

    def _begun(self, run: TrackedRun) -> str:
        client = self._client
        found = client.get_experiment_by_name(_EXPERIMENT)
        experiment = client.create_experiment(_EXPERIMENT) if found is None else found.experiment_id
        runs = client.search_runs([experiment], f"tags.`{_TAG}` = '{run.run_id}'", max_results=1)
        if runs:
            client.update_run(runs[0].info.run_id, status="RUNNING")
            return str(runs[0].info.run_id)
        tags = {_TAG: run.run_id, **{f"recbench.{name}": value for name, value in run.facts.items()}}
        return str(client.create_run(experiment, run_name=run.run_id, tags=tags).info.run_id)

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """All values in one message."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_name(f"{series}/{name}"), value, now, step) for name, value in values.items()]
        with _quiet():
            self._client.log_batch(self._run_id, metrics=metrics)

    def finish(self, figures: Mapping[str, float], state: State) -> None:
        """The figures as metrics, and the run's status."""
        if figures:
            self.log("run", 0, figures)
        with _quiet():
            self._client.set_terminated(self._run_id, _STATUS[state])


def _name(name: str) -> str:
    """A name as MLflow takes it: without `@`."""
    return name.replace("@", "_at_")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of the libraries that MLflow is built on, which no user of ours can act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
