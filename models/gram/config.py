"""Settings of GRAM."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from recbench.core import PluginConfig
from recbench.core.errors import BadRequest
from recbench.nn.text import MINILM, EncoderFolder, TextSettings, hub_name, is_path, locate_encoder
from recbench.nn.training import TrainingSettings

Setting = bool | int | float | str
OWN = "scratch"
"""The backbone that is no pretrained model: a vocabulary trained on the items' texts, and random weights."""
FROZEN, RANDOM_FROZEN = "minilm-frozen", "minilm-random"
"""MiniLM as the reader of item prompts, never trained: with its own weights, or with random ones, for comparison."""


class ItemTextSettings(TextSettings):
    """Item text as prompts, IDs and tree of IDs read it."""

    fields: tuple[str, ...] = Field(default=("title", "brand", "categories", "description", "price"), min_length=1)
    """Columns of the item table in the order of the item prompt: what is encoded for the tree of IDs, named by TF-IDF, and read.
    One that the data set lacks is an error unless `optional_fields` names it."""
    names: Mapping[str, str] = {}
    """Names of columns in item prompts, where they are not the columns' own."""
    missing: Literal["skip", "na"] = "skip"
    """Text of an item prompt for a column without a value: nothing, or `na`, as published."""


class BackboneSettings(PluginConfig):
    """The language model."""

    name: str = OWN
    """`scratch`: a T5 with random weights over a vocabulary trained on the items' texts, of the sizes below. `hf:OWNER/NAME`,
    `hf:OWNER/NAME@REVISION` or the path of a folder: a pretrained T5, which has sizes and vocabulary of its own. `minilm-frozen`: MiniLM
    reads each item prompt once and is not trained; a T5 with random weights and the sizes below reads the user prompt and writes IDs of
    MiniLM's words. `minilm-random`: the same with an encoder of random weights."""
    vocabulary_size: PositiveInt = 8000
    """Tokens of the own vocabulary, at most."""
    width: PositiveInt = 128
    """Size of token vectors and of every position's state."""
    n_encoder_layers: PositiveInt = 2
    """Layers that read a prompt."""
    n_decoder_layers: PositiveInt = 2
    """Layers that write an ID."""
    n_heads: PositiveInt = 4
    """Attention heads."""
    head_width: PositiveInt = 32
    """Size of one head."""
    hidden: PositiveInt = 512
    """Inner width of each layer's network."""
    relative_buckets: PositiveInt = Field(default=32, ge=4)
    """Classes of distances between two tokens."""
    relative_distance: PositiveInt = 128
    """Distances above this one are all alike."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """On token vectors and on the outputs of attention and network, in training."""
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    """On attention weights, in training."""
    state_type: Literal["float16", "float32"] = "float16"
    """How the states of a frozen encoder are stored; they are computed and read as float32."""

    @property
    def is_frozen(self) -> bool:
        """Whether item prompts are read by an encoder that is not trained."""
        return self.name in {FROZEN, RANDOM_FROZEN}

    @model_validator(mode="after")
    def _has_a_known_form(self) -> Self:
        if self.name != OWN and not self.is_frozen and not is_path(self.name) and hub_name(self.name) is None:
            known = f"{OWN}, {FROZEN}, {RANDOM_FROZEN}, hf:OWNER/NAME, hf:OWNER/NAME@REVISION"
            raise ValueError(f"name={self.name!r} is none of {known} or the path of a folder")
        return self

    def named_files(self) -> tuple[Path, ...]:
        """A backbone given by path, or MiniLM."""
        return (self.located().folder,) if is_path(self.name) or self.is_frozen else ()

    def named_revisions(self) -> Mapping[str, str]:
        """The commit of a backbone of the hub; `DataUnavailable` where it is not here and cannot be had."""
        return {} if hub_name(self.name) is None else {"name": self.located().revision}

    def located(self) -> EncoderFolder:
        """Folder of the pretrained backbone; a sentence that names the ways out where it is missing. Nothing else is taken in its place."""
        try:
            return locate_encoder(MINILM if self.is_frozen else self.name, "backbone.name")
        except BadRequest as error:
            raise type(error)(
                f"{error} Or name a folder with --set backbone.name=PATH, or take --preset cpu, which needs no backbone."
            ) from error


class IDSettings(PluginConfig):
    """Lexical IDs."""

    file: Path | None = None
    """A file of lexical IDs in the format that GRAM's authors published; none: made here."""
    hierarchy: bool = True
    """Whether IDs name the nodes of a tree of clusters. If not, an item is named by its own best words."""
    n_clusters: PositiveInt = Field(default=32, ge=2)
    """Children of a node of the tree, at most; `c` of the paper."""
    n_levels: PositiveInt = 4
    """Tokens of an ID; `l` of the paper. One more where items would share an ID."""
    unique_siblings: bool = False
    """Whether two children of a node must have different tokens; in the published IDs they need not."""
    text_tokens: PositiveInt = 128
    """How many of a text's tokens count for the term frequency; all count for the document frequency."""
    seed: NonNegativeInt = 0
    """Seed of k-means. Apart from the run's seed: runs of several seeds share their IDs."""
    restarts: PositiveInt = 5
    """k-means runs from so many starts; the one with the smallest error is taken."""

    def named_files(self) -> tuple[Path, ...]:
        """The file of IDs."""
        return () if self.file is None else (self.file.expanduser(),)


class NeighbourSettings(PluginConfig):
    """Similar items."""

    file: Path | None = None
    """A file of similar items in the format that GRAM's authors published; none: the nearest items of a SASRec trained here."""
    count: NonNegativeInt = 3
    """Similar items in an item prompt; 0: none."""
    preset: str = "tuned"
    """Preset of the SASRec whose item vectors say which items are similar."""
    settings: Mapping[str, Setting | Mapping[str, Setting]] = {}
    """Settings of it, in groups as its own preset has them, laid over that."""
    seed: NonNegativeInt = 0
    """Seed of that model. Apart from the run's seed: runs of several seeds share their neighbours."""

    def named_files(self) -> tuple[Path, ...]:
        """The file of similar items."""
        return () if self.file is None else (self.file.expanduser(),)


class PromptSettings(PluginConfig):
    """What the encoder reads of a user."""

    user: bool = True
    """Whether the decoder reads the prompt of the whole history, which holds IDs only."""
    items: bool = True
    """Whether the decoder reads a prompt of each item of the history."""
    id_linking: bool = True
    """Whether an item prompt begins with the item's ID."""
    slot_vectors: bool = True
    """Whether the states of each prompt get the learnt vector of its place in the history."""
    max_history: PositiveInt = 20
    """How many items of the history are read, the newest ones."""
    item_max_len: PositiveInt = Field(default=128, ge=2)
    """Tokens of an item prompt, the end token included; longer ones are cut."""
    user_max_len: PositiveInt = Field(default=128, ge=2)
    """Tokens of a user prompt, the end token included; longer ones are cut, which costs the oldest items."""
    user_start: str = "What would user purchase after "
    """Text before the IDs of the history."""
    user_separator: str = " ; "
    """Text between two of them."""
    user_end: str = " ?"
    """Text behind them."""

    @model_validator(mode="after")
    def _something_is_read(self) -> Self:
        if not (self.user or self.items):
            raise ValueError("user=false and items=false leave nothing to read")
        return self


class ExampleSettings(PluginConfig):
    """How training examples are cut and batched."""

    packing: Literal["user", "none"] = "user"
    """`user`: the targets of a user share a batch, in which every item prompt is encoded once. `none`: a batch holds targets of any users,
    as published. The loss of given targets is the same."""
    batch_targets: PositiveInt = 128
    """Most (history, target) pairs in one batch."""
    windows_per_user: PositiveInt | None = None
    """At most so many stretches of a user's history are trained in one epoch, drawn anew for each epoch; none: all. It keeps an epoch
    short where histories are long. A stretch has at most twice as many targets as `prompts.max_history` under packing `user`, else one."""


class SearchSettings(PluginConfig):
    """The beam search."""

    n_beams: PositiveInt = 50
    """Beams of the search; lists longer than this are searched with as many beams as they are long."""
    length_norm: Literal["none", "hf"] = "hf"
    """`hf`: a log-likelihood is divided by the number of its tokens, the end token included, as published. `none`: it is not."""
    length_power: PositiveFloat = 1.0
    """Exponent of that number."""


class GRAMConfig(PluginConfig):
    """Item text, lexical IDs, neighbours, language model, prompts, training and search."""

    text: ItemTextSettings = ItemTextSettings()
    ids: IDSettings = IDSettings()
    neighbours: NeighbourSettings = NeighbourSettings()
    backbone: BackboneSettings = BackboneSettings()
    prompts: PromptSettings = PromptSettings()
    examples: ExampleSettings = ExampleSettings()
    training: TrainingSettings = TrainingSettings()
    search: SearchSettings = SearchSettings()

    @model_validator(mode="after")
    def _a_frozen_backbone_writes_words_of_ids_only(self) -> Self:
        marks = (self.prompts.user_start, self.prompts.user_separator, self.prompts.user_end)
        if self.backbone.is_frozen and (any(marks) or not self.prompts.items or self.ids.file is not None):
            raise ValueError(
                f"backbone.name={self.backbone.name} reads item prompts with MiniLM and knows the words of its own IDs only: set "
                "prompts.items=true, prompts.user_start, user_separator and user_end to nothing, and no ids.file"
            )
        return self
