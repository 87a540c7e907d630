"""What the folder of a submission may hold, by names, sizes and kinds of files: the first look, before any record is read."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import recbench.evaluation as evaluation
from recbench.core.byte_sizes import size_text
from recbench.core.file_kinds import fault_of_curve
from recbench.core.file_names import is_run_name
from recbench.core.latency import LATENCY_FILE
from recbench.core.records import CURVE_FILE, EXPOSURE_FILE, RANKS_FILE, RECORD_FILE, RECORDS_FOLDER
from recbench.core.tuning import TUNE_LOG
from recbench.reporting.archive import Fault
from recbench.reporting.run_files import SHARED

README = "README.md"
_MOST_BYTES = {RECORD_FILE: 1 << 20, CURVE_FILE: 4 << 20, TUNE_LOG: 16 << 20, LATENCY_FILE: 64 << 10, README: 64 << 10}
"""Largest files by name; of tables the next line says it. Published records have a hundredth of it."""
_MOST_TABLE_BYTES, _MOST_IN_ALL, _MOST_RECORDS = 64 << 20, 512 << 20, 200
_SHARED_NAME = re.compile(r"(targets|items)-[0-9a-f]{16}\.parquet")
_OWN_NAMES = {RECORD_FILE, RANKS_FILE, EXPOSURE_FILE, CURVE_FILE, TUNE_LOG, LATENCY_FILE}


def strange_files(folder: Path) -> Iterator[Fault]:
    """What a submission cannot hold: links, files that are none, unknown names, too many or too large ones."""
    if folder.is_symlink() or not folder.is_dir():
        yield Fault(folder, None, "this is no folder. Name the one that `recbench submit` wrote.")
        return
    total, n_records = 0, 0
    for path, status in _tree(folder):
        name = path.relative_to(folder).as_posix()
        if stat.S_ISLNK(status.st_mode):
            yield Fault(path, None, "this is a link. Put the file itself there.")
        elif stat.S_ISDIR(status.st_mode):
            n_records += len(Path(name).parts) == 2
            if not _is_folder_of_a_submission(name):
                yield Fault(path, None, "no submission has such a folder. Remove it.")
        elif not stat.S_ISREG(status.st_mode):
            yield Fault(path, None, "this is no file. Remove it.")
        elif not _is_file_of_a_submission(name):
            yield Fault(path, None, "no submission has such a file. Remove it.")
        else:
            most = _MOST_BYTES.get(path.name, _MOST_TABLE_BYTES)
            total += status.st_size
            if status.st_size > most:
                yield Fault(path, None, f"it has {size_text(status.st_size)}, more than {size_text(most)}. No record has such a file.")
            elif fault := _fault_of_content(path):
                yield Fault(path, None, f"{fault}. Hand in what `recbench submit` wrote.")
    if total > _MOST_IN_ALL:
        yield Fault(folder, None, f"it has {size_text(total)}, more than {size_text(_MOST_IN_ALL)}. Hand in fewer runs at a time.")
    if n_records > _MOST_RECORDS + 1:
        yield Fault(folder, None, f"it holds more than {_MOST_RECORDS} records. Hand in fewer runs at a time.")


def _fault_of_content(path: Path) -> str:
    """Why a file of an allowed name and size is not of its kind; empty for a record or a log, whose reader tells."""
    if path.suffix == ".parquet":
        return evaluation.fault_of_numbers(path)
    return fault_of_curve(path) if path.name == CURVE_FILE else ""


def _tree(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything below a folder, in order of names; no link is followed."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        yield Path(entry.path), entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            yield from _tree(Path(entry.path))


def _is_folder_of_a_submission(name: str) -> bool:
    parts = Path(name).parts
    return parts[0] == RECORDS_FOLDER and len(parts) <= 2 and (len(parts) == 1 or is_run_name(parts[1]))


def _is_file_of_a_submission(name: str) -> bool:
    if name == README:
        return True
    parts = Path(name).parts
    if len(parts) != 3 or parts[0] != RECORDS_FOLDER:
        return False
    return _SHARED_NAME.fullmatch(parts[2]) is not None if parts[1] == SHARED else parts[2] in _OWN_NAMES
