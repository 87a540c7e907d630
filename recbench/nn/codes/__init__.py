"""Item codes: made of vectors, made unique, kept in a tree, and found again by a search."""

from typing import TYPE_CHECKING

from recbench.nn.on_demand import on_demand

if TYPE_CHECKING:
    from recbench.nn.codes.beam import StepDecoder
    from recbench.nn.codes.catalogue import ItemCodes, make_unique
    from recbench.nn.codes.quantize.hierarchical_kmeans import hierarchical_kmeans
    from recbench.nn.codes.quantize.settings import QuantizerSettings
    from recbench.nn.codes.search import batched_beam_search
    from recbench.nn.codes.stage import CodesStage, item_codes
    from recbench.nn.codes.trie import CodeTrie
else:
    __getattr__ = on_demand(__name__)

__all__ = [
    "CodeTrie", "CodesStage", "ItemCodes", "QuantizerSettings", "StepDecoder", "batched_beam_search",
    "hierarchical_kmeans", "item_codes", "make_unique",
]  # fmt: skip
