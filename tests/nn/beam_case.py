"""What the tests of the beam search share: a decoder that is a table, a plain slow search, the library's search, a comparison of lists."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.core import Histories, Rankings
from recbench.nn.codes.beam import beam_search
from recbench.nn.codes.trie import CodeTrie

Code = tuple[int, ...]


class TableDecoder:
    """A `StepDecoder` whose logits are a fixed function of the user and of all tokens read; it writes down how it was called."""

    def __init__(self, logits: Callable[[int, Code], Tensor], users: Sequence[int], vocabulary: int) -> None:
        self.table, self.vocabulary = logits, vocabulary
        self.user, self.read = list(users), [[()] for _ in users]
        self.calls: list[tuple[int, ...]] = []

    def start_tokens(self) -> Tensor:
        return torch.full((len(self.user),), 10_000)

    def logits(self, state_ND: Tensor) -> Tensor:
        return state_ND

    def advance(self, token_uWR: Tensor, parent_uW: Tensor | None, users: Tensor | None, *, node_uWR: Tensor, is_last: bool) -> Tensor:
        self.calls.append(tuple(token_uWR.shape))
        assert is_last or token_uWR.shape[2] == 1
        taken = range(len(self.user)) if users is None else users.tolist()
        assert len(taken) == len(token_uWR)
        user, read, state = [self.user[u] for u in taken], [], []
        for row, u in enumerate(taken):
            read.append([])
            for beam, tokens in enumerate(token_uWR[row].tolist()):
                before = self.read[u][0 if parent_uW is None else int(parent_uW[row, beam])]
                for token in tokens:
                    before = (*before, token) if token != 10_000 else before
                    state.append(self.table(user[row], before))
                read[-1].append(before)
        if not is_last:
            self.user, self.read = user, read
        return torch.stack(state).view(*token_uWR.shape, self.vocabulary)


def random_table(seed: int, vocabulary: int, *, n_values: int | None = None) -> Callable[[int, Code], Tensor]:
    """Logits drawn for each user and prefix; from few whole numbers, so that scores tie, where `n_values` is given."""

    @cache  # a search and the one it is held against ask for the same
    def logits(user: int, prefix: Code) -> Tensor:
        rng = np.random.default_rng([seed, user, *prefix])
        drawn = rng.normal(size=vocabulary) if n_values is None else rng.integers(0, n_values, size=vocabulary)
        return torch.tensor(drawn, dtype=torch.float32)

    return logits


def slow_search(
    table: Callable[[Code], Tensor],
    codes: Sequence[Code],
    excluded: Iterable[int],
    n_beams: int,
    *,
    is_normed: bool = False,
    renormalise: bool = False,
) -> tuple[list[int], list[float]]:
    """Items and scores of one user in one view, by lists and dictionaries: the tree is made of the codes that are not excluded."""
    alive: dict[Code, list[int]] = {}
    for item, code in enumerate(codes):
        if item not in set(excluded):
            alive.setdefault(code, []).append(item)
    first_item: dict[Code, int] = {}
    children: dict[Code, set[int]] = {}
    for code, items in alive.items():
        for depth in range(len(code) + 1):
            first_item[code[:depth]] = min(items[0], first_item.get(code[:depth], items[0]))
        for depth in range(len(code)):
            children.setdefault(code[:depth], set()).add(code[depth])
    beams: list[tuple[Code, Tensor]] = [((), torch.zeros(()))] if alive else []
    found: list[tuple[float, int]] = []
    while beams:
        candidates = []
        for prefix, score in beams:
            logit = table(prefix)
            legal = sorted(children[prefix])
            norm = logit[legal].logsumexp(0) if renormalise else None
            value = logit - norm if norm is not None else logit.log_softmax(0)
            candidates += [((*prefix, token), score + value[token]) for token in legal]
        candidates.sort(key=lambda c: (-float(c[1]), first_item[c[0]]))
        for code, score in candidates[:n_beams]:
            if code in alive:
                found += [(float(score / len(code)) if is_normed else float(score), item) for item in alive[code]]
        beams = [c for c in candidates if c[0] in children][:n_beams]
    found = sorted(found, key=lambda f: (-f[0], f[1]))[:n_beams]
    return [item for _, item in found], [score for score, _ in found]


def library_search(
    model: Any,
    prompt: dict[str, Tensor],
    codes: Sequence[Code],
    excluded: Sequence[Iterable[int]],
    n_beams: int,
    *,
    end: int | None,
    power: float,
) -> list[tuple[list[int], list[float]]]:
    """Items and scores of each user from the library's `generate` with a prefix function that knows the codes that are not excluded."""
    n_users, n_prompt = prompt["input_ids"].shape
    begin = 1 if model.config.is_encoder_decoder else n_prompt
    legal: list[dict[Code, set[int]]] = [{} for _ in range(n_users)]
    for user, gone in enumerate(excluded):
        for item, code in enumerate(codes):
            if item not in set(gone):
                for depth in range(len(code)):
                    legal[user].setdefault(code[:depth], set()).add(code[depth])
    out = model.generate(
        **prompt,
        prefix_allowed_tokens_fn=lambda user, read: sorted(legal[user].get(tuple(read.tolist()[begin:]), {0})),
        max_new_tokens=max(map(len, codes)),
        num_beams=n_beams,
        num_return_sequences=n_beams,
        do_sample=False,
        length_penalty=power,
        early_stopping="never",
        use_cache=True,
        pad_token_id=0,
        eos_token_id=end,
        output_scores=True,
        return_dict_in_generate=True,
        **({"decoder_start_token_id": 1} if model.config.is_encoder_decoder else {}),
    )
    item_of = {code: item for item, code in enumerate(codes)}
    lists: list[tuple[list[int], list[float]]] = [([], []) for _ in range(n_users)]
    for row, (tokens, score) in enumerate(zip(out.sequences[:, begin:].tolist(), out.sequences_scores.tolist(), strict=True)):
        if end in tokens:  # Behind it stands padding, which may be the end token again.
            tokens = tokens[: tokens.index(end) + 1]
        if score > -1e8:  # The library fills up with beams that score a billion less.
            lists[row // n_beams][0].append(item_of[tuple(tokens)])
            lists[row // n_beams][1].append(score)
    return lists


def assert_same_list(
    items: NDArray[np.int32], scores: NDArray[np.float32], expected: tuple[list[int], list[float]], *, gap: float = 1e-5
) -> None:
    """Scores agree within `gap`, and items in order wherever scores differ by more than `gap`; nothing stands behind the expected end."""
    wanted, values = expected
    n = len(wanted)
    assert (items[n:] == -1).all()
    assert (scores[n:] == -np.inf).all()
    np.testing.assert_allclose(scores[:n], values, rtol=0, atol=gap)
    breaks = [0, *(j for j in range(1, n) if values[j - 1] - values[j] > gap), n]
    for low, high in pairwise(breaks):
        # Which of several items of one score fell out of a full list is open.
        if high < n or high - low == 1:
            assert set(items[low:high].tolist()) == set(wanted[low:high])


def search(
    decoder: Any,
    codes: Sequence[Code] | NDArray[np.integer],
    histories: list[list[int]],
    n_beams: int,
    k: int | None = None,
    **options: Any,
) -> Rankings:
    """Our search over codes of equal or unequal length, which several items may share."""
    trie = CodeTrie.from_tokens(ragged(codes), may_collide=True)
    options.setdefault("views", ("keep", "unseen"))
    return beam_search(decoder, trie, Histories.from_lists(histories), k or n_beams, n_beams=n_beams, **options)


def ragged(codes: Sequence[Code] | NDArray[np.integer]) -> Any:
    """Codes as `CodeTrie.from_tokens` takes them."""
    return codes if isinstance(codes, np.ndarray) else Histories.from_lists(codes)
