"""All runs on one data set as sections, one per protocol: rows, marks, missing baselines, tests against the best."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbench.core.commands import command_line
from recbench.core.config import canonical_json
from recbench.core.errors import BadRequest, SplitMismatch, nearest
from recbench.core.model_card import ModelCard
from recbench.core.ranking import View
from recbench.core.records import DatasetPart, Interval, ProtocolPart, RunRecord
from recbench.core.tabular import Tabular
from recbench.reporting.archive import StoredRun, record_folders
from recbench.reporting.badges import badge_of_runs
from recbench.reporting.rows import Row, merge_seeds
from recbench.reporting.verdicts import PublishedFigure, published_figures, published_metrics
from recbench.tasks import Task, find_task

if TYPE_CHECKING:
    from recbench.evaluation import PairedComparison
    from recbench.reporting.workers import Workers


@dataclass(frozen=True)
class MissingBaseline:
    """A trivial baseline that has no row, and why: `missing` or `not applicable`."""

    model: str
    state: str
    reason: str


@dataclass(frozen=True, eq=False)
class BoardRow:
    """A row and what the board says about it.

    Attributes:
        row: the runs.
        below: per view the trivial baselines with a higher main metric there, best first; none for trivial baselines themselves.
        published: published figures beside ours.
        badge: where its settings come from, see `recbench.reporting.badges`; empty where there is nothing to say.
        changed: settings in which the row departs from its preset as the card has it, such as `width=128`.
        has_orders: whether a model of sequences was given sets in several random orders.
    """

    row: Row
    below: Mapping[View, tuple[str, ...]]
    published: tuple[PublishedFigure, ...]
    changed: tuple[str, ...]
    badge: str = ""
    has_orders: bool = False

    def marks(self, view: View) -> list[str]:
        """All marks of the row beside its figures in one view: its badge, then the gravest first."""
        badge = [self.badge] if self.badge else []
        below = [f"below {', '.join(self.below[view])}"] if self.below[view] else []
        changed = [f"not as its preset: {', '.join(self.changed)}"] if self.changed else []
        adapter = ["seq adapter"] if self.has_orders else []
        return [*badge, *below, *changed, *adapter, *self.row.marks()]


@dataclass(frozen=True, eq=False)
class Section:
    """One board: all rows that share data set, protocol and test fingerprint.

    Attributes:
        dataset: as the records describe it.
        protocol: split, its options and the order of ties; list length and views may differ between rows.
        test_fingerprint: of all records.
        rows: best first.
        missing: trivial baselines without a row.
        tests: the best row against every other, on the main metric in the main view.
        shortcuts: models known here that stand for a shortcut in this task, each with the words for it, by name.
    """

    dataset: DatasetPart
    protocol: ProtocolPart
    test_fingerprint: str
    rows: tuple[BoardRow, ...]
    missing: tuple[MissingBaseline, ...]
    tests: "tuple[PairedComparison, ...]"
    shortcuts: Mapping[str, str]

    @property
    def task(self) -> Task:
        """The question that was asked."""
        return self.rows[0].row.task

    @property
    def has_clusters(self) -> bool:
        """Whether some of those who are asked are resampled together."""
        return self.rows[0].row.runs[0].has_clusters

    @property
    def title(self) -> str:
        """Such as `leave-one-out, ties in the order of the source`."""
        return protocol_title(self.protocol)


@dataclass(frozen=True, eq=False, repr=False)
class Board(Tabular):
    """All sections of one data set; the page BOARDS/NAME.md, or a frame."""

    name: str
    title: str
    sections: tuple[Section, ...]

    def _headline(self) -> str:
        return f"{self.title}, {sum(len(section.rows) for section in self.sections)} rows"

    def _lines(self) -> list[dict[str, Any]]:
        return lines_of(self.sections)


def lines_of(sections: Iterable[Section]) -> list[dict[str, Any]]:
    """The figures of all rows, a line each; no interval for metrics that boards show without one, where seeds were merged."""
    lines = []
    for section in sections:
        task = section.task
        for board_row in section.rows:
            row = board_row.row
            of_row: dict[str, Any] = {
                "dataset": section.dataset.name,
                "protocol": section.title,
                "model": row.label,
                "badge": board_row.badge,
            }
            of_row |= {"seeds": len(row.runs), "budget": row.record.budget}
            for view in task.views:
                for metric in task.board_metrics:
                    has_interval = len(row.runs) == 1 or metric in task.interval_metrics
                    figure = row.figure(metric, view) if has_interval else None
                    ends = {"low": figure and figure.low, "high": figure and figure.high}
                    lines.append({**of_row, "view": view, "metric": metric, "value": row.mean(metric, view), **ends})
    return lines


def protocol_title(protocol: ProtocolPart) -> str:
    """The protocol in a few words."""
    options = ", ".join(f"{key}={value}" for key, value in sorted(protocol.split_options.items()))
    split = f"{protocol.split} ({options})" if options else protocol.split
    ties = "ties in the order of the source" if protocol.ties == "source" else f"ties {protocol.ties}"
    return f"{split}, {ties}"


def section_key(record: RunRecord) -> tuple[str, str]:
    """Key that records of one section share: data set, and task and split with its options and order of ties."""
    protocol = record.protocol
    # The task's usual protocol comes first on a page, in the order of the source, then its shuffled variants, then the others.
    is_other = not find_task(record.task).is_default(protocol)
    return record.dataset.name, canonical_json(
        [record.task, is_other, protocol.ties != "source", protocol.split, protocol.split_options, protocol.ties]
    )


def make_boards(runs: Iterable[StoredRun], cards: Mapping[str, ModelCard], workers: "Workers | None" = None) -> list[Board]:
    """One board per data set, by name; the order of `runs` does not matter.

    Args:
        runs: published records or run folders.
        cards: of the models known here, by name.
        workers: what computes intervals over seeds and paired tests; None: this process.

    Raises:
        SplitMismatch: two records under one name and protocol were made on different test parts, item texts or item columns.
    """
    groups: dict[tuple[str, str], list[StoredRun]] = {}
    for run in sorted(runs, key=lambda run: run.record.run_id):
        groups.setdefault(section_key(run.record), []).append(run)
    by_dataset: dict[str, list[Section]] = {}
    for section in make_sections([members for _, members in sorted(groups.items(), key=lambda group: group[0])], cards, workers):
        by_dataset.setdefault(section.dataset.name, []).append(section)
    return [Board(name, sections[0].dataset.title, tuple(sections)) for name, sections in by_dataset.items()]


def published_board(boards: Path, dataset: str, cards: Mapping[str, ModelCard]) -> Board:
    """The board of one data set, from the records below a folder of leaderboards.

    Raises:
        BadRequest: there is no folder, or no record of that data set in it.
    """
    if not boards.is_dir():
        publish = command_line("leaderboard", "publish", boards=boards)
        raise BadRequest(f"There is no folder {boards} with leaderboards here. Stand in a checkout, name another, or make one: {publish}")
    runs = [StoredRun.open(folder) for folder in record_folders(boards)]
    datasets = sorted({run.record.dataset.name for run in runs})
    if dataset not in datasets:
        raise BadRequest(
            f"There is no board of {dataset!r} in {boards}.{nearest(dataset, datasets)} Known: {', '.join(datasets) or 'none'}. "
            f"Make one: {command_line('leaderboard', 'publish', boards=boards)}"
        )
    (board,) = make_boards([run for run in runs if run.record.dataset.name == dataset], cards)
    return board


def make_sections(groups: Sequence[Sequence[StoredRun]], cards: Mapping[str, ModelCard], workers: "Workers | None" = None) -> list[Section]:
    """A section of each group of runs that share data set and protocol; see `make_boards` for arguments and for what raises."""
    for runs in groups:
        refuse_mixed_splits(runs)
    from recbench.reporting.workers import Workers

    workers = workers or Workers(1, 0)
    tables = with_spread([merge_seeds(runs) for runs in groups], cards, workers)
    return [_section(rows, tests, cards) for rows, tests in zip(tables, tests_against_best(tables, workers), strict=True)]


def _section(rows: Sequence[Row], tests: "Sequence[PairedComparison]", cards: Mapping[str, ModelCard]) -> Section:
    first = rows[0].record
    trivial = {view: _trivial(rows, view) for view in rows[0].task.views}
    board_rows = tuple(_board_row(row, trivial, cards.get(row.record.model.name)) for row in rows)
    return Section(
        dataset=first.dataset,
        protocol=first.protocol,
        test_fingerprint=first.fingerprints.test,
        rows=board_rows,
        missing=tuple(_missing_baselines(rows, first, cards)),
        tests=tuple(tests),
        shortcuts={name: card.shortcut for name, card in sorted(cards.items()) if card.shortcut and first.task in card.tasks},
    )


def _board_row(row: Row, trivial: Mapping[View, Sequence[tuple[float, str]]], card: ModelCard | None) -> BoardRow:
    changed = card.changed_settings(row.record) if card is not None else []
    below = {view: _trivial_above(row, trivial[view], view) for view in row.task.views}
    has_orders = card is not None and card.reads_order and row.task.knows_sets
    return BoardRow(row, below, tuple(published_figures(row, card)), tuple(changed), badge_of_runs(row.runs, card), has_orders)


def with_spread(tables: Sequence[Sequence[Row]], cards: Mapping[str, ModelCard], workers: "Workers") -> list[list[Row]]:
    """The rows, those of several seeds with the intervals over users and seeds that a board shows or holds against published numbers."""
    from recbench.reporting.workers import SpreadJob

    wanted = [
        (row, metric, view)
        for rows in tables
        for row in rows
        if len(row.runs) > 1
        for metric in dict.fromkeys([*row.task.interval_metrics, *published_metrics(row.record, cards.get(row.record.model.name))])
        for view in row.task.views
        if row.has(metric, view)
    ]
    found = workers.answers(SpreadJob(runs=row.files, metric=metric, view=view) for row, metric, view in wanted)
    spread: dict[Row, dict[tuple[str, View], Interval]] = {}
    for (row, metric, view), interval in zip(wanted, found, strict=True):
        spread.setdefault(row, {})[metric, view] = interval
    return [[replace(row, spread=spread.get(row, {})) for row in rows] for rows in tables]


def tests_against_best(tables: Sequence[Sequence[Row]], workers: "Workers") -> "list[list[PairedComparison]]":
    """In each table the best row against each other one that was ranked in the main view, with Holm's correction over all of them."""
    from recbench.evaluation import by_mean, comparisons
    from recbench.reporting.workers import MeanJob, PairJob

    ranked = [[row for row in rows if row.main(row.task.main_view) is not None] for rows in tables]
    ranked = [rows if len(rows) > 1 else [] for rows in ranked]
    means = workers.answers(
        MeanJob(runs=row.files, metric=row.task.main_metric, view=row.task.main_view) for rows in ranked for row in rows
    )
    in_order = []
    for rows in ranked:
        by_label = {row.label: row for row in rows}
        in_order.append([by_label[label] for label in by_mean(dict(zip(by_label, means, strict=False)))])
    tested = workers.answers(
        PairJob(best=rows[0].files, other=other.files, metric=other.task.main_metric, view=other.task.main_view)
        for rows in in_order
        for other in rows[1:]
    )
    return [comparisons(rows[0].label, [(other.label, next(tested)) for other in rows[1:]]) if rows else [] for rows in in_order]


def refuse_mixed_splits(runs: Sequence[StoredRun]) -> None:
    """Nothing, if all runs were tested on the same targets and read the same texts and columns; else a `SplitMismatch` that names two."""
    first = runs[0].record
    readers = [run.record for run in runs if run.record.model.reads_text]
    for record in (run.record for run in runs):
        if record.fingerprints.test != first.fingerprints.test:
            raise _mismatch("test parts", first, record, first.fingerprints.test, record.fingerprints.test)
    for record in readers:
        if record.fingerprints.item_text != readers[0].fingerprints.item_text:
            raise _mismatch("item texts", readers[0], record, readers[0].fingerprints.item_text, record.fingerprints.item_text)
    # Whether a model reads them no record says; the data of one name have one feedback and one set of vectors.
    for record in (run.record for run in runs):
        ours, theirs = ((part.feedback, part.features) for part in (first.fingerprints, record.fingerprints))
        if ours != theirs:
            raise _mismatch("feedback or item vectors", first, record, canonical_json(ours), canonical_json(theirs))
    first_with: dict[str, RunRecord] = {}
    for record in (run.record for run in runs):
        for name, digest in record.model.columns.items():
            other = first_with.setdefault(name, record)
            if other.model.columns[name] != digest:
                raise _mismatch(f"item columns {name!r}", other, record, other.model.columns[name], digest)


def _mismatch(what: str, first: RunRecord, second: RunRecord, one: str, other: str) -> SplitMismatch:
    return SplitMismatch(
        f"{first.run_id} and {second.run_id} both call their data set {first.dataset.name!r}, but their {what} differ: "
        f"{one[:16]} and {other[:16]}. Run one of them again on the other's data, or give one data set another name."
    )


def _trivial(rows: Sequence[Row], view: View) -> list[tuple[float, str]]:
    """Main metric and name of the trivial baselines in one view, best first."""
    values = [(row.main(view), row.record.model.name) for row in rows if row.record.model.is_trivial]
    return sorted(((value, name) for value, name in values if value is not None), key=lambda pair: (-pair[0], pair[1]))


def _trivial_above(row: Row, trivial: Sequence[tuple[float, str]], view: View) -> tuple[str, ...]:
    """Names of the trivial baselines above a row that is none itself, each once, best first."""
    own = row.main(view)
    if row.record.model.is_trivial or own is None:
        return ()
    return tuple(dict.fromkeys(name for value, name in trivial if value > own))


def _missing_baselines(rows: Sequence[Row], record: RunRecord, cards: Mapping[str, ModelCard]) -> list[MissingBaseline]:
    present = {row.record.model.name for row in rows if row.record.foreign is None}
    dataset, task = record.dataset, find_task(record.task)
    expected = [name for name, card in cards.items() if card.is_trivial and task.name in card.tasks]
    found = []
    for name in sorted(name for name in expected if name not in present):
        card = cards[name]
        if card.max_items is not None and dataset.n_items > card.max_items:
            reason = f"{dataset.n_items:,} items; {name} takes at most {card.max_items:,}"
            found.append(MissingBaseline(name, "not applicable", reason))
        elif "time" in card.needs and dataset.time != "seconds":
            found.append(MissingBaseline(name, "not applicable", "the data set has no time stamps"))
        else:
            command = f"recbench run -m {name} -d {dataset.name}{_protocol_options(task, record.protocol)}"
            found.append(MissingBaseline(name, "missing", command + (f" (refuses {card.refuses})" if card.refuses else "")))
    return found


def _protocol_options(task: Task, protocol: ProtocolPart) -> str:
    """The options of `recbench run` that ask for this protocol; empty for the defaults."""
    options = ",".join(f"{key}={value}" for key, value in sorted(protocol.split_options.items()))
    split = f"{protocol.split}:{options}" if options else protocol.split
    return ("" if task.is_default(protocol) else f" --protocol {split}") + (f" --ties {protocol.ties}" if protocol.ties != "source" else "")
