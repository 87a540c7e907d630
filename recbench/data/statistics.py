"""Facts to know about a data set before believing a number made on it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import RecbenchError
from recbench.core.features import Features
from recbench.core.interactions import ItemTable, TimeKind
from recbench.core.progress import Progress
from recbench.core.ragged import Histories, LongArray, Targets
from recbench.data.card import STANDARD_COLUMNS, DatasetCard
from recbench.data.dataset import WITHIN_A_SECOND, Dataset, repeated_pairs
from recbench.data.fingerprints import column_digest
from recbench.data.location import locate
from recbench.data.parts import SplitPart
from recbench.data.plugins import load_reader
from recbench.data.protocol import SplitProtocol
from recbench.data.reader import TellsColumns
from recbench.data.reading import read_dataset, reader_options
from recbench.data.split import Split, make_split


@dataclass(frozen=True)
class DatasetStatistics:
    """Figures of a data set and one split of it; None where a figure needs times that are not there or finer than are kept."""

    name: str
    users: int
    items: int
    interactions: int
    density: float
    """Events over possible (user, item) pairs, repeats counted, as papers print it."""
    mean_length: float
    median_length: float
    max_length: int
    repeats: int
    """Events that repeat an earlier pair of user and item."""
    items_without_events: int
    tied_pairs: float | None
    """Share of neighbouring events of a user with equal times."""
    tied_test: float | None
    """Share of test targets that tie with the last event of the history."""
    order_in_ids: float | None
    """P(id of the test item sorts after id of the validation item), over users with one of each, not equal; 0.5 without artefact. None
    for sets."""
    test_queries: int
    users_train_only: int
    test_in_history: float
    """Share of test targets that stand in the history."""
    valid_never_seen: int
    """Validation targets without an event in the train part."""
    test_never_seen: int
    """Test targets without an event in the train part or among the validation targets."""
    test_not_in_train: int
    """Test targets without an event in the train part."""
    text_coverage: dict[str, float]
    """Share of items with a value, by text column."""
    items_of_equal_text: int
    """Items with text whose columns all equal those of another item: nothing made from text alone tells these apart."""
    train_rows: int
    """Users with an event in the train part."""
    is_of_sets: bool
    """Whether rows are sets, without order or time, and not what users did."""
    notes: dict[str, int | float | str]
    """Things counted while dividing; shares are floats."""

    def to_dict(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)

    def rows(self, unit: str = "user", units: str = "users") -> list[tuple[str, str]]:
        """Label and value, ready to print; figures of order and time are left out for sets, which have neither.

        Args:
            unit, units: what a row of the data set is, such as `bundle` and `bundles`.
        """
        if self.is_of_sets:
            entry, entries = "items", f"pairs of {unit} and item"
            order = []
            train = (f"{units} in the train part", f"{self.train_rows:,}")
        else:
            entry, entries = "events", "interactions"
            order = [
                ("neighbouring events of equal time", _share(self.tied_pairs)),
                ("test targets tied with the event before", _share(self.tied_test)),
                ("test id sorts after validation id", _share(self.order_in_ids)),
            ]
            train = (f"{units} in the train part only", f"{self.users_train_only:,}")
        return [
            (units, f"{self.users:,}"),
            ("items in the catalogue", f"{self.items:,}"),
            ("of these without an event", f"{self.items_without_events:,}"),
            (entries, f"{self.interactions:,}"),
            ("density", f"{self.density:.4%}"),
            (f"{entry} per {unit}: mean, median, max", f"{self.mean_length:.2f}, {self.median_length:g}, {self.max_length:,}"),
            (f"repeated ({unit}, item) pairs", f"{self.repeats:,}"),
            *order,
            ("test queries", f"{self.test_queries:,}"),
            train,
            ("test targets in the history", _share(self.test_in_history)),
            ("validation targets never seen in train", f"{self.valid_never_seen:,}"),
            ("test targets never seen in train or validation", f"{self.test_never_seen:,}"),
            ("test targets never seen in train", f"{self.test_not_in_train:,}"),
            *((f"items with {name}", _share(value)) for name, value in self.text_coverage.items()),
            ("items that share all their text with another", f"{self.items_of_equal_text:,}"),
            *((what, noted(value)) for what, value in self.notes.items()),
        ]


def noted(value: float | str) -> str:
    """A note as it is printed: counts are whole numbers, shares floats."""
    return value if isinstance(value, str) else f"{value:.1%}" if isinstance(value, float) else f"{value:,}"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2%}"


def stats(dataset: Dataset, split: Split) -> DatasetStatistics:
    """Figures of a data set and one split of it."""
    events = dataset.interactions
    lengths = events.lengths
    in_train = split.train.item_counts()
    known = in_train + np.bincount(split.valid.targets.item, minlength=dataset.n_items)
    return DatasetStatistics(
        name=dataset.card.name,
        users=dataset.n_users,
        items=dataset.n_items,
        interactions=dataset.n_interactions,
        density=dataset.n_interactions / (dataset.n_users * dataset.n_items),
        mean_length=float(lengths.mean()),
        median_length=float(np.median(lengths)),
        max_length=int(lengths.max()),
        repeats=repeated_pairs(events),
        items_without_events=int(np.count_nonzero(events.item_counts() == 0)),
        tied_pairs=_tied_pairs(dataset),
        tied_test=None if split.test.is_tied is None else float(split.test.is_tied.mean()),
        order_in_ids=None if dataset.side is not None else _order_in_ids(split),
        test_queries=len(split.test),
        users_train_only=split.n_users_train_only,
        test_in_history=float(targets_in_history(split.test.histories, split.test.targets, dataset.n_items).mean()),
        valid_never_seen=int(np.count_nonzero(in_train[split.valid.targets.item] == 0)),
        test_never_seen=int(np.count_nonzero(known[split.test.targets.item] == 0)),
        test_not_in_train=int(np.count_nonzero(in_train[split.test.targets.item] == 0)),
        text_coverage={name: _coverage(dataset, name) for name in STANDARD_COLUMNS},
        items_of_equal_text=_items_of_equal_text(dataset),
        train_rows=int(np.count_nonzero(split.train.lengths)),
        is_of_sets=dataset.side is not None,
        notes=dict(split.notes),
    )


def targets_in_history(histories: Histories, targets: Targets, n_items: int) -> NDArray[np.bool_]:
    """For each target whether its query's history holds it, (number of targets,) bool."""
    seen = np.unique(histories.row_of_entry() * n_items + histories.item)
    asked = targets.row_of_entry() * n_items + targets.item
    return np.isin(asked, seen)


def _tied_pairs(dataset: Dataset) -> float | None:
    events = dataset.interactions
    if events.time is not TimeKind.SECONDS or dataset.notes.get(WITHIN_A_SECOND, 0):
        return None
    user = events.row_of_entry()
    is_pair = user[1:] == user[:-1]
    return float((events.timestamp[1:] == events.timestamp[:-1])[is_pair].mean()) if is_pair.any() else 0.0


def _order_in_ids(split: Split) -> float:
    n_users = len(split.user_ids)
    valid, test = _single_targets(split.valid, n_users), _single_targets(split.test, n_users)
    differ = (valid >= 0) & (test >= 0) & (valid != test)
    # Rows are numbered by sorted id.
    return float((test > valid)[differ].mean()) if differ.any() else 0.5


def _single_targets(part: SplitPart, n_users: int) -> LongArray:
    """Target of each user (n_users,); -1 where there is no query with exactly one."""
    single = np.flatnonzero(part.targets.lengths == 1)
    target = np.full(n_users, -1, dtype=np.int64)
    target[part.user[single]] = part.targets.item[part.targets.offsets[single]]
    return target


def _items_of_equal_text(dataset: Dataset) -> int:
    columns = [dataset.items.columns[name] for name in STANDARD_COLUMNS if name in dataset.items.columns]
    counts = Counter(texts for texts in zip(*columns, strict=True) if any(texts))
    return sum(count for count in counts.values() if count > 1)


def _coverage(dataset: Dataset, name: str) -> float:
    column = dataset.items.columns.get(name)
    return 0.0 if column is None else sum(value is not None for value in column) / max(len(column), 1)


def _described(items: ItemTable, name: str) -> str:
    """How many items have a value in a model column, and its digest."""
    column = items.model_columns.get(name)
    if column is None:
        return f"{name}: no item has a value here; models that need it are refused"
    return f"{name}: {sum(value is not None for value in column):,} of {len(column):,} items; digest {column_digest(items, name)[:12]}"


def _of_feature(name: str, table: Features) -> str:
    """How many items have a vector, and how wide these are."""
    return f"{name}: {int(table.is_present.sum()):,} of {len(table.is_present):,} items; {table.matrix.shape[1]} columns"


@dataclass(frozen=True)
class Finding:
    """One thing that `check` looked at."""

    what: str
    is_good: bool
    detail: str


def check(
    name_or_path: str,
    *,
    data_dir: Path | None,
    home: Path,
    progress: Progress,
    protocol_of: Callable[[DatasetCard], SplitProtocol],
    units_of: Callable[[DatasetCard], str] = lambda card: "users",  # noqa: ARG005 (so most data are called)
    fetch: bool = False,
) -> tuple[Finding, ...]:
    """Go through a data set and say what holds: its files, its size, the split of `protocol_of` its card, its texts.

    `units_of` a card says what its rows are, such as `bundles`.

    Never raises a `RecbenchError`; it is a finding.
    """
    findings = []
    step = "files"
    try:
        located = locate(name_or_path, data_dir=data_dir, home=home, progress=progress, fetch=fetch)
        findings.append(Finding("files", True, f"{located.origin}; content {located.content_key()[:12]}"))
        step, reader = "columns", load_reader(located.reader)
        if isinstance(reader, TellsColumns):
            texts = (*located.card.text_columns, *located.card.model_columns)
            told = reader.told(located.files, reader_options(reader, located.card), texts)
            findings.extend(Finding(step, True, line) for line in told)
        step = "counts"
        dataset = read_dataset(located, progress)
        entries = "interactions" if dataset.side is None else "pairs"
        counts = f"{dataset.n_users:,} {units_of(dataset.card)}, {dataset.n_items:,} items, {dataset.n_interactions:,} {entries}"
        stated = any(value is not None for value in dataset.card.counts.model_dump().values())
        findings.append(Finding("counts", True, counts + (", as the card states" if stated else "; the card states none")))
        findings.extend(Finding("note", True, f"{what}: {value}") for what, value in dataset.notes.items() if value)
        protocol = protocol_of(dataset.card)
        step = protocol.name
        split = make_split(dataset, protocol)
        findings.append(Finding(step, True, f"{len(split.test):,} test queries; test fingerprint {split.fingerprints.test[:12]}"))
        findings.extend(Finding("note", True, f"{what}: {noted(value)}") for what, value in split.notes.items() if value)
        findings.extend(Finding("feature", True, _of_feature(name, table)) for name, table in split.features.items())
        findings.append(Finding("item text", True, f"text fingerprint {split.fingerprints.item_text[:12]}"))
        findings.extend(Finding("model column", True, _described(dataset.items, name)) for name in dataset.card.model_columns)
    except RecbenchError as error:
        findings.append(Finding(step, False, str(error)))
    return tuple(findings)
