"""`recbench verify`: every number of every page, computed again from ranks and exposure."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recbench.core.commands import command_line
from recbench.core.digests import file_sha256
from recbench.core.errors import RecbenchError, VerifyFailed
from recbench.core.model_card import ModelCard
from recbench.core.records import RECORD_FILE
from recbench.reporting.answers import make_answers
from recbench.reporting.archive import Fault, StoredRun, record_folders, unreadable_latencies
from recbench.reporting.board import make_boards
from recbench.reporting.printed import records_on_pages
from recbench.reporting.publishing import all_pages, generated_pages
from recbench.reporting.recompute import compare, measured, search_at_fault
from recbench.reporting.together import is_half_written
from recbench.reporting.workers import Workers

_CONTEXT = 30
"""Characters shown on each side of a difference."""


@dataclass(frozen=True)
class VerifyReport:
    """Result of a check: what was looked at and what is wrong.

    Attributes:
        n_pages, n_rows, n_records: how many were looked at.
        n_figures: figures of records computed again and compared.
        faults: all that was found; empty where every number follows from its record.
    """

    n_pages: int
    n_rows: int
    n_records: int
    n_figures: int
    faults: tuple[Fault, ...]


def verify(boards: Path, cards: Mapping[str, ModelCard], plugins: Sequence[Path] = (), jobs: int = 1) -> VerifyReport:
    """The report of `inspect_boards`, where it holds no fault; it takes the same arguments.

    Raises:
        VerifyFailed: with all faults, each on a line of its own; or because there is no row to verify.
    """
    report = inspect_boards(boards, cards, plugins, jobs)
    if report.faults:
        count = f"{len(report.faults)} fault{'s' if len(report.faults) > 1 else ''}"
        listed = "\n".join(f"  {fault}" for fault in report.faults)
        raise VerifyFailed(f"{boards} does not follow from its records, {count}:\n{listed}")
    return report


def inspect_boards(boards: Path, cards: Mapping[str, ModelCard], plugins: Sequence[Path] = (), jobs: int = 1) -> VerifyReport:
    """Check records against their files, pages against records, and list everything that is wrong.

    Args:
        boards: folder of the pages and of `records/`.
        cards: of the models known here, by name; published numbers come from there.
        plugins: folders that some of the cards come from, for the commands that a fault names.
        jobs: processes at a time, at most.
    """
    publish, remeasure = (command_line("leaderboard", verb, boards=boards, plugin=list(plugins)) for verb in ("publish", "remeasure"))
    pages = generated_pages(boards)
    faults: list[Fault] = []
    if is_half_written(boards):
        faults.append(Fault(boards, None, f"a command was ended while it wrote here. Let it finish: {publish}"))
    runs: list[StoredRun] = []
    of_folders: dict[Path, list[Fault]] = {}
    for folder in record_folders(boards):
        of_folders[folder] = []
        try:
            run = StoredRun.open(folder)
        except RecbenchError as error:
            of_folders[folder].append(Fault(folder / RECORD_FILE, None, str(error)))
            continue
        if run.record.run_id != folder.name:
            message = f"the record calls itself {run.record.run_id}, its folder {folder.name}. Give the folder its name back."
            of_folders[folder].append(Fault(folder / RECORD_FILE, None, message))
            continue
        runs.append(run)
    n_figures = 0
    with Workers(jobs, len(runs)) as workers:
        for number, found in measured(runs, workers):
            run = runs[number]
            compared, wrong = compare(run, found, f"Restore the record; if the evaluator changed since, run: {remeasure}")
            n_figures += compared
            of_folders[run.folder] += wrong if found.damaged else [*wrong, *search_at_fault(run, cards)]
            of_folders[run.folder] += unreadable_latencies([run])
        faults += [fault for found_there in of_folders.values() for fault in found_there]
        faults += _records_as_printed(boards, pages, {run.folder / RECORD_FILE: run.sha256 for run in runs})
        n_rows, wrong_pages = _pages_as_rendered(boards, pages, runs, cards, publish, workers)
        faults += wrong_pages
    if not runs and not faults:
        faults.append(Fault(boards, None, f"there is no row to verify. Publish a run on real data (not demo) with: {publish}"))
    return VerifyReport(len(pages), n_rows, len(runs), n_figures, tuple(faults))


def _records_as_printed(boards: Path, pages: Sequence[Path], sums: Mapping[Path, str]) -> list[Fault]:
    """Records that a page names and that are gone or were edited since; `sums` of those that were read."""
    faults = []
    for printed in records_on_pages(pages):
        path = boards / printed.path
        where = f"{printed.page.name} line {printed.line}"
        found = sums.get(path)
        if found is None and not path.is_file():
            faults.append(Fault(path, None, f"the record is gone; {where} names it. Restore it, or publish the page anew without it."))
        elif not (found := found or file_sha256(path)).startswith(printed.sha256):
            faults.append(Fault(path, None, f"its sha256 is {found[:16]}, {where} says {printed.sha256}: one was edited. Restore it."))
    return faults


def _pages_as_rendered(
    boards: Path, pages: Sequence[Path], runs: Sequence[StoredRun], cards: Mapping[str, ModelCard], publish: str, workers: Workers
) -> tuple[int, list[Fault]]:
    """How many rows the records give, and each place where a page is not what they give; `publish` is the command that writes pages."""
    if not runs:
        return 0, []
    try:
        made = make_boards(runs, cards, workers)
        rendered = all_pages(made, make_answers(made, cards, workers))
    except RecbenchError as error:
        return 0, [Fault(boards, None, f"the pages cannot be made from the records: {error}")]
    faults = []
    for name, text in sorted(rendered.items()):
        page = boards / name
        if page.is_file():
            faults += _differences(page, text)
        else:
            faults.append(Fault(page, None, f"the page is missing. Write it with: {publish}"))
    faults += [Fault(page, None, "no record belongs to this page. Delete it.") for page in pages if page.name not in rendered]
    return sum(len(section.rows) for board in made for section in board.sections), faults


def _differences(page: Path, expected: str) -> list[Fault]:
    """A fault for each place where a page differs from what its records give."""
    data = page.read_bytes()
    if data == expected.encode():
        return []
    there, wanted = data.decode("utf-8", errors="replace").split("\n"), expected.split("\n")
    faults = []
    for kind, start, end, wanted_start, wanted_end in difflib.SequenceMatcher(None, there, wanted, autojunk=False).get_opcodes():
        if kind == "replace" and end - start == wanted_end - wanted_start:
            pairs = zip(there[start:end], wanted[wanted_start:wanted_end], strict=True)
            faults += [Fault(page, start + offset, _not_as_expected(*pair)) for offset, pair in enumerate(pairs, start=1)]
        elif kind != "equal":
            counts = f"{end - start} line(s) here, {wanted_end - wanted_start} by the records"
            first = _not_as_expected("".join(there[start : start + 1]), "".join(wanted[wanted_start : wanted_start + 1]))
            faults.append(Fault(page, start + 1, f"{counts}; {first}"))
    return faults


def _not_as_expected(found: str, expected: str) -> str:
    """The first place where two lines differ, with what stands around it."""
    place = next(
        (index for index, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), min(len(found), len(expected))
    )
    start = max(0, place - _CONTEXT)
    return f"it reads {found[start : place + _CONTEXT]!r}, the records give {expected[start : place + _CONTEXT]!r}. Publish the page anew."
