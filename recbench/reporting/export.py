"""A board for a spreadsheet (CSV, full precision) or a paper (LaTeX with booktabs, four decimals)."""

import csv
import io
from typing import Any, Literal

from recbench.core.errors import BadRequest
from recbench.core.ranking import View
from recbench.core.records import ON_REQUEST
from recbench.core.visible import visible
from recbench.evaluation.metrics import METRICS
from recbench.reporting.board import Board, BoardRow, Section
from recbench.reporting.grids import metric_title, with_std

Format = Literal["csv", "latex"]
FORMATS: tuple[Format, ...] = ("csv", "latex")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "±": r"$\pm$",
    "†": r"\textdagger{}",
}


def export_board(board: Board, file_format: str) -> str:
    """The text of one board: `csv` holds every figure in full precision, `latex` one booktabs table per protocol.

    Raises:
        BadRequest: another format.
    """
    if file_format == "csv":
        return _csv(board)
    if file_format == "latex":
        return "\n".join(_latex(section) for section in board.sections)
    raise BadRequest(f"A board cannot be exported as {file_format!r}. Choose one of: {', '.join(FORMATS)}.")


def _csv(board: Board) -> str:
    stream = io.StringIO()
    lines = [_values(board, section, board_row) for section in board.sections for board_row in section.rows]
    writer = csv.DictWriter(stream, fieldnames=list(dict.fromkeys(name for line in lines for name in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return visible(stream.getvalue())


def _values(board: Board, section: Section, board_row: BoardRow) -> dict[str, Any]:
    """One line of the CSV; an empty field where there is no value."""
    row = board_row.row
    record, spent = row.record, row.cost
    values: dict[str, Any] = {
        "dataset": board.name,
        "protocol": section.title,
        "model": record.model.name,
        "preset": record.model.preset,
        "row": row.label,
        "badge": board_row.badge,
        "seeds": " ".join(str(run.record.seed) for run in row.runs),
        "config_hash": record.config_hash,
        "test_fingerprint": section.test_fingerprint,
    }
    task = section.task
    for view in task.views:
        for metric in task.board_metrics:
            values[f"{metric}_{view}"] = row.mean(metric, view)
            values[f"{metric}_{view}_std"] = row.std(metric, view)
            if metric in task.interval_metrics:
                figure = row.figure(metric, view)
                values[f"{metric}_{view}_low"] = figure and figure.low
                values[f"{metric}_{view}_high"] = figure and figure.high
                code = row.code_figure(metric, view)
                values[f"{metric}_{view}_code_level"] = code and code.value
    values |= {
        "parameters": spent and spent.parameters,
        "train_s": spent and spent.train_s,
        "users_per_s": spent and spent.users_per_s,
        "peak_memory_bytes": spent and spent.peak_memory_bytes,
        "peak_device_memory_bytes": spent and spent.peak_device_memory_bytes,
        **({} if spent is None else {name: value for name in ON_REQUEST if (value := getattr(spent, name)) is not None}),
        "cost_is_shared": spent and spent.is_shared,
        "marks": "; ".join(board_row.marks(task.main_view)),
        "records": " ".join(run.record.run_id for run in row.runs),
    }
    return values


def _latex(section: Section) -> str:
    task = section.task
    columns = [(metric, view) for view in task.views for metric in task.paper_metrics]
    n = len(task.paper_metrics)
    groups = " & ".join(rf"\multicolumn{{{n}}}{{c}}{{{view}}}" for view in task.views)
    rules = " ".join(rf"\cmidrule(lr){{{2 + n * index}-{1 + n * (index + 1)}}}" for index in range(len(task.views)))
    names = " & ".join(metric_title(metric) for metric, _ in columns)
    best = {(metric, view): _best(section, metric, view) for metric, view in columns}
    caption = f"{latex_escape(section.dataset.title)}: {latex_escape(section.title)}. Best {task.main_title} first"
    deviation = r", $\pm$ the standard deviation over seeds" if any(len(row.row.runs) > 1 for row in section.rows) else ""
    lines = [
        f"% {section.dataset.name}: {visible(section.title, one_line=True)}; test fingerprint {section.test_fingerprint}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption} (view \texttt{{{task.main_view}}}); bold is the best of a column{deviation}.}}",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        rf" & {groups} \\",
        rules,
        rf"Model & {names} \\",
        r"\midrule",
    ]
    for board_row in section.rows:
        cells = [_latex_cell(board_row, metric, view, best[metric, view]) for metric, view in columns]
        lines.append(rf"{latex_escape(board_row.row.label)} & {' & '.join(cells)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _best(section: Section, metric: str, view: View) -> float | None:
    values = [value for board_row in section.rows if (value := board_row.row.mean(metric, view)) is not None]
    return (max if METRICS.parse(metric)[0].higher_is_better else min)(values, default=None)


def _latex_cell(board_row: BoardRow, metric: str, view: View, best: float | None) -> str:
    text = latex_escape(with_std(board_row.row, metric, view))
    value = board_row.row.mean(metric, view)
    return rf"\textbf{{{text}}}" if value is not None and value == best else text


def latex_escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in " ".join(visible(text).split()))
