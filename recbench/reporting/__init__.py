"""Leaderboards, tables and plots, all from records. No torch, no model, no run is started here."""

from recbench.reporting.archive import Fault, StoredRun
from recbench.reporting.board import Board, make_boards
from recbench.reporting.publish import PublishResult, Skipped, publish
from recbench.reporting.verify import VerifyReport, inspect_boards, verify

__all__ = [
    "Board",
    "Fault",
    "PublishResult",
    "Skipped",
    "StoredRun",
    "VerifyReport",
    "inspect_boards",
    "make_boards",
    "publish",
    "verify",
]
