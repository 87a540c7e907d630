"""Item codes: made of vectors, made unique, kept in a tree, and found again by a search."""

from typing import TYPE_CHECKING

from recbench.core.on_demand import on_demand

if TYPE_CHECKING:
    from recbench.nn.codes.beam import StepDecoder
    from recbench.nn.codes.catalogue import ItemCodes, make_unique
    from recbench.nn.codes.from_lists import codes_from_lists
    from recbench.nn.codes.product_stage import product_codes
    from recbench.nn.codes.quantize.balanced_kmeans import balanced_kmeans
    from recbench.nn.codes.quantize.hierarchical_kmeans import hierarchical_kmeans
    from recbench.nn.codes.quantize.one_thread import one_thread
    from recbench.nn.codes.quantize.quantized import Quantized
    from recbench.nn.codes.quantize.reassignment import reassign_last_level
    from recbench.nn.codes.quantize.rqvae import RqvaeExtension, train_rqvae
    from recbench.nn.codes.quantize.scaling import scaled
    from recbench.nn.codes.quantize.settings import ProductSettings, QuantizerSettings, RQVAESettings, SinkhornSettings
    from recbench.nn.codes.quantize.sinkhorn import sinkhorn_codes
    from recbench.nn.codes.search import batched_beam_search
    from recbench.nn.codes.stage import CodesStage, content_key, item_codes
    from recbench.nn.codes.trie import CodeTrie
    from recbench.nn.codes.unique_stage import unique_codes
else:
    __getattr__ = on_demand(__name__)

__all__ = [
    "CodeTrie", "CodesStage", "ItemCodes", "ProductSettings", "Quantized", "QuantizerSettings", "RQVAESettings", "RqvaeExtension",
    "SinkhornSettings", "StepDecoder", "balanced_kmeans", "batched_beam_search", "codes_from_lists", "content_key",
    "hierarchical_kmeans", "item_codes", "make_unique", "one_thread", "product_codes", "reassign_last_level", "scaled",
    "sinkhorn_codes", "train_rqvae", "unique_codes",
]  # fmt: skip
