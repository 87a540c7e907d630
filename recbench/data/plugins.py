"""Names of data sets and readers, found through entry points."""

import logging
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from recbench.core.config import canonical_json, explain, plain_value
from recbench.core.errors import BadConfig, UnknownPlugin, nearest, refuse_shortage
from recbench.data.card import DatasetCard, load_dataset_card, parse_card
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

    A name wins over a folder of the same name in the current folder; write `./NAME` for the folder. The name of generated data takes
    options of their reader, such as `demo:n_items=100,seed=3`; the card's own name then says those that change anything.

    Raises:
        UnknownPlugin: no card has that name; the message offers the nearest.
        DataUnavailable: a path leads to no folder of data.
        BadConfig: the card has a fault, or the reader has no such option.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return load_dataset_card(path)
    folder = own_folder(name_or_path)
    if folder is not None:
        return own_card(folder)
    cards = _card_files()
    name, colon, options = name_or_path.partition(":")
    if name not in cards:
        raise UnknownPlugin(
            f"No data set is called {name!r}.{nearest(name, cards)} Known: {', '.join(sorted(cards)) or 'none'}. "
            "Own data: give the path of a card or of a folder with interactions.parquet or .csv, or with bundles.parquet or .csv."
        )
    card = load_dataset_card(cards[name])
    if card.name != name:
        raise BadConfig(f"{cards[name]} says name = {card.name!r}. Name card and file alike.")
    return _with_options(card, options) if colon else card


def _with_options(card: DatasetCard, text: str) -> DatasetCard:
    """The card of generated data with other options, named by those that change anything, in the order of their names."""
    if not card.sources or any(source.kind != "generated" for source in card.sources):
        raise BadConfig(
            f"The data set {card.name!r} is not generated and takes no options, but {text!r} follows its name. Write {card.name}."
        )
    options = load_reader(card.reader).options
    where = f"The data set {card.name!r}"
    given: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise BadConfig(f"{where}: {part!r} is not of the form key=value. Options: {', '.join(options.model_fields)}.")
        if key in given:
            raise BadConfig(f"{where}: {key} is given twice. Give it once.")
        given[key] = plain_value(value)
    try:
        usual, meant = (options.model_validate({**card.options, **more}) for more in ({}, given))
    except ValidationError as error:
        raise explain(error, list(options.model_fields), where) from None
    changed = {key: getattr(meant, key) for key in sorted(given) if getattr(meant, key) != getattr(usual, key)}
    if not changed:
        return card
    spelt = ",".join(f"{key}={value if isinstance(value, str) else canonical_json(value)}" for key, value in changed.items())
    return parse_card({**card.model_dump(), "name": f"{card.name}:{spelt}", "options": {**card.options, **changed}}, where)


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
