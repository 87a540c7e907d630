"""Tables for the terminal, drawn from the same plain data that `--json` prints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from recbench.core.config import by_dotted_name
from recbench.core.console import keep_whole
from recbench.core.model_card import ModelCard
from recbench.core.ranking import View
from recbench.core.records import ReferencePart, RunRecord
from recbench.core.tuning import RANDOM
from recbench.reporting import grids
from recbench.reporting.archive import StoredRun
from recbench.reporting.board import Section, protocol_title
from recbench.reporting.codes import PREFIX as CODE_FIGURES
from recbench.reporting.codes import CodeReport, LevelScores, has_codes, level_scores
from recbench.reporting.comparison import Comparison
from recbench.reporting.difference import Difference
from recbench.reporting.domination import PREFIX as SPACE_FIGURES
from recbench.reporting.domination import DominationReport, has_spaces
from recbench.reporting.grids import NOTHING, Grid, metric_title
from recbench.reporting.rows import Figure, Row, code_version, machine
from recbench.reporting.verdicts import PublishedFigure, published_figures
from recbench.tasks import find_task


@dataclass(frozen=True)
class RunLine:
    """One metric of one run, in each view of the task, beside what others published.

    Attributes:
        metric: such as `ndcg@10`.
        figures: what was measured; None where the view was not ranked.
        published: published values of this metric for the run's model and data set.
    """

    metric: str
    figures: Mapping[View, Figure | None]
    published: tuple[PublishedFigure, ...]


def run_lines(record: RunRecord, card: ModelCard | None) -> list[RunLine]:
    """A line per metric of a record, in the record's order, then one per published metric that was not measured."""
    row = Row(record.model.row_name, (StoredRun(record, Path(), ""),))
    against = published_figures(row, card)
    names = dict.fromkeys(name for metrics in record.metrics.values() for name in metrics)
    names |= dict.fromkeys(figure.metric for figure in against)
    return [
        RunLine(
            name,
            {view: row.figure(name, view) for view in row.task.views},
            tuple(figure for figure in against if figure.metric == name),
        )
        for name in names
    ]


def run_table(record: RunRecord, card: ModelCard | None, references: Sequence[ReferencePart] = ()) -> RenderableType:
    """Table of what a run measured beside what was published, its place among cheap references, and its cost."""
    task, lines = find_task(record.task), run_lines(record, card)
    has_published = any(line.published for line in lines)
    table = _table(
        "Metric",
        *(f"{view} [95 %]" for view in task.views),
        *(("Published", "Verdict") if has_published else ()),
        words=("Metric", "Verdict"),
    )
    notes = list(dict.fromkeys(_source_note(figure) for line in lines for figure in line.published))
    for line in lines:
        style = "bold" if line.metric == task.main_metric else None
        cells = [metric_title(line.metric), *map(grids.with_interval, line.figures.values())]
        if has_published:
            cells += [
                "\n".join(f"{figure.published:.4f} [{1 + notes.index(_source_note(figure))}]" for figure in line.published) or NOTHING,
                "\n".join(figure.verdict for figure in line.published),
            ]
        table.add_row(*map(escape, cells), style=style)
    title = f"{record.model.row_name} on {record.dataset.name}, {protocol_title(record.protocol)}, seed {record.seed}"
    # A title of the table itself would be folded to the table's width.
    sources = [Text(f"[{number}] {note}", style="dim") for number, note in enumerate(notes, start=1)]
    warning = [Text(f"{record.fit.undertrained}. These are not the figures of a trained model.", style="bold red")]
    return Group(
        Text(title, style="bold"),
        *(warning if record.fit.undertrained else ()),
        table,
        *sources,
        *_level_lines(record),
        *_reference_parts(record, references),
        Text(_cost_sentence(record), style="dim"),
    )


def _level_lines(record: RunRecord) -> list[Text]:
    """The main metric at code level in a line per view; none for a model without codes, and in records of before."""
    main = find_task(record.task).main_metric
    return [
        Text(
            f"At code level {metric_title(main)} {part.view} is {part.sid:.4f}"
            + ("" if part.inflation is None else f", {part.inflation:.3f} times item level with the items of a code in random order")
            + ". More with --codes.",
            style="dim",
        )
        for part in level_scores(record)
        if part.metric == main
    ]


def _reference_parts(record: RunRecord, references: Sequence[ReferencePart]) -> list[RenderableType]:
    """A table of references with the difference of the run from each, in words; nothing where there are none."""
    if not references:
        return []
    views = tuple(dict.fromkeys(part.view for part in references))
    title = f"{record.model.name} beside cheap references on the same split, {find_task(record.task).main_title}"
    table = _table("Reference", *(header for view in views for header in (view, f"difference {view} [95 %]", "")), words=("Reference", ""))
    by_reference: dict[str, dict[str, ReferencePart]] = {}
    for part in references:
        by_reference.setdefault(part.reference, {})[part.view] = part
    for reference, found in by_reference.items():
        cells = [cell for view in views for cell in _reference_cells(found.get(view))]
        table.add_row(*map(escape, (reference, *cells)))
    return [Text(title, style="italic"), keep_whole(table, "Reference")]


def _reference_cells(part: ReferencePart | None) -> tuple[str, str, str]:
    if part is None:
        return NOTHING, NOTHING, ""
    difference = part.difference
    interval = f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
    return f"{part.value:.4f}", interval, f"{part.verdict} {part.model}"


def _source_note(figure: PublishedFigure) -> str:
    reason = f"; {figure.verdict}: {figure.reason}" if figure.reason else ""
    return f"{figure.source} ({figure.kind}), view {figure.view}, {grids.level_title(figure.level)}{reason}"


def _cost_sentence(record: RunRecord) -> str:
    spent = record.cost
    units = find_task(record.task).words.units
    sizes = f"{record.targets.n_users:,} test {units}, {record.dataset.n_items:,} items."
    if spent is None:
        return f"{sizes} The lists were made elsewhere: their cost is not known."
    shared = f" Measured while {record.device.jobs} runs shared the machine." if record.device.jobs > 1 else ""
    return (
        f"{sizes} {record.fit.parameters:,} parameters, "
        f"{spent.train_s:,.1f} s of training, {spent.users_per_s:,.0f} {units}/s, "
        f"{grids.peak_memory(spent, on_device=record.device.type != 'cpu')} MiB at most."
        f"{''.join(f' The training took {phrase}.' for phrase in grids.consumed(spent))}"
        f"{shared} {machine(record)}."
    )


def comparison_table(comparison: Comparison) -> RenderableType:
    """Rows by data sets with the main metric in each view, then for each data set the paired tests against the best row."""
    sections = comparison.sections
    labels = dict.fromkeys(board_row.row.label for section in sections for board_row in section.rows)
    header = [f"{section.dataset.name} {view}" for section in sections for view in section.task.views]
    metrics = dict.fromkeys(section.task.main_title for section in sections)
    table = _table("Model", *header)
    for label in labels:
        table.add_row(escape(label), *(cell for section in sections for cell in _comparison_cells(section, label)))
    parts: list[RenderableType] = [Text(f"{' and '.join(metrics)} with 95 % intervals", style="italic"), keep_whole(table, "Model")]
    parts += [
        Text(f"{board_row.row.label} on {section.dataset.name}: {mark}", style="bold red")
        for section in sections
        for board_row in section.rows
        if (mark := board_row.row.undertrained)
    ]
    for section in sections:
        if section.tests:
            title = (
                f"{section.dataset.name}: {section.tests[0].best} against each other row, "
                f"{section.task.main_title} {section.task.main_view}, paired by {section.task.words.unit}"
            )
            parts.append(grid_table(grids.significance(section), title))
        parts.append(grid_table(grids.cost(section), f"{section.dataset.name}: cost"))
        if any(board_row.row.cost is not None and board_row.row.cost.is_shared for board_row in section.rows):
            parts.append(Text(f"{grids.DAGGER} Measured while several runs shared the machine: no basis for a comparison.", style="dim"))
    return Group(*parts)


def _comparison_cells(section: Section, label: str) -> list[str]:
    task = section.task
    for place, board_row in enumerate(section.rows):
        if board_row.row.label == label:
            main, *others = (escape(grids.with_interval(board_row.row.figure(task.main_metric, view))) for view in task.views)
            return [f"[bold]{main}[/]" if place == 0 else main, *others]
    return [NOTHING] * len(task.views)


def diff_table(rows: Sequence[Difference]) -> RenderableType:
    """Table of the differences between two runs, a line each."""
    if not rows:
        return "Nothing differs: settings, data, code, libraries, machine and figures are equal."
    table = _table("Area", "What", "First", "Second", "What it means", words=("Area", "What", "First", "Second", "What it means"))
    for row in rows:
        table.add_row(*map(escape, (row.area, row.name, row.first, row.second, row.note)))
    return table


def record_table(record: RunRecord, card: ModelCard | None = None, references: Sequence[ReferencePart] = ()) -> RenderableType:
    """A whole record for reading: figures, how it was made, settings, stages, groups of users, diagnostics."""
    fit, task = record.fit, find_task(record.task)
    facts = {
        "run": record.run_id,
        "command": " ".join(record.command),
        "started": record.started,
        "model": f"{record.model.row_name}, from {record.model.origin}",
        "data set": f"{record.dataset.title}: {record.dataset.n_users:,} {task.words.units}, {record.dataset.n_items:,} items",
        "protocol": protocol_title(record.protocol),
        "seed, budget": f"{record.seed}, {record.budget or 'unlimited'}",
        "code": code_version(record),
        "machine": machine(record),
        "training": f"{fit.steps:,} steps, {fit.epochs:.2f} epochs, {fit.examples_seen:,} examples"
        + (f" ({fit.passes:.2f} of each)" if fit.passes is not None else "")
        + f", stopped by {fit.stopped_by}"
        + (f", resumed at step {fit.resumed_at:,}" if fit.resumed_at is not None else ""),
        "settings from": _origin(record),
        "chosen": ", ".join(f"{key}={value}" for key, value in fit.chosen.items()) or NOTHING,
        "parameters": f"{fit.parameters:,}, {fit.parameters_trainable:,} trainable, {fit.parameters_embedding:,} in embeddings",
        "test fingerprint": record.fingerprints.test,
        "config hash": record.config_hash,
    }
    stages = _table("Stage", "Seconds", "Peak memory MiB", "Cache", words=("Stage", "Cache"))
    for stage in record.stages:
        memory = grids.peak_memory(stage, on_device=record.device.type != "cpu")
        stages.add_row(escape(stage.name), f"{stage.seconds:,.1f}", memory, "reused" if stage.reused else "computed")
    title = f"Group of {task.words.units}"
    groups = _table(title, "View", task.words.units.capitalize(), task.main_title, words=(title, "View"))
    for part in record.slices:
        if task.main_metric in part.metrics:
            interval = part.metrics[task.main_metric]
            figure = grids.with_interval(Figure(interval.value, interval.low, interval.high))
            groups.add_row(escape(f"{part.slice}: {part.group}"), part.view, f"{part.n:,}", escape(figure))
    beyond = {f"{name} {view}": grids.number(value) for view, figures in record.beyond.items() for name, value in figures.items()}
    apart = (CODE_FIGURES, SPACE_FIGURES)
    diagnostics = {name: _short(value) for name, value in record.diagnostics.items() if not name.startswith(apart)}
    if has_codes(record):
        diagnostics["item codes"] = "shown with --codes"
    if has_spaces(record):
        diagnostics["behaviour against text"] = "shown with --domination"
    settings = {key: str(value) for key, value in by_dotted_name(record.config).items()}
    tables = [_pairs("How it was made", facts), _pairs("Settings", settings), stages, groups]
    tables += [_pairs("Beyond accuracy", beyond), _pairs("Diagnostics", diagnostics)]
    return Group(run_table(record, card, references), *(table for table in tables if table.row_count))


def _origin(record: RunRecord) -> str:
    """Origin of the settings, or of the lists."""
    if record.foreign is not None:
        units = find_task(record.task).words.units
        missing = ", ".join(f"{count:,} in {view}" for view, count in record.foreign.users_without_list.items())
        return f"{record.foreign.file}, made by another toolkit; test {units} without a list: {missing}"
    if record.tuned is not None:
        found = record.tuned
        score = f"validation {metric_title(find_task(record.task).validation_metrics[0])} {found.score:.4f}"
        kind = "search" if found.sampler == RANDOM else f"{found.sampler} search"
        pruned = f", {found.pruned} of them pruned," if found.pruned is not None else ""
        return f"trial {found.trial} of {found.trials}{pruned} of a {kind} on {found.dataset}, {score}"
    return f"preset {record.model.preset}"


def codes_table(report: CodeReport) -> RenderableType:
    """Figures about item codes: a line per level, then those of whole codes."""
    has_largest = any(level.largest_prefix is not None for level in report.levels)
    has_purity = any(level.purity is not None for level in report.levels)
    has_variance = any(level.unexplained is not None for level in report.levels)
    header = ["Level", "Size", "Used", "Usage", "Entropy, bits", "Perplexity", "Prefixes", "Items per prefix"]
    header += ["at most"] if has_largest else []
    header += ["Variance left"] if has_variance else []
    header += ["Purity", "at random"] if has_purity else []
    table = _table(*header, words=("Level",))
    for level in report.levels:
        cells = [
            f"{level.level} (tells apart)" if level.is_extra else str(level.level),
            f"{level.size:,}",
            f"{level.used:,}",
            f"{level.usage:.1%}",
            f"{level.entropy:.2f}",
            f"{level.perplexity:,.1f}",
            f"{level.prefixes:,}",
            f"{level.items_per_prefix:,.1f}",
        ]
        cells += [_count(level.largest_prefix)] if has_largest else []
        cells += [_share(level.unexplained)] if has_variance else []
        cells += [_share(level.purity), _share(level.purity_random)] if has_purity else []
        table.add_row(*cells)
    parts: list[RenderableType] = [table, _pairs("Whole codes", _of_whole_codes(report))]
    if report.scores:
        parts += [_levels_table(report.scores), Text(_LEVELS_NOTE)]
    if has_purity:
        parts.append(
            Text("Purity: items whose category is the most common one under their prefix; at random: the same groups, items shuffled.")
        )
    return Group(*parts)


_LEVELS_NOTE = (
    "At code level a hit on the target's code counts, and all items of a code take one place. In lists: the metric of boards. Random, "
    "by row, worst, best: the items of a code in that order. Inflation: code level over random. Undecided: users whose list ends too soon."
)


def _levels_table(scores: Sequence[LevelScores]) -> RenderableType:
    """Scores at code level and at item level: a line per metric and view."""
    table = _table(
        "Metric",
        "View",
        "At code level",
        "In lists",
        "Random",
        "By row",
        "Worst",
        "Best",
        "Inflation",
        "Undecided",
        words=("Metric", "View"),
    )
    for part in scores:
        values = (part.sid, part.item, part.item_random, part.item_by_row, part.item_worst, part.item_best)
        inflation = NOTHING if part.inflation is None else f"{part.inflation:.3f}"
        table.add_row(metric_title(part.metric), part.view, *map(grids.number, values), inflation, f"{part.undecided:,}")
    return table


def domination_table(report: DominationReport) -> RenderableType:
    """Which of behaviour and text decides who is alike: a line per space."""
    table = _table(
        "Space", "Domination", "Overlap with behaviour", "with text", "CKA with behaviour", "with text", "Text's variance", words=("Space",)
    )
    for space in report.spaces:
        figures = space.overlap_collaborative, space.overlap_semantic, space.cka_collaborative, space.cka_semantic
        table.add_row(space.name, f"{space.index:+.2f}", *(f"{value:.3f}" for value in figures), _share(space.text_variance))
    note = (
        f"Domination: +1, the nearest items are those of the text; -1, those of behaviour. Behaviour and text themselves overlap by "
        f"{report.overlap_of_references:.3f}; chance is {report.chance:.4f}."
    )
    parts: list[RenderableType] = [table, Text(note)]
    if report.nmi_collaborative is not None and report.nmi_semantic is not None:
        parts.append(
            Text(
                f"Mutual information (normalised) of the codes' first token with clusters of behaviour {report.nmi_collaborative:.3f}, "
                f"of text {report.nmi_semantic:.3f}."
            )
        )
    return Group(*parts)


def _of_whole_codes(report: CodeReport) -> dict[str, str]:
    """Facts known of them, by name; records made before a figure was counted have no line for it."""
    has_number = report.numbered is not None
    has_level = not has_number and any(level.is_extra for level in report.levels)
    before = " before the number that tells apart" if has_number else " before the level that tells apart" if has_level else ""
    facts = {
        f"different codes{before}": f"{report.distinct:,} for {report.items:,} items",
        "items that share theirs with another": _share(report.colliding_share),
        "items in the largest such group": f"{report.largest_group:,}",
    }
    if report.targets_in_groups is not None:
        facts["test targets that share theirs"] = _share(report.targets_in_groups)
    if report.mean_1_over_g is not None:
        facts["mean over test targets of 1 / items of the code"] = grids.number(report.mean_1_over_g)
    if has_level:
        facts["items whose last code is not 0"] = _share(report.last_nonzero_share)
    counts = {
        "items with a number that tells apart": report.numbered,
        "different tokens in all codes": report.distinct_tokens,
        "codes with a token twice": report.repeated,
        "codes that are the beginning of another": report.prefix_of_another,
    }
    facts |= {name: _count(value) for name, value in counts.items() if value is not None}
    if report.is_unique is not None:
        facts["no two items have the same code"] = "yes" if report.is_unique else "no, some share theirs"
    return facts


def _count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def _short(value: float) -> str:
    return f"{value:,.4f}".rstrip("0").rstrip(".")


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1%}"


def grid_table(grid: Grid, title: str) -> RenderableType:
    """A grid as a terminal table under its title."""
    table = _table(*grid.header, words=grid.words)
    for row in grid.rows:
        table.add_row(*map(escape, row))
    return Group(Text(f"\n{title}", style="italic"), keep_whole(table, "Model"))


def _pairs(title: str, values: dict[str, str]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(escape(name), escape(value))
    return table


def _table(*header: str, words: Sequence[str] = ("Model", "Metric")) -> Table:
    table = Table(box=None, header_style="bold", title_justify="left", caption_justify="left")
    for name in header:
        # Folded where a terminal is too narrow: a figure or hash that is cut says something else.
        table.add_column(escape(name), justify="left" if name in words else "right", overflow="fold")
    return table
