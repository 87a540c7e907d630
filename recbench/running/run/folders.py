"""Run folders: naming, writing and finding them."""

import contextlib
import json
import logging
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from recbench.core.config import hash_value
from recbench.core.digests import file_sha256
from recbench.core.errors import BadData, BadRequest, nearest, refuse_shortage
from recbench.core.records import FAILURE_FILE, RECORD_FILE, RECORDS_FOLDER, FilePart, RunRecord, read_record
from recbench.core.shared_model import is_pulled
from recbench.core.temporary import own_folder
from recbench.running.host.workplace import Workplace

_RESTORE = "Restore it, or make the run again: recbench run ... --again"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunName:
    """`DATASET-MODEL-PRESET-sSEED-HASH8`; what follows is the number of the attempt."""

    dataset: str
    model: str
    preset: str
    seed: int
    identity: str
    """sha256 of all that must be equal for a finished record to be the answer to a request."""

    @property
    def stem(self) -> str:
        """The folder's name without the number."""
        return f"{_dataset_part(self.dataset)}-{self.model}-{self.preset}-s{self.seed}-{self.identity[:8]}"


def _dataset_part(dataset: str) -> str:
    """Name of a data set as names of folders begin."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", dataset)


def has_attempts(dataset: str, model: str, seed: int, runs: Path) -> bool:
    """Whether there is a run folder of this model, data set and seed, with whatever settings: a cheap first look."""
    return next(runs.glob(f"{_dataset_part(dataset)}-{model}-*-s{seed}-*"), None) is not None


def run_folders(runs: Path) -> list[Path]:
    """All run folders, finished or failed, in the order of their names."""
    if not runs.is_dir():
        return []
    return sorted(path for path in runs.iterdir() if (path / RECORD_FILE).exists() or (path / FAILURE_FILE).exists())


def is_own(folder: Path) -> bool:
    """Whether a folder holds a finished run that was made here."""
    return (folder / RECORD_FILE).exists() and not is_pulled(folder)


def readable_record(folder: Path) -> RunRecord | None:
    """The record of a finished run; None where it cannot be read, and the log says why: it must not hide the other runs."""
    try:
        return read_record(folder / RECORD_FILE)
    except BadData as error:
        log.warning("run left out: %s", error)
        return None


def known_records(workplace: Workplace) -> Iterator[RunRecord]:
    """Records of published runs and of finished ones here, each once; those that cannot be read are named in the log."""
    published = sorted(path.parent for path in (workplace.boards / RECORDS_FOLDER).glob(f"*/{RECORD_FILE}"))
    seen: set[str] = set()
    for folder in [*published, *run_folders(workplace.runs)]:
        record = readable_record(folder) if is_own(folder) else None
        if record is not None and record.run_id not in seen:
            seen.add(record.run_id)
            yield record


def finished(name: RunName, runs: Path) -> tuple[Path, RunRecord] | None:
    """The newest finished run of this name whose record can be read, if any; a pulled one is somebody else's word."""
    attempts = [(_number(path, name.stem), path) for path in runs.glob(f"{name.stem}-*") if is_own(path)]
    return _first_readable(path for _, path in sorted(attempts, reverse=True))


def _first_readable(folders: Iterable[Path]) -> tuple[Path, RunRecord] | None:
    return next(((folder, record) for folder in folders if (record := readable_record(folder)) is not None), None)


def _number(path: Path, stem: str) -> int:
    rest = path.name.removeprefix(stem + "-")
    return int(rest) if rest.isdigit() else 0


@contextlib.contextmanager
def writing(stem: str, runs: Path) -> Iterator[Path]:
    """Make a temporary folder for a run of this name, which `finish` renames; without that it is removed."""
    folder = own_folder(runs, f".writing-{stem}")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # there are other runs in it, or another process was quicker
            runs.rmdir()


@contextlib.contextmanager
def numbering(name: RunName, workplace: Workplace) -> Iterator[None]:
    """Lock the numbers of a name from looking for the next one to taking it: the same command may be given twice at a time."""
    from filelock import FileLock

    lock = workplace.locks / f"run-{hash_value([str(workplace.runs.resolve()), name.stem])[:20]}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield


def next_run_id(name: RunName, runs: Path, boards: Path) -> str:
    """The first free number for this name, here and among published records, so that a run made again can be published too."""
    taken = [_number(path, name.stem) for root in (runs, boards / RECORDS_FOLDER) for path in root.glob(f"{name.stem}-*")]
    return f"{name.stem}-{max(taken, default=0) + 1}"


def finish(folder: Path, run_id: str, runs: Path) -> Path:
    """Atomically rename the temporary folder to the run id."""
    final = runs / run_id
    folder.rename(final)
    return final


def write_failure(folder: Path, error: BaseException) -> None:
    """Write `failure.json` with kind and message of the error."""
    text = json.dumps({"error": type(error).__name__, "message": str(error)}, indent=1)
    (folder / FAILURE_FILE).write_text(text + "\n", encoding="utf-8")


def read_failure(folder: Path) -> str:
    """Reason of a failure, as `write_failure` kept it."""
    try:
        return str(json.loads((folder / FAILURE_FILE).read_bytes())["message"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        refuse_shortage(error)
        return f"{FAILURE_FILE} cannot be read"


def refuse_changed(folder: Path, files: Iterable[FilePart]) -> None:
    """Raise a `BadData` for the first file of a run that is missing or is not what its record says."""
    for part in files:
        path = folder / part.name
        if not path.is_file():
            raise BadData(f"{path}: the record names this file, but it is not there. {_RESTORE}")
        try:
            found = file_sha256(path)
        except OSError as error:
            raise BadData(f"{path} cannot be read: {error.strerror}. {_RESTORE}") from None
        if found != part.sha256:
            raise BadData(f"{path}: its sha256 is {found[:16]}, the record says {part.sha256[:16]}: the file is damaged. {_RESTORE}")


def find_run(name: str, runs: Path, boards: Path) -> Path:
    """Find the folder of a run that a user names.

    Args:
        name: a folder, a record file, a run id or the unique start of one, or `last`, the newest whose record can be read.
        runs: folder of run folders.
        boards: published records count too.
    """
    path = Path(name)
    if (path / RECORD_FILE).is_file():
        return path
    if path.is_file() and path.name == RECORD_FILE:
        return path.parent
    folders = [folder for folder in run_folders(runs) if (folder / RECORD_FILE).exists()]
    if name == "last":
        if not folders:
            raise BadRequest(f"There is no run in {runs} yet. Start one with: recbench run")
        newest = sorted(folders, key=lambda folder: (folder / RECORD_FILE).stat().st_mtime_ns, reverse=True)
        last = _first_readable(newest)
        # Where there is no other, whoever reads the newest says what is wrong with it.
        return newest[0] if last is None else last[0]
    published = sorted(folder for folder in (boards / RECORDS_FOLDER).glob("*") if (folder / RECORD_FILE).exists())
    known = {folder.name: folder for folder in [*published, *folders]}
    if name in known:
        return known[name]
    matching = [folder for key, folder in known.items() if key.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise BadRequest(f"{name!r} is the start of {len(matching)} runs: {', '.join(sorted(m.name for m in matching))}. Write more of it.")
    raise BadRequest(f"There is no run {name!r} in {runs}.{nearest(name, known)} `recbench list runs` shows what there is.")
