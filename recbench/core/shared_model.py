"""The folder in which a trained model leaves its machine, and the note that says where a pulled one came from.

    README.md         model card, for people
    recbench.json     the manifest: every other file with its size and sum
    record.json       the record of the run, as it was written
    config.toml       the resolved settings
    model/            what the model's `save` wrote: numbers and settings, nothing that could be executed
    catalogue.parquet ids and titles of the items, where the terms of the data let them be handed on
    curve.csv, references.json, latency.json        where the run has them
    ranks.parquet, exposure.parquet, targets-HASH.parquet, items-HASH.parquet, tune.json    where they were asked for

Whoever takes such a folder in must not trust it: `read_manifest` bounds names and sizes, `SharedFile.refuse_other` what a file holds.
"""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from recbench.core.byte_sizes import size_text
from recbench.core.config import explain
from recbench.core.digests import file_sha256
from recbench.core.errors import BadData
from recbench.core.file_kinds import fault_of_curve, fault_of_kind
from recbench.core.file_names import is_plain_path, is_run_name
from recbench.core.latency import LATENCY_FILE
from recbench.core.records import CURVE_FILE, EXPOSURE_FILE, PULLED_FILE, RANKS_FILE, RECORD_FILE, FilePart
from recbench.core.tuning import TUNE_LOG

MANIFEST_FILE, CARD_FILE = "recbench.json", "README.md"
CATALOGUE, CONFIG, REFERENCES, MODEL = "catalogue.parquet", "config.toml", "references.json", "model/"
"""Names below the folder of a run that `recbench.running` writes."""
ALWAYS = (RECORD_FILE, CONFIG, CURVE_FILE, REFERENCES, LATENCY_FILE)
"""Files that go along where the run has them."""
EVIDENCE = (RANKS_FILE, EXPOSURE_FILE, TUNE_LOG)
"""Files that figures are computed from, beside the tables of the split."""
_OF_THE_SPLIT = re.compile(r"(targets|items)-[0-9a-f]{16}\.parquet")
_MODEL_SUFFIXES = {".safetensors", ".json", ".npy", ".parquet", ".txt"}
"""Kinds of files that hold numbers or text and nothing else."""
_MOST_FILES = 1_000
MOST_SMALL_BYTES = 4 << 20
"""Of the manifest and of a record."""
_Sum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def _is_evidence(name: str) -> bool:
    return name in EVIDENCE or _OF_THE_SPLIT.fullmatch(name) is not None


def may_stand_in_a_shared_model(name: str) -> bool:
    """Whether a file of that name may go along: those of the list above, and below model/ those of known kinds."""
    if not is_plain_path(name):
        return False
    if name.startswith(MODEL):
        return PurePosixPath(name).suffix in _MODEL_SUFFIXES and not any(part.startswith(".") for part in PurePosixPath(name).parts)
    return name in ALWAYS or name == CATALOGUE or _is_evidence(name)


def _known_name(name: str) -> str:
    if not may_stand_in_a_shared_model(name):
        kinds = ", ".join(sorted(_MODEL_SUFFIXES))
        raise ValueError(f"{name!r} is no file of a shared model; below {MODEL} stand files ending in {kinds}")
    return name


def _run_name(name: str) -> str:
    if not is_run_name(name):
        raise ValueError(f"{name!r} is no name of a run")
    return name


class SharedFile(_Part):
    """One file of a shared model."""

    name: Annotated[str, AfterValidator(_known_name)]
    """Relative to the folder, with `/` between folders."""
    sha256: _Sum
    n_bytes: NonNegativeInt

    @property
    def is_evidence(self) -> bool:
        """Whether figures are computed from it."""
        return _is_evidence(self.name)

    @classmethod
    def of(cls, path: Path, name: str) -> "SharedFile":
        """The entry of a file that is there."""
        return cls(name=name, sha256=file_sha256(path), n_bytes=path.stat().st_size)

    def refuse_other(self, path: Path) -> None:
        """Raise a `BadData` where a file is not the one that the manifest names, or is not of the kind that its name says."""
        if path.stat().st_size != self.n_bytes:
            raise BadData(f"{self.name} has {path.stat().st_size:,} bytes, the manifest says {self.n_bytes:,}. {_AGAIN}")
        if file_sha256(path) != self.sha256:
            raise BadData(f"{self.name}: its sha256 is not the {self.sha256[:16]} of the manifest. {_AGAIN}")
        fault = fault_of_curve(path) if self.name == CURVE_FILE else fault_of_kind(path, PurePosixPath(self.name).suffix)
        if fault:
            raise BadData(f"{self.name} is not what its name says: {fault}. A shared model holds numbers and text only.")


_AGAIN = "It was changed or did not arrive whole: pull it again, or ask whoever shared it."


class Manifest(_Part):
    """`recbench.json`."""

    format: Literal[1] = 1
    run_id: Annotated[str, AfterValidator(_run_name)]
    """Name of the run that trained the model."""
    item_ids: _Sum
    """Of the ids of all items in their order, see `recbench.running.run.catalogue.ids_digest`."""
    files: tuple[SharedFile, ...] = Field(max_length=_MOST_FILES)

    @property
    def n_bytes(self) -> int:
        """Size of all files."""
        return sum(file.n_bytes for file in self.files)

    @property
    def has_catalogue(self) -> bool:
        """Whether ids and titles of the items went along."""
        return self.file(CATALOGUE) is not None

    @property
    def has_ranks(self) -> bool:
        """Whether the figures can be computed again from what went along."""
        return self.file(RANKS_FILE) is not None

    def file(self, name: str) -> SharedFile | None:
        """The entry of one file; None where it did not go along."""
        return next((file for file in self.files if file.name == name), None)

    def to_json(self) -> str:
        """The text of the file."""
        return self.model_dump_json(indent=1) + "\n"


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file; one that is too large, damaged, or names what a shared model cannot hold is a `BadData`."""
    content = _small_json(path)
    try:
        found = Manifest.model_validate(content)
    except ValidationError as error:
        raise BadData(f"{explain(error, list(Manifest.model_fields), str(path))} It cannot be taken in.") from None
    _refuse_odd_names(path, [file.name for file in found.files])
    return found


def _refuse_odd_names(path: Path, names: Iterable[str]) -> None:
    folded = [name.casefold() for name in names]
    twice = [name for name in folded if folded.count(name) > 1]
    if twice:
        raise BadData(f"{path} names {twice[0]!r} twice. It cannot be taken in.")
    if RECORD_FILE not in folded or not any(name.startswith(MODEL) for name in folded):
        raise BadData(f"{path} names no {RECORD_FILE} or no file of a model. It is no shared model.")


class Pulled(_Part):
    """`pulled.json` in the folder of a run whose model somebody else trained. What lies beside it is their claim."""

    format: Literal[1] = 1
    source: str
    """Repository or folder that it came from."""
    revision: str | None = None
    """Commit of the repository; None for a folder."""
    pulled: datetime
    catalogue: FilePart
    """Sum of the catalogue, which may have been made here, from data of the same fingerprints."""

    def to_json(self) -> str:
        """The text of the file."""
        return self.model_dump_json(indent=1) + "\n"


def is_pulled(folder: Path) -> bool:
    """Whether the run in a folder is somebody else's."""
    return (folder / PULLED_FILE).exists()


def read_pulled(folder: Path) -> Pulled | None:
    """Where the run in a folder came from; None for one that was made here."""
    path = folder / PULLED_FILE
    if not path.exists():
        return None
    try:
        return Pulled.model_validate(_small_json(path))
    except ValidationError as error:
        raise BadData(f"{explain(error, list(Pulled.model_fields), str(path))} Remove {folder} and pull the model again.") from None


def _small_json(path: Path) -> object:
    """The JSON value in a file of bounded size."""
    try:
        if path.stat().st_size > MOST_SMALL_BYTES:
            raise BadData(f"{path} has {size_text(path.stat().st_size)}; at most {size_text(MOST_SMALL_BYTES)} are read. It is damaged.")
        return json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror}. It is no shared model of recbench.") from None
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path} is not valid JSON: {error}. {_AGAIN}") from None
