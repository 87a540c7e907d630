"""Settings of the encoder-decoder. Imports no torch, so that a plugin's config may hold them."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from recbench.core.config import PluginConfig


class Seq2SeqSettings(PluginConfig):
    """Size of the encoder-decoder, what it reads, and how its training examples are cut."""

    width: PositiveInt = 128
    """Size of token vectors and of every position's state."""
    n_encoder_layers: PositiveInt = 4
    """Layers that read the history."""
    n_decoder_layers: PositiveInt = 4
    """Layers that write the code."""
    n_heads: PositiveInt = 6
    """Attention heads."""
    head_width: PositiveInt = 64
    """Size of one head; heads times this need not be the width."""
    hidden: PositiveInt = 1024
    """Inner width of each layer's network."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """On token vectors and on the outputs of attention and network, in training."""
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    """On attention weights, in training."""
    encoder_attention: Literal["full", "causal"] = "full"
    """`full`: every token of the history sees all of it, as published; each prefix of a user is encoded on its own. `causal`: a token sees
    its own item and earlier ones, so that one pass over a user serves every prefix of it."""
    max_history: PositiveInt = Field(default=20, ge=2)
    """How many items of the history are read, the newest ones."""
    item_places: bool = False
    """Whether every token of the history also has a vector of its item's place in it, which tells the tokens of one item from those of
    the next."""
    user_tokens: NonNegativeInt = 0
    """How many user tokens there are; the user's id is hashed onto them. 0: none."""
    batch_targets: PositiveInt = 256
    """Most (history, target) pairs in one batch."""
    windows_per_user: PositiveInt | None = None
    """At most so many stretches of a user's history are trained in one epoch, drawn anew for each epoch; none: all. It keeps an epoch
    short where histories are long."""
    n_beams: PositiveInt = 50
    """Beams of the search; lists longer than this are searched with as many beams as they are long."""
    renormalise: bool = False
    """Normalise each step of the search over the codes that exist, in place of the whole vocabulary."""
    compile: bool = False
    """Compile the network with torch.compile on a GPU; ignored on the CPU."""
