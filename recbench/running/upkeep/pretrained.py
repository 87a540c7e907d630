"""`recbench cache add`: pretrained models out of installed packages, converted into the cache."""

from dataclasses import dataclass
from pathlib import Path

from recbench.core.errors import BadRequest, nearest
from recbench.nn.text.names import SMOLLM2
from recbench.running.host.workplace import Workplace


@dataclass(frozen=True)
class AddedModel:
    """A pretrained model in the cache.

    Attributes:
        name: name in records, with the release.
        folder: folder of its files.
        is_new: whether it was converted now.
    """

    name: str
    folder: Path
    is_new: bool


def add_pretrained(name: str, workplace: Workplace, *, again: bool = False) -> AddedModel:
    """The model of a name in the cache of `workplace`, converted unless it is there.

    Args:
        name: as settings write it.
        workplace: its cache and its progress.
        again: convert even where it is there.

    Raises:
        BadRequest: nothing is called so, or what the conversion needs is missing.
    """
    if name != SMOLLM2:
        raise BadRequest(f"Nothing is called {name!r} that could be added to the cache.{nearest(name, [SMOLLM2])} Known: {SMOLLM2}.")
    from recbench.nn.text.smollm2 import convert

    converted, is_new = convert(workplace.home, workplace.progress, again=again)
    return AddedModel(converted.revision, converted.folder, is_new)
