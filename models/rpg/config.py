"""Settings of RPG."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from recbench.core import PluginConfig
from recbench.nn.blocks import EncoderSettings
from recbench.nn.codes import ProductSettings
from recbench.nn.text import TextSettings
from recbench.nn.training import BatchUnit, TrainingSettings


class NetworkSettings(EncoderSettings):
    """The encoder of histories and the heads on it."""

    width: PositiveInt = 448
    """Size of the digits' vectors and of every slot's state."""
    n_heads: PositiveInt = 4
    """Attention heads; must divide the width."""
    hidden: PositiveInt | None = 1024
    """Inner width of each block's network; none: the width."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout on what the first block reads and on attention weights."""
    output_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the outputs of attention and network of each block."""
    embedding_scale: PositiveFloat = 1.0
    """Item vectors are multiplied by it before positions are added; not so in the source. The mean of many digits' vectors is short at
    first beside a position's."""
    heads: Literal["digit", "none"] = "digit"
    """`digit`: a layer of its own turns the state into a query for each digit. `none`: the state is the query of all digits."""
    temperature: PositiveFloat = 0.03
    """Cosines of queries and digits' vectors are divided by it."""


class RPGConfig(PluginConfig):
    """Item text to digits, digits to lists."""

    text: TextSettings = TextSettings()
    codes: ProductSettings = ProductSettings()
    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    batch_size: PositiveInt = 256
    """How much a batch holds at most, in the unit of `batch_unit`."""
    batch_unit: BatchUnit = "sequences"
    """`targets` gives each (history, target) pair about the same weight, whatever the length of its sequence."""
    batch_order: Literal["bucketed", "random"] = "random"
    """`bucketed`: sequences of like length meet, which saves padding. `random`: any sequences meet."""

    @model_validator(mode="after")
    def _all_digits_mean_something(self) -> Self:
        if self.codes.collisions == "number":
            raise ValueError(
                "codes.collisions=number appends a digit that says nothing about the item, and all digits are predicted apart from each "
                "other; choose keep or reassign"
            )
        return self
