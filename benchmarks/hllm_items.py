"""Batches per second of the item tower on real training batches: equal items encoded once and without padding, against every slot padded.

    RECBENCH_DATA=... python benchmarks/hllm_items.py [--dataset sports] [--sequences 64] [--negatives 512] [--tokens 256] [--length 20]
                                                      [--batches 3] [--at-a-time 2048,4096,8192] [--threads 2] [--gradient]

MiniLM (mean pooling) reads the items of real training sequences and a pool of negatives. All rows have the same layers with the same
products; each gets the number of tokens at a time, of those named, that is best for it.

slots                 What the published code encodes: every slot of every sequence, with random items where a sequence has ended, and the
                      negatives; each text padded to the limit.
slots, longest        The same, padded to the longest text of those that are read together.
repeats               Only events and negatives, each as often as it occurs, padded to the limit.
repeats, longest      The same, padded to the longest text of those that are read together.
distinct              Every item once, padded to the limit.
distinct, buckets     Every item once, texts of like length together: the default here.
distinct, packed      Every item once, one behind the other in one row.

Measured on 2026-11-27, two cores of an AMD EPYC, `--sequences 32 --negatives 128 --batches 1 --at-a-time 2048,8192`, batches per second:
slots 0.067, slots, longest 0.420, repeats 0.168, repeats, longest 0.925, distinct 0.162, distinct, buckets 1.309, distinct, packed 0.473.

The vectors of all rows are compared at the events. `--gradient` times a training step of the whole tower instead of the forward pass.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from recbench.core import SilentProgress
from recbench.core.ragged import LongArray
from recbench.data import locate, make_split, read_dataset
from recbench.tasks import NEXT_ITEM
from recbench.testing import LightContext
from recbench_models.hllm import PLUGIN
from recbench_models.hllm.bodies import item_body
from recbench_models.hllm.data import batches_of, sequences_of
from recbench_models.hllm.item_text import item_tokens
from recbench_models.hllm.item_tower import ItemTower, distinct

Encode = Callable[[LongArray], Tensor]

# M items, m items read together, T tokens, D width


def padded(tower: ItemTower, item_M: LongArray, at_a_time: int, *, to_limit: bool) -> Tensor:
    """The vectors (M, D) in the order given, each text padded to the limit or to the longest of those read together."""
    limit = tower.config.text.max_tokens
    # As many as fit when all are as long as the limit, or as the longest of all.
    rows = max(1, at_a_time // (limit if to_limit else int(tower.tokens.lengths[item_M].max())))
    parts = []
    for start in range(0, len(item_M), rows):
        texts = tower.tokens.take(item_M[start : start + rows])
        n_columns = limit if to_limit else int(texts.lengths.max())
        token_mT = np.zeros((len(texts), n_columns), np.int64)
        is_real_mT = np.arange(n_columns) < texts.lengths[:, None]
        token_mT[is_real_mT] = texts.item
        mask = torch.from_numpy(is_real_mT)
        hidden_mTD = tower.body(input_ids=torch.from_numpy(token_mT), attention_mask=mask.long()).last_hidden_state
        parts.append((hidden_mTD * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
    return torch.cat(parts)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", default="sports")
    for name, value in (("sequences", 64), ("negatives", 512), ("tokens", 256), ("length", 20), ("batches", 3), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--at-a-time", default="2048,4096,8192")
    parser.add_argument("--gradient", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if "RECBENCH_DATA" not in os.environ:
        sys.exit("RECBENCH_DATA is not set. Point it at a folder that holds NAME/interactions.parquet.")
    progress, home = SilentProgress(), Path.home() / ".cache" / "recbench"
    located = locate(options.dataset, data_dir=Path(os.environ["RECBENCH_DATA"]), home=home, progress=progress, fetch=False)
    split = make_split(read_dataset(located, progress), NEXT_ITEM.protocol())
    changes = {"text.max_tokens": options.tokens, "sequences.max_length": options.length, "item.layers": "all", "joint.steps": None}
    sizes = [int(size) for size in options.at_a_time.split(",")]
    towers: dict[str, dict[int, ItemTower]] = {}
    with TemporaryDirectory() as folder:
        context = LightContext(split.train, Path(folder), texts=split.items.columns)
        config = PLUGIN.resolve("cpu", None, changes)
        tokens = item_tokens(context, config)
    body = item_body(config)
    for kind in ("buckets", "packed"):
        settings = {size: PLUGIN.resolve("cpu", None, {**changes, "item.batching": kind, "item.batch_tokens": size}) for size in sizes}
        towers[kind] = {size: ItemTower(body, tokens, changed) for size, changed in settings.items()}
    plain = towers["buckets"][sizes[0]]

    windows = sequences_of(split.train, config.sequences)
    rng = np.random.default_rng(0)
    chosen = batches_of(windows, options.sequences, rng, n_shares=1)[: options.batches]
    batches = []
    for rows in chosen:
        item_BT, target_BT = windows.padded(rows, -1)
        slots_BS = np.full((len(rows), options.length + 1), -1, np.int64)
        for place, (items, targets) in enumerate(zip(item_BT, target_BT, strict=True)):
            events = [*items[items >= 0], targets[targets >= 0][-1]]
            slots_BS[place, : len(events)] = events
        is_event_BS = slots_BS >= 0
        filled_BS = np.where(is_event_BS, slots_BS, rng.integers(0, len(split.items), slots_BS.shape))
        batches.append(
            (slots_BS[is_event_BS], filled_BS.reshape(-1), is_event_BS.reshape(-1), rng.integers(0, len(split.items), options.negatives))
        )

    def once(encode: Encode) -> Callable[..., Tensor]:
        def vectors(events: LongArray, _: LongArray, __: LongArray, pool: LongArray) -> Tensor:
            items, (of_events, of_pool) = distinct(events, pool)
            return encode(items)[torch.from_numpy(np.concatenate([of_events, of_pool]))]

        return vectors

    def of_slots(size: int, to_limit: bool) -> Callable[..., Tensor]:
        def vectors(_: LongArray, filled: LongArray, is_event: LongArray, pool: LongArray) -> Tensor:
            found = padded(plain, np.concatenate([filled, pool]), size, to_limit=to_limit)
            return found[torch.from_numpy(np.concatenate([np.flatnonzero(is_event), np.arange(len(filled), len(found))]))]

        return vectors

    def of_repeats(size: int, to_limit: bool) -> Callable[..., Tensor]:
        return lambda events, _, __, pool: padded(plain, np.concatenate([events, pool]), size, to_limit=to_limit)

    ways: dict[str, Callable[[int], Callable[..., Tensor]]] = {
        "slots": lambda size: of_slots(size, True),
        "slots, longest": lambda size: of_slots(size, False),
        "repeats": lambda size: of_repeats(size, True),
        "repeats, longest": lambda size: of_repeats(size, False),
        "distinct": lambda size: once(lambda items: padded(plain, items, size, to_limit=True)),
        "distinct, buckets": lambda size: once(towers["buckets"][size]),
        "distinct, packed": lambda size: once(towers["packed"][size]),
    }
    n_events, n_slots, n_distinct = (
        statistics.mean(value)
        for value in zip(*((len(e), len(f), len(np.unique(np.concatenate([e, p])))) for e, f, _, p in batches), strict=True)
    )
    print(
        f"{options.dataset}: {options.sequences} sequences, {n_slots:.0f} slots, {n_events:.0f} events and {options.negatives} negatives, "
        f"{n_distinct:.0f} of them distinct; {tokens.lengths.mean():.0f} tokens of at most {options.tokens}; {options.threads} threads"
    )
    expected: list[Tensor] | None = None
    first_rate = {}
    for name, way in ways.items():
        rates = {}
        for size in sizes:
            seconds, found = 0.0, []
            for batch in batches:
                start = time.perf_counter()
                with torch.set_grad_enabled(options.gradient):
                    vectors = way(size)(*batch)
                    if options.gradient:
                        vectors.square().sum().backward()
                seconds += time.perf_counter() - start
                found.append(vectors.detach())
            rates[size] = len(batches) / seconds
        expected = expected or found
        apart = max(float((left - right).abs().max()) for left, right in zip(found, expected, strict=True))
        best = max(rates, key=lambda size: rates[size])
        first_rate[name] = rates[best]
        ratios = "  ".join(
            f"{rates[best] / first_rate[other]:5.2f} x {other}" for other in ("slots, longest", "repeats, longest") if other in first_rate
        )
        print(f"{name:18} {rates[best]:8.3f} batches/s at {best} tokens   {ratios}   vectors within {apart:.1e}", flush=True)


if __name__ == "__main__":
    main()
