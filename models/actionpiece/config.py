"""Settings of ActionPiece."""

from typing import Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from recbench.core import PluginConfig
from recbench.nn.blocks import Seq2SeqSettings
from recbench.nn.codes import ProductSettings
from recbench.nn.text import TextSettings
from recbench.nn.training import TrainingSettings

_MOST_DIGITS = 8


class VocabularySettings(PluginConfig):
    """How features become tokens."""

    size: PositiveInt = 39_999
    """Tokens: one for each value of each feature, the others for merges. No merges where there are as many values."""
    hash_size: PositiveInt = 64
    """Values of the last feature, which tells items of equal digits apart: as many as items share all digits, or more."""
    across_items: bool = True
    """Whether a token may hold features of two items that follow each other; otherwise of one item alone."""
    seed: NonNegativeInt = 0
    """Seed of the hash values and of the orders in which features are read outside training. Apart from the run's seed: runs of several
    seeds make the same vocabulary, each once more."""


class ActionPieceConfig(PluginConfig):
    """Item text to features, features to tokens, tokens to lists."""

    text: TextSettings = TextSettings()
    codes: ProductSettings = ProductSettings(n_digits=4)
    vocabulary: VocabularySettings = VocabularySettings()
    n_segmentations: int = Field(default=5, ge=1, le=100)
    """How often a history is read at inference, each time with its features in another order. The lists are put together by the sum of
    `1 / log2(rank + 1)`, ranks counted from 1."""
    generator: Seq2SeqSettings = Seq2SeqSettings()
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _tokens_belong_to_no_item(self) -> Self:
        generator = self.generator
        if generator.encoder_attention == "causal" or generator.item_places:
            raise ValueError(
                f"generator.encoder_attention={generator.encoder_attention} and generator.item_places={generator.item_places}: a token may "
                "belong to two items, so the encoder cannot tell items apart; choose full and false"
            )
        if generator.user_tokens:
            raise ValueError(f"generator.user_tokens={generator.user_tokens}: the encoder reads features alone; choose 0")
        if generator.compile:
            raise ValueError("generator.compile=True: histories are cut into tokens between the steps of the encoder; choose false")
        return self

    @model_validator(mode="after")
    def _features_are_digits_and_a_hash(self) -> Self:
        if self.codes.collisions != "keep":
            raise ValueError(f"codes.collisions={self.codes.collisions}: the hash feature tells items of equal digits apart; choose keep")
        if self.codes.n_digits > _MOST_DIGITS:
            raise ValueError(f"codes.n_digits={self.codes.n_digits} is above {_MOST_DIGITS}, the most that pairs are weighed exactly for")
        return self
