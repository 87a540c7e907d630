"""The optuna study of a search: what its trials have told so far, in a journal of JSON lines.

A search has one where its settings follow from earlier trials (`tpe`) or trials are pruned. The search begins and ends trials in it; a
trial that may be pruned reports its validations from its own process, and reads there what the others had come to.

Optuna numbers every draw, those that the settings refused and repeated trials included; `trial` of its user attributes is our number.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbench.core.config import PluginConfig, by_dotted_name, canonical_json
from recbench.core.errors import BadConfig, BadData, BadRequest, Pruned
from recbench.core.plugin import MOST_DRAWS, CurvePoint, Plugin
from recbench.core.seeds import derived_seed
from recbench.core.tuning import Dimension, Trial, TuneLog

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

JOURNAL_FILE = "journal.jsonl"
_TRIAL, _TRAININGS = "trial", "trainings"
_STEPS_OF_A_TRAINING = 100_000
"""Validations of a model's second training are compared with those of the second training of other trials."""
_STALE_LOCK_S = 30
"""Seconds after which a lock of the journal is taken for that of a killed process; an entry is written in milliseconds."""
log = logging.getLogger(__name__)


class Study:
    """Trials of one search, as optuna sees them."""

    def __init__(self, path: Path, name: str) -> None:
        """Open the journal, or begin it.

        Args:
            path: of the journal.
            name: of the search; a journal that holds another one is refused.

        Raises:
            BadRequest: optuna is not installed.
            BadData: the journal is damaged or another search's.
        """
        try:
            import optuna
        except ImportError:
            raise BadRequest(
                "--sampler tpe and --prune need optuna, which is not installed here. Install it: pip install 'genrecbench[tune]'"
            ) from None
        self._optuna = optuna
        self._path = path
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_damage(path)
        with self._reading():
            # A file, not optuna's own choice of a link: a killed process that named the journal by a relative path leaves a link to
            # nowhere, which is waited for without end.
            lock = optuna.storages.journal.JournalFileOpenLock(str(path), grace_period=_STALE_LOCK_S)
            storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path), lock_obj=lock))
            names = [study.study_name for study in storage.get_all_studies()]
        if names not in ([], [name]):
            raise BadData(f"{path} is the journal of another search, {names[0]!r}. Put back the one of this search, or move it away.")
        pruner = optuna.pruners.MedianPruner()  # five trials run to their end before one is compared with them
        with self._reading():
            self._study: optuna.Study = (
                optuna.load_study(study_name=name, storage=storage, pruner=pruner)
                if names
                else optuna.create_study(study_name=name, storage=storage, pruner=pruner, direction="maximize")
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What optuna raises on entries that make no sense is no promise of its interface: all of it means a damaged journal."""
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            raise _damaged(self._path, f"{type(error).__name__}: {error}") from error

    def latest(self, number: int) -> "FrozenTrial | None":
        """The newest entry of a trial by our number; None where it has not begun."""
        with self._reading():
            found = [trial for trial in self._study.trials if trial.user_attrs.get(_TRIAL) == number]
        return found[-1] if found else None

    def begin(
        self, number: int, parameters: Mapping[str, Any] | None = None, distributions: "Mapping[str, BaseDistribution] | None" = None
    ) -> None:
        """Begin a trial whose settings are known; one that was stopped in the middle goes on as it was.

        Args:
            number: ours.
            parameters: its settings as optuna knows them.
            distributions: where each of them could lie.
        """
        found, states = self.latest(number), self._optuna.trial.TrialState
        if found is None or found.state != states.RUNNING:
            # In one entry: a kill leaves all of it or nothing.
            begun = self._optuna.trial.create_trial(
                state=states.RUNNING,
                params=dict(parameters or {}),
                distributions=dict(distributions or {}),
                user_attrs={_TRIAL: number},
            )
            self._study.add_trial(begun)

    def drop_unnamed(self) -> None:
        """End what a kill left between a draw and the number of its trial."""
        for trial in self._study.trials:
            if trial.state == self._optuna.trial.TrialState.RUNNING and _TRIAL not in trial.user_attrs:
                self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)

    def ask(self, seed: int, distributions: "Mapping[str, BaseDistribution]") -> "optuna.Trial":
        """A new trial without a number, whose settings follow from the seed and from what the study knows."""
        self._study.sampler = self._optuna.samplers.TPESampler(seed=seed, multivariate=False, constant_liar=True)
        return self._study.ask(dict(distributions))

    def accept(self, drawn: "optuna.Trial", number: int) -> None:
        """Give a trial that was asked for our number."""
        drawn.set_user_attr(_TRIAL, number)

    def refuse(self, drawn: "optuna.Trial") -> None:
        """End a trial that was asked for: its settings contradict each other."""
        self._study.tell(drawn, state=self._optuna.trial.TrialState.FAIL)

    def distribution(self, dimension: Dimension) -> "BaseDistribution":
        """The values of a setting in optuna's terms."""
        of = self._optuna.distributions
        if dimension.choices is not None:
            # As text: a choice may be a list, which optuna does not take, and 1 and true are one to it.
            return of.CategoricalDistribution([canonical_json(choice) for choice in dimension.choices])
        if dimension.integers is not None:
            return of.IntDistribution(*dimension.integers)
        if dimension.uniform is not None:
            return of.FloatDistribution(*dimension.uniform)
        assert dimension.log_uniform is not None
        return of.FloatDistribution(*dimension.log_uniform, log=True)

    def report(self, number: int, step: int, value: float) -> bool:
        """Report a validation of a trial; tells whether to stop it."""
        found = self.latest(number)
        assert found is not None
        trial = self._optuna.trial.Trial(self._study, found._trial_id)
        if step not in found.intermediate_values:  # a training that was killed repeats what came after its checkpoint
            trial.report(value, step)
        return bool(trial.should_prune())

    def step_of(self, number: int, training: str, validation: int) -> int:
        """Place of a validation among all of a trial, the same for equal validations of other trials."""
        found = self.latest(number)
        assert found is not None
        trainings = list(found.user_attrs.get(_TRAININGS, []))
        if training not in trainings:
            trainings.append(training)
            self._optuna.trial.Trial(self._study, found._trial_id).set_user_attr(_TRAININGS, trainings)
        return trainings.index(training) * _STEPS_OF_A_TRAINING + validation

    def end(self, trial: Trial) -> None:
        """Tell how a trial ended; nothing where the journal knows, as after a kill in the moment between."""
        states = self._optuna.trial.TrialState
        found = self.latest(trial.trial)
        if found is None or found.state != states.RUNNING:
            return
        if trial.score is not None:
            self._study.tell(found.number, trial.score)
        else:
            self._study.tell(found.number, state=states.PRUNED if trial.state == "pruned" else states.FAIL)

    def refuse_without(self, number: int, *, has_other: bool = False) -> None:
        """Raise a `BadData` where the journal lacks a trial that the log has, or has other settings for it."""
        fault = "lacks" if self.latest(number) is None else "has other settings for" if has_other else ""
        if fault:
            raise BadData(
                f"{self._path} {fault} trial {number}, which the log beside it has. Put the two files back that belong together, or search "
                "with another --seed."
            )


class AdaptiveDraws:
    """Settings of trials that follow from the outcomes of earlier ones, by optuna's tree-structured Parzen estimator."""

    def __init__(self, study: Study, plugin: Plugin, preset: str, seed: int) -> None:
        """Draw from the space of the plugin's card; trial 0 is `preset` itself."""
        self._study, self._plugin, self._preset, self._seed = study, plugin, preset, seed
        self._space = plugin.tune_card().space
        self._distributions = {name: study.distribution(dimension) for name, dimension in sorted(self._space.items())}
        study.drop_unnamed()

    def begun(self, number: int) -> tuple[dict[str, Any], PluginConfig] | None:
        """Values and settings of a trial that has begun before; None for any other."""
        found = self._study.latest(number)
        if number == 0:
            return {}, self._plugin.resolve(self._preset)
        if found is None or set(found.params) != set(self._space):
            return None
        values = self._values(found.params)
        return values, self._plugin.resolve(self._preset, None, values)

    def begin(self, number: int) -> tuple[dict[str, Any], PluginConfig]:
        """Values and settings of a trial that begins now, or goes on, or is made once more.

        Each is drawn from the seed, its number and what the study knows now: one at a time, equal searches make equal trials.

        Raises:
            BadConfig: every draw was refused by the settings.
        """
        known, found = self.begun(number), self._study.latest(number)
        if known is None:
            return self._drawn(number)
        parameters = self._inside(known[1]) if found is None else found.params
        self._study.begin(number, parameters, {name: self._distributions[name] for name in parameters})
        return known

    def _inside(self, config: PluginConfig) -> dict[str, Any]:
        """Those settings that lie in the space, in optuna's terms: a preset may lie outside of it."""
        settings = by_dotted_name(config.model_dump(mode="json"))
        return {
            name: canonical_json(settings[name]) if dimension.choices is not None else settings[name]
            for name, dimension in sorted(self._space.items())
            if dimension.holds(settings[name])
        }

    def _drawn(self, number: int) -> tuple[dict[str, Any], PluginConfig]:
        fault: BadConfig | None = None
        for attempt in range(MOST_DRAWS):
            seed = derived_seed(self._seed, "tune", self._plugin.card.name, "tpe", number, attempt) % 2**32
            trial = self._study.ask(seed, self._distributions)
            values = self._values(trial.params)
            try:
                config = self._plugin.resolve(self._preset, None, values)
            except BadConfig as error:
                self._study.refuse(trial)
                fault = error
                continue
            self._study.accept(trial, number)
            return values, config
        raise BadConfig(
            f"The card of {self._plugin.card.name!r}: {MOST_DRAWS} draws for trial {number} were all refused, the last so: {fault}"
        )

    def _values(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as a trial uses them, from what optuna drew."""
        return {name: _value(self._space[name], parameters[name]) for name in sorted(parameters)}


class ValidationReporter:
    """Reports the validations of a trial's training to the study of its search, and stops it where it falls behind."""

    def __init__(self, journal: Path, number: int, metric: str) -> None:
        """Report to a journal, which the search has begun; `number` is ours, `metric` the one that trials are ranked by."""
        self._study = Study(journal, journal.parent.name)
        self._number, self._metric = number, metric

    def note(self, point: CurvePoint, *, examples: int, validations: int) -> None:  # noqa: ARG002
        """Report a point that is a validation, see `FitContext.note`; raises `Pruned` where the trial has fallen behind."""
        if point.validation is None or self._metric not in point.validation:
            return
        if self._report(point, validations, point.validation[self._metric]):
            raise Pruned(
                f"Pruned at validation {validations} of {point.training}: no {self._metric} so far reaches the median of the earlier "
                "trials at this validation.",
                steps=point.step,
                epochs=point.epoch,
            )

    def report_all(self, curve: Iterable[CurvePoint]) -> None:
        """Report the validations of a training that was found in the cache, with which later trials are compared."""
        counts: Counter[str] = Counter()
        for point in curve:
            if point.validation is not None and self._metric in point.validation:
                counts[point.training] += 1
                self._report(point, counts[point.training], point.validation[self._metric])

    def _report(self, point: CurvePoint, validation: int, value: float) -> bool:
        return self._study.report(self._number, self._study.step_of(self._number, point.training, validation), value)


def _value(dimension: Dimension, parameter: Any) -> Any:
    if dimension.choices is not None:
        return next(choice for choice in dimension.choices if canonical_json(choice) == parameter)
    return parameter if dimension.integers is not None else dimension.rounded(parameter)


def _refuse_damage(path: Path) -> None:
    """Refuse a journal that is none, before optuna reads it; a last line that was cut off, which nobody was told of, is taken away."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    whole = content[: content.rfind(b"\n") + 1]
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise _damaged(path, f"line {number} is not valid JSON: {error}") from None
        if not isinstance(entry, dict) or "op_code" not in entry:
            raise _damaged(path, f"line {number} is no entry of a journal of optuna")
    if len(whole) < len(content):
        log.warning("the last line of %s was cut off and is taken away", path)
        with path.open("r+b") as stream:
            stream.truncate(len(whole))


def _damaged(path: Path, fault: str) -> BadData:
    return BadData(f"{path} is damaged: {fault}. Restore the file, or search with another --seed.")


def has_study(of: TuneLog) -> bool:
    """Whether a search keeps a study: its settings follow from earlier trials, or trials are pruned."""
    return of.sampler == "tpe" or of.prunes
