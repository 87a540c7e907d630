"""`recbench leaderboard remeasure`: the figures of published records anew, from the ranks they keep, after the evaluator changed.

What a run leaves is ranks; figures only follow from them. A metric that was added or mended needs no training.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from recbench.core.errors import BadData, RecbenchError
from recbench.core.model_card import ModelCard
from recbench.core.records import LAST_FLAT, RECORD_FILE, CodePart, Interval, RunRecord
from recbench.core.shared_model import is_pulled
from recbench.reporting.answers import make_answers
from recbench.reporting.archive import StoredRun, record_folders
from recbench.reporting.board import make_boards
from recbench.reporting.publishing import all_pages, changed_files, refuse_damaged
from recbench.reporting.recompute import ENDS_AGREE, measured, same_figures
from recbench.reporting.together import finish_writing, write_together
from recbench.reporting.workers import Workers


@dataclass(frozen=True)
class Remeasured:
    """Result of measuring anew.

    Attributes:
        n_records: how many records there are.
        written: records whose figures are others now, and pages.
        n_values: means that moved, appeared or went.
        n_ends: ends of intervals that moved, of means that are as they were.
        largest: the farthest that such an end moved, as a share of its interval's width.
    """

    n_records: int
    written: tuple[Path, ...]
    n_values: int
    n_ends: int
    largest: float


def remeasure(boards: Path, cards: Mapping[str, ModelCard], code: CodePart, jobs: int = 1) -> Remeasured:
    """Compute the figures of all published records again, and write those that changed, with the pages.

    Ranks, exposure and everything about the run itself stay as they are. Nothing is written before all figures and all pages are known,
    and then all of it or, after a kill, nothing or the rest of it by the next command.

    Args:
        boards: folder of the pages and of `records/`.
        cards: of the models known here, by name.
        code: what computes the figures now; a changed record keeps it beside the code of its run.
        jobs: processes at a time, at most.

    Raises:
        BadData: a record or one of its files is damaged or missing.
        VerifyFailed: a record was edited since its page was written; its figures are then nobody's.
    """
    finish_writing(boards)
    published = {folder.name: StoredRun.open(folder) for folder in record_folders(boards)}
    refuse_damaged(boards, published)
    texts: dict[str, str] = {}
    runs, moves = list(published.values()), _Moves()
    with Workers(jobs, len(runs)) as workers:
        for number, found in measured(runs, workers):
            run = runs[number]
            if found.refused or found.damaged:
                said = "; ".join([found.refused, *(damage.message for damage in found.damaged)])
                raise BadData(f"{run.folder / RECORD_FILE}: its figures cannot be computed again: {said}")
            record = run.record.model_copy(update={"metrics": found.metrics, "slices": found.slices, "beyond": found.beyond})
            if not same_figures(run.record, record):
                moves.count(run.record, record)
                # Its settings keep their names, and with them the schema.
                record = record.model_copy(update={"schema_version": max(record.schema_version, LAST_FLAT), "remeasured": code})
                texts[(run.folder / RECORD_FILE).relative_to(boards).as_posix()] = record.to_json()
                runs[number] = run.with_record(record)
        made = make_boards(runs, cards, workers)
        pages = all_pages(made, make_answers(made, cards, workers))
    files = changed_files(boards, texts | pages)
    write_together(boards, files)
    return Remeasured(len(published), tuple(boards / name for name in files), moves.n_values, moves.n_ends, moves.largest)


def remeasure_runs(folder: Path, code: CodePart, jobs: int = 1) -> Remeasured:
    """The same for finished runs that lie side by side in a folder, published or not, so that they can be published beside others.

    Args:
        folder: whose folders are runs; what is no finished run is passed over, and so is a run with a damaged record or file.
        code: what computes the figures now.
        jobs: processes at a time, at most.
    """
    finish_writing(folder)
    runs = [run for path in sorted(folder.glob(f"*/{RECORD_FILE}")) if (run := _readable(path.parent)) is not None]
    texts, moves = dict[str, bytes](), _Moves()
    with Workers(jobs, len(runs)) as workers:
        for number, found in measured(runs, workers):
            run = runs[number]
            if found.refused or found.damaged:
                continue
            record = run.record.model_copy(update={"metrics": found.metrics, "slices": found.slices, "beyond": found.beyond})
            if not same_figures(run.record, record):
                moves.count(run.record, record)
                record = record.model_copy(update={"schema_version": max(record.schema_version, LAST_FLAT), "remeasured": code})
                texts[f"{run.folder.name}/{RECORD_FILE}"] = record.to_json().encode()
    write_together(folder, texts)
    return Remeasured(len(runs), tuple(folder / name for name in texts), moves.n_values, moves.n_ends, moves.largest)


def _readable(folder: Path) -> StoredRun | None:
    """A run that was made here and can be read; what a pulled one claims stays as its owner wrote it."""
    if is_pulled(folder):
        return None
    try:
        return StoredRun.open(folder)
    except RecbenchError:
        return None


class _Moves:
    """Counts what differs between two measurements of the same ranks."""

    def __init__(self) -> None:
        self.n_values, self.n_ends, self.largest = 0, 0, 0.0

    def count(self, before: RunRecord, after: RunRecord) -> None:
        """Add one record's."""
        old, new = dict(_intervals(before)), dict(_intervals(after))
        self.n_values += len(old.keys() ^ new.keys())
        for name in old.keys() & new.keys():
            first, second = old[name], new[name]
            if abs(first.value - second.value) > ENDS_AGREE:
                self.n_values += 1
                continue
            ends = [abs(first.low - second.low), abs(first.high - second.high)]
            self.n_ends += sum(end > ENDS_AGREE for end in ends)
            if second.high > second.low:
                self.largest = max(self.largest, *(end / (second.high - second.low) for end in ends))
        first_of, second_of = _beyond(before), _beyond(after)
        self.n_values += sum(first_of.get(name) != second_of.get(name) for name in first_of | second_of)


def _beyond(record: RunRecord) -> dict[tuple[str, str], float]:
    return {(view, name): value for view, part in record.beyond.items() for name, value in part.items()}


def _intervals(record: RunRecord) -> Iterator[tuple[tuple[str, ...], Interval]]:
    for view, part in record.metrics.items():
        yield from (((view, name), interval) for name, interval in part.items())
    for group in record.slices:
        yield from (((group.view, group.slice, group.group, name), interval) for name, interval in group.metrics.items())
