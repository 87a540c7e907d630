"""`recbench leaderboard publish`: records into BOARDS/records, pages from records."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recbench.core.digests import file_sha256
from recbench.core.errors import BadData, RecbenchError, VerifyFailed
from recbench.core.file_names import is_run_name
from recbench.core.model_card import ModelCard
from recbench.core.records import FAILURE_FILE, RECORD_FILE, RunRecord
from recbench.core.shared_model import is_pulled
from recbench.reporting.answers import Answers, make_answers
from recbench.reporting.archive import StoredRun, as_faults, files_to_store, record_folders, unreadable_latencies
from recbench.reporting.board import Board, make_boards
from recbench.reporting.markdown import MADE_BY, render_pages
from recbench.reporting.page import PAGE, render_page
from recbench.reporting.printed import records_on_pages
from recbench.reporting.reckoner import Measured, Reckoner
from recbench.reporting.recompute import compare, measured, search_at_fault
from recbench.reporting.together import finish_writing, write_together
from recbench.reporting.workers import Workers

_MEND = (
    "If the evaluator changed since, `recbench leaderboard remeasure --runs FOLDER` computes its figures again; else make the run again "
    "(--again)."
)


@dataclass(frozen=True)
class Skipped:
    """A run folder that was not published, and why."""

    folder: Path
    reason: str
    is_fault: bool
    """Whether it should have been published; not so where it is published already, unfinished or on synthetic data."""


@dataclass(frozen=True)
class PublishResult:
    """Result of publishing.

    Attributes:
        written: files that are new or changed, pages and records.
        unchanged: pages that were up to date.
        removed: pages of data sets that have no record any more.
        skipped: run folders left out.
    """

    written: tuple[Path, ...]
    unchanged: tuple[Path, ...]
    removed: tuple[Path, ...]
    skipped: tuple[Skipped, ...]


def publish(boards: Path, runs: Sequence[Path], cards: Mapping[str, ModelCard], jobs: int = 1) -> PublishResult:
    """Take new finished runs into BOARDS/records and write the pages anew.

    Nothing is written before everything is known to fit together, and then all of it or, after a kill, nothing or the rest of it by the
    next command. The same records give the same pages, byte for byte.

    Args:
        boards: folder of the pages and of `records/`; made where there is none.
        runs: run folders; those published already, unfinished ones and runs on synthetic data are skipped. So are those that are at
            fault: a damaged record or file, figures that do not follow from the ranks, a name that is taken.
        cards: of the models known here, by name.
        jobs: processes at a time, at most.

    Raises:
        BadData: a published record or one of its files is damaged or missing.
        VerifyFailed: a published record was edited since its page was written.
        SplitMismatch: two records under one data set name were made on different splits.
    """
    finish_writing(boards)
    published = {folder.name: StoredRun.open(folder) for folder in record_folders(boards)}
    refuse_damaged(boards, published)
    with Workers(jobs, len(published) + len(runs)) as workers:
        fresh, timed, skipped = _new_runs(runs, published, cards, workers)
        published |= timed
        boards_there = make_boards([*published.values(), *fresh.values()], cards, workers)
        pages = all_pages(boards_there, make_answers(boards_there, cards, workers))
    files: dict[str, bytes | Path] = {}
    for run in sorted([*fresh.values(), *timed.values()], key=lambda run: run.record.run_id):
        files |= files_to_store(run, boards)
    changed = changed_files(boards, pages)
    files |= changed
    stale = [page for page in generated_pages(boards) if page.name not in pages]
    boards.mkdir(parents=True, exist_ok=True)
    write_together(boards, files, [page.name for page in stale])
    unchanged = tuple(boards / name for name in sorted(pages.keys() - changed.keys()))
    return PublishResult(tuple(boards / name for name in files), unchanged, tuple(stale), tuple(skipped))


def all_pages(boards: Sequence[Board], answers: Answers) -> dict[str, str]:
    """File name and text of every page: one in markdown per board, the index, the answer, and all of it in one HTML page."""
    return render_pages(boards, answers) | {PAGE: render_page(boards, answers)}


def generated_pages(boards: Path) -> list[Path]:
    """Pages that publishing wrote, by name; markdown and HTML of somebody else are not among them."""
    marker = MADE_BY.encode()
    return [page for page in sorted([*boards.glob("*.md"), *boards.glob("*.html")]) if page.read_bytes().startswith(marker)]


def refuse_damaged(boards: Path, published: Mapping[str, StoredRun]) -> None:
    """A `BadData` where a record's files are not those it names, a `VerifyFailed` where it is not the record that a page names."""
    reckoner = Reckoner()
    faults = [fault for run in published.values() for fault in as_faults(reckoner.damage(run.files))]
    faults += unreadable_latencies(published.values())
    if faults:
        raise BadData("Published records are damaged; nothing was written. " + " ".join(map(str, faults)))
    sums = {run.folder / RECORD_FILE: run.sha256 for run in published.values()}
    for printed in records_on_pages(generated_pages(boards)):
        path = boards / printed.path
        found = sums.get(path) or (file_sha256(path) if path.is_file() else printed.sha256)
        if not found.startswith(printed.sha256):
            raise VerifyFailed(
                f"{path} was edited: its sha256 is {found[:16]}, {printed.page.name} line {printed.line} says {printed.sha256}. "
                "Records are never edited; restore the file, or delete its folder to take the row off the board."
            )


def _new_runs(
    runs: Sequence[Path], published: dict[str, StoredRun], cards: Mapping[str, ModelCard], workers: Workers
) -> tuple[dict[str, StoredRun], dict[str, StoredRun], list[Skipped]]:
    """Runs to publish, published ones with the times that lie in their run folders, and what is left out."""
    fresh: dict[str, StoredRun] = {}
    timed: dict[str, StoredRun] = {}
    skipped = []
    taken = ChainMap(fresh, published)
    opened = {folder: _open(folder) for folder in sorted(runs)}
    new = [run for run in opened.values() if isinstance(run, StoredRun) and not _needless(run.record, run.sha256, taken)]
    found = {new[number].folder: figures for number, figures in measured(new, workers)}
    for folder, run in opened.items():
        if isinstance(run, Skipped):
            skipped.append(run)
            continue
        # Of two runs of one name the first that is sound counts.
        reason = _needless(run.record, run.sha256, taken)
        fault = "" if reason else _fault_of(run, found[folder], taken, cards)
        there = timed.get(run.record.run_id) or published.get(run.record.run_id)
        if not fault and (there is not None or not reason) and (unreadable := unreadable_latencies([run])):
            fault = str(unreadable[0])
        if reason and not fault and there is not None:
            timed[run.record.run_id] = there.with_times_of(run)
        if reason or fault:
            skipped.append(Skipped(folder, fault or reason, is_fault=bool(fault)))
        else:
            fresh[run.record.run_id] = run
    return fresh, timed, skipped


def _open(folder: Path) -> StoredRun | Skipped:
    """A finished run; another with the reason why it is left out."""
    if not (folder / RECORD_FILE).exists():
        has_failed = (folder / FAILURE_FILE).is_file()
        reason = f"the run failed, see {FAILURE_FILE}" if has_failed else "there is no record.json; the run is not finished"
        return Skipped(folder, reason, is_fault=False)
    if is_pulled(folder):
        return Skipped(folder, "somebody else trained it; whoever did hands it in", is_fault=False)
    try:
        return StoredRun.open(folder)
    except RecbenchError as error:
        return Skipped(folder, str(error), is_fault=True)


def _needless(record: RunRecord, sha256: str, taken: Mapping[str, StoredRun]) -> str:
    """Why there is nothing to publish in a finished run; empty where there is."""
    if record.dataset.is_synthetic:
        return f"{record.dataset.name} is synthetic; boards show real data only"
    there = taken.get(record.run_id)
    if there is not None and (there.sha256 == sha256 or (there.record.remeasured is not None and _same_run(there.record, record))):
        return "published already"
    return ""


def _fault_of(run: StoredRun, found: Measured, taken: Mapping[str, StoredRun], cards: Mapping[str, ModelCard]) -> str:
    """Reasons not to publish a run; empty where there is none. `found` is what follows from its ranks."""
    record = run.record
    for what, name in (("run", record.run_id), ("data set", record.dataset.name)):
        if not is_run_name(name) or name in ("index", "answer"):
            return f"the {what}'s name {name!r} cannot be a file name; letters, digits and _ . = + - can"
    if record.run_id in taken:
        return f"another record called {record.run_id} is published already"
    faults = as_faults(found.damaged) or [*compare(run, found, _MEND)[1], *search_at_fault(run, cards)]
    more = f" {len(faults) - 1} more." if len(faults) > 1 else ""
    return f"{faults[0]}{more}" if faults else ""


def _same_run(first: RunRecord, second: RunRecord) -> bool:
    """Whether only what the evaluator makes of the ranks differs."""
    figures: dict[str, object] = {"schema_version": 0, "metrics": {}, "slices": [], "beyond": {}, "remeasured": None}
    return first.model_copy(update=figures) == second.model_copy(update=figures)


def changed_files(boards: Path, texts: Mapping[str, str]) -> dict[str, bytes]:
    """Paths of texts below BOARDS, in the order of these, whose file is not there or is another."""
    contents = {name: text.encode() for name, text in sorted(texts.items())}
    return {name: data for name, data in contents.items() if not (boards / name).is_file() or (boards / name).read_bytes() != data}
