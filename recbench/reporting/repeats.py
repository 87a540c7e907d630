"""One protocol under several seeds of the split: what a small test part hides, for figures move from split to split."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from recbench.core.config import canonical_json
from recbench.core.ranking import View
from recbench.reporting.board import Board, Section, protocol_title
from recbench.reporting.grids import Grid, metric_title
from recbench.tasks import Task

_USUAL_SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, eq=False)
class Repeats:
    """Sections of one board that differ in the seed of their split alone.

    Attributes:
        option: of the protocol, that holds the seed.
        sections: in the order of their seeds.
    """

    option: str
    sections: tuple[Section, ...]

    @property
    def task(self) -> Task:
        """The question that was asked."""
        return self.sections[0].task

    @property
    def title(self) -> str:
        """The protocol without its seed."""
        protocol = self.sections[0].protocol
        others = {key: value for key, value in protocol.split_options.items() if key != self.option}
        return protocol_title(protocol.model_copy(update={"split_options": others}))

    @property
    def seeds(self) -> str:
        """The seeds, in words."""
        return ", ".join(str(section.protocol.split_options[self.option]) for section in self.sections)


def repeats(board: Board) -> list[Repeats]:
    """Protocols of a board under which some row stands for two or more seeds of the split; for seeds 0 to 4 where these are there."""
    found: dict[str, list[Section]] = {}
    for section in board.sections:
        option = section.task.protocol_of(section.protocol).rule.seed_option
        if option is not None:
            others = {key: value for key, value in section.protocol.split_options.items() if key != option}
            key = canonical_json([section.task.name, section.protocol.split, option, others, section.protocol.ties])
            found.setdefault(key, []).append(section)
    made = []
    for sections in found.values():
        option = str(sections[0].task.protocol_of(sections[0].protocol).rule.seed_option)
        by_seed = {section.protocol.split_options[option]: section for section in sections}
        # A row must stand under all of them: one more run under any other seed shall not empty the table.
        chosen = _USUAL_SEEDS if by_seed.keys() >= set(_USUAL_SEEDS) else sorted(by_seed)
        repeated = Repeats(option, tuple(by_seed[seed] for seed in chosen))
        if len(chosen) > 1 and over_seeds(repeated, repeated.task.main_view).rows:
            made.append(repeated)
    return made


def over_seeds(found: Repeats, view: View) -> Grid:
    """Mean and standard deviation over the seeds of the rows that stand under all of them, best first."""
    task = found.task
    values = [_values(section, task.interval_metrics, view) for section in found.sections]
    everywhere = [label for label in values[0] if all(label in other for other in values)]
    per_row = {label: [[split[label][m] for split in values] for m in range(len(task.interval_metrics))] for label in everywhere}
    main = task.interval_metrics.index(task.main_metric)
    order = sorted(everywhere, key=lambda label: (-statistics.fmean(per_row[label][main]), label))
    header = ("#", "Model", *map(metric_title, task.interval_metrics))
    rows = [(str(place), label, *(_spread(column) for column in per_row[label])) for place, label in enumerate(order, start=1)]
    return Grid(header, tuple(rows), words=("#", "Model"))


def _values(section: Section, metrics: Sequence[str], view: View) -> dict[str, list[float]]:
    """The metrics of every row that has all of them, by label."""
    found = {}
    for row in (board_row.row for board_row in section.rows):
        values = [row.mean(metric, view) for metric in metrics]
        if all(value is not None for value in values):
            found[row.label] = [value for value in values if value is not None]
    return found


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}"
