"""All runs on one data set as sections, one per protocol: rows, marks, missing baselines, tests against the best."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from recbench.core.config import canonical_json
from recbench.core.errors import SplitMismatch
from recbench.core.model_card import ModelCard
from recbench.core.ranking import View
from recbench.core.records import DatasetPart, ProtocolPart, RunRecord
from recbench.evaluation import PairedComparison, compare_with_best
from recbench.reporting.archive import StoredRun
from recbench.reporting.badges import badge_of_runs
from recbench.reporting.rows import Row, merge_seeds
from recbench.reporting.verdicts import PublishedFigure, changed_settings, published_figures
from recbench.tasks import Task, find_task


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
    """

    dataset: DatasetPart
    protocol: ProtocolPart
    test_fingerprint: str
    rows: tuple[BoardRow, ...]
    missing: tuple[MissingBaseline, ...]
    tests: tuple[PairedComparison, ...]

    @property
    def task(self) -> Task:
        """The question that was asked."""
        return self.rows[0].row.task

    @property
    def has_clusters(self) -> bool:
        """Whether some of those who are asked are resampled together."""
        return self.rows[0].row.runs[0].cluster is not None

    @property
    def title(self) -> str:
        """Such as `leave-one-out, ties in the order of the source`."""
        return protocol_title(self.protocol)


@dataclass(frozen=True, eq=False)
class Board:
    """All sections of one data set; the page BOARDS/NAME.md."""

    name: str
    title: str
    sections: tuple[Section, ...]


def protocol_title(protocol: ProtocolPart) -> str:
    """The protocol in a few words."""
    options = ", ".join(f"{key}={value}" for key, value in sorted(protocol.split_options.items()))
    split = f"{protocol.split} ({options})" if options else protocol.split
    ties = "ties in the order of the source" if protocol.ties == "source" else f"ties {protocol.ties}"
    return f"{split}, {ties}"


def section_key(record: RunRecord) -> tuple[str, str]:
    """Key that records of one section share: data set, and task and split with its options and order of ties."""
    protocol = record.protocol
    # The order of the source comes first on a page, then the shuffled variants.
    return record.dataset.name, canonical_json(
        [record.task, protocol.ties != "source", protocol.split, protocol.split_options, protocol.ties]
    )


def make_boards(runs: Iterable[StoredRun], cards: Mapping[str, ModelCard]) -> list[Board]:
    """One board per data set, by name; the order of `runs` does not matter.

    Args:
        runs: published records or run folders.
        cards: of the models known here, by name.

    Raises:
        SplitMismatch: two records under one name and protocol were made on different test parts, item texts or item columns.
    """
    groups: dict[tuple[str, str], list[StoredRun]] = {}
    for run in sorted(runs, key=lambda run: run.record.run_id):
        groups.setdefault(section_key(run.record), []).append(run)
    by_dataset: dict[str, list[Section]] = {}
    for (name, _), members in sorted(groups.items(), key=lambda group: group[0]):
        by_dataset.setdefault(name, []).append(make_section(members, cards))
    return [Board(name, sections[0].dataset.title, tuple(sections)) for name, sections in by_dataset.items()]


def make_section(runs: Sequence[StoredRun], cards: Mapping[str, ModelCard]) -> Section:
    """One section from runs that share data set and protocol; see `make_boards` for what raises."""
    refuse_mixed_splits(runs)
    rows = merge_seeds(runs)
    first = rows[0].record
    board_rows = tuple(_board_row(row, rows, cards.get(row.record.model.name)) for row in rows)
    return Section(
        dataset=first.dataset,
        protocol=first.protocol,
        test_fingerprint=first.fingerprints.test,
        rows=board_rows,
        missing=tuple(_missing_baselines(rows, first, cards)),
        tests=tuple(tests_against_best(rows)),
    )


def _board_row(row: Row, rows: Sequence[Row], card: ModelCard | None) -> BoardRow:
    changed = changed_settings(row.record, card) if card is not None else []
    below = {view: _trivial_above(row, rows, view) for view in row.task.views}
    has_orders = card is not None and card.reads_order and row.task.knows_sets
    return BoardRow(row, below, tuple(published_figures(row, card)), tuple(changed), badge_of_runs(row.runs, card), has_orders)


def tests_against_best(rows: Sequence[Row]) -> list[PairedComparison]:
    """The best row against each other one that was ranked in the main view, with Holm's correction over all of them."""
    ranked = [row for row in rows if row.main(row.task.main_view) is not None]
    values = {row.label: row.per_user(row.task.main_metric, row.task.main_view) for row in ranked}
    return compare_with_best(values, cluster=ranked[0].runs[0].cluster) if len(ranked) > 1 else []


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


def _trivial_above(row: Row, rows: Sequence[Row], view: View) -> tuple[str, ...]:
    """Names of the trivial baselines above a row that is none itself, each once, best first."""
    own = row.main(view)
    if row.record.model.is_trivial or own is None:
        return ()
    values = [(other.main(view), other.record.model.name) for other in rows if other.record.model.is_trivial]
    above = sorted(((value, name) for value, name in values if value is not None and value > own), key=lambda pair: (-pair[0], pair[1]))
    return tuple(dict.fromkeys(name for _, name in above))


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
