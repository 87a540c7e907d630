"""Figures of a record beside those of another measurement of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from recbench.running.after.evaluate import Difference


def differences_table(differences: "Sequence[Difference]", again: str) -> "Table":
    """A row per metric and view; `again` is the heading of the figures that were measured later."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("view", "metric", "record", again, "difference", box=None, header_style="bold")
    for row in differences:
        table.add_row(
            escape(row.view), escape(row.metric), f"{row.recorded:.4f}", f"{row.repeated:.4f}", f"{row.repeated - row.recorded:+.2e}"
        )
    return table
