"""Settings of HLLM."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from recbench.core.errors import BadRequest, DataUnavailable
from recbench.nn.text import HUB_PREFIX, MINILM, EncoderFolder, TextFields, encoder_path, hub_name, is_path, locate_encoder
from recbench.nn.training import TrainingSettings

OWN = "scratch"
"""A tower that is no pretrained model: random weights of the sizes that the settings give."""

RELEASED_FILE = "pytorch_model.bin"
"""File name of a released checkpoint."""


class HLLMConfig(TrainingSettings, TextFields):
    """Item text, the two towers, the loss and how they are trained, beside the settings of the training loop."""

    text_fields: tuple[str, ...] = Field(default=("title", "brand", "categories", "description"), min_length=1)
    """Columns of the item table in the order in which they are read; an item's empty ones are skipped. One that the data set lacks is an
    error unless `optional_text_fields` names it."""
    field_names: Mapping[str, str] = {}
    """Names of columns in the text, where they are not the columns' own; the published names are title, tag, description."""
    field_separator: str = ""
    """Text between two fields; nothing, as published."""
    item_prompt: str = "Compress the following sentence into embedding: "
    """Text before the fields of an item that has any."""
    max_text_tokens: PositiveInt = Field(default=256, ge=2)
    """Tokens of an item that are read, the first ones; `L` of the paper."""
    text_shuffle_seed: NonNegativeInt | None = None
    """Hand the texts to the items in an order drawn with this seed: what is left of the model when its texts mean nothing. None: to
    each its own."""

    item_tower: str = MINILM
    """`minilm`, `hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION` or the path of a folder: a decoder or encoder that the transformers library
    loads. `scratch`: a small decoder with random weights over the words of the items' texts."""
    item_weights: Literal["pretrained", "random"] = "pretrained"
    """`random`: the architecture and the tokenizer of the item tower, and none of its weights."""
    checkpoint: Path | None = None
    """A checkpoint that the authors of HLLM released: its file `pytorch_model.bin`, or the folder of it. Both towers begin with its
    weights; `item_tower` and `user_tower` name the models it was made from, for architectures and tokenizer. None: with their own."""
    item_pooling: Literal["token", "mean"] = "token"
    """`token`: the last state of a learnt vector behind the text, `[ITEM]` of the paper. `mean`: the mean of the text's last states."""
    item_position: Literal["right", "left"] = "right"
    """`right`: positions end at `max_text_tokens`, as published. `left`: they begin at 0. Rotary positions make no difference."""
    item_layers: PositiveInt | Literal["all", "none"] = "all"
    """How many of the item tower's layers are trained, the top ones."""
    item_batching: Literal["buckets", "packed"] = "buckets"
    """`buckets`: items of like length, padded. `packed`: items one behind the other in one row, kept apart by the attention mask."""
    item_batch_tokens: PositiveInt = 4096
    """Tokens that the item tower reads at a time, padding included."""
    checkpointing: Literal["none", "layers", "batches"] = "none"
    """What is thrown away and computed again for the gradient: nothing; the inside of every layer of both towers; everything but the
    vectors of an item batch, so that memory does not grow with the number of negatives."""
    item_width: PositiveInt = 64
    """Width of a `scratch` item tower."""
    item_depth: PositiveInt = 2
    """Layers of a `scratch` item tower."""
    item_heads: PositiveInt = 4
    """Attention heads of a `scratch` item tower."""
    vocabulary_size: PositiveInt = Field(default=8000, ge=4)
    """Words that a `scratch` item tower knows, the most frequent ones."""

    user_tower: str = OWN
    """The causal decoder that reads item vectors; named like an item tower, or `scratch`: a Llama with random weights."""
    user_weights: Literal["pretrained", "random"] = "pretrained"
    """`random`: the architecture of the user tower, and none of its weights."""
    user_width: PositiveInt | None = None
    """Width of a `scratch` user tower; none: that of the item vectors."""
    user_depth: PositiveInt = 2
    """Layers of a `scratch` user tower."""
    user_heads: PositiveInt = 6
    """Attention heads of a `scratch` user tower."""
    user_key_heads: PositiveInt = 2
    """Heads of keys and values of a `scratch` user tower; must divide the attention heads."""
    user_hidden: PositiveInt = 1024
    """Inner width of the networks of a `scratch` user tower."""
    user_dropout: float = Field(default=0.0, ge=0, lt=1)
    """On item vectors as the user tower reads them, in training; none is published."""
    projection: bool | None = None
    """Whether every item vector goes through one learnt matrix without bias; none: only where the towers' widths differ."""
    max_length: PositiveInt = Field(default=50, ge=2)
    """How many items of the history are read, the newest ones; `S` of the published settings."""

    sequences: Literal["windows", "chunks", "newest"] = "windows"
    """What one example is. `windows`: overlapping stretches, every event but the first of a user a target once. `chunks`: stretches of
    `max_length` + 1 events without overlap, the oldest remainder dropped, as published. `newest`: the last such stretch of a user."""
    batch_size: PositiveInt = 128
    """Sequences of a batch, over all processes."""
    n_negatives: PositiveInt | None = None
    """Negatives of a batch, over all processes, shared by all its positions and drawn uniformly. None: `max_length` + 1 for each sequence,
    of which as many as the sequence has targets are none of its items."""
    false_negatives: Literal["cosine", "id", "both"] = "id"
    """Which negatives are left out of a position's softmax: those whose vector is that of the target up to `cosine_threshold`, as
    published; those that are the target itself; or both. Only `cosine` can mask all of them."""
    cosine_threshold: float = Field(default=0.99, gt=0, le=1)
    """Cosine above which a negative counts as the target."""
    temperature: PositiveFloat | Literal["learnt"] = "learnt"
    """Temperature that divides cosines in training. `learnt`: from 0.07 on, kept between 0.01 and 1."""

    item_steps: PositiveInt | None = None
    """Steps in which both towers are trained together; then the items' vectors are computed once and the user tower is trained on them
    alone. None: both together to the end. Where `item_layers` is none there are no such steps."""
    item_learning_rate: PositiveFloat | None = None
    """Learning rate of the item tower; none: the same as of everything else."""
    item_batch_size: PositiveInt | None = None
    """Sequences of a batch while both towers are trained and `item_steps` bounds it; none: `batch_size`."""
    item_negatives: PositiveInt | None = None
    """Negatives of such a batch; none: as `n_negatives`."""
    item_budget_share: float = Field(default=0.5, gt=0, lt=1)
    """Most of a run's budget that those steps may spend."""

    task: Literal["generative", "discriminative"] = "generative"
    """`generative`: items are ranked by the cosine of their vector with the user's state. `discriminative`: by a prediction head that is
    trained on whether a user met an item next."""
    fusion: Literal["early", "late"] = "late"
    """Of the discriminative task. `early`: the user tower reads each candidate behind the history, and the head its state there. `late`:
    the user tower reads the history and a learnt vector behind it, and the head that state and the candidate's vector."""
    label_negatives: PositiveInt = 4
    """Candidates with label 0 for each with label 1."""
    auxiliary_weight: NonNegativeFloat = 0.1
    """Weight of the generative loss beside the discriminative one."""

    sharding: Literal["none", "full"] = "none"
    """Under torchrun. `full`: every process holds its part of each layer's weights (FSDP), for language models that fit no single GPU."""
    search: Literal["blocks", "faiss"] = "blocks"
    """How the nearest items are found: by products in blocks, or by a flat index of faiss. Both are exact."""

    @field_validator("item_tower", "user_tower")
    @classmethod
    def _tower_has_a_known_form(cls, value: str) -> str:
        if value in {OWN, MINILM} or is_path(value) or hub_name(value) is not None:
            return value
        raise ValueError(f"the tower {value!r} is none of {OWN}, {MINILM}, hf:OWNER/NAME, hf:OWNER/NAME@REVISION or the path of a folder")

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.user_tower == OWN and self.user_heads % self.user_key_heads:
            raise ValueError(f"user_heads={self.user_heads} is not a multiple of user_key_heads={self.user_key_heads}")
        if self.item_tower == OWN and self.item_width % (2 * self.item_heads):
            raise ValueError(f"item_width={self.item_width} is not a multiple of twice item_heads={self.item_heads}")
        if self.item_layers == "none" and self.item_pooling == "token":
            raise ValueError("item_layers=none leaves the [ITEM] vector at random; set item_pooling=mean")
        if self.checkpoint is not None and OWN in (self.item_tower, self.user_tower):
            raise ValueError(f"checkpoint={self.checkpoint} has the weights of two language models; name them as item_tower and user_tower")
        if self.checkpoint is not None and "random" in (self.item_weights, self.user_weights):
            raise ValueError(
                f"checkpoint={self.checkpoint} gives both towers their weights; leave item_weights and user_weights at pretrained"
            )
        if self.user_tower == MINILM:
            raise ValueError("user_tower=minilm is an encoder whose positions see each other; name a decoder, or scratch")
        return self

    @property
    def towers(self) -> dict[str, str]:
        """Names of the towers that are pretrained or have the architecture of such, by setting."""
        return {name: value for name, value in (("item_tower", self.item_tower), ("user_tower", self.user_tower)) if value != OWN}

    def located(self, setting: str) -> EncoderFolder:
        """Folder of the files of a tower; a sentence with the ways out where they are not here. Nothing else is taken in their place."""
        try:
            return locate_encoder(getattr(self, setting), setting)
        except BadRequest as error:
            released = ""
            if is_path(getattr(self, setting)) and (encoder_path(getattr(self, setting)) / RELEASED_FILE).is_file():
                released = (
                    " A released checkpoint of HLLM is read with --set checkpoint=PATH, its towers being the models it was made from."
                )
            raise type(error)(
                f"{error}{released} Or name a folder with --set {setting}=PATH, or take --preset cpu, which needs MiniLM only."
            ) from error

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
        """Also the folders of towers that are given by path or lie in a package, and a released checkpoint."""
        folders = (self.located(setting).folder for setting, name in self.towers.items() if hub_name(name) is None)
        checkpoint = self.located_checkpoint()
        return (*super().named_files(), *folders, *([] if checkpoint is None else [checkpoint]))

    def named_revisions(self) -> Mapping[str, str]:
        """Also the commits of towers of the hub."""
        commits = {s: HUB_PREFIX + self.located(s).name for s, name in self.towers.items() if hub_name(name) is not None}
        return {**super().named_revisions(), **commits}
