"""Settings of HLLM."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from recbench.core import PluginConfig
from recbench.core.errors import BadRequest, DataUnavailable
from recbench.nn.text import (
    MINILM,
    SMOLLM2,
    EncoderFolder,
    TextFields,
    encoder_path,
    has_revisions,
    is_path,
    is_pretrained_name,
    locate_encoder,
)
from recbench.nn.training import TrainingSettings

OWN = "scratch"
"""A tower that is no pretrained model: random weights of the sizes that the settings give."""

RELEASED_FILE = "pytorch_model.bin"
"""File name of a released checkpoint."""


class ItemTextSettings(TextFields):
    """Text of an item as the item tower reads it."""

    fields: tuple[str, ...] = Field(default=("title", "brand", "categories", "description"), min_length=1)
    """Columns of the item table in the order in which they are read; an item's empty ones are skipped. One that the data set lacks is an
    error unless `optional_fields` names it."""
    names: Mapping[str, str] = {}
    """Names of columns in the text, where they are not the columns' own; the published names are title, tag, description."""
    labels: bool = True
    """Whether a column's name stands before its value: `title: ...`."""
    separator: str = ""
    """Text between two fields; nothing, as published."""
    prompt: str = "Compress the following sentence into embedding: "
    """Text before the fields of an item that has any."""
    max_tokens: PositiveInt = Field(default=256, ge=2)
    """Tokens of an item that are read, the first ones; `L` of the paper."""
    shuffle_seed: NonNegativeInt | None = None
    """Hand the texts to the items in an order drawn with this seed: what is left of the model when its texts mean nothing. None: to
    each its own."""


class TowerSettings(PluginConfig):
    """Language model of a tower."""

    SETTING: ClassVar[str]
    """Name of `tower` as errors say it."""
    tower: str
    weights: Literal["pretrained", "random"] = "pretrained"
    """`random`: the architecture of the tower, for items also its tokenizer, and none of its weights."""

    @field_validator("tower")
    @classmethod
    def _tower_has_a_known_form(cls, value: str) -> str:
        if value == OWN or is_pretrained_name(value):
            return value
        raise ValueError(
            f"the tower {value!r} is none of {OWN}, {MINILM}, {SMOLLM2}, hf:OWNER/NAME, hf:OWNER/NAME@REVISION or the path of a folder"
        )

    def located(self) -> EncoderFolder:
        """Folder of the tower's files; a sentence with the ways out where they are not here. Nothing else is taken in their place."""
        try:
            return locate_encoder(self.tower, self.SETTING)
        except BadRequest as error:
            released = ""
            if is_path(self.tower) and (encoder_path(self.tower) / RELEASED_FILE).is_file():
                released = (
                    " A released checkpoint of HLLM is read with --set checkpoint=PATH, its towers being the models it was made from."
                )
            raise type(error)(
                f"{error}{released} Or name a folder with --set {self.SETTING}=PATH, or take --preset cpu, which needs MiniLM only."
            ) from error

    def named_files(self) -> tuple[Path, ...]:
        """The folder of a tower that is given by path or lies in a package."""
        return (self.located().folder,) if self.tower != OWN and not has_revisions(self.tower) else ()

    def named_revisions(self) -> Mapping[str, str]:
        """The commit of a tower of the hub, or which SmolLM2 was converted."""
        return {"tower": self.located().revision} if has_revisions(self.tower) else {}


class ItemSettings(TowerSettings):
    """The item tower."""

    SETTING = "item.tower"
    tower: str = MINILM
    """`minilm`, `smollm2`, `hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION` or the path of a folder: a decoder or encoder that the transformers
    library loads. `scratch`: a small decoder with random weights over the words of the items' texts."""
    pooling: Literal["token", "mean"] = "token"
    """`token`: the last state of a learnt vector behind the text, `[ITEM]` of the paper. `mean`: the mean of the text's last states."""
    position: Literal["right", "left"] = "right"
    """`right`: positions end at `text.max_tokens`, as published. `left`: they begin at 0. Rotary positions make no difference."""
    layers: PositiveInt | Literal["all", "none"] = "all"
    """How many of the item tower's layers are trained, the top ones."""
    batching: Literal["buckets", "packed"] = "buckets"
    """`buckets`: items of like length, padded. `packed`: items one behind the other in one row, kept apart by the attention mask."""
    batch_tokens: PositiveInt = 4096
    """Tokens that the item tower reads at a time, padding included."""
    width: PositiveInt = 64
    """Width of a `scratch` item tower."""
    depth: PositiveInt = 2
    """Layers of a `scratch` item tower."""
    heads: PositiveInt = 4
    """Attention heads of a `scratch` item tower."""
    vocabulary_size: PositiveInt = Field(default=8000, ge=4)
    """Words that a `scratch` item tower knows, the most frequent ones."""
    learning_rate: PositiveFloat | None = None
    """Learning rate of the item tower; none: the same as of everything else."""
    standardise: bool = False
    """Whether every component of the item vectors is centred over the catalogue and divided by its standard deviation. The mean states of
    a language model are much alike, and the user tower is to see in what they differ. Only for `layers=none`."""

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.tower == OWN and self.width % (2 * self.heads):
            raise ValueError(f"width={self.width} is not a multiple of twice heads={self.heads}")
        if self.layers == "none" and self.pooling == "token":
            raise ValueError("layers=none leaves the [ITEM] vector at random; set pooling=mean")
        if self.standardise and self.layers != "none":
            raise ValueError("standardise=true would change the vectors under a user tower that was trained on others; set layers=none")
        return self


class UserSettings(TowerSettings):
    """The user tower."""

    SETTING = "user.tower"
    tower: str = OWN
    """The causal decoder that reads item vectors; named like an item tower, or `scratch`: a Llama with random weights."""
    width: PositiveInt | None = None
    """Width of a `scratch` user tower; none: that of the item vectors."""
    depth: PositiveInt = 2
    """Layers of a `scratch` user tower."""
    heads: PositiveInt = 6
    """Attention heads of a `scratch` user tower."""
    key_heads: PositiveInt = 2
    """Heads of keys and values of a `scratch` user tower; must divide the attention heads."""
    hidden: PositiveInt = 1024
    """Inner width of the networks of a `scratch` user tower."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On item vectors as the user tower reads them, in training; none is published."""
    projection: bool | None = None
    """Whether every item vector goes through one learnt matrix without bias; none: only where the towers' widths differ."""

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.tower == OWN and self.heads % self.key_heads:
            raise ValueError(f"heads={self.heads} is not a multiple of key_heads={self.key_heads}")
        if self.tower == MINILM:
            raise ValueError("tower=minilm is an encoder whose positions see each other; name a decoder, or scratch")
        return self


class SequenceSettings(PluginConfig):
    """Training examples and their batches."""

    max_length: PositiveInt = Field(default=50, ge=2)
    """How many items of the history are read, the newest ones; `S` of the published settings."""
    kind: Literal["windows", "chunks", "newest"] = "windows"
    """What one example is. `windows`: overlapping stretches, every event but the first of a user a target once. `chunks`: stretches of
    `max_length` + 1 events without overlap, the oldest remainder dropped, as published. `newest`: the last such stretch of a user."""
    batch_size: PositiveInt = 128
    """Sequences of a batch, over all processes."""


class NegativeSettings(PluginConfig):
    """Negatives of the generative loss."""

    count: PositiveInt | None = None
    """Negatives of a batch, over all processes, shared by all its positions and drawn uniformly. None: `sequences.max_length` + 1 for each
    sequence, of which as many as the sequence has targets are none of its items."""
    masked: Literal["cosine", "id", "both"] = "id"
    """Which negatives are left out of a position's softmax: those whose vector is that of the target up to `cosine_threshold`, as
    published; those that are the target itself; or both. Only `cosine` can mask all of them."""
    cosine_threshold: float = Field(default=0.99, gt=0, le=1)
    """Cosine above which a negative counts as the target."""


class JointSettings(PluginConfig):
    """Steps in which both towers are trained, before the user tower is trained alone."""

    steps: PositiveInt | None = None
    """Steps in which both towers are trained together; then the items' vectors are computed once and the user tower is trained on them
    alone. None: both together to the end. Where `item.layers` is none there are no such steps."""
    batch_size: PositiveInt | None = None
    """Sequences of a batch while both towers are trained and `steps` bounds it; none: `sequences.batch_size`."""
    negatives: PositiveInt | None = None
    """Negatives of such a batch; none: as `negatives.count`."""
    budget_share: float = Field(default=0.5, gt=0, lt=1)
    """Most of a run's budget that those steps may spend."""


class DiscriminativeSettings(PluginConfig):
    """The discriminative task."""

    fusion: Literal["early", "late"] = "late"
    """`early`: the user tower reads each candidate behind the history, and the head its state there. `late`:
    the user tower reads the history and a learnt vector behind it, and the head that state and the candidate's vector."""
    negatives: PositiveInt = 4
    """Candidates with label 0 for each with label 1."""
    auxiliary_weight: NonNegativeFloat = 0.1
    """Weight of the generative loss beside the discriminative one."""


class HLLMConfig(PluginConfig):
    """Item text, the two towers, the loss and how they are trained."""

    text: ItemTextSettings = ItemTextSettings()
    item: ItemSettings = ItemSettings()
    user: UserSettings = UserSettings()
    checkpoint: Path | None = None
    """A checkpoint that the authors of HLLM released: its file `pytorch_model.bin`, or the folder of it. Both towers begin with its
    weights; `item.tower` and `user.tower` name the models it was made from, for architectures and tokenizer. None: with their own."""
    checkpointing: Literal["none", "layers", "batches"] = "none"
    """What is thrown away and computed again for the gradient: nothing; the inside of every layer of both towers; everything but the
    vectors of an item batch, so that memory does not grow with the number of negatives."""
    sequences: SequenceSettings = SequenceSettings()
    negatives: NegativeSettings = NegativeSettings()
    temperature: PositiveFloat | Literal["learnt"] = "learnt"
    """Temperature that divides cosines in training. `learnt`: from 0.07 on, kept between 0.01 and 1."""
    joint: JointSettings = JointSettings()
    task: Literal["generative", "discriminative"] = "generative"
    """`generative`: items are ranked by the cosine of their vector with the user's state. `discriminative`: by a prediction head that is
    trained on whether a user met an item next."""
    discriminative: DiscriminativeSettings = DiscriminativeSettings()
    training: TrainingSettings = TrainingSettings()
    sharding: Literal["none", "full"] = "none"
    """Under torchrun. `full`: every process holds its part of each layer's weights (FSDP), for language models that fit no single GPU."""
    search: Literal["blocks", "faiss"] = "blocks"
    """How the nearest items are found: by products in blocks, or by a flat index of faiss. Both are exact."""

    @model_validator(mode="after")
    def _weights_are_given_once(self) -> Self:
        if self.checkpoint is not None and OWN in (self.item.tower, self.user.tower):
            raise ValueError(f"checkpoint={self.checkpoint} has the weights of two language models; name them as item.tower and user.tower")
        if self.checkpoint is not None and "random" in (self.item.weights, self.user.weights):
            raise ValueError(
                f"checkpoint={self.checkpoint} gives both towers their weights; leave item.weights and user.weights at pretrained"
            )
        return self

    @property
    def of_both_towers(self) -> "HLLMConfig":
        """The settings of the steps in which both towers are trained."""
        size, count = self.joint.batch_size or self.sequences.batch_size, self.joint.negatives or self.negatives.count
        return self.model_copy(
            update={
                "training": self.training.model_copy(update={"max_steps": self.joint.steps}),
                "sequences": self.sequences.model_copy(update={"batch_size": size}),
                "negatives": self.negatives.model_copy(update={"count": count}),
            }
        )

    def located_checkpoint(self) -> Path | None:
        """The file of the released checkpoint; None without one.

        Raises:
            DataUnavailable: there is no such file.
        """
        if self.checkpoint is None:
            return None
        path = self.checkpoint.expanduser()
        file = path / RELEASED_FILE if path.is_dir() else path
        if not file.is_file():
            raise DataUnavailable(f"checkpoint={self.checkpoint}: there is no file {file}. Correct the path.")
        return file

    def named_files(self) -> tuple[Path, ...]:
        """Also a released checkpoint."""
        checkpoint = self.located_checkpoint()
        return (*super().named_files(), *([] if checkpoint is None else [checkpoint]))
