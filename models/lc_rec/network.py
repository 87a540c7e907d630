"""The network: a causal language model of the Llama kind whose vocabulary begins with the tokens of item codes."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from recbench.core import BadConfig
from recbench.nn.compute import replace_linear
from recbench.nn.text import load_model, read_config, sentences
from recbench.nn.training import full_cross_entropy
from recbench_models.lc_rec.config import SCRATCH, LanguageModelSettings

# B sequences, T tokens, S tokens that are written, D width, C tokens of codes, V tokens of words

_ROLE = "language_model.name"
_POSITIONS = 512


class TokenTable(nn.Module):
    """Vectors of tokens: those of codes from 0 on, those of words behind them. Called with numbers (...,) it gives vectors (..., D)."""

    def __init__(self, code_CD: Tensor, word_VD: Tensor) -> None:
        super().__init__()
        self.codes = nn.Embedding(len(code_CD), code_CD.shape[1], _weight=code_CD)
        self.words = nn.Embedding(len(word_VD), word_VD.shape[1], _weight=word_VD)

    def forward(self, token: Tensor) -> Tensor:
        n_codes = self.codes.num_embeddings
        is_code = token < n_codes
        code = self.codes(token.clamp(max=n_codes - 1))
        word = self.words((token - n_codes).clamp(min=0))
        return torch.where(is_code[..., None], code, word)


class CodeLanguageModel(nn.Module):
    """Reads tokens of codes and words, and writes either.

    A token of a code is predicted among those of codes, a word among words: where which of the two follows is never in question, a softmax
    over both would only cost time. First vectors of codes are drawn around the mean of the words'.

    Args:
        model: a causal language model of the transformers library; its table and its head are replaced.
        n_codes: C.
        trains_words: whether the vectors of words get a gradient.
        code_spread: how far the first vectors of codes lie apart, as a share of how far those of words do.

    Attributes:
        model: the language model; its head is over codes alone, as a search over codes wants it.
        table: what it reads, and where the model's own tables were one also what it writes.
    """

    def __init__(self, model: Any, n_codes: int, *, trains_words: bool, code_spread: float = 1.0) -> None:
        super().__init__()
        read_VD, written_VD = (part.weight.detach() for part in (model.get_input_embeddings(), model.get_output_embeddings()))
        self.table = TokenTable(_new_rows(read_VD, n_codes, code_spread), read_VD)
        self.is_tied = bool(model.config.tie_word_embeddings)
        head = nn.Linear(read_VD.shape[1], n_codes, bias=False, device="meta")
        head.weight = self.table.codes.weight if self.is_tied else nn.Parameter(_new_rows(written_VD, n_codes, code_spread))
        self.written_words = None if self.is_tied else nn.Parameter(written_VD)
        model.set_input_embeddings(self.table)
        replace_linear(model.base_model)
        # A plain layer of torch, whose weights `CausalDecoder` knows to read.
        model.set_output_embeddings(head)
        self.model = model
        for words in (self.table.words.weight, self.written_words):
            if words is not None:
                words.requires_grad_(trains_words)

    @property
    def n_codes(self) -> int:
        """Tokens of codes."""
        return self.table.codes.num_embeddings

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.table.codes.weight.device

    def states(self, token_BT: Tensor) -> Tensor:
        """The state after each token, (B, T, D). Padding stands on the right, where no token sees it."""
        state_BTD: Tensor = self.model.base_model(input_ids=token_BT, use_cache=False).last_hidden_state
        return state_BTD

    def loss(self, token_BT: Tensor, is_written_BT: Tensor) -> Tensor:
        """Sum over the written tokens of the negative log-likelihood, in nats, given all tokens before them; the first is never written."""
        is_next_BT = is_written_BT[:, 1:]
        state_SD, token_S = self.states(token_BT[:, :-1])[is_next_BT], token_BT[:, 1:][is_next_BT]
        is_code_S = token_S < self.n_codes
        code_CD = self.model.get_output_embeddings().weight
        loss = full_cross_entropy(state_SD[is_code_S], code_CD, token_S[is_code_S])
        if bool(is_code_S.all()):
            return loss
        words = self.table.words.weight if self.written_words is None else self.written_words
        return loss + full_cross_entropy(state_SD[~is_code_S], words, token_S[~is_code_S] - self.n_codes)


def new_language_model(settings: LanguageModelSettings) -> Any:
    """The causal language model that the settings name, cut to its first layers; random weights come from torch's default generator.

    Raises:
        BadRequest: the folder lacks something, is damaged, or holds a model of another kind.
        BadConfig: the model has fewer layers than are asked for.
    """
    if settings.name == SCRATCH:
        sizes = settings.scratch
        config = LlamaConfig(
            vocab_size=sizes.vocabulary_size,
            hidden_size=sizes.width,
            intermediate_size=sizes.hidden,
            num_hidden_layers=sizes.depth,
            num_attention_heads=sizes.heads,
            num_key_value_heads=sizes.heads,
            max_position_embeddings=_POSITIONS,
            tie_word_embeddings=True,
        )
        return _cut(AutoModelForCausalLM.from_config(_without_marks(config)), settings)
    folder = settings.located().folder
    config = _without_marks(read_config(folder, _ROLE))
    if settings.weights == "pretrained":
        return _cut(load_model(folder, AutoModelForCausalLM.from_pretrained, _ROLE, config=config, may_be_left=()), settings)
    with sentences(f"The {_ROLE} in {folder}", "config.json"):
        # In float32 whatever config.json says of the saved weights: nothing here trains rounded ones.
        return _cut(AutoModelForCausalLM.from_config(config).float(), settings)


def language_model_from(values: dict[str, Any], n_words: int) -> Any:
    """A language model with random weights, of the architecture that a saved configuration describes, over so many words."""
    config = AutoConfig.for_model(**values)
    config.vocab_size = n_words
    return AutoModelForCausalLM.from_config(config).float()


def _without_marks(config: Any) -> Any:
    """The same configuration; padding stands where no token sees it, and a table cut to some words has no row for these tokens."""
    config.pad_token_id = config.bos_token_id = config.eos_token_id = None
    config.use_cache = False
    return config


def _cut(model: Any, settings: LanguageModelSettings) -> Any:
    """The model with its first layers and the norm behind the last one."""
    layers = getattr(model.base_model, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise BadConfig(
            f"language_model.name={settings.name!r} is a {model.config.model_type}, whose layers stand elsewhere than a Llama's. "
            "Name a model of the Llama, Mistral or Qwen families."
        )
    n_layers = settings.layers or len(layers)
    if n_layers > len(layers):
        raise BadConfig(
            f"language_model.layers={n_layers}, and {settings.name!r} has {len(layers)}. "
            f"Use --set language_model.layers={len(layers)} or fewer."
        )
    model.base_model.layers = layers[:n_layers]
    model.config.num_hidden_layers = n_layers
    return model


def _new_rows(table_VD: Tensor, n: int, spread: float) -> Tensor:
    """Vectors drawn with the mean of each dimension of a table and `spread` times its standard deviation, (n, D)."""
    return table_VD.mean(0) + spread * table_VD.std(0, correction=0) * torch.randn(n, table_VD.shape[1])
