"""Data set cards: what a data set is, where it comes from, how it is filtered and how large it must then be."""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from recbench.core.config import PlainValues, explain, read_toml
from recbench.core.file_names import is_plain_name, is_short_enough

STANDARD_COLUMNS = ("title", "brand", "categories", "description", "price")
"""The text columns every data set may have; the text fingerprint is made from them."""

CardTime = Literal["seconds", "position", "none", "detect"]
"""`detect`: for folders without a card; reading the data decides."""


_WHEEL = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?=="  # name of PEP 508
    r"(?:\d+!)?\d+(?:\.\d+)*(?:(?:a|b|rc)\d+)?(?:\.post\d+)?(?:\.dev\d+)?(?:\+[a-z0-9]+(?:\.[a-z0-9]+)*)?",  # version of PEP 440
    re.ASCII,
)
_RESERVED_NAMES = {"fetched.json"}
"""Names of files that the cache itself writes beside those of a source."""


def _web_address(url: str) -> str:
    """An address of http or https, with a host; an empty one stands for none."""
    if not url:
        return url
    parts = urlsplit(url)  # a broken port or host is a ValueError
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0 or not url.isprintable() or " " in url:
        raise ValueError("not an http or https address")
    return url


class _Part(PlainValues):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MinRating(_Part):
    """Keep events rated at least this high."""

    kind: Literal["min-rating"]
    value: float


class Dates(_Part):
    """Keep events from `first` to `last`, both days included, in UTC."""

    kind: Literal["dates"]
    first: date | None = None
    last: date | None = None


class FirstPerPair(_Part):
    """Keep the earliest event of each (user, item) pair."""

    kind: Literal["first-per-pair"]


class MinCounts(_Part):
    """Keep events whose user and item both have at least so many, counted once, on the same state of the data."""

    kind: Literal["min-counts"]
    user: PositiveInt = 1
    item: PositiveInt = 1


class KCore(_Part):
    """Drop items, then users, with fewer events than this, until none is left to drop."""

    kind: Literal["k-core"]
    user: PositiveInt
    item: PositiveInt


Filter = Annotated[MinRating | Dates | FirstPerPair | MinCounts | KCore, Field(discriminator="kind")]


class SourceFile(_Part):
    """One file of a source."""

    role: str
    """Role of the file for the reader: `interactions`, `items`, `reviews`, `metadata`, `archive`."""
    name: str = ""
    """Its name on disk; default: the last part of `url` or `member`."""
    url: Annotated[str, AfterValidator(_web_address)] = ""
    """Address of the download: http or https."""
    member: str = ""
    """Its path inside a wheel."""
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    size: NonNegativeInt = 0
    """In bytes; 0 where it is not known."""

    @property
    def file_name(self) -> str:
        """Name in the cache."""
        return self.name or (urlsplit(self.url).path or self.member).rsplit("/", 1)[-1]

    @model_validator(mode="after")
    def _has_a_plain_name(self) -> "SourceFile":
        if not is_plain_name(self.file_name):
            raise ValueError(f"the file of role {self.role!r} needs a plain file name, an address or a member; {self.file_name!r} is none")
        if self.file_name in _RESERVED_NAMES:
            raise ValueError(f"the file name {self.file_name!r} is taken by the cache; give it another `name`")
        return self


def _refuse_not_finite(value: Any) -> None:
    """Settings are hashed as JSON, which knows neither infinity nor NaN."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _refuse_not_finite(inner)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")


class Source(_Part):
    """One way to get a data set. Reader, options, filters and kind of time are the card's unless given here."""

    kind: Literal["download", "wheel", "manual", "folder", "generated"]
    files: tuple[SourceFile, ...] = ()
    requirement: str = ""
    """For a wheel: what pip is asked for, one exact version, such as `recbole==1.2.1`."""
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """For a wheel: of the wheel itself. Without it each file needs its own."""
    path: Path | None = None
    """For a folder: where the files lie, relative to the card. Without `files` it is a ready folder."""
    instructions: str = ""
    """For `manual`: how a person gets the files."""
    reader: str = ""
    options: dict[str, Any] | None = None
    filters: tuple[Filter, ...] | None = None
    time: CardTime | None = None

    @field_validator("path")
    @classmethod
    def _has_a_printable_path(cls, path: Path | None) -> Path | None:
        if path is not None and not str(path).isprintable():
            raise ValueError("a path has no line breaks and no control characters here")
        if path is not None and not is_short_enough(path):
            raise ValueError("no system takes a path that long; move the folder or name a link to it")
        return path

    @field_validator("options")
    @classmethod
    def _has_finite_options(cls, options: dict[str, Any] | None) -> dict[str, Any] | None:
        _refuse_not_finite(options)
        return options

    @model_validator(mode="after")
    def _is_complete(self) -> "Source":
        if self.kind == "download" and (not self.files or not all(file.url for file in self.files)):
            raise ValueError("a download needs files, each with a url")
        if self.kind == "wheel":
            self._is_a_safe_wheel()
        if self.kind == "manual" and not self.instructions:
            raise ValueError("a manual source needs instructions")
        if self.kind == "folder" and self.path is None:
            raise ValueError("a folder needs a path")
        for what, values in {"name": [file.file_name for file in self.files], "role": [file.role for file in self.files]}.items():
            repeated = [value for value in values if values.count(value) > 1]
            if repeated:
                raise ValueError(f"two files have the {what} {repeated[0]!r}")
        return self

    def _is_a_safe_wheel(self) -> None:
        """Refuse a requirement that could make pip run code: an address, an option, anything but one version of one project."""
        if not self.requirement or not self.files or not all(file.member for file in self.files):
            raise ValueError("a wheel needs a requirement and files, each with a member")
        if not _WHEEL.fullmatch(self.requirement):
            raise ValueError(
                f"requirement = {self.requirement!r} is not NAME==VERSION: a wheel is one exact version of one project, without an "
                "address, option, extra or marker"
            )
        if not self.sha256 and not all(file.sha256 for file in self.files):
            raise ValueError("a wheel needs its sha256, or each of its files one")


class Counts(_Part):
    """Sizes after all filters."""

    users: PositiveInt | None = None
    items: PositiveInt | None = None
    """Size of the catalogue: items without an event count where the card says `catalogue = "table"`."""
    interactions: PositiveInt | None = None
    bundles: PositiveInt | None = None
    """Sets, of data whose rows are these."""
    pairs: PositiveInt | None = None
    """Of a set and an item, each once."""


class DatasetCard(_Part):
    """`datasets/NAME.toml`. Unknown keys are errors."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(:\w+=[\w.+-]+(,\w+=[\w.+-]+)*)?$")
    """Of generated data with the options that differ from those of the card's file, such as `demo:n_items=100`."""
    title: str
    summary: str = ""
    """One line for `recbench list datasets`."""
    terms: str
    """Licence and conditions of use."""
    may_share_items: bool = False
    """Whether the terms let anybody hand on ids and texts of items, as a shared model does."""
    citation: str = ""
    """BibTeX."""
    task: str = "next-item"
    """Question that models are asked on these data; each data set has one."""
    protocol: str = ""
    """How these data are divided where nobody says, such as `random`; empty: as the task has it."""
    ready: dict[str, str] = Field(default_factory=dict)
    """Names, without ending, of tables in a ready folder that are not called as usual, by role: `feedback = "purchases"`."""
    reader: str
    """Reads the sources below; ready folders of parquet or csv are always read as such."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the reader."""
    filters: tuple[Filter, ...] = ()
    """Applied to sources, in order. Ready folders hold data that went through them."""
    duplicates: Literal["drop", "keep"] = "drop"
    """Treatment of a second event of equal user, item and time. Dropped ones are counted."""
    time: CardTime
    """Meaning of time stamps in the ready folder, and in sources that say nothing else."""
    catalogue: Literal["table", "events"] = "table"
    """`table`: every row of the item table is an item. `events`: only items that have an event after filtering."""
    leaking_columns: tuple[str, ...] = ()
    """Text columns that can hold the answer; not read."""
    read_leaking_columns: bool = False
    """Read them all the same; such results belong on no board."""
    model_columns: tuple[str, ...] = ()
    """Further columns of the item table for models whose cards name them (`needs_columns`). No part of the item text: no text field and
    no fingerprint includes them. A source that lacks one is read without it."""
    counts: Counts = Counts()
    is_synthetic: bool = False
    notes: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()

    @field_validator("options")
    @classmethod
    def _has_finite_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        _refuse_not_finite(options)
        return options

    @field_validator("ready")
    @classmethod
    def _names_tables(cls, ready: dict[str, str]) -> dict[str, str]:
        odd = [name for name in ready.values() if not is_plain_name(name)]
        if odd:
            raise ValueError(f"{odd[0]!r} is no name of a table in a folder")
        return ready

    @field_validator("leaking_columns", "model_columns")
    @classmethod
    def _names_columns(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        # A column read is saved under its name.
        odd = [name for name in names if not is_plain_name(name)]
        if odd:
            raise ValueError(f"{odd[0]!r} is no name of a column")
        return names

    @model_validator(mode="after")
    def _model_columns_stand_apart(self) -> "DatasetCard":
        taken = {"item_id": "the column of ids", **dict.fromkeys(STANDARD_COLUMNS, "a text column")}
        taken |= dict.fromkeys(self.leaking_columns, "one of leaking_columns")
        for name in self.model_columns:
            if name in taken:
                raise ValueError(f"model_columns names {name!r}, which is {taken[name]}. Name columns that nothing else reads, each once")
            taken[name] = "named twice"
        return self

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The text columns to read, in their standard order."""
        if self.read_leaking_columns:
            return (*STANDARD_COLUMNS, *(name for name in self.leaking_columns if name not in STANDARD_COLUMNS))
        return tuple(name for name in STANDARD_COLUMNS if name not in self.leaking_columns)

    def of_source(self, source: Source) -> "DatasetCard":
        """The card as it applies to one of its sources: reader, options, filters and kind of time are the source's where it names them."""
        given = {"reader": source.reader or None, "options": source.options, "filters": source.filters, "time": source.time}
        return self.model_copy(update={key: value for key, value in given.items() if value is not None})


_PARTS: Mapping[str, Sequence[type[BaseModel]]] = {
    "sources": (Source, SourceFile, MinRating, Dates, FirstPerPair, MinCounts, KCore),
    "filters": (MinRating, Dates, FirstPerPair, MinCounts, KCore),
    "counts": (Counts,),
}


def parse_card(values: Mapping[str, Any], where: str) -> DatasetCard:
    """The card that `values` describe; a fault is a `BadConfig` that names `where` and the nearest known key."""
    try:
        return DatasetCard.model_validate(values)
    except ValidationError as error:
        location = error.errors()[0]["loc"]
        is_nested = len(location) > 1 and location[0] in _PARTS
        models = _PARTS[str(location[0])] if is_nested else (DatasetCard,)
        raise explain(error, sorted({key for model in models for key in model.model_fields}), where) from None


def load_dataset_card(path: Path) -> DatasetCard:
    """The card in a TOML file; paths of folders in it are relative to the file."""
    card = parse_card(read_toml(path), str(path))
    anchored = tuple(
        source if source.path is None else source.model_copy(update={"path": (path.resolve().parent / source.path).resolve()})
        for source in card.sources
    )
    return card.model_copy(update={"sources": anchored})
