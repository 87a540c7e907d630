"""Search over a model's settings with a fixed number of trials, selected on the validation part alone.

    RUNS/tune/DATASET-MODEL-PRESET-sSEED-HASH8/
        trials.json     all trials, rewritten after each (`recbench.core.tuning.TuneLog`)
        journal.jsonl   what optuna knows of them, where it has a say (`study.py`)
        best.toml       settings of the best one, for `recbench run --config`; written when no trial is missing

Trainings are stages of the cache: a trial that was killed goes on from its checkpoint, and a run of the best settings with the search's
seed trains nothing again.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from filelock import FileLock, Timeout

from recbench import registry
from recbench.core.budget import Budget
from recbench.core.commands import command_line
from recbench.core.config import PluginConfig, by_dotted_name, hash_value
from recbench.core.errors import BadRequest, StageFailed, nearest
from recbench.core.plugin import Plugin
from recbench.core.tuning import RANDOM, SAMPLERS, Sampler, Trial, TuneLog, read_tune_log, same_settings
from recbench.core.writing import replace_text
from recbench.data import SplitProtocol
from recbench.running.host.workplace import Workplace
from recbench.running.many.executors import Executor, OpenExecutor, Report, work_through
from recbench.running.many.study import JOURNAL_FILE, AdaptiveDraws, Study, has_study
from recbench.running.requests import MOST_TRIALS, RunRequest, TuneRequest, refuse_count, refuse_seed
from recbench.running.run.folders import RunName
from recbench.running.run.resolve import plugin_for
from recbench.running.run.searched_settings import settings_text
from recbench.running.run.splits import LoadedSplit, load_split
from recbench.running.run.training import check_needs
from recbench.running.stages.keys import plugin_source_hash
from recbench.running.stages.store import StageStore
from recbench.running.tracking import Trackers
from recbench.tasks import task_of

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "tune"
ENDED = ("done", "failed", "pruned")
"""States of a trial that nothing more happens to."""
LOG_FILE = "trials.json"
BEST_FILE = "best.toml"


@dataclass(frozen=True)
class TrialState:
    """Current state of a trial."""

    trial: int
    state: str
    """`waiting`, `running`, `done`, `failed` or `pruned`."""
    values: dict[str, Any]
    result: Trial | None = None
    reason: str = ""
    """Reason of the failure or of the pruning; while the trial runs, its current step."""
    left_s: float | None = None
    """Seconds that the current step will still take; None while nobody can say."""

    @property
    def has_ended(self) -> bool:
        """True for a trial that is done, failed or pruned."""
        return self.state in ENDED


@dataclass(frozen=True)
class TuneOutcome:
    """Result of a search.

    Attributes:
        log: log of all trials.
        folder: folder of the search.
        best: the trial with the highest figure on the validation part.
        config_file: its settings.
        command: runs them.
    """

    log: TuneLog
    folder: Path
    best: Trial
    config_file: Path
    command: str

    def trials_to_frame(self) -> "pd.DataFrame":
        """The trials, a line each: `trial`, `state`, the settings that were searched, the `score` on the validation part, `train_s`.

        Trial 0 is the preset itself.
        """
        import pandas as pd

        lines = [
            {"trial": one.trial, "state": one.state, **by_dotted_name(one.config), "score": one.score, "train_s": one.train_s}
            for one in self.log.trials
        ]
        return pd.DataFrame(lines, columns=["trial", "state", *self.log.space, "score", "train_s"])


def tune_request(request: TuneRequest, workplace: Workplace, on_change: Callable[[list[TrialState]], None] = lambda _: None) -> TuneOutcome:
    """Train every trial that is missing, each in a process of its own, and take the best by validation.

    Trial 0 is the preset itself; the settings of trial i depend on the model, its space, the seed and i alone, and with the sampler `tpe`
    on the outcomes of the trials that had ended when it began.

    Args:
        request: model, data set and number of trials.
        workplace: folders of data, cache and runs, and the display of progress.
        on_change: called with the states of all trials when one has changed.

    Raises:
        BadRequest: the model declares no space, or the request is impossible in another way; nothing has been written.
        BadData: the files of the search are damaged, or not of this search.
        StageFailed: not one trial could be trained.
    """
    open_executor: OpenExecutor = registry.executors().load(request.executor)
    refuse_count("--trials", request.trials, MOST_TRIALS)
    refuse_seed(request.seed)
    sampler = next((name for name in SAMPLERS if name == request.sampler), None)
    if sampler is None:
        there = f"{nearest(request.sampler, SAMPLERS)} There are: {', '.join(SAMPLERS)}."
        raise BadRequest(f"--sampler {request.sampler!r} is not known.{there}")
    request = replace(request, budget=Budget.parse(request.budget).text)
    Trackers(request.track, workplace.runs)
    task = task_of(request.dataset)
    protocol = task.protocol(request.protocol, request.ties)
    models = registry.models(request.plugins)
    plugin = plugin_for(request.model, task, models)
    preset = request.preset or (plugin.card.tune.preset if plugin.card.tune is not None else "")
    fixed = _fixed_draws(plugin, request, preset)
    with closing(open_executor(request, workplace)) as executor:
        device = executor.device
        loaded = load_split(request.dataset, protocol, workplace, StageStore(workplace.stages))
        check_needs(plugin, loaded.split)
        log = _new_log(request, sampler, plugin, preset, loaded, protocol, device, executor)
        folder = workplace.runs / FOLDER / _stem(log, request.seed)
        with _alone(folder, workplace.locks):
            study = Study(folder / JOURNAL_FILE, folder.name) if has_study(log) else None
            draws = fixed if study is None or sampler != "tpe" else AdaptiveDraws(study, plugin, preset, request.seed)
            trials = _Trials(folder, log, request.trials, draws, study)
            on_change(list(trials.states))
            missing = [state.trial for state in trials.states if state.state == "waiting"]
            work_through(
                executor,
                "trial",
                missing,
                lambda number: _trial_request(request, preset, number, trials.begin(number), folder / JOURNAL_FILE),
                trials.states,
                trials.reported,
                on_change,
            )
            return _outcome(request, preset, trials, workplace.data)


class _Draws(Protocol):
    """Where the settings of trials come from."""

    def begun(self, number: int) -> tuple[dict[str, Any], PluginConfig] | None:
        """Values and settings of a trial, as far as they are known before it begins."""

    def begin(self, number: int) -> tuple[dict[str, Any], PluginConfig]:
        """Values and settings of a trial that begins now."""


class _FixedDraws:
    """Settings that follow from the number of their trial."""

    def __init__(self, drawn: Sequence[tuple[dict[str, Any], PluginConfig]]) -> None:
        self._drawn = drawn

    def begun(self, number: int) -> tuple[dict[str, Any], PluginConfig]:
        return self._drawn[number]

    begin = begun


def _fixed_draws(plugin: Plugin, request: TuneRequest, preset: str) -> _FixedDraws:
    """Draws of a random search or of a grid; of any other search the first trial, so that faults show before anything is written."""
    if request.sampler == "grid":
        return _FixedDraws(plugin.grid(request.trials, request.seed, preset))
    known = request.trials if request.sampler == RANDOM else 1
    return _FixedDraws([plugin.trial(number, request.seed, preset) for number in range(known)])


class _Trials:
    """Trials of a search: those that its folder keeps, and those that are still to be made."""

    def __init__(self, folder: Path, log: TuneLog, n_trials: int, draws: _Draws, study: Study | None) -> None:
        self.folder = folder
        self._log = log
        self._draws, self._study = draws, study
        self._configs: dict[int, dict[str, Any]] = {}
        self._kept = _found(folder / LOG_FILE)
        self.states = [self._state(number) for number in range(n_trials)]

    def _state(self, number: int) -> TrialState:
        """State of a trial as the folder has it: a failed one is made again."""
        trial, known = self._kept.get(number), self._draws.begun(number)
        is_same = trial is not None and known is not None and same_settings(trial.config, known[1].model_dump(mode="json"))
        if trial is not None and trial.state != "failed" and self._study is not None:
            self._study.refuse_without(number, has_other=not is_same)
        if trial is not None and trial.state != "failed" and is_same:
            return TrialState(number, trial.state, trial.values, trial, trial.reason)
        self._kept.pop(number, None)
        return TrialState(number, "waiting", {} if known is None else known[0])

    @property
    def log(self) -> TuneLog:
        """The log of all trials that have ended."""
        return self._log.model_copy(update={"trials": tuple(self._kept[number] for number in sorted(self._kept))})

    def begin(self, number: int) -> dict[str, Any]:
        """Values of a trial that is about to start."""
        values, config = self._draws.begin(number)
        if self._study is not None:
            self._study.begin(number)
        self._configs[number] = config.model_dump(mode="json")
        self.states[number] = replace(self.states[number], values=values)
        return values

    def reported(self, number: int, report: Report) -> TrialState:
        """The state of a trial by its last report; one that has ended is in the log on disk."""
        left_s = None if report.left_s is None else float(round(report.left_s))
        state = replace(self.states[number], state=report.state, reason=report.text, left_s=left_s)
        if not state.has_ended:
            return state
        part = {"trial": number, "values": state.values, "config": self._configs[number], "state": state.state, "reason": state.reason}
        trial = Trial.model_validate(part | dict(report.result or {}))
        if self._study is not None:
            # First: a trial that only the journal knows is found in the cache, one that it does not know would teach it nothing.
            self._study.end(trial)
        self._kept[number] = trial
        _write(self.folder, self.log)
        return replace(state, state=trial.state, reason=trial.reason, result=trial)


def _outcome(request: TuneRequest, preset: str, trials: _Trials, data_dir: Path | None) -> TuneOutcome:
    """The best of all trials, with its settings in a file beside the log."""
    folder, log = trials.folder, trials.log
    best = log.best()
    if best is None:
        raise StageFailed(
            f"All {len(log.trials)} trials failed, the first with: {log.trials[0].reason} They are listed in {folder / LOG_FILE}"
        )
    _write(folder, log)
    command = _command(request, preset, folder / BEST_FILE, data_dir)
    replace_text(folder / BEST_FILE, settings_text(log, best, folder / LOG_FILE, command))
    return TuneOutcome(log, folder, best, folder / BEST_FILE, command)


def _new_log(
    request: TuneRequest,
    sampler: Sampler,
    plugin: Plugin,
    preset: str,
    loaded: LoadedSplit,
    protocol: SplitProtocol,
    device: str,
    executor: Executor,
) -> TuneLog:
    fingerprints = loaded.split.fingerprints
    return TuneLog(
        schema_version=2 if sampler == RANDOM and not request.prune else 3,
        model=plugin.card.name,
        source_hash=plugin_source_hash(plugin.folder),
        dataset=loaded.card.name,
        preset=preset,
        seed=request.seed,
        budget=request.budget,
        metric=loaded.task.validation_metrics[0],
        space=plugin.tune_card().space,
        sampler=sampler,
        prunes=request.prune,
        protocol=str(protocol),
        ties=protocol.ties,
        train=fingerprints.train,
        valid=fingerprints.valid,
        device=device,
        threads=executor.threads,
        jobs=executor.jobs,
    )


def _stem(log: TuneLog, seed: int) -> str:
    """The folder's name: equal searches share it, whatever their number of trials and processes."""
    identity = log.model_dump(mode="json", exclude={"schema_version", "threads", "jobs", "trials"})
    return RunName(log.dataset, log.model, log.preset, seed, hash_value(identity)).stem


def _found(path: Path) -> dict[int, Trial]:
    return {trial.trial: trial for trial in read_tune_log(path)[0].trials} if path.exists() else {}


class _alone:  # noqa: N801 (used as a with statement)
    """Lock of a search: a second process that wants it is refused."""

    def __init__(self, folder: Path, locks: Path) -> None:
        self._folder = folder
        path = locks / f"tune-{hash_value(str(folder.resolve()))[:20]}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path)

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise BadRequest(f"Another process is at work on {self._folder}. Wait for it, or give another --seed.") from None

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _trial_request(request: TuneRequest, preset: str, number: int, values: dict[str, Any], journal: Path) -> RunRequest:
    return RunRequest(
        model=request.model,
        dataset=request.dataset,
        preset=preset,
        seed=request.seed,
        overrides=values,
        journal=journal.absolute() if request.prune else None,
        trial=number,
        **request.common(),
        **request.watched(),
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
    replace_text(folder / LOG_FILE, log.to_json())
