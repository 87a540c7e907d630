"""Numbers that somebody printed, as a model's card names them."""

from typing import Literal, TypeAlias

from pydantic import ConfigDict

from recbench.core.config import PlainValues
from recbench.core.ranking import View

Level: TypeAlias = Literal["item", "sid", "unknown"]
"""Level of a published score; docs/protocol.md tells the two apart."""


class Published(PlainValues):
    """A number somebody printed, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    preset: str = "paper"
    """The preset that follows the source's settings; only its rows get a verdict."""
    view: View | Literal["unknown"] = "unknown"
    level: Level = "unknown"
    """What the source compares with the target: `item`, or `sid`, the code of an item, which others may share."""
    metrics: dict[str, float]
    """Such as {"recall@10": 0.0605}, as fractions."""
    source: str
    kind: Literal["paper", "slides", "readme", "issue"]
    backbone: str | None = None
    """Text encoder or language model of the source, where one was used; its bare name, such as `sentence-t5-base`."""
    text: tuple[str, ...] | None = None
    """Columns of item text that the source read, such as ["title", "brand", "categories", "price"]; None: it does not say, or reads none.
    A model that reads text gets a verdict only where its run read the same columns."""
    note: str = ""
