"""An encoder that is not trained: it reads every item prompt once, and a learnt matrix brings its states to the decoder's width."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModel

from recbench.core import FitContext, Histories
from recbench.core.matrix import new_matrix
from recbench.core.ragged import IntArray, LongArray, Ragged, flat_index
from recbench.nn.compute import computed_matrix, replace_linear
from recbench.nn.text import load_encoder, read_config
from recbench_models.gram.config import RANDOM_FROZEN, BackboneSettings

_STATES = "states.npy"
_BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536}
_ROWS_PER_BLOCK = 65_536
_RANDOM_SEED = 0
"""Seed of an encoder with random weights, apart from the run's: runs of several seeds share its states."""

# S tokens of all prompts, E width of the encoder, D width of the decoder, V words of IDs


@dataclass(frozen=True, eq=False)
class Encoder:
    """A frozen encoder.

    Numbers that tell items of equal IDs apart may be tokens above all its words: it reads them as nothing.

    Attributes:
        model: of the transformers library, without dropout.
        begin: token before a text.
        end: token behind it.
    """

    model: Any
    begin: int
    end: int

    def words(self, tokens: LongArray) -> NDArray[np.float32]:
        """The vectors before the first layer, (V, E), of those `tokens` that are words of the encoder."""
        table = self.model.get_input_embeddings().weight.detach()
        vectors: NDArray[np.float32] = table[torch.from_numpy(tokens[tokens < len(table)])].float().cpu().numpy()
        return vectors

    def prompts(self, prompts: Ragged) -> Ragged:
        """Prompts as the encoder reads them: its marks around each, in the place of the end token."""
        n_words = len(self.model.get_input_embeddings().weight)
        texts = (prompts[row][:-1].tolist() for row in range(len(prompts)))
        return Ragged.from_lists([[self.begin, *(token for token in text if token < n_words), self.end] for text in texts])


def frozen_encoder(settings: BackboneSettings) -> Encoder:
    """The encoder that the settings name, with its own weights or with random ones.

    Raises:
        DataUnavailable: its package is not installed.
    """
    folder = settings.located().folder
    model, tokenizer = load_encoder(folder, "backbone")
    if settings.name == RANDOM_FROZEN:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_RANDOM_SEED)
            model = AutoModel.from_config(read_config(folder, "backbone")).float()
    replace_linear(model)
    return Encoder(model.eval(), int(tokenizer.cls_token_id), int(tokenizer.sep_token_id))


def prompt_states(context: FitContext, settings: BackboneSettings, encoder: Encoder, prompts: Ragged) -> NDArray[Any]:
    """The states of all tokens of all prompts, (S, E), from the cache or computed now; memory-mapped, of the type that the settings name.

    Args:
        context: of the run; computes and reports.
        settings: which encoder.
        encoder: the same, loaded.
        prompts: as the encoder reads them.
    """
    located = settings.located()
    config: dict[str, object] = {
        "encoder": located.name,
        "name": settings.name,
        "type": settings.state_type,
        "tokens": hashlib.sha256(prompts.item.tobytes() + prompts.offsets.tobytes()).hexdigest(),
    }

    def build(folder: Path) -> None:
        states = _computed(context, encoder, prompts)
        if states is None:
            return
        out = new_matrix(folder / _STATES, settings.state_type, states.shape)
        for start in range(0, len(states), _ROWS_PER_BLOCK):
            out[start : start + _ROWS_PER_BLOCK] = states[start : start + _ROWS_PER_BLOCK]
        out.flush()

    inputs = [located.folder] if located.is_known_by_content else []
    folder = context.common_stage("prompt-states", build, config=config, inputs=inputs, together=True)
    found: NDArray[Any] = np.load(folder / _STATES, mmap_mode="r")
    return found


def _computed(context: FitContext, encoder: Encoder, prompts: Ragged) -> NDArray[np.float32] | None:
    """The states (S, E) in a file; None on every rank but 0."""
    device = torch.device(context.device)
    model = encoder.model.to(device)
    # Longest first: what does not fit into memory fails at once.
    batches = Histories(prompts.item, prompts.offsets).length_buckets(_BATCH_TOKENS.get(device.type, _BATCH_TOKENS["cpu"]))[::-1]

    def read(rows: LongArray) -> NDArray[np.float32]:
        states: NDArray[np.float32] = states_of(model, prompts.take(rows)).cpu().numpy()
        return states

    with torch.inference_mode():
        return computed_matrix(
            context.together(),
            (len(prompts.item), int(model.config.hidden_size)),
            batches,
            read,
            work=prompts.lengths,
            title="item prompts (tokens)",
            rows_of=lambda rows: flat_index(prompts.offsets, rows)[0],
        )


def states_of(model: Any, texts: Ragged) -> Tensor:
    """The last states of the tokens of some texts, one text after the other, (S, E) float32."""
    token_NL = torch.from_numpy(Histories(texts.item, texts.offsets).padded(0)).long().to(model.device)
    is_real_NL = torch.arange(token_NL.shape[1], device=model.device) < torch.from_numpy(texts.lengths).to(model.device)[:, None]
    states: Tensor = model(input_ids=token_NL, attention_mask=is_real_NL.long()).last_hidden_state
    return states[is_real_NL].float()


class FrozenReader(nn.Module):
    """`reader(items)` gives the states of items' prompts as the decoder reads them: normed, then through a learnt matrix.

    The states are no parameters: nothing trains them and no copy of them goes to the device.

    Args:
        state_SE: of all prompts, in any floating type; may be memory-mapped.
        offsets: (n_items + 1,) where each item's prompt begins.
        width: D.
    """

    def __init__(self, state_SE: NDArray[Any], offsets: LongArray, width: int) -> None:
        super().__init__()
        self.state_SE, self.offsets = state_SE, offsets
        self.norm = nn.LayerNorm(state_SE.shape[1])
        self.map = nn.Linear(state_SE.shape[1], width, bias=False)

    def forward(self, items: IntArray) -> Tensor:
        """The states (S, D) of the prompts of `items`, one after the other."""
        index, _ = flat_index(self.offsets, items.astype(np.int64))
        state = torch.from_numpy(self.state_SE[index]).to(self.map.weight.device, torch.float32)
        mapped: Tensor = self.map(self.norm(state))
        return mapped

    def begin_with(self, word_VE: NDArray[np.float32], table: nn.Embedding, first: int) -> None:
        """Let the decoder know the encoder's words: one matrix takes both its word vectors and its states to the decoder's width.

        The last states of most tokens are nearest to their own word, so what the decoder reads resembles what it writes from the first
        step on. The matrix holds the directions in which the words of IDs differ most.

        Args:
            word_VE: the encoder's vectors of the words of IDs.
            table: the decoder's; rows from `first` on are those words, and what has no word behind them stays as it is.
            first: row of the first of them.
        """
        words = torch.from_numpy(word_VE)
        centred = words - words.mean(0)
        n_directions = min(self.map.out_features, *centred.shape)
        direction_DE = torch.linalg.svd(centred, full_matrices=False).Vh[:n_directions]
        with torch.no_grad():
            self.map.weight[:n_directions] = direction_DE
            begun = centred @ direction_DE.T
            # T5's own word vectors begin with a deviation of 1.
            table.weight[first : first + len(words), :n_directions] = begun / begun.std().clamp(min=1e-6)
