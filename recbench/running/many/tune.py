"""Random search over a model's settings with a fixed number of trials, selected on the validation part alone.

    RUNS/tune/DATASET-MODEL-PRESET-sSEED-HASH8/
        trials.json   all trials, rewritten after each (`recbench.core.tuning.TuneLog`)
        best.toml     settings of the best one, for `recbench run --config`; written when no trial is missing

Trainings are stages of the cache: a trial that was killed goes on from its checkpoint, and a run of the best settings with the search's
seed trains nothing again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from recbench import registry
from recbench.core.budget import Budget
from recbench.core.commands import command_line
from recbench.core.errors import BadRequest, StageFailed
from recbench.core.plugin import Plugin
from recbench.core.tuning import Trial, TuneLog, read_tune_log, same_settings
from recbench.data import SplitProtocol
from recbench.running.host.machine import cores, refuse_too_many, resolve_device
from recbench.running.host.workplace import Workplace
from recbench.running.many.executors import Report, work_through
from recbench.running.many.executors.process import WorkerProcess
from recbench.running.many.worker import request_to_json
from recbench.running.requests import MOST_TRIALS, RunRequest, TuneRequest, refuse_count
from recbench.running.run.folders import RunName
from recbench.running.run.resolve import check_task
from recbench.running.run.searched_settings import settings_text
from recbench.running.run.splits import LoadedSplit, load_split
from recbench.running.run.training import check_needs
from recbench.running.stages.keys import hash_value, plugin_source_hash
from recbench.running.stages.store import StageStore
from recbench.tasks import task_of

FOLDER = "tune"
LOG_FILE = "trials.json"
BEST_FILE = "best.toml"


@dataclass(frozen=True)
class TrialState:
    """One trial as it now stands, for whoever watches."""

    trial: int
    state: str
    """`waiting`, `running`, `done` or `failed`."""
    values: dict[str, Any]
    result: Trial | None = None
    reason: str = ""
    """Why it failed; while it runs, what it does now."""
    left_s: float | None = None
    """Seconds that what it does now will still take; None while nobody can say."""


@dataclass(frozen=True)
class TuneOutcome:
    """Result of a search.

    Attributes:
        log: all trials.
        folder: of the search.
        best: the trial with the highest figure on the validation part.
        config_file: its settings.
        command: runs them.
    """

    log: TuneLog
    folder: Path
    best: Trial
    config_file: Path
    command: str


def tune_request(request: TuneRequest, workplace: Workplace, on_change: Callable[[list[TrialState]], None] = lambda _: None) -> TuneOutcome:
    """Train every trial that is missing, each in a process of its own, and take the best by validation.

    Trial 0 is the preset itself; the settings of trial i depend on the model, its space, the seed and i alone.

    Args:
        request: what to search.
        workplace: folders of data, cache and runs, and the display of progress.
        on_change: is told of every change of a trial's state.

    Raises:
        BadRequest: the model declares no space, or the request is impossible in another way; nothing has been written.
        StageFailed: not one trial could be trained.
    """
    refuse_count("--trials", request.trials, MOST_TRIALS)
    refuse_too_many(threads=request.threads, jobs=request.jobs)
    request = replace(request, budget=Budget.parse(request.budget).text)
    task = task_of(request.dataset)
    protocol = task.protocol(request.protocol, request.ties)
    models = registry.models(request.plugins)
    plugin = models.load(request.model)
    check_task(plugin, task, models)
    preset = request.preset or (plugin.card.tune.preset if plugin.card.tune is not None else "")
    drawn = [plugin.trial(number, request.seed, preset) for number in range(request.trials)]
    device = resolve_device(request.device).partition(":")[0]
    loaded = load_split(request.dataset, protocol, workplace, StageStore(workplace.stages))
    check_needs(plugin, loaded.split)
    log = _new_log(request, plugin, preset, loaded, protocol, device)
    folder = workplace.runs / FOLDER / _stem(log, request.seed)
    with _alone(folder, workplace.home):
        known = _found(folder / LOG_FILE)
        states = []
        for number, (values, config) in enumerate(drawn):
            settings = config.model_dump(mode="json")
            trial = known.get(number)
            is_done = trial is not None and trial.state == "done" and same_settings(trial.config, settings)
            states.append(TrialState(number, "done" if is_done else "waiting", values, trial if is_done else None))
        kept = {number: trial for number, trial in known.items() if number >= request.trials}
        configs = [config.model_dump(mode="json") for _, config in drawn]

        def finished(state: TrialState, outcome: Mapping[str, Any]) -> TrialState:
            part = {"trial": state.trial, "values": state.values, "config": configs[state.trial]}
            result = Trial.model_validate(part | {"state": state.state, "reason": state.reason} | dict(outcome))
            kept[state.trial] = result
            _write(folder, log.model_copy(update={"trials": tuple(kept[number] for number in sorted(kept))}))
            return replace(state, result=result)

        kept |= {state.trial: state.result for state in states if state.result is not None}
        _run_missing(request, preset, workplace, states, on_change, finished)
        log = log.model_copy(update={"trials": tuple(kept[number] for number in sorted(kept))})
        best = log.best()
        if best is None:
            raise StageFailed(
                f"All {len(log.trials)} trials failed, the first with: {log.trials[0].reason} They are listed in {folder / LOG_FILE}"
            )
        _write(folder, log)
        command = _command(request, preset, folder / BEST_FILE, workplace.data)
        _replace(folder / BEST_FILE, settings_text(log, best, folder / LOG_FILE, command))
        return TuneOutcome(log, folder, best, folder / BEST_FILE, command)


def _new_log(request: TuneRequest, plugin: Plugin, preset: str, loaded: LoadedSplit, protocol: SplitProtocol, device: str) -> TuneLog:
    assert plugin.card.tune is not None
    fingerprints = loaded.split.fingerprints
    return TuneLog(
        model=plugin.card.name,
        source_hash=plugin_source_hash(plugin.folder),
        dataset=loaded.card.name,
        preset=preset,
        seed=request.seed,
        budget=request.budget,
        metric=loaded.task.validation_metrics[0],
        space=plugin.card.tune.space,
        protocol=str(protocol),
        ties=protocol.ties,
        train=fingerprints.train,
        valid=fingerprints.valid,
        device=device,
        threads=request.threads or max(1, cores() // request.jobs),
        jobs=request.jobs,
    )


def _stem(log: TuneLog, seed: int) -> str:
    """The folder's name: equal searches share it, whatever their number of trials and processes."""
    identity = log.model_dump(mode="json", exclude={"schema_version", "threads", "jobs", "trials"})
    return RunName(log.dataset, log.model, log.preset, seed, hash_value(identity)).stem


def _found(path: Path) -> dict[int, Trial]:
    return {trial.trial: trial for trial in read_tune_log(path)[0].trials} if path.exists() else {}


class _alone:  # noqa: N801 (used as a with statement)
    """Keeps two processes from making one search at a time; the second is refused."""

    def __init__(self, folder: Path, home: Path) -> None:
        self._folder = folder
        path = home / "stages" / "locks" / f"tune-{hash_value(str(folder.resolve()))[:20]}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path)

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise BadRequest(f"Another process is at work on {self._folder}. Wait for it, or give another --seed.") from None

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _run_missing(
    request: TuneRequest,
    preset: str,
    workplace: Workplace,
    states: list[TrialState],
    on_change: Callable[[list[TrialState]], None],
    finished: Callable[[TrialState, Mapping[str, Any]], TrialState],
) -> None:
    """Every waiting trial in a process of its own, some at a time; `states` is kept up to date."""
    threads = request.threads or max(1, cores() // request.jobs)

    def start(number: int) -> WorkerProcess:
        asked = _trial_request(request, preset, states[number].values, threads)
        return WorkerProcess(request_to_json(asked, workplace, "trial"), Path.cwd())

    def look(reports: Mapping[int, Report]) -> None:
        before = list(states)
        for number, report in reports.items():
            left_s = None if report.left_s is None else float(round(report.left_s))
            states[number] = replace(states[number], state=report.state, reason=report.text, left_s=left_s)
            if report.state in {"done", "failed"}:
                states[number] = finished(states[number], report.result or {})
        if states != before:
            on_change(list(states))

    on_change(list(states))
    work_through([state.trial for state in states if state.state == "waiting"], request.jobs, start, look)


def _trial_request(request: TuneRequest, preset: str, values: dict[str, Any], threads: int) -> RunRequest:
    return RunRequest(
        model=request.model,
        dataset=request.dataset,
        preset=preset,
        seed=request.seed,
        overrides=values,
        jobs=request.jobs,
        **request.common() | {"threads": threads},
    )


def _command(request: TuneRequest, preset: str, config_file: Path, data_dir: Path | None) -> str:
    """The run of the best settings on the data, device and protocol of the search."""
    defaults = TuneRequest(request.model, request.dataset).common()
    common = {name: value for name, value in request.common().items() if name != "plugins" and value != defaults[name]}
    return command_line(
        "run",
        model=request.model,
        dataset=request.dataset,
        preset=preset,
        seed=request.seed,
        **common,
        plugin=request.plugins,
        data_dir=data_dir,
        config=config_file,
    )


def _write(folder: Path, log: TuneLog) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / LOG_FILE, log.to_json())


def _replace(path: Path, text: str) -> None:
    """Write a file in one step: whoever reads it sees the old or the new text."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
