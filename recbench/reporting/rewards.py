"""What a test rewards, in sentences: how many targets could be found without learning, how many cheap models find, what training adds.

Every figure follows from the records of a board; what they do not hold is left out.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from recbench.core.records import SlicePart
from recbench.evaluation.metrics import METRICS
from recbench.reporting.board import Section
from recbench.reporting.rows import Row
from recbench.tasks.shortcuts import Shortcuts, percent


def rewards(section: Section) -> list[str]:
    """Paragraphs in plain words: what leads to the targets, and what is found; none for a task that knows no shortcuts."""
    if section.task.shortcuts is None:
        return []
    evidence = _Evidence(section, section.task.shortcuts)
    targets = section.rows[0].row.record.targets
    leads = [*_relations(evidence), *section.task.shortcuts.beside(targets)]
    return [" ".join(leads), " ".join([*_found(evidence), *_by_group(evidence)])]


@dataclass(frozen=True, eq=False)
class _Evidence:
    """The rows of a section that a paragraph speaks of, with their figures in the main view."""

    section: Section
    shortcuts: Shortcuts

    @cached_property
    def is_single(self) -> bool:
        """Whether every user has one target, so that shares of users are shares of targets."""
        targets = self.section.rows[0].row.record.targets
        return targets.n_targets == targets.n_users

    @cached_property
    def rows(self) -> list[Row]:
        """Those made here that have the metric, best first."""
        rows = [board_row.row for board_row in self.section.rows]
        return [row for row in rows if row.record.foreign is None and row.has(self.shortcuts.metric, self.section.task.main_view)]

    @cached_property
    def cheap(self) -> dict[str, Row]:
        """The best row of each model that takes a shortcut, by the words for it."""
        best = {row.record.model.name: row for row in reversed(self.rows)}
        return {words: best[model] for model, words in self.section.shortcuts.items() if model in best}

    @cached_property
    def cheapest(self) -> str | None:
        """The words for the shortcut that finds most; None where no model of the board takes one."""
        return max(self.cheap, key=lambda words: self.share(self.cheap[words]), default=None)

    @cached_property
    def trained(self) -> Row | None:
        """The best row with weights that were trained; None where there is none."""
        return next((row for row in self.rows if row.record.fit.parameters_trainable > 0), None)

    def share(self, row: Row) -> float:
        """What one of the rows finds."""
        value = row.mean(self.shortcuts.metric, self.section.task.main_view)
        return 0.0 if value is None else value

    def groups(self, row: Row) -> dict[str, list[SlicePart]]:
        """What each seed has in each group that targets fall into; empty for records made before there were such groups."""
        found: dict[str, list[SlicePart]] = {}
        for run in row.runs:
            for part in run.record.slices:
                if (part.slice, part.view) == (self.shortcuts.slice, self.section.task.main_view):
                    found.setdefault(part.group, []).append(part)
        return found

    def share_in(self, row: Row, group: str) -> float | None:
        """What a row finds in one group, mean over the seeds; None where not every seed's record has it."""
        parts = self.groups(row).get(group, [])
        values = [part.metrics[self.shortcuts.metric].value for part in parts if self.shortcuts.metric in part.metrics]
        return statistics.fmean(values) if len(values) == len(row.runs) else None


def _relations(evidence: _Evidence) -> Iterator[str]:
    """How the targets are spread over the groups."""
    groups = next((found for row in evidence.rows if (found := evidence.groups(row))), None)
    if groups is None:
        return
    n_users, units = evidence.section.rows[0].row.record.targets.n_users, evidence.section.task.words.units
    *ways, (nothing, none_way) = evidence.shortcuts.ways.items()
    share = {group: percent(parts[0].n / n_users) for group, parts in groups.items()}
    told = [(share[group], way) for group, way in ways if group in share]
    left = groups[nothing][0].n / n_users if nothing in groups else 0.0
    lead = "How the targets relate to the last item of the history"
    if evidence.is_single:
        yield f"{lead}: {', '.join(f'{part} {way}' for part, way in told)}." if told else f"{lead}:"
        yield f"{'Most' if left > 1 / 2 else 'The others'} ({percent(left)}) {none_way}." if left else "That is every target."
        return
    # A user with several targets counts in several groups.
    told += [(share[nothing], none_way)] if left else []
    (part, way), *others = told
    clauses = [f"{part} of the {units} have a target that {way}", *(f"{part} one that {way}" for part, way in others)]
    yield f"{lead}: {', '.join(clauses)}."


def _found(evidence: _Evidence) -> Iterator[str]:
    """What the cheap models and the best trained row find, and which of them the board lacks."""
    section, trained = evidence.section, evidence.trained
    finders = list(evidence.cheap.items())
    if trained is not None:
        finders.append(("the best trained row", trained))
    if finders:
        whose = "of the targets" if evidence.is_single else f"of a {section.task.words.unit}'s targets, on average"
        (words, row), *others = finders
        clauses = [f"{words} ({row.label}) finds {percent(evidence.share(row))} {whose}"]
        clauses += [f"{words} ({row.label}) {percent(evidence.share(row))}" for words, row in others]
        places = METRICS.parse(evidence.shortcuts.metric)[1]
        yield f"In the first {places} places (view {section.task.main_view}) {', '.join(clauses)}."
    if trained is not None and evidence.cheapest is not None:
        yield _comparison(evidence.share(trained), evidence.share(evidence.cheap[evidence.cheapest]), evidence.cheapest)
    missing = [f"{words} ({model})" for model, words in section.shortcuts.items() if words not in evidence.cheap]
    if missing:
        yield f"The view {section.task.main_view} has no row of {' or '.join(missing)}."
    if trained is None:
        yield f"No row of the view {section.task.main_view} was trained here."


def _comparison(trained: float, cheap: float, words: str) -> str:
    if percent(trained) == percent(cheap):
        return f"The trained row finds as many as {words}, to the decimal shown."
    if trained < cheap:
        return f"The trained row finds fewer than {words}."
    return "The trained row finds more than any of these shortcuts" + (
        f", {trained / cheap:.2f} times as many as {words}." if cheap else "."
    )


def _by_group(evidence: _Evidence) -> Iterator[str]:
    """What the best trained row and the best shortcut find where the first way leads and where none does."""
    trained = evidence.trained
    if trained is None:
        return
    first, *_, last = evidence.shortcuts.ways
    clauses = []
    for group in (first, last):
        learnt = evidence.share_in(trained, group)
        cheap = None if evidence.cheapest is None else evidence.share_in(evidence.cheap[evidence.cheapest], group)
        if learnt is not None:
            beside = "" if cheap is None else f" ({evidence.cheapest}: {percent(cheap)})"
            clauses.append(f'{percent(learnt)} of those in the group "{group}"{beside}')
    if clauses:
        yield f"Of the targets, the trained row finds {' and '.join(clauses)}."
    inside, all_found = evidence.share_in(trained, first), evidence.share(trained)
    if inside is not None and all_found > 0 and evidence.is_single:
        n_inside, n_users = evidence.groups(trained)[first][0].n, trained.record.targets.n_users
        share = inside * n_inside / (all_found * n_users)
        lead = f"Most of what it finds ({percent(share)}) is" if share > 1 / 2 else f"Of what it finds {percent(share)} is"
        yield f'{lead} in the group "{first}".'
