"""A small GRAM with random weights over made-up IDs and prompts, and the library's own forward pass over what it reads."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbench.core import Histories, Queries
from recbench.core.ragged import Ragged
from recbench_models.gram import PLUGIN
from recbench_models.gram.config import GRAMConfig
from recbench_models.gram.data import Batch
from recbench_models.gram.network import START
from recbench_models.gram.recommender import GRAM, _backbone, _Texts
from recbench_models.gram.vocabulary import EOS, PAD

N_ITEMS, N_TOKENS = 60, 90
FIRST_WORD, SEPARATOR, BEGIN, END = 10, 5, 6, 7


def config(**changes: Any) -> GRAMConfig:
    settings = PLUGIN.resolve("smoke", None, {"prompts.max_history": 5, "prompts.user_max_len": 24, "search.n_beams": 20, **changes})
    assert isinstance(settings, GRAMConfig)
    return settings


def texts(n_items: int = N_ITEMS, seed: int = 0) -> _Texts:
    """Random prompts of 2 to 9 tokens, and different IDs of three words, every fifth with a number behind them."""
    rng = np.random.default_rng(seed)
    ids: list[tuple[int, ...]] = []
    while len(ids) < n_items:
        code = tuple(int(token) for token in FIRST_WORD + rng.integers(0, (5, 30, 70)))
        if code not in ids and len(set(code)) == 3:
            ids.append(code)
    lists = [[*code, 3] if item % 5 == 0 else list(code) for item, code in enumerate(ids)]
    prompts = [[*rng.integers(FIRST_WORD, N_TOKENS, rng.integers(1, 9)).tolist(), EOS] for _ in range(n_items)]
    return _Texts(Ragged.from_lists(lists), Ragged.from_lists(prompts), (BEGIN,), (SEPARATOR,), (END,))


def model(parts: _Texts | None = None, seed: int = 0, **changes: Any) -> GRAM:
    """With place vectors large enough to matter."""
    gram = GRAM(config(**changes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gram._build(_backbone(gram.config.backbone, N_TOKENS), parts or texts())
        network = gram._trained
        for parameter in network.parameters():
            if parameter.ndim == 1 or parameter is network.places.weight:
                with torch.no_grad():
                    parameter.copy_(torch.randn_like(parameter) * (network.places.weight.requires_grad or parameter.ndim == 1))
    return gram


def memory_of(gram: GRAM, history: Sequence[int]) -> Tensor:
    """What the decoder attends to for one history, (1, M, D): each text through the library's encoder, alone, then its place's vector."""
    network, settings = gram._trained, gram.config
    newest = list(history)[-settings.prompts.max_history :]
    slots = [gram._user_prompts(Histories.from_lists([newest]))[0]] if settings.prompts.user else []
    places = [0] * settings.prompts.user
    if settings.prompts.items:
        slots += [gram._texts.prompts[item] for item in reversed(newest)]
        places += range(1, len(newest) + 1)
    states = [
        network.t5.encoder(input_ids=torch.from_numpy(slot.astype(np.int64))[None]).last_hidden_state[0] + network.places.weight[place]
        for slot, place in zip(slots, places, strict=True)
    ]
    return torch.cat(states)[None]


def logits_of(gram: GRAM, memory_1MD: Tensor, label_NY: Tensor, mask_1M: Tensor | None = None) -> Tensor:
    """The library's logits (N, Y, V) of some IDs, after the same memory."""
    n = len(label_NY)
    return gram._trained.t5(
        encoder_outputs=(memory_1MD.expand(n, -1, -1),),
        attention_mask=None if mask_1M is None else mask_1M.expand(n, -1),
        decoder_input_ids=torch.cat([label_NY.new_full((n, 1), START), label_NY[:, :-1]], 1),
    ).logits


@torch.no_grad()
def exhaustive_scores(gram: GRAM, asked: Queries) -> np.ndarray:
    """The score of every item for each query (B, n_items) by teacher forcing: what an exhaustive search would rank by."""
    label_IY = gram._trained.label_IY
    is_real_IY = label_IY != PAD
    rows = []
    for row in range(len(asked)):
        log_IY = torch.log_softmax(logits_of(gram, memory_of(gram, asked.histories[row].tolist()), label_IY), -1)
        total_I = (log_IY.gather(2, label_IY[..., None]).squeeze(2) * is_real_IY).sum(1)
        divisor = is_real_IY.sum(1) ** gram.config.search.length_power if gram.config.search.length_norm == "hf" else 1
        rows.append((total_I / divisor).numpy())
    return np.stack(rows)


def batch(gram: GRAM, stretches: Sequence[Sequence[int]]) -> Batch:
    """One batch in which every item but the first of each stretch is a target."""
    from recbench.testing import interactions
    from recbench_models.gram.data import Examples

    examples = Examples(gram.config, interactions(stretches, N_ITEMS), gram._user_prompts)
    return examples.batch(np.arange(len(examples.windows)))
