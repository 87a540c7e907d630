"""Names of data sets and readers, found through entry points."""

import logging
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from recbench.core.errors import BadConfig, UnknownPlugin, nearest, refuse_shortage
from recbench.data.card import DatasetCard, load_dataset_card
from recbench.data.folders import own_card

if TYPE_CHECKING:
    from recbench.data.reader import Reader

log = logging.getLogger(__name__)

READERS = "recbench.readers"
DATASETS = "recbench.datasets"


def dataset_names() -> list[str]:
    """All data sets that have a card, sorted."""
    return sorted(_card_files())


def dataset_card(name_or_path: str) -> DatasetCard:
    """The card of a named data set, the one in a TOML file, or that of a folder of ready data.

    A name wins over a folder of the same name in the current folder; write `./NAME` for the folder.

    Raises:
        UnknownPlugin: no card has that name; the message offers the nearest.
        DataUnavailable: a path leads to no folder of data.
        BadConfig: the card has a fault.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return load_dataset_card(path)
    folder = own_folder(name_or_path)
    if folder is not None:
        return own_card(folder)
    cards = _card_files()
    if name_or_path not in cards:
        raise UnknownPlugin(
            f"No data set is called {name_or_path!r}.{nearest(name_or_path, cards)} Known: {', '.join(sorted(cards)) or 'none'}. "
            "Own data: give the path of a card or of a folder with interactions.parquet or .csv, or with bundles.parquet or .csv."
        )
    card = load_dataset_card(cards[name_or_path])
    if card.name != name_or_path:
        raise BadConfig(f"{cards[name_or_path]} says name = {card.name!r}. Name card and file alike.")
    return card


def own_folder(name_or_path: str) -> Path | None:
    """The folder that is meant, there or not; None for a name and for a card."""
    path = Path(name_or_path)
    if path.suffix == ".toml" or name_or_path in _card_files():
        return None
    return path if len(path.parts) > 1 or path.is_dir() else None


def reader_names() -> list[str]:
    """All readers, sorted."""
    return sorted({point.name for point in entry_points(group=READERS)})


def load_reader(name: str) -> "Reader":
    """The reader of that name; unknown ones are an `UnknownPlugin`, two of one name a `BadConfig`."""
    points = [point for point in entry_points(group=READERS) if point.name == name]
    if not points:
        known = reader_names()
        raise UnknownPlugin(f"No reader is called {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
    if len({point.value for point in points}) > 1:
        raise BadConfig(f"The reader {name!r} is claimed twice: by {_claimants(points)}. Uninstall one of them.")
    try:
        reader: Reader = points[0].load()
    except Exception as error:
        refuse_shortage(error)
        raise BadConfig(f"The reader {name!r} ({_claimants(points)}) cannot be imported: {error!r}. Reinstall or remove it.") from error
    return reader


def _card_files() -> dict[str, Path]:
    """Card file by data set name, over all installed folders of cards."""
    found: dict[str, Path] = {}
    for point in sorted(entry_points(group=DATASETS), key=lambda point: (point.name, point.value)):
        try:
            package = point.load()
        except Exception as error:
            refuse_shortage(error)
            log.warning("The data sets of %s cannot be listed: %r. Reinstall or remove it.", _claimants([point]), error)
            continue
        for folder in package.__path__:
            # An editable install adds a placeholder that is not a folder.
            for path in sorted(Path(folder).glob("*.toml")) if Path(folder).is_dir() else ():
                if path.stem in found and not path.samefile(found[path.stem]):
                    raise BadConfig(f"The data set {path.stem!r} is claimed twice: by {found[path.stem]} and {path}. Remove one of them.")
                found[path.stem] = path
    return found


def _claimants(points: list[EntryPoint]) -> str:
    return " and ".join(sorted(f"{point.dist.name if point.dist else 'unknown'} ({point.value})" for point in points))
