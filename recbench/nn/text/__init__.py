"""Items' texts as vectors, computed once for all models, and the pretrained models that make them."""

from typing import TYPE_CHECKING

from recbench.core.on_demand import on_demand

if TYPE_CHECKING:
    from recbench.nn.text.attributes import AttributeFields, ItemAttributes, item_attributes
    from recbench.nn.text.categories import CategorySettings, category_vectors
    from recbench.nn.text.content import ContentSettings, item_content
    from recbench.nn.text.fields import held_fields
    from recbench.nn.text.location import EncoderFolder, locate_encoder
    from recbench.nn.text.names import (
        HUB_PREFIX,
        MINILM,
        SMOLLM2,
        encoder_path,
        has_revisions,
        hub_name,
        is_path,
        is_pretrained_name,
    )
    from recbench.nn.text.pretrained import (
        is_decoder_only,
        is_encoder_decoder,
        load_encoder,
        load_model,
        load_t5,
        n_positions,
        read_config,
        read_t5_config,
        read_tokenizer,
        refuse_unknown_words,
        sentences,
        tokenizer_of,
    )  # fmt: skip
    from recbench.nn.text.settings import TextFields, TextSettings
    from recbench.nn.text.stage import TextVectors, text_vectors
else:
    __getattr__ = on_demand(__name__)

__all__ = [
    "HUB_PREFIX", "MINILM", "SMOLLM2", "AttributeFields", "CategorySettings", "ContentSettings", "EncoderFolder", "ItemAttributes",
    "TextFields", "TextSettings", "TextVectors", "category_vectors", "encoder_path", "has_revisions", "held_fields", "hub_name",
    "is_decoder_only", "is_encoder_decoder", "is_path", "is_pretrained_name", "item_attributes", "item_content", "load_encoder",
    "load_model", "load_t5", "locate_encoder", "n_positions", "read_config", "read_t5_config", "read_tokenizer", "refuse_unknown_words",
    "sentences", "text_vectors", "tokenizer_of",
]  # fmt: skip
