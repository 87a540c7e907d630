"""Small towers with random weights, and training modules over made-up items."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel

from recbench.core import World
from recbench.core.ragged import Ragged
from recbench.nn.training.windows import Windows
from recbench.testing import interactions
from recbench_models.hllm import PLUGIN
from recbench_models.hllm.config import HLLMConfig
from recbench_models.hllm.data import sequences_of
from recbench_models.hllm.item_tower import ItemTower
from recbench_models.hllm.network import CachedItems, HLLMTraining
from recbench_models.hllm.user_side import UserSide

N_ITEMS, N_WORDS, WIDTH = 40, 50, 32


def config(**changes: Any) -> HLLMConfig:
    """Preset smoke with whole layers, and changes."""
    settings = PLUGIN.resolve("smoke", None, {"item.batch_tokens": 60, **changes})
    assert isinstance(settings, HLLMConfig)
    return settings


def tokens(n_items: int = N_ITEMS, seed: int = 0, longest: int = 14) -> Ragged:
    """Random texts of 1 to 14 tokens, and the empty text, which is one begin mark."""
    rng = np.random.default_rng(seed)
    return Ragged.from_lists([*(rng.integers(1, N_WORDS, rng.integers(1, longest + 1)).tolist() for _ in range(n_items)), [1]])


def body(kind: str = "decoder", seed: int = 0, n_layers: int = 2) -> Any:
    """A language model whose weights are large enough to matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        common: dict[str, Any] = {"vocab_size": N_WORDS, "hidden_size": WIDTH, "num_hidden_layers": n_layers, "num_attention_heads": 4,
                                  "intermediate_size": 64, "max_position_embeddings": 64, "initializer_range": 0.2}  # fmt: skip
        if kind == "decoder":
            none = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
            made: Any = LlamaModel(LlamaConfig(**common, **none, num_key_value_heads=2, use_cache=False))
        else:
            no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
            made = BertModel(BertConfig(**common, **no_dropout), add_pooling_layer=False)
    return made


def tower(kind: str = "decoder", texts: Ragged | None = None, n_layers: int = 2, **changes: Any) -> ItemTower:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return ItemTower(body(kind, n_layers=n_layers), texts or tokens(), config(**changes))


def user_side(settings: HLLMConfig | None = None, seed: int = 2, item_width: int = WIDTH) -> UserSide:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UserSide(settings or config(), item_width)


def lists(n_users: int = 12, n_items: int = N_ITEMS, seed: int = 3, longest: int = 9) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, n_items, rng.integers(2, longest + 1)).tolist() for _ in range(n_users)]


def windows(settings: HLLMConfig, events: Sequence[Sequence[int]] | None = None, n_items: int = N_ITEMS) -> Windows:
    return sequences_of(interactions(events or lists(), n_items), settings.sequences)


def module(
    items: ItemTower | CachedItems | nn.Module,
    settings: HLLMConfig | None = None,
    events: Sequence[Sequence[int]] | None = None,
    *,
    user: UserSide | None = None,
    n_items: int = N_ITEMS,
    world: World | None = None,
) -> HLLMTraining:
    settings = settings or config()
    sequences = windows(settings, events, n_items)
    return HLLMTraining(items, user or user_side(settings), sequences, n_items, settings, world or World(), logging.getLogger("test"))


def loss_and_gradients(training: HLLMTraining, rows: Sequence[int], seed: int = 0) -> tuple[torch.Tensor, int, dict[str, torch.Tensor]]:
    """One step's loss, number of targets and gradients, with the draws of a seed."""
    training.zero_grad()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loss, n = training(np.array(rows, np.int64))
        loss.backward()
    gradients = {name: p.grad.clone() for name, p in training.named_parameters() if p.grad is not None}
    return loss.detach(), n, gradients
