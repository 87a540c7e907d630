"""Small JSON files in the cache: each has the fields of one class and is checked when it is read."""

import json
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recbench.core.errors import BadData

Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class Facts(BaseModel):
    """Base of what such a file holds: no number is infinite or NaN, none is given as text, no field is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The content of a file; a `BadData` where it is not what `write` wrote, an `OSError` where it cannot be read."""
        content = path.read_bytes()
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise BadData(f"{path} is damaged: {first_fault(error)}. Delete the folder {path.parent}; it is built again.") from None

    def write(self, path: Path, *, indent: int | None = None) -> None:
        """Write them as JSON; equal facts give equal bytes."""
        path.write_text(json.dumps(self.model_dump(mode="json", by_alias=True), indent=indent), encoding="utf-8")


def first_fault(error: ValidationError) -> str:
    """Place and kind of the first fault, in one line."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key}: {first['msg']}" if key else first["msg"]


class StageFile(Facts):
    """One file of a finished stage, as it was when the stage was written."""

    bytes: Count
    mtime_ns: int
    """Nanoseconds since 1970."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class StageManifest(Facts):
    """`manifest.json` of a finished stage.

    Attributes:
        stage: its name.
        key: sha256 of all that shaped it.
        seconds: wall time of the work, killed attempts included.
        cpu_seconds: the same in processor time; None in an entry of an earlier version.
        peak_memory_bytes: peak host memory of the process that computed it.
        peak_device_memory_bytes: allocated on its accelerator; None where nobody measured it.
        files: by their path below the folder, with `/`.
    """

    stage: str
    key: str
    seconds: Seconds
    cpu_seconds: Seconds | None = None
    peak_memory_bytes: Count
    peak_device_memory_bytes: Count | None = None  # an entry of an earlier version has none
    files: dict[str, StageFile]

    @property
    def sums(self) -> dict[str, str]:
        """sha256 of each file by its path."""
        return {name: file.sha256 for name, file in self.files.items()}


class Attempts(Facts):
    """Seconds of earlier, killed attempts at a stage, on the clock and of the processor."""

    seconds: Seconds
    cpu_seconds: Seconds = 0.0
