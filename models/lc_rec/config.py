"""Settings of LC-Rec."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from recbench.core import PluginConfig
from recbench.nn.codes import QuantizerSettings, SinkhornSettings
from recbench.nn.text import SMOLLM2, EncoderFolder, TextFields, TextSettings, is_pretrained_name, locate_encoder
from recbench.nn.training import TrainingSettings

SCRATCH = "scratch"
"""A language model that is no pretrained one: a small Llama with random weights over the words of the items' names."""


class ScratchSettings(PluginConfig):
    """Sizes of a `scratch` language model."""

    width: PositiveInt = 32
    """Size of token vectors and states."""
    depth: PositiveInt = 2
    """Layers."""
    heads: PositiveInt = 2
    """Attention heads."""
    hidden: PositiveInt = 64
    """Inner width of each layer's network."""
    vocabulary_size: PositiveInt = Field(default=2000, ge=4)
    """Words that it knows, the most frequent ones."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width={self.width} is not a multiple of twice heads={self.heads}")
        return self


class LanguageModelSettings(PluginConfig):
    """The causal language model."""

    name: str = SMOLLM2
    """A model of the Llama kind: `smollm2`, `hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION`, the path of a folder, or `scratch`."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`random`: the architecture and the tokenizer of the model, and none of its weights."""
    layers: PositiveInt | None = None
    """The first so many layers are read, with the norm behind the last one; none: all."""
    trains_words: bool = True
    """Whether the vectors of the words are trained too. Those of the codes always are."""
    code_spread: PositiveFloat = 1.0
    """First vectors of codes are drawn around the mean of the words' with so many times the spread of these. A model that is cut to its
    first layers has states that no row of its table was trained for: at 1 its logits are far apart by chance."""
    scratch: ScratchSettings = ScratchSettings()

    @field_validator("name")
    @classmethod
    def _name_has_a_known_form(cls, value: str) -> str:
        if value == SCRATCH or is_pretrained_name(value):
            return value
        raise ValueError(
            f"the model {value!r} is none of {SMOLLM2}, {SCRATCH}, hf:OWNER/NAME, hf:OWNER/NAME@REVISION or the path of a folder"
        )

    def located(self) -> EncoderFolder:
        """Folder of the model's files; `BadRequest` or `DataUnavailable` where they are not here."""
        return locate_encoder(self.name, "language_model.name")

    def named_files(self) -> tuple[Path, ...]:
        """The folder of a model whose files say what is read."""
        if self.name == SCRATCH:
            return ()
        located = self.located()
        return (located.folder,) if located.is_known_by_content else ()

    def named_revisions(self) -> Mapping[str, str]:
        """The release of a model whose name leaves it open."""
        if self.name == SCRATCH:
            return {}
        located = self.located()
        return {} if located.is_known_by_content else {"name": located.revision}


class NameSettings(TextFields):
    """What an item is called in the tasks that tie codes to words."""

    fields: tuple[str, ...] = Field(default=("title",), min_length=1)
    """Columns of the item table, in the order in which they are joined."""
    max_tokens: PositiveInt = 32
    """Tokens of a name that are read, the first ones."""


class TaskSettings(PluginConfig):
    """Tasks beside writing the code of the next item."""

    item_to_code: bool = True
    """Whether the code of every item is written after its name."""
    code_to_item: bool = True
    """Whether the name of every item is written after its code."""
    names: NameSettings = NameSettings()


class LCRecConfig(PluginConfig):
    """Item text to codes, codes as new words of a language model."""

    text: TextSettings = TextSettings()
    codes: QuantizerSettings = QuantizerSettings(n_levels=4)
    last_level: SinkhornSettings = SinkhornSettings()
    language_model: LanguageModelSettings = LanguageModelSettings()
    tasks: TaskSettings = TaskSettings()
    max_history: PositiveInt = Field(default=20, ge=2)
    """How many items of the history are read, the newest ones."""
    batch_tokens: PositiveInt = 1024
    """Most tokens of a batch."""
    n_beams: PositiveInt = 20
    """Beams of the search; lists longer than this are searched with as many beams as they are long."""
    training: TrainingSettings = TrainingSettings()
