"""Data floor, from files to splits: cards, sources, readers, filters, protocols, fingerprints."""

from recbench.data.card import STANDARD_COLUMNS, DatasetCard, load_dataset_card
from recbench.data.dataset import Dataset
from recbench.data.fingerprints import column_digest
from recbench.data.located import Located
from recbench.data.location import locate
from recbench.data.plugins import dataset_card, dataset_names, load_reader, reader_names
from recbench.data.reader import RawEvents, RawItems, Reader
from recbench.data.reading import read_dataset
from recbench.data.split import Parts, Split, SplitPart, SplitProtocol, SplitRule, make_split
from recbench.data.statistics import DatasetStatistics, Finding, check, stats

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
