"""GRAM's inference step by step: what each way of saving work does to users per second, with the same lists.

    RECBENCH_DATA=... python benchmarks/gram_inference.py [--dataset beauty] [--run FOLDER | --levels 3] [--users 200]
                                                          [--reference-users 24] [--batches 1,4,16] [--threads 2] [--repeats 3]
                                                          [--clock wall]

Every row answers test users (histories: all but the last event) with lists of 50 by 50 beams, view `keep`, in float32, with the same
weights and as many threads. Weights are random and of preset `cpu`'s sizes, over the data set's own texts: IDs named after the tree of
tfidf-svd vectors, and as similar items any others. `--run` takes weights, IDs and prompts from the `model/` folder of a trained run.

reference        As the published code does it. All texts of a user are encoded anew by the library's encoder, as slots padded to the
                 longest text, vectors of places are added, all is laid end to end and goes to the library's `generate` with its cache,
                 whose prefix function walks a tree of dictionaries from the root at every call. One user at a time, and `batch B`: users
                 of like length, slots padded to the longest history. The layers are torch's own. `generate` of transformers 5.24 copies
                 the encoder's states for each beam (`_expand_inputs_for_generation`), so keys and values of the cross-attention are
                 projected beam by beam, and reorders these copies at every step (`EncoderDecoderCache.reorder_cache`).
search           The same work one user at a time in a plain loop, with the arithmetic of `recbench.nn` (weights packed for oneDNN, few
                 small operations): slots encoded anew, every beam with keys and values of its own, which are reordered; 50 beams from the
                 first step on; dictionaries; top-k over 50 x vocabulary.
+ item states    Item prompts are not encoded, their states stand ready; only real tokens are laid end to end.
+ shared keys    Keys and values are projected once per user; the beams are queries to them.
+ batched trie   `beam_search` without its chain shortcut: users in batches, which run side by side on the threads; a tree of flat arrays.
+ chains         `GRAM.generate`: beams that cannot branch are scored to their ends in one pass.
  cold           The same, states of item prompts encoded within the time: those of the histories of these users only.

The reference answers fewer users, evenly spread over the lengths. `MB/user` are the keys and values of the cross-attention that are
projected for a user, on average. Lists are compared with those of the reference for its users and with those of `+ chains` for all:
items in order wherever scores differ by more than 1e-5. Repeats alternate between the rows; medians are printed. IDs of preset `cpu`
have three words, which leaves little to a chain; `--levels 7` makes them as long as the published ones.

Measured on 2026-11-27, two cores of an AMD EPYC, 12 reference users, batches 1 and 4, users per second; no settled place differs.
`--run`, the model of the beauty board, 3 repeats: reference 20.7 (batch 4: 20.0), search 34.8, + item states 37.3, + shared keys 65.7,
+ batched trie 389.4, + chains 394.1 (19.0 x; other runs 17.6 to 19.6), cold 332.7. `--levels 7`, 2 repeats, the same rows: 8.6 (5.7), 15.4,
21.3, 36.3, 181.1, 194.8 (22.6 x), 185.8.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from gram_batches import Slots, divided, laid_end_to_end, library_memory, library_model, untrained
from numpy.typing import NDArray
from torch import Tensor
from transformers import LogitsProcessorList
from transformers.modeling_outputs import BaseModelOutput

from recbench.core import Queries
from recbench.core.ragged import LongArray
from recbench.nn.blocks.t5_decoder import T5Decoder
from recbench.nn.blocks.t5_encoder import T5Encoder
from recbench.nn.codes import search
from recbench.nn.codes.beam import beam_search
from recbench_models.gram import PLUGIN
from recbench_models.gram.network import START
from recbench_models.gram.recommender import GRAM
from recbench_models.gram.vocabulary import EOS, PAD

# B users, N slots, L tokens of a slot, M tokens of a memory, W beams, T tokens of a beam, D width, V vocabulary, K length of a list

K = 50
TIE = 1e-5

Lists = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Items and scores, each (users, K)."""
Words = dict[int, Any]
"""A tree of dictionaries from token to subtree."""


def loaded(folder: Path) -> GRAM:
    """GRAM of a trained run."""
    gram = GRAM(PLUGIN.resolve("cpu"))
    gram.load(folder / "model" if (folder / "model").is_dir() else folder)
    return gram


def dictionaries(codes: list[tuple[int, ...]]) -> Words:
    """The tree of all IDs, end token included."""
    root: Words = {}
    for code in codes:
        node = root
        for token in code:
            node = node.setdefault(token, {})
    return root


def legal_tokens(root: Words, read: list[int]) -> list[int]:
    """What may follow `read`, found by a walk from the root; padding where nothing may."""
    node = root
    for token in read:
        node = node.get(token, {})
    return list(node) or [PAD]


@dataclass
class Case:
    """One model, and the users who ask."""

    gram: GRAM
    queries: Queries

    def __post_init__(self) -> None:
        self.t5, self.slots = library_model(self.gram), Slots(self.gram)
        # `generate` of transformers 5.24 makes the decoder's cache with as many layers as the encoder has, and fails where these are fewer.
        self.t5.config.num_layers = self.t5.config.num_decoder_layers
        self.place_PD = self.gram._trained.places.weight.detach()
        codes = [tuple(token for token in row if token != PAD) for row in self.gram._trained.label_IY.tolist()]
        self.item_of, self.root = {code: item for item, code in enumerate(codes)}, dictionaries(codes)
        self.longest = max(map(len, codes))
        self.power = self.gram.config.search.length_power if self.gram.config.search.length_norm == "hf" else 0.0
        self.by_length = np.argsort(self.queries.histories.lengths, kind="stable")

    @torch.inference_mode()
    def reference(self, rows: LongArray) -> Lists:
        """The lists of users `rows`, in one batch, by the library alone."""
        token_BNL = self.slots(self.queries.histories.take(rows))
        memory_BMD, is_real_BM = library_memory(self.t5, token_BNL, self.place_PD)
        out = self.t5.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=memory_BMD),
            attention_mask=is_real_BM.long(),
            prefix_allowed_tokens_fn=lambda _, read: legal_tokens(self.root, read.tolist()[1:]),
            num_beams=K,
            num_return_sequences=K,
            max_new_tokens=self.longest,
            do_sample=False,
            use_cache=True,
            length_penalty=self.power,
            early_stopping="never",
            pad_token_id=PAD,
            eos_token_id=EOS,
            decoder_start_token_id=START,
            output_scores=True,
            return_dict_in_generate=True,
            logits_processor=LogitsProcessorList(),
        )
        # Behind the end of the shorter ones the library repeats what it likes.
        codes = [tuple(code[: code.index(EOS) + 1]) for code in out.sequences[:, 1:].tolist()]
        items = np.array([self.item_of[code] for code in codes]).reshape(len(rows), K)
        return items, out.sequences_scores.view(len(rows), K).numpy()

    @torch.inference_mode()
    def plain(self, rows: LongArray, *, keeps_states: bool, shares_keys: bool) -> Lists:
        """The lists of users `rows`, one user after the other, by `plain_search`."""
        serving, reader, lists = self.gram._served(), T5Encoder(self.gram._trained.t5), []
        for row in rows:
            history = self.queries.histories.take([row]).tail(self.gram.config.prompts.max_history)
            if keeps_states:
                memory_1MD, is_real_1M = serving.states.memory(history, self.gram._user_prompts(history), self.place_PD)
            else:
                token_1NL = self.slots(history)
                state = reader(token_1NL[0], token_1NL[0] != PAD)
                memory_1MD, is_real_1M = laid_end_to_end(state, token_1NL, self.place_PD)
            if not shares_keys:
                memory_1MD, is_real_1M = memory_1MD.repeat(K, 1, 1), is_real_1M.repeat(K, 1)
            decoder = T5Decoder(serving.parameters, memory_1MD, is_real_1M, START)
            found = plain_search(decoder, self.root, self.longest, shares_keys=shares_keys)
            ranked = sorted((-total / len(code) ** self.power, self.item_of[code]) for code, total in found.items())[:K]
            lists.append(([item for _, item in ranked], [-score for score, _ in ranked]))
        items, scores = zip(*lists, strict=True)
        return np.array(items), np.array(scores, np.float32)

    def product(self, rows: LongArray, *, uses_chains: bool = True, is_cold: bool = False) -> Lists:
        """The lists of users `rows` by `GRAM.generate`."""
        if is_cold:
            self.gram.to("cpu")  # forgets all states
        with mock.patch.object(search, "beam_search", partial(beam_search, use_chains=uses_chains)):
            rankings = self.gram.generate(self.queries.take(rows), K)
        return rankings.items[0].astype(np.int64), rankings.scores[0]

    def batches(self, rows: LongArray, size: int) -> list[LongArray]:
        """Users of like length together."""
        ordered = rows[np.argsort(self.queries.histories.lengths[rows], kind="stable")]
        return [ordered[start : start + size] for start in range(0, len(rows), size)]


def plain_search(decoder: T5Decoder, root: Words, longest: int, *, shares_keys: bool) -> dict[tuple[int, ...], float]:
    """The IDs that K beams of one user find, with their log-likelihoods; the rules are the library's.

    Without `shares_keys` each beam is a user of the decoder with a memory of its own: to go on from another beam is to take that user's.
    """
    read_WT, total_W = torch.full((K, 1), START), torch.full((K,), -torch.inf)
    total_W[0] = 0.0
    parent_W: Tensor | None = None
    found: dict[tuple[int, ...], float] = {}
    for _ in range(longest):
        token_W = read_WT[:, -1]
        if shares_keys:
            parent_1W = None if parent_W is None else parent_W[None]
            state_WD = decoder.advance(token_W[None, :, None], parent_1W, None, is_last=False).view(K, -1)
        else:
            # The decoder wants users in order, because it reads neighbours in place; here all hold the same.
            parent_W1 = None if parent_W is None else torch.zeros(K, 1, dtype=torch.int64)
            state_WD = decoder.advance(token_W[:, None, None], parent_W1, parent_W, is_last=False).view(K, -1)
        log_WV = torch.log_softmax(decoder.logits(state_WD), 1)
        mask_WV = torch.full_like(log_WV, -torch.inf)
        for beam, read in enumerate(read_WT.tolist()):
            mask_WV[beam, legal_tokens(root, read[1:])] = 0.0
        best, index = torch.topk((total_W[:, None] + (log_WV + mask_WV)).flatten(), 2 * K)
        beam, token = index // log_WV.shape[1], index % log_WV.shape[1]
        reads, is_end = torch.cat([read_WT[beam], token[:, None]], 1), token == EOS
        for rank in torch.nonzero(is_end[:K] & (best[:K] > -torch.inf)).flatten().tolist():
            found[tuple(reads[rank, 1:].tolist())] = best[rank].item()
        going = torch.nonzero(~is_end).flatten()[:K]
        read_WT, total_W, parent_W = reads[going], best[going], beam[going]
        if total_W[0] == -torch.inf:
            break
    return found


def difference(lists: Lists, others: Lists) -> str:
    """Whether lists are the same, as the table says it."""
    scores = others[1]
    gaps = np.pad(-np.diff(scores, axis=1) > TIE, ((0, 0), (1, 1)), constant_values=True)
    is_settled = gaps[:, :-1] & gaps[:, 1:]
    n_other, worst = int(((lists[0] != others[0]) & is_settled).sum()), float(np.abs(lists[1] - scores).max())
    return f"{'no' if n_other else 'yes'}: {n_other} of {int(is_settled.sum()):,}, {worst:.0e}"


def megabytes(case: Case, batches: list[LongArray], *, copies: int, is_padded: bool) -> float:
    """Keys and values of the cross-attention that are projected for a user, in MB."""
    config, n_tokens = case.t5.config, 0
    max_history = case.gram.config.prompts.max_history
    for rows in batches:
        token_BNL = case.slots(case.queries.histories.take(rows).tail(max_history))
        each = token_BNL[0].numel() if is_padded else int((token_BNL != PAD).sum((1, 2)).max())
        n_tokens += len(rows) * each
    per_token = config.num_decoder_layers * 2 * config.num_heads * config.d_kv * 4
    return copies * n_tokens * per_token / sum(map(len, batches)) / 1e6


@dataclass
class Row:
    """A line of the table."""

    batches: list[LongArray]
    run: Callable[[LongArray], Lists]
    megabytes: float

    def answer(self, n_users: int) -> Lists:
        """The lists of its users among all, each in its place."""
        items, scores = np.full((n_users, K), -1), np.full((n_users, K), -np.inf, np.float32)
        for rows in self.batches:
            items[rows], scores[rows] = self.run(rows)
        return items, scores


def rows_of(case: Case, few: LongArray, sizes: list[int]) -> dict[str, Row]:
    every = np.arange(len(case.queries))
    found = {}
    for size in sizes:
        batches = case.batches(few, size)
        found[f"reference, batch {size}"] = Row(batches, case.reference, megabytes(case, batches, copies=K, is_padded=True))
    steps = {
        "search": (partial(case.plain, keeps_states=False, shares_keys=False), 1, K, True),
        "+ item states": (partial(case.plain, keeps_states=True, shares_keys=False), 1, K, False),
        "+ shared keys": (partial(case.plain, keeps_states=True, shares_keys=True), 1, 1, False),
        "+ batched trie": (partial(case.product, uses_chains=False), search._BEAMS_AT_A_TIME["cpu"] // K, 1, False),
        "+ chains": (case.product, search._BEAMS_AT_A_TIME["cpu"] // K, 1, False),
        "  cold": (partial(case.product, is_cold=True), search._BEAMS_AT_A_TIME["cpu"] // K, 1, False),
    }
    for name, (run, size, copies, is_padded) in steps.items():
        found[name] = Row([every], run, megabytes(case, case.batches(every, size), copies=copies, is_padded=is_padded))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="beauty")
    parser.add_argument("--run", type=Path, help="a trained run, or its model/ folder")
    parser.add_argument("--levels", type=int, default=3, help="words of an ID, without --run")
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--reference-users", type=int, default=24)
    parser.add_argument("--batches", type=lambda text: [int(part) for part in text.split(",")], default=[1, 4, 16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: the process's own seconds, where others use the machine"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    split = divided(options.dataset)
    queries = split.test.queries(split.user_ids, views=("keep",))
    queries = queries.take(np.linspace(0, len(queries) - 1, min(options.users, len(queries))).astype(np.int64))
    case = Case(loaded(options.run) if options.run else untrained(split, ids={"n_levels": options.levels}), queries)
    few = case.by_length[np.linspace(0, len(queries) - 1, min(options.reference_users, len(queries))).astype(np.int64)]
    rows = rows_of(case, few, options.batches)
    now = time.perf_counter if options.clock == "wall" else time.process_time
    lists: dict[str, Lists] = {}
    rates: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(options.repeats):
        for name, row in rows.items():
            case.product(np.arange(len(queries)))  # states are there, whatever the row before forgot
            start = now()
            lists[name] = row.answer(len(queries))
            rates[name].append(sum(map(len, row.batches)) / (now() - start))

    n_read = queries.histories.tail(case.gram.config.prompts.max_history).lengths.mean()
    print(f"{options.dataset}, {len(queries)} users who are read by {n_read:.1f} items, of which the reference answers {len(few)}")
    print(f"{options.run or 'random weights'}, {options.threads} threads, {options.clock} clock, median of {options.repeats}")
    rate = {name: statistics.median(values) for name, values in rates.items()}
    references = [name for name in rows if name.startswith("reference")]
    first, best = references[0], max(references, key=rate.__getitem__)
    print(f"\n{'':20}  users/s  x {first[11:]}  x best ({best[11:]})  MB/user   same as reference         same as + chains, all users")
    for name, row in rows.items():
        here = difference(tuple(part[few] for part in lists[name]), tuple(part[few] for part in lists[first]))
        everywhere = "" if name in references else difference(lists[name], lists["+ chains"])
        print(
            f"{name:20} {rate[name]:8.1f} {rate[name] / rate[first]:9.1f} {rate[name] / rate[best]:14.1f} {row.megabytes:12.2f}   "
            f"{here:25} {everywhere}"
        )


if __name__ == "__main__":
    main()
