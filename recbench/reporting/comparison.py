"""Several runs side by side: `recbench compare`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbench.core.errors import BadRequest, SplitMismatch
from recbench.core.model_card import ModelCard
from recbench.core.tabular import Tabular
from recbench.reporting.archive import StoredRun
from recbench.reporting.board import Section, lines_of, make_sections, protocol_title, section_key

if TYPE_CHECKING:
    import pandas as pd

    from recbench.evaluation import PairedComparison


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Tabular):
    """Rows on one or more data sets, one section per data set, and the paired tests in each."""

    sections: tuple[Section, ...]

    @property
    def tests(self) -> "dict[str, tuple[PairedComparison, ...]]":
        """Per data set the best row against every other."""
        return {section.dataset.name: section.tests for section in self.sections}

    def tests_to_frame(self) -> "pd.DataFrame":
        """The paired tests, a line each: the best row minus another, with the 95 % interval and p before and after Holm's correction."""
        import pandas as pd

        columns = ["dataset", "best", "other", "difference", "low", "high", "p", "p_holm", "n_users"]
        lines = [
            (
                name,
                test.best,
                test.other,
                test.difference.value,
                test.difference.low,
                test.difference.high,
                test.p,
                test.p_holm,
                test.n_users,
            )
            for name, tests in self.tests.items()
            for test in tests
        ]
        return pd.DataFrame(lines, columns=columns)

    def costs_to_frame(self) -> "pd.DataFrame":
        """What each row cost, a line each, means over its seeds: parameters, seconds of training, users ranked per second, peak memory."""
        import pandas as pd

        columns = ["dataset", "model", "parameters", "train_s", "users_per_s", "peak_memory_bytes", "machine"]
        rows = [(section.dataset.name, board_row.row) for section in self.sections for board_row in section.rows]
        return pd.DataFrame(
            [(dataset, row.label, *(getattr(row.cost, name) for name in columns[2:])) for dataset, row in rows if row.cost is not None],
            columns=columns,
        )

    def _headline(self) -> str:
        tables = (f"{len(section.rows)} rows on {section.dataset.name}" for section in self.sections)
        return ", ".join(tables)

    def _lines(self) -> list[dict[str, Any]]:
        return lines_of(self.sections)


def compare_runs(folders: Sequence[Path], cards: Mapping[str, ModelCard] | None = None) -> Comparison:
    """The runs of these folders as rows and sections, as a board would show them; seeds of one setting are merged.

    Args:
        folders: finished run folders, in any order.
        cards: of the models, where published numbers and missing baselines are wanted.

    Raises:
        BadRequest: there is no run.
        SplitMismatch: runs on one data set differ in protocol, order of ties, test part or item text.
    """
    if not folders:
        raise BadRequest("There is no finished run to compare. Start some with: recbench compare --models A,B --datasets X")
    groups: dict[str, list[StoredRun]] = {}
    for run in sorted((StoredRun.open(folder) for folder in folders), key=lambda run: run.record.run_id):
        groups.setdefault(run.record.dataset.name, []).append(run)
    for members in groups.values():
        _refuse_mixed_protocols(members)
    return Comparison(tuple(make_sections([groups[name] for name in sorted(groups)], cards or {})))


def _refuse_mixed_protocols(runs: Sequence[StoredRun]) -> None:
    first = runs[0].record
    for record in (run.record for run in runs):
        if section_key(record) != section_key(first):
            raise SplitMismatch(
                f"{first.run_id} and {record.run_id} cannot be compared: one follows {protocol_title(first.protocol)}, "
                f"the other {protocol_title(record.protocol)}. Run one of them again with the other's --protocol and --ties."
            )
