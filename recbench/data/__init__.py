"""Data floor, from files to splits: cards, sources, readers, filters, protocols, fingerprints."""

from typing import TYPE_CHECKING

from recbench.core.on_demand import on_demand

if TYPE_CHECKING:
    from recbench.data.card import STANDARD_COLUMNS, DatasetCard, load_dataset_card
    from recbench.data.dataset import Dataset
    from recbench.data.fingerprints import column_digest
    from recbench.data.located import Located
    from recbench.data.location import locate
    from recbench.data.parts import Parts, SplitPart
    from recbench.data.plugins import dataset_card, dataset_names, load_reader, reader_names
    from recbench.data.protocol import SplitProtocol, SplitRule
    from recbench.data.reader import RawEvents, RawItems, Reader
    from recbench.data.reading import read_dataset
    from recbench.data.split import Split, make_split
    from recbench.data.statistics import DatasetStatistics, Finding, check, stats
else:
    __getattr__ = on_demand(__name__)

__all__ = [
    "STANDARD_COLUMNS",
    "Dataset",
    "DatasetCard",
    "DatasetStatistics",
    "Finding",
    "Located",
    "Parts",
    "RawEvents",
    "RawItems",
    "Reader",
    "Split",
    "SplitPart",
    "SplitProtocol",
    "SplitRule",
    "check",
    "column_digest",
    "dataset_card",
    "dataset_names",
    "load_dataset_card",
    "load_reader",
    "locate",
    "make_split",
    "read_dataset",
    "reader_names",
    "stats",
]
