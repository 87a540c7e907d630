"""A console that shows text from data as it is and obeys none of it."""

from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from recbench.core.visible import visible


class VisibleConsole(Console):
    """Rich's console, whose every text goes through `visible`: the only escape sequences that come out are its own."""

    def render_str(self, text: str, **style: Any) -> Text:
        """A string as it is laid out; spelt out before its width is measured."""
        return super().render_str(visible(text), **style)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of anything that is printed; those that move the cursor are the console's own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def keep_whole(table: Table, *headers: str) -> Table:
    """The table, whose columns with these headers are neither cut nor folded: ids and names that somebody copies into a command.

    The other columns give way on a narrow terminal. Print it with `crop=False`: the terminal then folds what is too long even so.
    """
    for column in table.columns:
        if column.header in headers:
            texts = [str(column.header), *(Text.from_markup(visible(str(cell))).plain for cell in column.cells)]
            column.min_width, column.no_wrap = max(map(cell_len, texts)), True
    return table
