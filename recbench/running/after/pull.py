"""Taking in a model that somebody else trained: a folder or a repository becomes a run of this machine, or nothing does.

What comes in is data from a stranger. Names and sizes are bounded before a byte of a model is fetched, every file is held against its
sum, settings are read by the class of the model that is installed here, and nothing is unpickled or executed.
"""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import recbench.evaluation as evaluation
from recbench import registry
from recbench.core.byte_sizes import size_text
from recbench.core.commands import command_line
from recbench.core.digests import file_sha256
from recbench.core.errors import BadData, BadRequest, RecbenchError, StageFailed, UnknownPlugin, is_exhaustion
from recbench.core.plugin import Plugin
from recbench.core.records import PULLED_FILE, RECORD_FILE, FilePart, RunRecord, read_record
from recbench.core.shared_model import (
    MANIFEST_FILE,
    MODEL,
    MOST_SMALL_BYTES,
    Manifest,
    Pulled,
    SharedFile,
    read_manifest,
)
from recbench.running.after.loaded import LoadedRun, split_of
from recbench.running.host.memory import bounded_memory
from recbench.running.host.workplace import Workplace
from recbench.running.run.catalogue import CATALOGUE_FILE, ids_digest, read_catalogue, write_catalogue
from recbench.running.run.folders import finish, writing
from recbench.tasks import find_task

LIMIT_GB = 20.0
"""Largest model that is taken in unless somebody says more."""
_LEAST_MEMORY, _TIMES_THE_WEIGHTS = 2 << 30, 4
"""What a model may take to be read: so much, and so many times the size of its files."""
_OUT_OF_MEMORY = ("allocate memory", "bad_alloc", "MemoryError")
"""What torch, C++ and Python say of a plugin that was refused its memory."""
_MOST_LISTED = 32_767
"""Items of a list; ranks of longer ones cannot be kept."""
_MOST_CELLS, _MOST_UNPACKED_BYTES = 1 << 27, 1 << 30
"""Of one table that came along."""
log = logging.getLogger(__name__)


class Place(Protocol):
    """Where a shared model lies."""

    @property
    def name(self) -> str:
        """Repository or folder."""

    @property
    def revision(self) -> str | None:
        """Commit of the repository; None for a folder."""

    def sizes(self) -> Mapping[str, int]:
        """Size in bytes of each file that is there, by name, before any is fetched."""

    def fetch(self, name: str) -> Path:
        """The file of that name on this machine."""


class Folder:
    """A shared model in a folder of this machine."""

    revision = None

    def __init__(self, path: Path) -> None:
        self.name, self._path = str(path), path

    def sizes(self) -> Mapping[str, int]:
        """Sizes of regular files; links are not among them, as they may lead anywhere."""
        files = (
            path for path in self._path.rglob("*") if path.is_file() and not any(part.is_symlink() for part in _up_to(path, self._path))
        )
        return {path.relative_to(self._path).as_posix(): path.stat().st_size for path in files}

    def fetch(self, name: str) -> Path:
        """The file itself."""
        return self._path / name


def _up_to(path: Path, root: Path) -> list[Path]:
    """A path and the folders that it lies in, below a root."""
    return [path, *(parent for parent in path.parents if root in parent.parents)]


@dataclass(frozen=True)
class PulledRun:
    """Result of a pull.

    Attributes:
        record: what whoever trained the model claims of it.
        folder: run folder.
        is_new: False where the same model was pulled before, or is one's own.
        has_ranks: whether the claims can be computed again from files that came along.
    """

    record: RunRecord
    folder: Path
    is_new: bool
    has_ranks: bool


def pull(
    place: Place,
    workplace: Workplace,
    *,
    plugins: Sequence[Path] = (),
    dataset: str | None = None,
    limit_gb: float = LIMIT_GB,
    check: Callable[[Path], None] = lambda _folder: None,
) -> PulledRun:
    """Make a run of a shared model.

    Args:
        place: where it lies.
        workplace: folders of data, cache and runs.
        plugins: folders of models that are not installed.
        dataset: name or path of the data, where the catalogue did not come along and the record's name is not enough.
        limit_gb: refuse a model of more gigabytes.
        check: raises where the figures of the folder that it is given do not follow from the ranks in it; called where there are ranks.

    Raises:
        BadData: something is not what the manifest says, or no shared model can hold it; nothing stays here.
        BadRequest: the model is not installed, too large, or its items can only be named with data that are not here.
    """
    manifest = _manifest(place, limit_gb)
    there = workplace.runs / manifest.run_id
    record = _record(place, manifest)
    if there.exists():
        return _known(there, record, manifest, place)
    plugin = _plugin(record, plugins)
    with writing(manifest.run_id, workplace.runs) as folder:
        # Before the weights: without the items there is nothing to recommend.
        if not manifest.has_catalogue:
            _name_items(folder, record, manifest, dataset, workplace)
        with workplace.progress.task(f"fetching {place.name}", manifest.n_bytes) as task:
            for part in manifest.files:
                _take(place, part, folder)
                task.advance(part.n_bytes)
        _refuse_other_catalogue(folder, record, manifest)
        catalogue = FilePart(name=CATALOGUE_FILE, sha256=file_sha256(folder / CATALOGUE_FILE))
        pulled = Pulled(source=place.name, revision=place.revision, pulled=datetime.now(UTC).replace(microsecond=0), catalogue=catalogue)
        (folder / PULLED_FILE).write_text(pulled.to_json(), encoding="utf-8")
        _try(folder, plugin, manifest)
        if manifest.has_ranks:
            check(folder)
        if there.exists():
            return _known(there, record, manifest, place)
        return PulledRun(record, finish(folder, manifest.run_id, workplace.runs), is_new=True, has_ranks=manifest.has_ranks)


def _manifest(place: Place, limit_gb: float) -> Manifest:
    """The manifest, where all that it names is there in the sizes that it names."""
    sizes = place.sizes()
    if MANIFEST_FILE not in sizes:
        raise BadRequest(f"{place.name} holds no {MANIFEST_FILE}: it is no model that `recbench push` or `recbench export` shared.")
    if sizes[MANIFEST_FILE] > MOST_SMALL_BYTES:
        raise BadData(f"{place.name}: {MANIFEST_FILE} has {size_text(sizes[MANIFEST_FILE])}. It cannot be taken in.")
    manifest = read_manifest(place.fetch(MANIFEST_FILE))
    for part in manifest.files:
        if part.name not in sizes:
            raise BadData(f"{place.name}: {part.name} is named in {MANIFEST_FILE} and is not there, or is a link. It is no whole model.")
        if sizes[part.name] != part.n_bytes:
            found, said = sizes[part.name], part.n_bytes
            raise BadData(f"{place.name}: {part.name} has {found:,} bytes, {MANIFEST_FILE} says {said:,}. It was changed; ask its owner.")
    if manifest.n_bytes > limit_gb * 1e9:
        raise BadRequest(
            f"{place.name} has {size_text(manifest.n_bytes)}, more than {limit_gb:g} GB. Allow it: --limit-gb {_above(manifest)}"
        )
    return manifest


def _above(manifest: Manifest) -> int:
    return int(manifest.n_bytes // 1e9) + 1


def _record(place: Place, manifest: Manifest) -> RunRecord:
    """The record, held against the manifest: it says how each file of the model must be."""
    part = manifest.file(RECORD_FILE)
    assert part is not None, "a manifest without a record is refused when it is read"
    if part.n_bytes > MOST_SMALL_BYTES:
        raise BadData(f"{place.name}: {RECORD_FILE} has {size_text(part.n_bytes)}. It cannot be taken in.")
    path = place.fetch(RECORD_FILE)
    part.refuse_other(path)
    record = read_record(path)
    if record.run_id != manifest.run_id:
        raise BadData(f"{place.name}: the record is that of {record.run_id}, {MANIFEST_FILE} names {manifest.run_id}. Ask its owner.")
    if record.foreign is not None:
        raise BadData(f"{place.name}: {record.run_id} holds lists that another toolkit made. There is no model in it.")
    main = find_task(record.task).main_metric
    if not record.metrics or {*record.metrics} != {*record.protocol.views} or any(main not in part for part in record.metrics.values()):
        raise BadData(f"{place.name}: the record does not say {main} of each of its views. Ask its owner.")
    if not 0 < record.protocol.list_length <= _MOST_LISTED:
        raise BadData(f"{place.name}: lists of {record.protocol.list_length:,} items cannot be measured. Ask its owner.")
    said = {part.name: part.sha256 for part in record.files if part.name.startswith(MODEL)}
    here = {part.name: part.sha256 for part in manifest.files if part.name.startswith(MODEL)}
    if said != here:
        other = min(name for name in said | here if said.get(name) != here.get(name))
        raise BadData(f"{place.name}: {other} is not the file that the record of the training names. Ask its owner.")
    return record


def _known(there: Path, record: RunRecord, manifest: Manifest, place: Place) -> PulledRun:
    """The run of that name that is here, if it is the same."""
    try:
        same = read_record(there / RECORD_FILE) == record
    except RecbenchError:
        same = False
    if not same:
        raise BadRequest(f"{there} is there already and is another run than that of {place.name}. Move one of them away.")
    return PulledRun(record, there, is_new=False, has_ranks=manifest.has_ranks)


def _plugin(record: RunRecord, plugins: Sequence[Path]) -> Plugin:
    """The model's plugin, which must be here: none comes from where the weights come from."""
    try:
        return registry.models(plugins).load(record.model.name)
    except UnknownPlugin:
        origin = record.model.distribution
        raise BadRequest(
            f"Model {record.model.name!r} is not installed here, and no code is taken from a shared model. It was trained with {origin!r}: "
            "install that distribution, or name the folder of the plugin: --plugin FOLDER"
        ) from None


def _take(place: Place, part: SharedFile, folder: Path) -> None:
    """Copy one file, then look at the copy, which nobody else can change."""
    target = folder / part.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(place.fetch(part.name), target)
    part.refuse_other(target)
    if target.suffix == ".parquet":
        fault = evaluation.fault_of_numbers(target) if part.is_evidence else _fault_of_table(target)
        if fault:
            raise BadData(f"{part.name} is not read: {fault}. Ask whoever shared the model.")


def _fault_of_table(path: Path) -> str:
    """Why a table is not read; empty for one whose numbers and texts, written out, are of bounded size."""
    try:
        file = pq.ParquetFile(path)
        about = file.metadata
        n_bytes = sum(about.row_group(place).total_byte_size for place in range(about.num_row_groups))
        if about.num_rows * about.num_columns > _MOST_CELLS or n_bytes > _MOST_UNPACKED_BYTES:
            return f"it says that it unpacks to {about.num_rows:,} rows of {size_text(n_bytes)}"
        columns = [about.schema.column(place) for place in range(about.num_columns)]
        texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
        # As places in a list of distinct texts, a long text that stands in every row is held once.
        for name in texts:
            for batch in pq.ParquetFile(path, read_dictionary=[name]).iter_batches(columns=[name]):
                (column,) = batch.columns
                while pa.types.is_list(column.type):
                    column = column.flatten()
                if not pa.types.is_dictionary(column.type):
                    return f"its column {name!r} holds {column.type}, and neither texts nor lists of them"
                lengths = pc.take(pc.binary_length(column.dictionary), column.indices)
                n_bytes += pc.sum(lengths).as_py() or 0
                if n_bytes > _MOST_UNPACKED_BYTES:
                    return f"its texts unpack to more than {size_text(_MOST_UNPACKED_BYTES)}"
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        return f"it is no parquet file: {str(error).splitlines()[0]}"
    return ""


def _try(folder: Path, plugin: Plugin, manifest: Manifest) -> None:
    """Read settings, sums and weights as `recommend` will; a `BadData` where settings ask for memory that no weights of this size fill."""
    allowed = _LEAST_MEMORY + _TIMES_THE_WEIGHTS * manifest.n_bytes
    try:
        with bounded_memory(allowed):
            LoadedRun.open(folder, plugin)
    except (StageFailed, MemoryError) as error:
        if not is_exhaustion(error) and not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        raise BadData(
            f"{manifest.run_id}: its settings ask for more memory than {size_text(allowed)}, though its files have "
            f"{size_text(manifest.n_bytes)}. It is damaged or forged; ask whoever shared it."
        ) from None


def _name_items(folder: Path, record: RunRecord, manifest: Manifest, dataset: str | None, workplace: Workplace) -> None:
    """Write the catalogue from data that are here, whose items must be those of the model in the same order."""
    try:
        items = split_of(record, dataset, workplace).items
    except RecbenchError as error:
        name = record.dataset.name
        raise BadRequest(
            f"The terms of {name} keep the ids of its items with the data, so that the model comes without them, and the data are not "
            f"here: {error} Get them with {command_line('data', 'fetch', name)}, or name them: --dataset PATH"
        ) from error
    if ids_digest(items.item_ids.tolist()) != manifest.item_ids:
        raise BadRequest(
            f"The items of the data here are not those of {record.run_id}, or stand in another order. Name others: --dataset PATH"
        )
    write_catalogue(items, folder)


def _refuse_other_catalogue(folder: Path, record: RunRecord, manifest: Manifest) -> None:
    item_ids, _ = read_catalogue(folder / CATALOGUE_FILE, record.dataset.n_items)
    if ids_digest(item_ids) != manifest.item_ids:
        raise BadData(f"{CATALOGUE_FILE} holds other items than {MANIFEST_FILE} says. Ask whoever shared the model.")
