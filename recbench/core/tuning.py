"""Search over settings: the space that a card declares, what a trial takes from it, and the log of all trials."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from recbench.core.config import by_dotted_name, canonical_json, explain, moved_settings, with_added
from recbench.core.errors import BadData, BadRequest
from recbench.core.seeds import generator

if TYPE_CHECKING:
    import numpy as np

TUNE_LOG = "tune.json"
"""The log of a search, as a file of a run whose settings come from it."""
Sampler = Literal["random", "tpe", "grid"]
"""Where the settings of a trial come from: a draw by its number alone, the outcomes of the trials before it, the points of a grid."""
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
RANDOM: Sampler = "random"
_DIGITS = 4
_MOST_POINTS = 1_000_000
Scalar = bool | int | float | str


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    _since_3: ClassVar[tuple[str, ...]] = ()
    """Fields that are left out at their defaults, so that a plain random search is written, and named, as before they came."""

    @model_serializer(mode="wrap")
    def _without_new_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        return {name: value for name, value in values.items() if name not in self._since_3 or value != fields[name].default}


class Dimension(_Part):
    """The values that one setting may take; exactly one of the four is given."""

    choices: Annotated[tuple[Scalar | tuple[Scalar, ...], ...], Field(min_length=2)] | None = None
    """Each of these is as likely as the others."""
    integers: tuple[int, int] | None = None
    """Whole numbers from the first to the second, both included."""
    uniform: tuple[float, float] | None = None
    """Numbers between the first and the second."""
    log_uniform: tuple[float, float] | None = None
    """The same, with each factor as likely as any other: 0.001 to 0.01 as 0.01 to 0.1."""

    @model_validator(mode="after")
    def _is_one_kind(self) -> "Dimension":
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a setting needs exactly one of choices, integers, uniform and log_uniform; given: {', '.join(given) or 'none'}"
            )
        if given != ["choices"]:
            low, high = getattr(self, given[0])
            if not low < high:
                raise ValueError(f"{given[0]} runs from {low} to {high}; the second must be larger")
            if self.log_uniform is not None and low <= 0:
                raise ValueError(f"log_uniform starts at {low}; it must be above 0")
        elif len({canonical_json(value) for value in self.choices or ()}) < len(self.choices or ()):
            raise ValueError("choices names a value twice")
        return self

    def draw(self, random: "np.random.Generator") -> Any:
        """One value; numbers that are not whole have four significant digits, so that what is printed is what was used."""
        import numpy as np

        if self.choices is not None:
            return self.choices[int(random.integers(len(self.choices)))]
        if self.integers is not None:
            return int(random.integers(self.integers[0], self.integers[1], endpoint=True))
        if self.uniform is not None:
            return _rounded(random.uniform(*self.uniform), *self.uniform)
        assert self.log_uniform is not None
        low, high = self.log_uniform
        return _rounded(float(np.exp(random.uniform(np.log(low), np.log(high)))), low, high)

    def points(self) -> tuple[Any, ...]:
        """The values of a grid: every choice; of a range its two ends and, where there is one, the middle."""
        if self.choices is not None:
            return self.choices
        if self.integers is not None:
            first, last = self.integers
            return tuple(dict.fromkeys((first, (first + last) // 2, last)))
        if self.uniform is not None:
            low, high = self.uniform
            return (low, _rounded((low + high) / 2, low, high), high)
        assert self.log_uniform is not None
        low, high = self.log_uniform
        return (low, _rounded(math.sqrt(low * high), low, high), high)

    def holds(self, value: Any) -> bool:
        """Whether a value is one of these."""
        if self.choices is not None:
            return canonical_json(value) in {canonical_json(choice) for choice in self.choices}
        low, high = self.values()
        is_number = isinstance(value, int if self.integers is not None else int | float) and not isinstance(value, bool)
        return is_number and bool(low <= value <= high)

    def rounded(self, value: float) -> float:
        """A number of this range as a trial uses it, see `draw`."""
        low, high = self.integers or self.uniform or self.log_uniform or (value, value)
        return _rounded(value, low, high)

    def values(self) -> tuple[Any, ...]:
        """All choices, or the two ends: what a card's space is checked by."""
        return self.choices or self.integers or self.uniform or self.log_uniform or ()


def _rounded(value: float, low: float, high: float) -> float:
    return min(max(float(f"{value:.{_DIGITS}g}"), low), high)


class TuneCard(_Part):
    """Section `[tune]` of a model's card."""

    preset: str
    """Trial 0, and what the drawn settings of the others are laid over: the published settings."""
    space: Annotated[dict[str, Dimension], Field(min_length=1)]
    """Per setting, by its dotted name, the values it may take."""

    def draw(self, model: str, seed: int, trial: int, attempt: int = 0, streams: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The settings of one trial: none for trial 0, else one value per setting of the space.

        Each value follows from the model's name, its own range, the search's seed and the number of the trial alone: neither other
        settings of the space nor the number of trials change it. `attempt` counts draws whose values contradicted each other.
        `streams` names the random streams of settings that have another name there.
        """
        if trial == 0:
            return {}
        streams = streams or {}
        return {
            name: dimension.draw(generator(seed, "tune", model, streams.get(name, name), trial, *([attempt] if attempt else [])))
            for name, dimension in sorted(self.space.items())
        }

    def grid(self, model: str, seed: int) -> Iterator[dict[str, Any]]:
        """All combinations of `Dimension.points`, in an order that follows from the model's name, the space and the seed.

        Raises:
            BadRequest: there are more than a million.
        """
        dimensions = sorted(self.space.items())
        points = [dimension.points() for _, dimension in dimensions]
        size = math.prod(map(len, points))
        if size > _MOST_POINTS:
            raise BadRequest(
                f"The grid over the space of {model!r} has {size:,} points, and more than {_MOST_POINTS:,} are not laid out. "
                "Take --sampler random or tpe, or narrow the space on the card."
            )
        for number in generator(seed, "tune", model, "grid").permutation(size).tolist():
            values = {}
            for (name, _), of in zip(dimensions, points, strict=True):
                number, place = divmod(number, len(of))
                values[name] = of[place]
            yield values


class Trial(_Part):
    """One setting that was tried."""

    _since_3: ClassVar[tuple[str, ...]] = ("train_cpu_s",)

    trial: NonNegativeInt
    """Its number; 0 is the preset itself."""
    state: Literal["done", "failed", "pruned"]
    """`pruned`: stopped at a validation, for what trials before it had come to by then; it has no score."""
    values: dict[str, Any]
    """Values drawn for the trial."""
    config: dict[str, Any]
    """All its settings."""
    score: float | None = None
    """The log's metric on the validation part; None where it failed or was pruned."""
    measured_by: Literal["training", "ranking"] | None = None
    """`training`: what the training's own selection reported. `ranking`: all validation users ranked after it, for a model that selects
    nothing by this figure."""
    steps: NonNegativeInt = 0
    epochs: float = 0.0
    stopped_by: str = ""
    parameters: NonNegativeInt = 0
    train_s: float = 0.0
    """All stages but data set and split, those found in the cache at what they cost."""
    train_cpu_s: float | None = None
    """The same in processor time, of a trial that was pruned; None of any other."""
    peak_memory_bytes: NonNegativeInt = 0
    reason: str = ""
    """Why it failed or was pruned."""


class TuneLog(_Part):
    """`trials.json` of a search, and `tune.json` of a run that took its settings from it. No test figure is in it: none was made."""

    _since_3: ClassVar[tuple[str, ...]] = ("sampler", "prunes")

    schema_version: Literal[1, 2, 3] = 2
    """2 added nested `Trial.config` and dotted names of settings, see `with_present_configs`; 3 added `sampler`, `prunes`, trials that
    were pruned and `Trial.train_cpu_s`. A random search that prunes nothing has none of these and is still of schema 2."""
    model: str
    source_hash: str
    """Hash of the plugin's sources."""
    dataset: str
    preset: str
    """Preset of trial 0, over which the others' settings were laid."""
    seed: NonNegativeInt
    """Seed of the draws and of every training."""
    budget: str | None
    """Budget of each trial."""
    metric: str
    """What the trials were ranked by, such as `ndcg@10`."""
    space: dict[str, Dimension]
    sampler: Sampler = RANDOM
    prunes: bool = False
    """Whether a trial below the median of those before it, at the same validation, is stopped."""
    protocol: str
    ties: str
    train: str
    valid: str
    """Fingerprints of what was trained on and of what the trials were ranked by."""
    device: str
    threads: PositiveInt | None
    """None: as many as there are cores."""
    jobs: PositiveInt
    """Trials at a time; costs are only comparable where this is 1."""
    trials: tuple[Trial, ...] = ()

    def count(self, state: str) -> int:
        """How many trials ended in this state."""
        return sum(trial.state == state for trial in self.trials)

    def best(self) -> Trial | None:
        """The trial with the highest score, of equal ones the first; None where none is done."""
        done = [trial for trial in self.trials if trial.score is not None]
        return max(done, key=lambda trial: (trial.score, -trial.trial), default=None)

    def with_present_configs(self, moved: Mapping[str, str], added: Mapping[str, Any]) -> "TuneLog":
        """The log with settings as the model has them today; `moved` and `added` are those of its card."""
        names = moved if self.schema_version == 1 else {}
        trials = tuple(
            trial.model_copy(
                update={
                    "values": by_dotted_name(moved_settings(trial.values, names)),
                    "config": with_added(moved_settings(trial.config, names), added),
                }
            )
            for trial in self.trials
        )
        space = {names.get(name, name): dimension for name, dimension in self.space.items()}
        return self.model_copy(update={"schema_version": max(self.schema_version, 2), "space": space, "trials": trials})

    def to_json(self) -> str:
        """The text of the file, the same for equal logs."""
        return self.model_dump_json(indent=1) + "\n"


def read_tune_log(path: Path) -> tuple[TuneLog, bytes]:
    """The log in a file and the bytes it was read from; one that is missing or damaged is a `BadData` that names it."""
    try:
        content = path.read_bytes()
        return TuneLog.model_validate(json.loads(content)), content
    except FileNotFoundError:
        raise BadData(f"{path}: there is no such log of trials. Keep it beside the settings that were taken from it.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadData(f"{path} is not valid JSON: {error}. Restore the file or search again.") from None
    except ValidationError as error:
        raise BadData(f"{explain(error, list(TuneLog.model_fields), str(path))} Restore the file or search again.") from None


def same_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two sets of settings are equal, lists and tuples alike."""
    return canonical_json(dict(first)) == canonical_json(dict(second))
