"""Leaderboards, tables and plots, all from records. No torch, no model, no run is started here."""

from typing import TYPE_CHECKING

from recbench.core.on_demand import on_demand

if TYPE_CHECKING:
    from recbench.reporting.archive import Fault, StoredRun, record_folders
    from recbench.reporting.board import Board, BoardRow, MissingBaseline, Section, make_boards, published_board
    from recbench.reporting.codes import CodeReport, LevelFigures, code_report
    from recbench.reporting.comparison import Comparison, compare_runs
    from recbench.reporting.difference import Difference, diff
    from recbench.reporting.domination import DominationReport, SpaceFigures, domination_report
    from recbench.reporting.export import FORMATS, export_board
    from recbench.reporting.hub_page import DataTerms, shared_card
    from recbench.reporting.plots import plot_board, plot_codes, plot_comparison, plot_domination, plot_run
    from recbench.reporting.publishing import PublishResult, Skipped, publish
    from recbench.reporting.recompute import faults_of_record
    from recbench.reporting.remeasuring import Remeasured, remeasure, remeasure_runs
    from recbench.reporting.rows import Cost, Figure, Row
    from recbench.reporting.submission import Known, SubmissionReport, accept_submissions, check_submissions, write_submission
    from recbench.reporting.terminal import (
        RunLine,
        codes_table,
        comparison_table,
        diff_table,
        domination_table,
        record_table,
        run_lines,
        run_table,
    )
    from recbench.reporting.verdicts import PublishedFigure
    from recbench.reporting.verification import VerifyReport, inspect_boards, verify
else:
    __getattr__ = on_demand(__name__)

__all__ = [
    "FORMATS",
    "Board",
    "BoardRow",
    "CodeReport",
    "Comparison",
    "Cost",
    "DataTerms",
    "Difference",
    "DominationReport",
    "Fault",
    "Figure",
    "Known",
    "LevelFigures",
    "MissingBaseline",
    "PublishResult",
    "PublishedFigure",
    "Remeasured",
    "Row",
    "RunLine",
    "Section",
    "Skipped",
    "SpaceFigures",
    "StoredRun",
    "SubmissionReport",
    "VerifyReport",
    "accept_submissions",
    "check_submissions",
    "code_report",
    "codes_table",
    "compare_runs",
    "comparison_table",
    "diff",
    "diff_table",
    "domination_report",
    "domination_table",
    "export_board",
    "faults_of_record",
    "inspect_boards",
    "make_boards",
    "plot_board",
    "plot_codes",
    "plot_comparison",
    "plot_domination",
    "plot_run",
    "publish",
    "published_board",
    "record_folders",
    "record_table",
    "remeasure",
    "remeasure_runs",
    "run_lines",
    "run_table",
    "shared_card",
    "verify",
    "write_submission",
]
