"""The states of item prompts, kept for as long as the weights stay what they are: a prompt is the same for every user."""

import numpy as np
import torch
from torch import Tensor

from recbench.core import Histories
from recbench.core.ragged import IntArray, LongArray, Ragged, flat_index
from recbench.nn.blocks import T5Encoder
from recbench.nn.compute import over_batches
from recbench_models.gram.frozen import FrozenReader

_BATCH_TOKENS = {"cpu": 4_096, "cuda": 262_144}

# I items, S tokens of all prompts, D width, U users, M tokens of a memory


class ItemStates:
    """The encoded item prompts of a catalogue, each encoded when it is first asked for.

    Args:
        reader: the encoder, with the weights that the states are to be of.
        prompts: of all items.
        width: D.
        device: where the states stand.
        frozen: reads item prompts in the place of the encoder, which then reads user prompts alone; None: the encoder reads both.
    """

    def __init__(self, reader: T5Encoder, prompts: Ragged, width: int, device: torch.device, frozen: FrozenReader | None = None) -> None:
        self._reader, self._prompts, self._device, self._frozen = reader, prompts, device, frozen
        self.state_SD = torch.empty(len(prompts.item), width, device=device)
        self._is_there = np.zeros(len(prompts), dtype=bool)

    def ensure(self, items: IntArray) -> None:
        """Encode those of `items` that are not there yet."""
        missing = np.unique(items)
        missing = missing[~self._is_there[missing]]
        if len(missing) == 0:
            return
        prompts = self._prompts.take(missing)
        batches = Histories(prompts.item, prompts.offsets).length_buckets(_BATCH_TOKENS.get(self._device.type, _BATCH_TOKENS["cuda"]))

        def encode(rows: LongArray) -> None:
            index, _ = flat_index(self._prompts.offsets, missing[rows].astype(np.int64))
            with torch.inference_mode():
                if self._frozen is not None:
                    states = self._frozen(missing[rows])
                else:
                    state, place = encoded(self._reader, prompts.take(rows), self._device)
                    states = state[place]
                self.state_SD[torch.from_numpy(index).to(self._device)] = states

        over_batches(encode, batches, self._device)
        self._is_there[missing] = True

    def memory(self, histories: Histories, users: Ragged | None, place_PD: Tensor) -> tuple[Tensor, Tensor]:
        """Memory of the decoder for each user: the user prompt, then the item prompts from the newest item on.

        Args:
            histories: of U users, cut to what is read; `ensure` has seen their items.
            users: their user prompts, which are encoded here; None: none are read.
            place_PD: the vectors of places, the user prompt's first.

        Returns:
            memory (U, M, D) and where it is real (U, M) bool; M is 1 at least.
        """
        n_users = len(histories)
        length_H = self._prompts.lengths[histories.item]
        row_H = histories.row_of_entry()
        place_H = histories.offsets[1:][row_H] - np.arange(len(row_H))
        # Newest first.
        order = np.lexsort((place_H, row_H))
        item, row, place, length = histories.item[order], row_H[order], place_H[order], length_H[order]
        user_length = users.lengths if users is not None else np.zeros(n_users, dtype=np.int64)
        item_length = np.bincount(row, weights=length, minlength=n_users).astype(np.int64)
        total = user_length + item_length
        n_memory = max(int(total.max(initial=1)), 1)
        with torch.inference_mode():
            memory = place_PD.new_zeros(n_users * n_memory, place_PD.shape[1])
            if users is not None:
                state, from_N = encoded(self._reader, users, self._device)
                user = users.row_of_entry()
                to_N = user * n_memory + np.arange(len(user)) - users.offsets[:-1][user]
                memory[torch.from_numpy(to_N).to(self._device)] = state[from_N] + place_PD[0]
            if len(item):
                from_S, offsets = flat_index(self._prompts.offsets, item.astype(np.int64))
                entry = np.repeat(np.arange(len(item)), length)
                # Behind the user prompt, and behind what newer items of the same user take.
                first = np.cumsum(item_length) - item_length
                begin = row * n_memory + user_length[row] + offsets[:-1] - first[row]
                to_S = begin[entry] + np.arange(len(entry)) - offsets[:-1][entry]
                places = place_PD[torch.from_numpy(place[entry]).to(self._device)]
                memory[torch.from_numpy(to_S).to(self._device)] = self.state_SD[torch.from_numpy(from_S).to(self._device)] + places
        is_real_UM = np.arange(n_memory) < total[:, None]
        return memory.view(n_users, n_memory, -1), torch.from_numpy(is_real_UM).to(self._device)


def encoded(reader: T5Encoder, texts: Ragged, device: torch.device) -> tuple[Tensor, Tensor]:
    """The states of texts as a padded batch laid flat, (N * longest, D), and where in it their real tokens stand, text by text."""
    lengths = texts.lengths
    token_NL = torch.from_numpy(Histories(texts.item, texts.offsets).padded(0)).long()
    is_real_NL = torch.arange(token_NL.shape[1]) < torch.from_numpy(lengths)[:, None]
    state = reader(token_NL.to(device), is_real_NL.to(device))
    return state.flatten(0, 1), torch.nonzero(is_real_NL.flatten()).squeeze(1).to(device)
