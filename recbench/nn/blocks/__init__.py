"""Networks and parts of networks: T5, causal decoders, self-attention over histories, blocks over sets, the seq2seq over item codes."""

from typing import TYPE_CHECKING

from recbench.core.on_demand import on_demand

if TYPE_CHECKING:
    from recbench.nn.blocks.attention_blocks import BlockSettings, BlockStack, initialise
    from recbench.nn.blocks.causal_decoder import CausalDecoder
    from recbench.nn.blocks.encoder_settings import EncoderSettings
    from recbench.nn.blocks.history_recommender import HistoryEncoder, HistoryRecommender
    from recbench.nn.blocks.seq2seq.examples import CodeTraining, Examples
    from recbench.nn.blocks.seq2seq.generator import CodeGenerator
    from recbench.nn.blocks.seq2seq.model import FIRST_CODE, NEVER_SEEN, PAD, START, SUMMARY, CodeSeq2Seq
    from recbench.nn.blocks.seq2seq.recommender import CodeRecommender
    from recbench.nn.blocks.seq2seq.settings import Seq2SeqSettings
    from recbench.nn.blocks.sequential import SequenceEncoder, post_norm_encoder
    from recbench.nn.blocks.sets import (
        BundleAttention,
        ContentTower,
        ModalityFusion,
        info_nce,
        padded_sets,
        set_cross_entropy,
        unit_rows,
        xavier_linear,
    )
    from recbench.nn.blocks.t5_blocks import feed_forward, new_t5, replace_dropout, self_attention
    from recbench.nn.blocks.t5_decoder import T5Decoder
    from recbench.nn.blocks.t5_encoder import T5Encoder
    from recbench.nn.blocks.t5_fused import normed_linear, plus_dropped_linear
    from recbench.nn.blocks.t5_parameters import PrefixStates, T5DecoderParameters
else:
    __getattr__ = on_demand(__name__)

__all__ = [
    "FIRST_CODE", "NEVER_SEEN", "PAD", "START", "SUMMARY", "BlockSettings", "BlockStack", "BundleAttention", "CausalDecoder",
    "CodeGenerator", "CodeRecommender", "CodeSeq2Seq", "CodeTraining", "ContentTower", "EncoderSettings", "Examples", "HistoryEncoder",
    "HistoryRecommender", "ModalityFusion", "PrefixStates", "Seq2SeqSettings", "SequenceEncoder", "T5Decoder", "T5DecoderParameters",
    "T5Encoder", "feed_forward", "info_nce", "initialise", "new_t5", "normed_linear", "padded_sets", "plus_dropped_linear",
    "post_norm_encoder", "replace_dropout", "self_attention", "set_cross_entropy", "unit_rows", "xavier_linear",
]  # fmt: skip
