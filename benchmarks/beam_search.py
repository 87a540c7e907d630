"""Our beam search beside the `generate` of the transformers library, its cost over the size of the catalogue, its memory.

    python benchmarks/beam_search.py [--parts library,catalogue,memory,products] [--widths 20,50] [--histories beauty,full]
                                     [--threads 2] [--repeats 5] [--library-users 64] [--users 512] [--batch N] [--batches 1,16,64]
                                     [--clock wall]

library     Users per second from token ids to lists, encoder included, of the same T5 (4 + 4 layers, width 128, 6 heads of 64, hidden width
            1,024, vocabulary 1,030, random weights) over 12,000 codes of 3 x 256 residual-like levels and one that tells equal ones apart;
            histories of up to 20 items, `beauty`: as long as those of Amazon Beauty, 7.7 on average; `full`: 20 each. The library has its
            cache on, every field of generation set, a prefix function that looks up a dictionary, and the best of its batches counts;
            both get users of like length in a batch and as many threads. Users are few for the library, so that it ends in minutes. Each
            figure is the median of the repeats, which alternate between the two. Lists are compared user by user: items in order wherever
            scores differ by more than 1e-5.
catalogue   Seconds per user of our search over 1,000 to 1,000,000 random codes of 4 levels of 256, with the number of children that its
            beams have at each step, and the seconds to build the tree.
products    The same matrix products by torch and by `recbench.nn.compute.projection`, in GFLOP/s on one thread.
memory      Bytes of the cross-attention's keys and values, as kept, and as they would be if each beam had its own.

Figures are in docs/performance.md, "Constrained search".
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import T5Config, T5ForConditionalGeneration

from recbench.core import Histories, Rankings
from recbench.nn.blocks import PrefixStates, T5Decoder, T5DecoderParameters, T5Encoder
from recbench.nn.codes.beam import beam_search
from recbench.nn.codes.trie import CodeTrie
from recbench.nn.compute.memory import keep_freed_memory
from recbench.nn.compute.projection import Projection
from recbench.nn.compute.threads import over_batches

START = 1
N_ITEMS = 12_000
MAX_HISTORY = 20
BEAMS_AT_A_TIME = 1_600
"""Of all views, as `recbench.nn.codes.search` has it."""


@dataclass
class Case:
    """One model, one catalogue, some users."""

    model: Any
    tokens: NDArray[np.int64]
    trie: CodeTrie
    histories: Histories
    reader: T5Encoder
    parameters: T5DecoderParameters
    prefixes: PrefixStates

    def batches(self, n_users: int, size: int) -> list[NDArray[np.int64]]:
        """The first users in batches of like length."""
        order = np.argsort(self.histories.lengths[:n_users], kind="stable")
        return [order[start : start + size] for start in range(0, n_users, size)]

    def prompts(self, rows: NDArray[np.int64]) -> dict[str, torch.Tensor]:
        histories = self.histories.take(rows)
        item = histories.padded(-1)
        ids = torch.from_numpy(np.where(item[:, :, None] >= 0, self.tokens[item], 0).reshape(len(rows), -1))
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def residual_codes(n_items: int) -> NDArray[np.int64]:
    """Tokens (n_items, 4): three skewed levels of 256 and the number of the item among those of equal codes."""
    rng = np.random.default_rng(0)
    first, second, third = ((256 * rng.random(n_items) ** skew).astype(np.int64) for skew in (2, 6, 3))
    second = (second + 37 * first) % 256
    third = (third + 91 * second + 13 * first) % 256
    key = (first * 256 + second) * 256 + third
    order = np.argsort(key, kind="stable")
    _, start, count = np.unique(key[order], return_index=True, return_counts=True)
    number = np.empty(n_items, np.int64)
    number[order] = np.arange(n_items) - np.repeat(start, count)
    print(f"{n_items:,} items, {len(start):,} distinct triples, {count.max()} items in the largest group")
    return np.stack([first, second, third, number], 1) + 3 + 256 * np.arange(4)


def case_of(tokens: NDArray[np.int64], n_users: int, histories: str = "beauty") -> Case:
    torch.manual_seed(0)
    config = T5Config(vocab_size=1030, d_model=128, d_kv=64, d_ff=1024, num_layers=4, num_heads=6)
    rng = np.random.default_rng(1)
    # Amazon Beauty's test histories hold 7.9 items on average, never fewer than 4.
    lengths = np.minimum(3 + rng.geometric(1 / 4.9, n_users), MAX_HISTORY)
    if histories == "full":
        lengths[:] = MAX_HISTORY
    lists = Histories.from_lists([rng.integers(0, len(tokens), size=length).tolist() for length in lengths])
    model = T5ForConditionalGeneration(config).eval()
    trie, parameters = CodeTrie.from_tokens(tokens), T5DecoderParameters(model)
    return Case(model, tokens, trie, lists, T5Encoder(model), parameters, PrefixStates.of(parameters, trie, START, trie.n_nodes))


@torch.inference_mode()
def ours(case: Case, rows: NDArray[np.int64], width: int, views: tuple[Any, ...] = ("keep",)) -> Rankings:
    read = case.prompts(rows)
    mask = read["attention_mask"].bool()
    decoder = T5Decoder(case.parameters, case.reader(read["input_ids"], mask), mask, START, case.prefixes)
    return beam_search(decoder, case.trie, case.histories.take(rows), width, views=views, n_beams=width)


def theirs(case: Case, rows: NDArray[np.int64], width: int, legal: dict[tuple[int, ...], list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    out = case.model.generate(
        **case.prompts(rows),
        prefix_allowed_tokens_fn=lambda _, read: legal.get(tuple(read.tolist()[1:]), [0]),
        num_beams=width,
        num_return_sequences=width,
        max_new_tokens=4,
        do_sample=False,
        use_cache=True,
        length_penalty=0.0,
        early_stopping="never",
        pad_token_id=0,
        eos_token_id=None,
        decoder_start_token_id=START,
        output_scores=True,
        return_dict_in_generate=True,
    )
    return out.sequences[:, 1:].view(len(rows), width, 4), out.sequences_scores.view(len(rows), width)


def seconds_of(work: Callable[[], object], clock: str = "wall") -> float:
    now = time.perf_counter if clock == "wall" else time.process_time
    start = now()
    work()
    return now() - start


def compare_with_library(options: argparse.Namespace, kind: str) -> None:
    case = case_of(residual_codes(N_ITEMS), options.users, kind)
    legal_sets: dict[tuple[int, ...], set[int]] = {}
    for code in case.tokens.tolist():
        for depth in range(4):
            legal_sets.setdefault(tuple(code[:depth]), set()).add(code[depth])
    legal = {prefix: sorted(tokens) for prefix, tokens in legal_sets.items()}
    item_of = {tuple(code): item for item, code in enumerate(case.tokens.tolist())}
    print(
        f"histories: {kind}, {case.histories.tail(MAX_HISTORY).lengths.mean():.1f} items; {options.threads} threads, {options.clock} clock"
    )
    print(f"ours: {options.users} users; library: {options.library_users} users")
    for width in options.widths:
        n_together = options.batch or BEAMS_AT_A_TIME // width

        def run_ours(width: int = width, views: tuple[str, ...] = ("keep",), n_together: int = n_together) -> None:
            def search(batch: NDArray[np.int64]) -> Rankings:
                return ours(case, batch, width, views)

            over_batches(search, case.batches(options.users, max(1, n_together // len(views))), torch.device("cpu"))

        def run_theirs(size: int, width: int = width) -> None:
            for rows in case.batches(options.library_users, size):
                theirs(case, rows, width, legal)

        n_different, n_places, worst = 0, 0, 0.0
        for rows in case.batches(options.library_users, 16):
            mine = ours(case, rows, width)
            sequences, scores = theirs(case, rows, width, legal)
            items = np.array([[item_of[tuple(code)] for code in user] for user in sequences.tolist()])
            worst = max(worst, float(np.abs(mine.scores[0] - scores.numpy()).max()))
            # A place is settled where its score differs from both neighbours'.
            gaps = np.pad(-np.diff(scores.numpy(), axis=1) > 1e-5, ((0, 0), (1, 1)), constant_values=True)
            settled = gaps[:, :-1] & gaps[:, 1:]
            n_different += int(((items != mine.items[0]) & settled).sum())
            n_places += int(settled.sum())
        run_ours(views=("keep", "unseen"))
        times: dict[str, list[float]] = {}
        for _ in range(options.repeats):
            times.setdefault("ours", []).append(seconds_of(run_ours, options.clock) / options.users)
            times.setdefault("ours, both views", []).append(
                seconds_of(lambda: run_ours(views=("keep", "unseen")), options.clock) / options.users
            )
            for size in options.batches:
                times.setdefault(f"library, batch {size}", []).append(
                    seconds_of(lambda size=size: run_theirs(size), options.clock) / options.library_users
                )
        rate = {name: 1 / statistics.median(values) for name, values in times.items()}
        best = max(value for name, value in rate.items() if name.startswith("library"))
        print(f"\nwidth {width}: {n_different} of {n_places:,} settled places hold another item, scores differ by at most {worst:.1e}")
        for name, value in rate.items():
            print(f"  {name:18} {value:7.1f} users/s")
        print(f"  ratio, one view    {rate['ours'] / best:7.1f}   (figure: {'10' if width == 20 else '15'})")
        print(f"  ratio, both views  {rate['ours, both views'] / best:7.1f}")


def cost_over_catalogues(options: argparse.Namespace) -> None:
    width, n_users = 50, 64
    print(f"\n{n_users} users in one batch, width {width}, both views, {options.threads} threads, {options.clock} clock")
    print("    items   tree s   children per beam at steps 1 to 4   ms per user")
    rng = np.random.default_rng(0)
    for n_items in (1_000, 10_000, 100_000, 1_000_000):
        codes = np.unique(rng.integers(0, 2**32, size=int(n_items * 1.01) + 10))
        codes = rng.permutation(codes)[:n_items]
        tokens = np.stack([codes >> 24, (codes >> 16) & 255, (codes >> 8) & 255, codes & 255], 1) + 3
        tokens += 256 * np.arange(4)
        build_s = seconds_of(lambda tokens=tokens: CodeTrie.from_tokens(tokens))
        case = case_of(tokens, n_users)
        rows = np.arange(n_users)
        n_prefixes = [1, *(len(np.unique(codes >> shift)) for shift in (24, 16, 8, 0))]
        per_level = [below / above for above, below in pairwise(n_prefixes)]
        times = [seconds_of(lambda case=case, rows=rows: ours(case, rows, width, ("keep", "unseen"))) for _ in range(options.repeats + 1)][
            1:
        ]
        sizes = ", ".join(f"{size:6.1f}" for size in per_level)
        print(f"{n_items:9,} {build_s:8.2f}   {sizes:33} {1e3 * statistics.median(times) / n_users:12.1f}")


def compare_products() -> None:
    torch.set_num_threads(1)
    print("\n rows x in x out        torch   packed   GFLOP/s, one thread")
    for n, width_in, width_out in ((1280, 128, 384), (1280, 384, 128), (1280, 128, 1024), (1280, 1024, 128), (3200, 128, 1024)):
        x, weight = torch.randn(n, width_in), torch.randn(width_out, width_in)
        by_hand, packed = weight.T.contiguous(), Projection(weight)
        rates = []
        with torch.inference_mode():
            for product in (lambda x=x, w=by_hand: x @ w, lambda x=x, w=packed: w(x)):
                times = [seconds_of(lambda product=product: [product() for _ in range(20)], "cpu") for _ in range(10)]
                rates.append(20 * 2e-9 * n * width_in * width_out / statistics.median(times))
        print(f"{n:5} x {width_in:4} x {width_out:4}   {rates[0]:8.0f} {rates[1]:8.0f}")


def memory_bytes() -> None:
    case = case_of(residual_codes(N_ITEMS), 64)
    read = case.prompts(np.arange(64))
    mask = read["attention_mask"].bool()
    memory = case.reader(read["input_ids"], mask)
    decoder = T5Decoder(case.parameters, memory, mask, START)
    expected = memory.shape[0] * memory.shape[1] * 4 * 2 * 6 * 64 * 4
    kept = sum(part.nbytes for layer in decoder._memory for part in layer)
    print(f"\n{memory.shape[0]} users, memory of {memory.shape[1]} tokens: {kept:,} bytes of cross-attention keys and values")
    print(f"users x length x layers x 2 x heads x d_kv x 4 = {expected:,}; with 50 beams each: {50 * expected:,}")


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="library,catalogue,memory,products")
    parser.add_argument("--widths", type=numbers, default=[20, 50])
    parser.add_argument("--histories", default="beauty,full")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: the process's own seconds, where others use the machine"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--library-users", type=int, default=64)
    parser.add_argument("--users", type=int, default=512)
    parser.add_argument("--batch", type=int, help="users of ours in a batch; default: as many as a run searches together")
    parser.add_argument("--batches", type=numbers, default=[1, 16, 64])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # As a run does; the library gains from it too.
    keep_freed_memory()
    parts = options.parts.split(",")
    if "library" in parts:
        for kind in options.histories.split(","):
            compare_with_library(options, kind)
    if "catalogue" in parts:
        cost_over_catalogues(options)
    if "memory" in parts:
        memory_bytes()
    if "products" in parts:
        compare_products()


if __name__ == "__main__":
    main()
