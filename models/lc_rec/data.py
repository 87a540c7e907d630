"""Training sequences: packed histories, and the tasks that tie codes to names, all as lists of tokens with a mark on what is written."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from recbench.core import Interactions
from recbench.core.ragged import IntArray, LongArray
from recbench.nn.training import Windows, length_bucketed
from recbench_models.lc_rec.config import LCRecConfig
from recbench_models.lc_rec.network import CodeLanguageModel
from recbench_models.lc_rec.prompts import N_WORDINGS, Prompts, TokenList

# B sequences of a batch, T tokens of a sequence, N items, L tokens of a code


class Examples:
    """All sequences of one pass: the histories of the train part, then items by their names, then names by their items.

    A history is one sequence, `prompt code code ... code`. Every code after the first is written with those before it as context, which are
    all (history, target) pairs of the user in one causal pass. Users longer than `max_history` are cut into overlapping sequences.

    Sequences are numbered; a batch holds numbers times `N_WORDINGS` plus the wording that each is told in.

    Args:
        config: which tasks there are, and the size of batches.
        train: the train part.
        code_NL: tokens of every item's code.
        prompts: tokens of wordings and names.
    """

    def __init__(self, config: LCRecConfig, train: Interactions, code_NL: IntArray, prompts: Prompts) -> None:
        self.windows = Windows.of(train, config.max_history)
        self._batch_tokens, self._codes, self._prompts = config.batch_tokens, code_NL.tolist(), prompts
        named = np.array([row for row, name in enumerate(prompts.names) if name], np.int64)
        none = named[:0]
        self._to_code = named if config.tasks.item_to_code else none
        self._to_item = named if config.tasks.code_to_item else none
        self._length = self._lengths()
        """Of each sequence in each wording."""

    def _lengths(self) -> LongArray:
        """Tokens of every sequence in every wording, by its number."""
        prompts, code_length = self._prompts, len(self._codes[0])
        name_length = np.array([len(name) for name in prompts.names], np.int64)
        of_prompts = [[len(part) for part in prompts.sequence]]
        of_prompts += [[len(before) + len(between) for before, between in pairs] for pairs in (prompts.to_code, prompts.to_item)]
        of_bodies = [code_length * (self.windows.length + 1)]
        of_bodies += [name_length[rows] + code_length + more for rows, more in ((self._to_code, 0), (self._to_item, len(prompts.end)))]
        return np.concatenate([(body[:, None] + prompt).flatten() for body, prompt in zip(of_bodies, of_prompts, strict=True)])

    @property
    def n_possible(self) -> int:
        """(history, target) pairs and sequences of the other tasks of one pass."""
        return int(self.windows.n_targets.sum()) + len(self._to_code) + len(self._to_item)

    @property
    def n_tokens(self) -> int:
        """Tokens of one pass in the first wording."""
        return int(self._length[::N_WORDINGS].sum())

    def batches(self, generator: np.random.Generator) -> Sequence[LongArray]:
        """The sequences of one pass in wordings that are drawn, in batches of like length, whatever their task."""
        n_sequences = len(self._length) // N_WORDINGS
        told = N_WORDINGS * np.arange(n_sequences) + generator.integers(0, N_WORDINGS, n_sequences)
        length = self._length[told]
        return [told[batch] for batch in length_bucketed(length, length, size=self._batch_tokens, unit="targets", generator=generator)]

    def sequence(self, number: int) -> tuple[TokenList, list[bool], int]:
        """The tokens of a sequence, which of them are written, and how many targets they are."""
        row, wording = divmod(number, N_WORDINGS)
        prompts, windows = self._prompts, self.windows
        if row < len(windows):
            start, read, first = int(windows.start[row]), int(windows.length[row]), int(windows.first_trained[row])
            prompt = prompts.sequence[wording]
            codes = [token for item in windows.item[start : start + read + 1] for token in self._codes[item]]
            n_written = (read - first) * len(self._codes[0])
            return prompt + codes, _last(n_written, len(prompt) + len(codes)), read - first
        row -= len(windows)
        if row < len(self._to_code):
            item = int(self._to_code[row])
            before, between = prompts.to_code[wording]
            context, response = before + prompts.names[item] + between, self._codes[item]
        else:
            item = int(self._to_item[row - len(self._to_code)])
            before, between = prompts.to_item[wording]
            context, response = before + self._codes[item] + between, prompts.names[item] + prompts.end
        return context + response, _last(len(response), len(context) + len(response)), 1

    def tensors(self, numbers: LongArray, device: torch.device) -> tuple[Tensor, Tensor, int]:
        """Sequences as a rectangle (B, T) int64, which tokens are written (B, T) bool, and how many targets there are."""
        sequences = [self.sequence(int(number)) for number in numbers]
        shape = len(sequences), max(len(tokens) for tokens, _, _ in sequences)
        token_BT, is_written_BT = np.zeros(shape, np.int64), np.zeros(shape, bool)
        for row, (tokens, is_written, _) in enumerate(sequences):
            token_BT[row, : len(tokens)], is_written_BT[row, : len(tokens)] = tokens, is_written
        return torch.from_numpy(token_BT).to(device), torch.from_numpy(is_written_BT).to(device), sum(n for _, _, n in sequences)


def _last(n: int, length: int) -> list[bool]:
    """Marks on the last `n` of so many tokens."""
    return [False] * (length - n) + [True] * n


class LCRecTraining(nn.Module):
    """`module(numbers)` gives the sum of the losses of sequences, and the number of their targets.

    Every token that is written has the same weight, as in the source; an item's name has more of them than a code.
    """

    def __init__(self, network: CodeLanguageModel, examples: Examples) -> None:
        super().__init__()
        self.network = network
        self._examples = examples

    def forward(self, numbers: LongArray) -> tuple[Tensor, int]:
        token_BT, is_written_BT, n_targets = self._examples.tensors(numbers, self.network.device)
        return self.network.loss(token_BT, is_written_BT), n_targets
