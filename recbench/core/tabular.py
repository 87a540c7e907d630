"""Results that a notebook shows as a table, and pandas takes as a frame."""

import html
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class Tabular:
    """A result with a name of one line and figures in flat lines, which all have the same keys."""

    def _headline(self) -> str:
        """The result in a few words."""
        raise NotImplementedError

    def _lines(self) -> list[dict[str, Any]]:
        """One line per figure: whose it is, then `view`, `metric`, `value`, `low` and `high`."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._headline()}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._headline())}</p>{self.to_frame().to_html(index=False, max_rows=60)}"

    def to_frame(self) -> "pd.DataFrame":
        """The figures as a frame, a line each: whose it is, `view`, `metric`, `value`, and `low` and `high` of its 95 % interval."""
        import pandas as pd

        return pd.DataFrame(self._lines())
