"""Settings of DiffGRM."""

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from recbench.core import PluginConfig
from recbench.nn.codes import ProductSettings
from recbench.nn.text import TextSettings
from recbench.nn.training import TrainingSettings


class DigitSettings(ProductSettings):
    """How item vectors become digits."""

    width: PositiveInt = 256
    """Principal components that the vectors are whitened to; a multiple of `n_digits`."""
    whitened_on: Literal["all", "train"] = "train"
    """Items that the whitening is fitted on: all of the catalogue, or those that occur in the train part."""
    unit_length: bool = True
    """Divide every whitened vector by its length."""
    n_digits: int = Field(default=4, ge=1, le=6)
    """Digits of a code. The search keeps every partial code of every item, 2 ** n_digits of them."""

    @model_validator(mode="after")
    def _all_digits_mean_something(self) -> Self:
        if self.collisions == "number":
            raise ValueError(
                "collisions=number appends a digit that says nothing about the item, and digits are predicted in any order; choose keep or "
                "reassign"
            )
        return self


class NetworkSettings(PluginConfig):
    """The encoder of histories and the decoder of digits."""

    width: PositiveInt = 256
    """Size of the digits' vectors and of every state."""
    n_encoder_layers: NonNegativeInt = 1
    """Layers that read the history, each item seeing all others."""
    n_decoder_layers: PositiveInt = 4
    """Layers over the digits of the next item, each digit seeing all others and the history."""
    n_heads: PositiveInt = 4
    """Attention heads; must divide the width."""
    hidden: PositiveInt = 1024
    """Inner width of each layer's network."""
    max_length: PositiveInt = 50
    """How many items of the history are read, the newest ones."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """On what encoder and decoder read and on the outputs of attention and network, in training."""
    pad_sink: bool = True
    """Whether the decoder's attention to a history of n items also reads `max_length` - n empty slots, each with logit 0 and value 0."""
    init: Literal["normal", "xavier"] = "normal"
    """First weights of matrices and tables. `normal`: standard deviation 0.02, which makes items many times shorter than positions.
    `xavier`: Xavier normal."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.n_heads:
            raise ValueError(f"width={self.width} is not a multiple of n_heads={self.n_heads}")
        return self


class LossSettings(PluginConfig):
    """Which digits of a target are masked in training, and how their losses are averaged."""

    order: Literal["confidence", "random"] = "confidence"
    """`confidence`: views mask the digits that the network is least sure of when it sees none. `random`: any digits."""
    n_views: PositiveInt | None = None
    """Views of a target in one step, with different numbers of masked digits, drawn anew in each step; none: one view for every number."""
    average: Literal["token_mean", "view_mean"] = "token_mean"
    """`token_mean`: over all masked digits of all views, as in the source's code. `view_mean`: over those of each view, then over views, as
    in its paper."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the target's probability that is spread over all values of a digit."""


class SearchSettings(PluginConfig):
    """How lists are made."""

    decode: Literal["catalogue", "released"] = "catalogue"
    """`catalogue`: only digits of items that exist are filled in, paths to one partial code are merged, and the last digit takes all its
    values. `released`: as the source's code does, where any digit may be filled in, the last one takes its likeliest value, and codes of no
    item are dropped at the end."""
    n_beams: PositiveInt = 256
    """Partial codes that go on after each step; lists longer than this are searched with as many as they are long."""


class DiffGRMConfig(PluginConfig):
    """Item text to digits, digits to lists."""

    text: TextSettings = TextSettings()
    codes: DigitSettings = DigitSettings()
    network: NetworkSettings = NetworkSettings()
    loss: LossSettings = LossSettings()
    search: SearchSettings = SearchSettings()
    training: TrainingSettings = TrainingSettings()
    batch_size: PositiveInt = 1024
    """(History, target) pairs in a batch."""
    batch_order: Literal["bucketed", "random"] = "random"
    """`bucketed`: histories of like length meet, which saves padding. `random`: any histories meet."""
    least_history: PositiveInt = 2
    """Targets with a shorter history are not trained."""

    @model_validator(mode="after")
    def _no_more_views_than_digits(self) -> Self:
        if self.loss.n_views is not None and self.loss.n_views > self.codes.n_digits:
            raise ValueError(
                f"loss.n_views={self.loss.n_views} views would mask different numbers of {self.codes.n_digits} digits; take at most that "
                "many"
            )
        return self
