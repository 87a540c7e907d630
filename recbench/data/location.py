"""Where the files of a data set lie on this machine, fetched if need be."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from recbench.core.config import canonical_json
from recbench.core.errors import DataUnavailable
from recbench.core.progress import Progress
from recbench.data.card import DatasetCard, Source
from recbench.data.folders import parquet_parts, ready_files, ready_reader
from recbench.data.plugins import dataset_card, own_folder

log = logging.getLogger(__name__)


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
        about = self.card.model_dump(mode="json", exclude={"sources"})
        digests = {role: _digest(path) for role, path in self.files.items()}
        return hashlib.sha256(canonical_json({"card": about, "files": digests}).encode()).hexdigest()


def locate(name_or_path: str, *, data_dir: Path | None, home: Path, progress: Progress, fetch: bool = True, force: bool = False) -> Located:
    """Find a data set: in `data_dir`, in the cache under `home`, then from the sources of its card.

    Args:
        name_or_path: a data set's name, the path of a card, or a folder with interactions.parquet or .csv.
        data_dir: folder of ready data sets, `NAME/interactions.parquet` and `NAME/items.parquet`.
        home: cache folder; downloads go to `home/datasets/NAME`.
        fetch: whether sources may be downloaded.
        force: download again what the cache holds.

    Raises:
        UnknownPlugin: there is no such name.
        DataUnavailable: no source gave the files; the message says why, source by source.
    """
    card = dataset_card(name_or_path)
    own = own_folder(name_or_path)
    if own is not None:
        return Located(card, str(own), ready_files(own))
    if data_dir is not None and not data_dir.is_dir():
        log.warning("%s (--data-dir or RECBENCH_DATA) is no folder; looking elsewhere for %s", data_dir, card.name)
    folders = [] if data_dir is None else [data_dir / card.name]
    if not force:
        for folder in [*folders, home / "datasets" / card.name]:
            files = ready_files(folder)
            if files:
                return Located(_ready_card(card, files), str(folder), files)
    from recbench.data.sources import obtain

    return obtain(card, folders, home / "datasets" / card.name, progress, fetch=fetch, force=force)


def source_card(card: DatasetCard, source: Source) -> DatasetCard:
    """The card as it applies to one of its sources."""
    given = {"reader": source.reader or None, "options": source.options, "filters": source.filters, "time": source.time}
    return card.model_copy(update={key: value for key, value in given.items() if value is not None})


def _digest(path: Path) -> str | dict[str, str]:
    """sha256 of a file, or of each of the parts that a folder holds."""
    return {part.name: file_sha256(part) for part in parquet_parts(path)} if path.is_dir() else file_sha256(path)


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes; one that cannot be read is a `DataUnavailable`."""
    try:
        about = path.stat()
        return _sha256(path, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise DataUnavailable(f"{path} cannot be read: {error.strerror or error}. Check its permissions.") from None


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001 (part of the cache key: a changed file is read again)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _ready_card(card: DatasetCard, files: Mapping[str, Path]) -> DatasetCard:
    return card.model_copy(update={"reader": ready_reader(files), "options": {}, "filters": ()})
