"""Cards of models: who a model is, what it needs, its presets, whose numbers it is held against."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recbench.core.byte_sizes import size_text
from recbench.core.config import PlainValues, by_dotted_name, explain, flat_settings, flatten_preset, read_toml
from recbench.core.published import Published
from recbench.core.records import RunRecord
from recbench.core.tuning import TuneCard

Evidence = Literal["item_text", "time", "feedback", "features"]
"""What a data set may have beside the events or sets themselves: texts of items, times, users' feedback on items, vectors of items."""


class DefaultPresets(BaseModel):
    """Which preset a machine gets when nobody says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu: str
    cuda: str
    tasks: dict[str, "DefaultPresets"] = Field(default_factory=dict)
    """Presets for tasks that want others, by the task's name."""

    def names(self) -> list[str]:
        """All presets that are named."""
        return [self.cpu, self.cuda, *(name for other in self.tasks.values() for name in other.names())]


class ModelCard(PlainValues):
    """`card.toml` of a model: what it is, whose numbers it is held against. Unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    summary: str
    """One line for `recbench list models`."""
    paper: str = ""
    bibtex: str = ""
    family: Literal["generative", "scoring"]
    is_trivial: bool = False
    """One of the baselines that every board must show and every model should beat."""
    refuses: str = ""
    """Data that it answers with a refusal beyond what `needs` says, as the end of a sentence, such as `data without titles`."""
    is_reference: bool = False
    """Cheap enough, seconds on any data set, to be computed beside every run, which says whether it is above or below."""
    shortcut: str = ""
    """Words for what it finds targets by, without learning, on boards, such as `the counter of pairs`; empty for other models."""
    tasks: tuple[str, ...] = ("next-item",)
    """Questions that it can answer."""
    reads_order: bool = False
    """Whether the order of a set's items shapes its answers, as in a model of sequences. `fit` is then handed each set in several random
    orders, and boards mark the row."""
    needs: tuple[Evidence, ...] = ()
    may_read: tuple[Evidence, ...] = ()
    """What it makes use of where the data set has it. `fit` is handed nothing of this kind that stands neither here nor in `needs`."""
    needs_columns: tuple[str, ...] = ()
    """Columns of the item table beyond its texts that it reads, see `ItemTable.model_columns`; `fit` is handed no others."""
    uses: tuple[str, ...] = ()
    """Plugins whose item vectors this one asks for."""
    label: tuple[str, ...] = ()
    """Settings whose values belong in the row's name, such as `loss` or `text.encoder`."""
    label_unless_default: tuple[str, ...] = ()
    """Settings that belong in the row's name, as `name=value`, where they are not at their default."""
    backbone: tuple[str, ...] = ()
    """Settings that name pretrained weights, the one that says most about a row first."""
    text: tuple[str, ...] = ()
    """Settings that list the text columns which the model reads."""
    validation_users: int | None = Field(default=None, gt=0)
    """How many users, drawn once, validate during training where ranking all of them would take longer than an epoch; None: all."""
    saves_text: bool = False
    """Whether what it saves holds words of the items' texts, as they are or as tokens that a public vocabulary spells out. Such a model is
    not shared where the terms of the data keep the texts."""
    distributed: bool = False
    """Whether `fit` shares its work under torchrun; others run on rank 0 alone."""
    max_items: int | None = None
    """Above this catalogue size the model is not applicable."""
    bytes_per_item_pair: int = 0
    """Memory that its matrices over pairs of items take while it is trained, for each pair; 0 for a model without such."""
    licence_of_reference: str = ""
    presets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    default: DefaultPresets
    published: tuple[Published, ...] = ()
    deviations: tuple[str, ...] = ()
    moved: dict[str, str] = Field(default_factory=dict)
    """Where settings of records before schema 4 stand today: flat name and dotted name; see `recbench.core.config.moved_settings`.
    In the file `"training.*" = ["patience"]` is short for `patience = "training.patience"`."""
    added: dict[str, Any] = Field(default_factory=dict)
    """Settings that the model gained after its first records, by dotted name, each with the value that says what it did before. Records
    without them are read so, and at this value they do not enter the hash of settings: rows of before and after are one."""
    tune: TuneCard | None = None
    """Search space of `recbench tune`; None: nothing to search."""

    @property
    def reads_text(self) -> bool:
        """Whether its results can depend on the items' texts."""
        return "item_text" in (*self.needs, *self.may_read)

    @property
    def reads_feedback(self) -> bool:
        """Whether its results can depend on users' feedback beside the sets that it learns from."""
        return "feedback" in (*self.needs, *self.may_read)

    @property
    def reads_features(self) -> bool:
        """Whether its results can depend on vectors that the data set brings along."""
        return "features" in (*self.needs, *self.may_read)

    def beyond_size(self, n_items: int, memory_bytes: int) -> str:
        """Why the model cannot serve a catalogue on a machine of this memory, as a clause; empty where it can.

        Args:
            n_items: size of the catalogue.
            memory_bytes: all memory of the machine.
        """
        needed = self.bytes_per_item_pair * n_items**2
        takes = f"its matrices over pairs of items would take {size_text(needed)} of memory" if needed else ""
        if self.max_items is not None and n_items > self.max_items:
            return f"the data set has {n_items:,} items and the model's limit is {self.max_items:,}" + (takes and f"; {takes}")
        if needed > memory_bytes:
            return f"the data set has {n_items:,} items; {takes}, and this machine has {size_text(memory_bytes)}"
        return ""

    @property
    def reads_time(self) -> bool:
        """Whether its results can depend on when events happened, beyond their order."""
        return "time" in (*self.needs, *self.may_read)

    def default_preset(self, device: str, task: str) -> str:
        """The preset that a machine of this kind gets for a task."""
        default = self.default.tasks.get(task, self.default)
        return default.cuda if device.startswith("cuda") else default.cpu

    def changed_settings(self, record: RunRecord) -> list[str]:
        """Settings in which a run departs from its preset, each as key=value, by key; empty where the card has no such preset any more.

        Only settings that the card's presets name are looked at; see `Plugin.full_card`. They have the names of the record. Settings that
        the model gained after the record count with the value that says what it did before.
        """
        if record.model.preset not in self.presets:
            return []
        preset = flatten_preset(self.presets, record.model.preset, f"Model {self.name!r}")
        settings = by_dotted_name(record.config)
        gained = {name: value for name, value in self.added.items() if name not in settings}
        if record.is_flat:
            settings = record.config
            known = {name: value for name, value in preset.items() if name not in gained}
            preset = flat_settings(known, self.moved) | {name: value for name, value in preset.items() if name in gained}
        settings = {**settings, **gained}
        changed = sorted(key for key, value in preset.items() if key in settings and _plain(settings[key]) != _plain(value))
        return [f"{key}={settings[key]}" for key in changed]

    @model_validator(mode="after")
    def _presets_exist(self) -> "ModelCard":
        tuned = [] if self.tune is None else [self.tune.preset]
        wanted = [*self.default.names(), *tuned, *(p.preset for p in self.published)]
        missing = sorted({name for name in wanted if name not in self.presets})
        if missing:
            raise ValueError(f"preset {missing[0]!r} is named but not defined under [presets]")
        return self

    @field_validator("moved", mode="before")
    @classmethod
    def _each_moved_by_name(cls, moved: Any) -> Any:
        if not isinstance(moved, Mapping):
            return moved
        spelt: dict[Any, Any] = {}
        for key, value in moved.items():
            if isinstance(value, list) and key.endswith(".*"):
                spelt |= {old: f"{key[:-1]}{str(old).rpartition('.')[2]}" for old in value}
            else:
                spelt[key] = value
        return spelt

    @model_validator(mode="after")
    def _moved_apart(self) -> "ModelCard":
        twice = [new for new, count in Counter(self.moved.values()).items() if count > 1]
        if twice:
            raise ValueError(f"two settings are moved to {twice[0]!r}")
        return self


def _plain(value: object) -> object:
    """Tuples and lists alike, so that a setting read from TOML equals the same one read from JSON."""
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def load_card(path: Path) -> ModelCard:
    """The card in a TOML file; a fault in it is a `BadConfig` that names the file."""
    try:
        return ModelCard.model_validate(read_toml(path))
    except ValidationError as error:
        raise explain(error, list(ModelCard.model_fields), str(path)) from None
