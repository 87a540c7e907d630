"""Settings that come from a search: the file that a search writes, and what a run may claim for it.

The file is a config file like any other, with a section `[tune]` that names the log of all trials beside it and the log's sha256. A run
that is given the file keeps that log among its own files; so a row's claim that its settings won a search of so many trials can be
checked by whoever has the record. Settings that are not those of the winning trial make no such claim.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from recbench.core.config import PluginConfig, explain, moved_settings, nested, read_toml, toml_text
from recbench.core.errors import BadConfig, BadData
from recbench.core.model_card import ModelCard
from recbench.core.records import TunePart
from recbench.core.tuning import Trial, TuneLog, read_tune_log, same_settings
from recbench.evaluation import METRICS

SECTION = "tune"


class _Mark(BaseModel):
    """Section `[tune]` of a config file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    """Name of the log, which lies beside the config file."""
    sha256: str
    trial: NonNegativeInt


@dataclass(frozen=True)
class TunedSettings:
    """The search behind a config file.

    Attributes:
        log: log of all trials.
        trial: the one that won.
        content: the bytes of the log's file.
    """

    log: TuneLog
    trial: Trial
    content: bytes

    @property
    def sha256(self) -> str:
        """sha256 of the log's file."""
        return hashlib.sha256(self.content).hexdigest()

    def gave(self, config: PluginConfig) -> bool:
        """Tell whether these are the settings of the trial that won, every one of them."""
        return same_settings(self.trial.config, config.model_dump(mode="json"))

    def part(self) -> TunePart:
        """The search as a record keeps it."""
        assert self.trial.score is not None
        return TunePart(
            trials=len(self.log.trials),
            trial=self.trial.trial,
            score=self.trial.score,
            dataset=self.log.dataset,
            valid=self.log.valid,
            budget=self.log.budget,
            sampler=self.log.sampler,
            pruned=self.log.count("pruned") if self.log.prunes else None,
        )

    def keep(self, path: Path) -> Path:
        """Write the log as a file of a run."""
        path.write_bytes(self.content)
        return path


def read_search(log_file: Path, card: ModelCard) -> TunedSettings:
    """The search in a log of its own; `card` is that of its model.

    Raises:
        BadData: the log is missing or damaged, or no trial of it was done.
    """
    log, content = read_tune_log(log_file)
    log = log.with_present_configs(card.moved, card.added)
    best = log.best()
    if best is None:
        raise BadData(f"{log_file}: no trial of this search was done, so no settings come from it. Restore the file or search again.")
    return TunedSettings(log, best, content)


def read_settings(path: Path, card: ModelCard) -> tuple[dict[str, Any], TunedSettings | None]:
    """The settings in a config file and, where they come from a search, that search.

    Args:
        path: of the file.
        card: of the model whose settings they are.

    Raises:
        BadConfig: the file is no config file, or its section `[tune]` does not fit the log beside it.
        BadData: the log is missing or damaged.
    """
    values = read_toml(path)
    section = values.pop(SECTION, None)
    if section is None:
        return values, None
    try:
        mark = _Mark.model_validate(section)
    except ValidationError as error:
        raise explain(error, list(_Mark.model_fields), f"{path}, section [{SECTION}],") from None
    log, content = read_tune_log(path.parent / mark.trials)
    best = log.best()
    found = hashlib.sha256(content).hexdigest()
    fault = ""
    if found != mark.sha256:
        fault = f"the sha256 of {mark.trials} is {found[:16]}, not {mark.sha256[:16]}"
    elif best is None or best.trial != mark.trial:
        fault = f"the best of {mark.trials} is trial {best.trial if best else 'none'}, not {mark.trial}"
    elif log.model != card.name:
        fault = f"{mark.trials} is a search over settings of {log.model!r}, not of {card.name!r}"
    if best is None or fault:
        raise BadConfig(f"{path}: {fault}. Restore both files, or remove the section [{SECTION}] to use the settings as your own.")
    if log.schema_version == 1:
        values = moved_settings(values, card.moved)
    log = log.with_present_configs(card.moved, card.added)
    best = log.best() or best
    return values, TunedSettings(log, best, content)


def settings_text(log: TuneLog, best: Trial, log_file: Path, command: str) -> str:
    """A config file with the settings of the trial that won, and the section that says where they come from."""
    sha256 = hashlib.sha256(log_file.read_bytes()).hexdigest()
    title = (
        f"# {log.model} on {log.dataset}: trial {best.trial} of {len(log.trials)}, validation {METRICS.title(log.metric)} {best.score:.4f}"
    )
    mark = {"trials": log_file.name, "sha256": sha256, "trial": best.trial}
    return f"{title}\n# {command}\n{toml_text(nested(best.values) | {SECTION: mark})}"
