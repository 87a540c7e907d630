"""Finding the files of a data set, which are fetched if need be."""

import logging
from collections.abc import Mapping
from pathlib import Path

from recbench.core.progress import Progress
from recbench.data.card import DatasetCard
from recbench.data.folders import ready_files, ready_reader
from recbench.data.located import Located
from recbench.data.plugins import dataset_card, own_folder
from recbench.data.sources import obtain

log = logging.getLogger(__name__)


def locate(name_or_path: str, *, data_dir: Path | None, home: Path, progress: Progress, fetch: bool = True, force: bool = False) -> Located:
    """Find a data set: in `data_dir`, in the cache under `home`, then from the sources of its card.

    Args:
        name_or_path: a data set's name, the path of a card, or a folder with interactions.parquet or .csv, or with bundles.parquet or .csv.
        data_dir: folder of ready data sets, `NAME/interactions.parquet` and `NAME/items.parquet`.
        home: cache folder; downloads go to `home/datasets/NAME`.
        fetch: whether sources may be downloaded.
        force: download again what the cache holds.

    Raises:
        UnknownPlugin: there is no such name.
        DataUnavailable: no source gave the files; the message says why, source by source.
    """
    card = dataset_card(name_or_path)
    own = own_folder(name_or_path)
    if own is not None:
        return Located(card, str(own), ready_files(own, card))
    if data_dir is not None and not data_dir.is_dir():
        log.warning("%s (--data-dir or RECBENCH_DATA) is no folder; looking elsewhere for %s", data_dir, card.name)
    folders = [] if data_dir is None else [data_dir / card.name]
    if not force:
        for folder in [*folders, home / "datasets" / card.name]:
            files = ready_files(folder, card)
            if files:
                return Located(_ready_card(card, files), str(folder), files)
    return obtain(card, folders, home / "datasets" / card.name, progress, asked=name_or_path, fetch=fetch, force=force)


def _ready_card(card: DatasetCard, files: Mapping[str, Path]) -> DatasetCard:
    return card.model_copy(update={"reader": ready_reader(files), "options": {}, "filters": ()})
