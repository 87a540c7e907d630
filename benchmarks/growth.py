"""How the time of search, ranking and training grows with the catalogue: processor time over sizes, and the exponent between neighbours.

    python benchmarks/growth.py [--parts search,ranking,training] [--most 10000000] [--threads 1] [--repeats 3]

search      Milliseconds per user to search codes of 4 levels of 256 with 50 beams, both views, by a T5 of 2 + 2 layers and width 128, as
            TIGER's preset `cpu`; 32 users, histories as long as Beauty's; codes are random and distinct. The tree is built before.
ranking     Milliseconds per user for the 50 best of all items by inner products of width 64, both views, histories of 10 items.
training    Milliseconds per target of the softmax over all items with its gradients, width 64, 1,024 targets.

Each size doubles or more; the least of the repeats counts. The exponent of two neighbouring sizes is the ratio of the logarithms of times
and sizes: 0 where time does not grow, 1 where it grows as the size does. The last line of a part is the fit over all sizes.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import T5Config, T5ForConditionalGeneration

from recbench.core import Histories, Queries
from recbench.nn.blocks import T5Decoder, T5DecoderParameters, T5Encoder
from recbench.nn.codes import CodeTrie
from recbench.nn.codes.beam import beam_search
from recbench.nn.ranking import full_catalogue_topk
from recbench.nn.training import full_cross_entropy

SIZES = {
    "search": (1_000, 10_000, 100_000, 1_000_000, 10_000_000),
    "ranking": (10_000, 30_000, 100_000, 300_000, 1_000_000),
    "training": (1_000, 3_000, 10_000, 30_000, 100_000, 300_000),
}
MAX_HISTORY = 20


def search_ms(n_codes: int) -> tuple[Callable[[], object], int]:
    """A search, and for how many users."""
    rng = np.random.default_rng(0)
    code = np.unique(rng.integers(0, 2**32, int(n_codes * 1.01) + 10))
    code = rng.permutation(code)[:n_codes]
    tokens = np.stack([code >> 24, (code >> 16) & 255, (code >> 8) & 255, code & 255], 1) + 3 + 256 * np.arange(4)
    torch.manual_seed(0)
    sizes = {"d_model": 128, "d_kv": 32, "d_ff": 512, "num_layers": 2, "num_heads": 4}
    model = T5ForConditionalGeneration(T5Config(vocab_size=1030, **sizes)).eval()
    trie, reader, parameters = CodeTrie.from_tokens(tokens), T5Encoder(model), T5DecoderParameters(model)
    n_users = 32
    lengths = np.minimum(3 + rng.geometric(1 / 4.9, n_users), MAX_HISTORY)
    histories = Histories.from_lists([rng.integers(0, n_codes, length).tolist() for length in np.sort(lengths)])

    @torch.inference_mode()
    def search() -> None:
        for start in range(0, n_users, 16):
            some = histories.take(np.arange(start, start + 16))
            item = some.padded(-1)
            read = torch.from_numpy(np.where(item[:, :, None] >= 0, tokens[item], 0).reshape(16, -1))
            decoder = T5Decoder(parameters, reader(read, read > 0), read > 0, 1)
            beam_search(decoder, trie, some, 50, views=("keep", "unseen"), n_beams=50)

    return search, n_users


def ranking_ms(n_items: int) -> tuple[Callable[[], object], int]:
    """A ranking, and of how many users."""
    rng, n_users = np.random.default_rng(0), 256
    item, user = (torch.from_numpy(rng.normal(size=(n, 64)).astype(np.float32)) for n in (n_items, n_users))
    histories = Histories.from_lists([rng.integers(0, n_items, 10).tolist() for _ in range(n_users)])
    ids = np.array([str(row) for row in range(n_users)], object)
    queries = Queries(histories, np.arange(n_users, dtype=np.int32), ids)
    return lambda: full_catalogue_topk(user, item, queries, 50), n_users


def training_ms(n_items: int) -> tuple[Callable[[], object], int]:
    """A loss with its gradients, and of how many targets."""
    generator, n_targets = torch.Generator().manual_seed(0), 1024
    item, state = (torch.randn(n, 64, generator=generator).requires_grad_() for n in (n_items, n_targets))
    target = torch.randint(n_items, (n_targets,), generator=generator)

    def step() -> None:
        item.grad = state.grad = None
        full_cross_entropy(state, item, target).backward()

    return step, n_targets


PARTS = {"search": search_ms, "ranking": ranking_ms, "training": training_ms}


def measure(part: str, most: int, repeats: int) -> None:
    """Print the table of one part."""
    sizes, times = [size for size in SIZES[part] if size <= most], []
    print(f"{part}\n      size   ms each   exponent")
    for size in sizes:
        work, n = PARTS[part](size)
        work()  # the first pays for memory that later ones find ready
        taken = []
        for _ in range(repeats):
            start = time.process_time()
            work()
            taken.append(1e3 * (time.process_time() - start) / n)
        times.append(min(taken))
        exponent = f"{np.log(times[-1] / times[-2]) / np.log(size / sizes[len(times) - 2]):10.2f}" if len(times) > 1 else ""
        print(f"{size:10,} {times[-1]:9.3f} {exponent}", flush=True)
    if len(sizes) > 1:
        print(f"  fit over all sizes {np.polyfit(np.log(sizes), np.log(times), 1)[0]:10.2f}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--most", type=int, default=10_000_000, help="leave larger sizes out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    for part in chosen.parts.split(","):
        measure(part, chosen.most, chosen.repeats)


if __name__ == "__main__":
    main()
