"""A data set whose files are on this machine."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from recbench.core.config import canonical_json
from recbench.core.digests import file_sha256
from recbench.core.errors import DataUnavailable
from recbench.data.card import DatasetCard
from recbench.data.folders import parquet_parts


@dataclass(frozen=True)
class Located:
    """A data set whose files are on this machine.

    Attributes:
        card: the card as it applies to these files: reader, options, filters and kind of time of the source.
        origin: where the files were found, as a phrase.
        files: files by role; empty for generated data.
    """

    card: DatasetCard
    origin: str
    files: Mapping[str, Path]

    @property
    def reader(self) -> str:
        """Name of the reader."""
        return self.card.reader

    def content_key(self) -> str:
        """sha256 over what the card says about reading and the bytes of the files."""
        about = self.card.model_dump(mode="json", exclude={"sources", "may_share_items"})
        digests = {role: _digest(path) for role, path in self.files.items()}
        return hashlib.sha256(canonical_json({"card": about, "files": digests}).encode()).hexdigest()


def _digest(path: Path) -> str | dict[str, str]:
    """sha256 of a file, or of each of the parts that a folder holds."""
    return {part.name: source_sha256(part) for part in parquet_parts(path)} if path.is_dir() else source_sha256(path)


def source_sha256(path: Path) -> str:
    """sha256 of a file's bytes; one that cannot be read is a `DataUnavailable`."""
    try:
        about = path.stat()
        return _sha256(path, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise DataUnavailable(f"{path} cannot be read: {error.strerror or error}. Check its permissions.") from None


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001 (part of the cache key: a changed file is read again)
    return file_sha256(path)
