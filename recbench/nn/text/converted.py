"""Models that `recbench cache add` converted into the cache, as runs find them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recbench.core.digests import file_sha256
from recbench.core.errors import BadData, DataUnavailable
from recbench.core.home import converted_below
from recbench.nn.text.names import SMOLLM2

SMOLLM2_NAME = "smollm2-135m-q4_1"
"""Name of the weights: the rounding to 4 bits is part of the model."""
ORIGIN_FILE = "origin.json"
_DIGITS_SHOWN = 12

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_FileName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]


class Origin(BaseModel):
    """What a folder was converted from, and what came out. The last file to be written there."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: str
    """File name of the weights before the conversion."""
    source_sha256: _Sha256
    """sha256 of that file."""
    files: Annotated[dict[_FileName, _Sha256], Field(min_length=1)]
    """sha256 of every file after it: configuration and tokenizer decide as much as weights what a model answers."""
    transformers: str
    """Version of the library that converted them."""


@dataclass(frozen=True)
class Converted:
    """A converted model.

    Attributes:
        folder: model and tokenizer in the transformers library's format.
        origin: what it was converted from.
    """

    folder: Path
    origin: Origin

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The model of a folder; None where there is none.

        Raises:
            BadData: `origin.json` is damaged.
        """
        path = folder / ORIGIN_FILE
        if not path.is_file():
            return None
        try:
            return cls(folder, Origin.model_validate_json(path.read_bytes()))
        except ValidationError:
            raise BadData(f"{path} is damaged. Run: recbench cache add {SMOLLM2} --force") from None

    @property
    def revision(self) -> str:
        """Name of the weights with the start of the sha256 of the file that they were converted from."""
        return f"{SMOLLM2_NAME}@{self.origin.source_sha256[:_DIGITS_SHOWN]}"


def read_converted(home: Path, setting: str) -> Converted:
    """SmolLM2 in the cache `home`, whole.

    Args:
        home: the cache.
        setting: which setting asks for it; errors name it.

    Raises:
        DataUnavailable: it was not converted.
        BadData: its files are not what the conversion wrote.
    """
    folder = converted_below(home) / SMOLLM2_NAME
    found = Converted.read(folder)
    if found is None:
        raise DataUnavailable(f"{setting}={SMOLLM2!r} is not in the cache ({home}). Run once: recbench cache add {SMOLLM2}")
    written = found.origin.files
    for name in sorted({*written, *(file.name for file in folder.iterdir())} - {ORIGIN_FILE}):
        if _sha256_now(folder / name) != written.get(name):
            raise BadData(f"{folder / name} is missing or not what the conversion wrote. Run: recbench cache add {SMOLLM2} --force")
    return found


def _sha256_now(file: Path) -> str | None:
    if not file.is_file():
        return None
    state = file.stat()
    return _sha256_of_state(file, state.st_size, state.st_mtime_ns)


@cache
def _sha256_of_state(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001 (part of the cache's key)
    return file_sha256(path)
