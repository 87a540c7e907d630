"""Raw Amazon 2014 files to a split: seconds and peak memory.

    python benchmarks/read_amazon.py [--reviews 300000] [--metadata 500000]

Reviews and metadata are generated in the true format (JSON lines and Python literals, gzip), of about the true length; then a fresh process
reads them, filters to the 5-core and makes the leave-one-out split. Asked for: under 60 s and under 2 GB.
"""

import argparse
import gzip
import json
import multiprocessing
import platform
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

_TEXT = (
    "this product works very well and I would buy it again because the quality is much better than what my old one had while "
    "shipping took only two days however packaging was poor so be careful when opening don't expect a manual inside"
)
_WORDS = _TEXT.split()
_DAY_S = 86_400
_FIRST_S = 1_262_304_000
_CARD = """
name = "generated"
title = "Generated reviews in the format of Amazon 2014"
terms = "none"
reader = "amazon-2014"
filters = [{ kind = "k-core", user = 5, item = 5 }]
time = "seconds"
catalogue = "events"
is_synthetic = true

[[sources]]
kind = "folder"
path = "."

[[sources.files]]
role = "reviews"
name = "reviews_Generated_5.json.gz"

[[sources.files]]
role = "metadata"
name = "meta_Generated.json.gz"
"""


def write_reviews(path: Path, n_reviews: int, n_users: int, n_items: int, seed: int = 0) -> None:
    """Reviews of items of Zipf-like popularity, grouped by item as in the raw files; about 700 bytes each."""
    draw = np.random.default_rng(seed)
    weight = 1.0 / (20.0 + np.arange(n_items)) ** 0.7
    item = draw.choice(n_items, n_reviews, p=weight / weight.sum())
    user = draw.integers(0, n_users, n_reviews)
    day = draw.integers(0, 1600, n_reviews)
    length = draw.integers(20, 160, n_reviews)
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as out:
        for row in np.argsort(item, kind="stable").tolist():
            second = _FIRST_S + int(day[row]) * _DAY_S
            start = row % len(_WORDS)
            text = " ".join((_WORDS * 5)[start : start + int(length[row])])
            review = {
                "reviewerID": f"A{user[row]:013d}",
                "asin": f"B{item[row]:09d}",
                "reviewerName": 'J. "Jay" McDonald',
                "helpful": [2, 3],
                "reviewText": text + '. He said: "asin": "B000000000".',
                "overall": 5.0,
                "summary": "Heavenly!",
                "unixReviewTime": second,
                "reviewTime": datetime.fromtimestamp(second, UTC).strftime("%m %d, %Y"),
            }
            out.write(json.dumps(review) + "\n")


def write_metadata(path: Path, n_lines: int, seed: int = 1) -> None:
    """Metadata as Python literals; about 1.5 kB each, as long lists of related items make them."""
    draw = np.random.default_rng(seed)
    related = draw.integers(0, n_lines, (n_lines, 60))
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as out:
        for row in range(n_lines):
            also = [f"B{number:09d}" for number in related[row].tolist()]
            product = {
                "asin": f"B{row:09d}",
                "title": f"Things &amp; More No. {row}",
                "price": 9.99,
                "imUrl": "http://ecx.images-amazon.com/images/I/51fAmVkTbyL._SY300_.jpg",
                "related": {"also_bought": also[:40], "also_viewed": also[40:]},
                "salesRank": {"Toys & Games": 211836},
                "brand": "Coxlures",
                "categories": [["Sports & Outdoors", "Other Sports", "Dance"]],
                "description": " ".join(_WORDS),
            }
            out.write(repr(product) + "\n")


def read(card: str, answer: Connection) -> None:
    """Card to split, in a process of its own; sends back seconds, peak bytes and sizes."""
    start = time.perf_counter()
    from recbench.core import SilentProgress
    from recbench.data import locate, make_split, read_dataset
    from recbench.tasks import NEXT_ITEM

    home = Path(card).parent / "home"
    progress = SilentProgress()
    dataset = read_dataset(locate(card, data_dir=None, home=home, progress=progress), progress)
    split = make_split(dataset, NEXT_ITEM.protocol())
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    answer.send((seconds, peak, dataset.n_users, dataset.n_items, dataset.n_interactions, len(split.test)))


def main() -> None:
    """Generate, read, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=int, default=300_000)
    parser.add_argument("--metadata", type=int, default=500_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recbench-read-") as name:
        folder = Path(name)
        start = time.perf_counter()
        write_reviews(folder / "reviews_Generated_5.json.gz", arguments.reviews, arguments.reviews // 10, min(20_000, arguments.metadata))
        write_metadata(folder / "meta_Generated.json.gz", arguments.metadata)
        (folder / "generated.toml").write_text(_CARD, encoding="utf-8")
        sizes = {path.name: path.stat().st_size / 1e6 for path in sorted(folder.glob("*.gz"))}
        print(f"{platform.platform()}, {platform.machine()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}")
        print(f"generated in {time.perf_counter() - start:.1f} s: " + ", ".join(f"{name} {size:.0f} MB" for name, size in sizes.items()))
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=read, args=(str(folder / "generated.toml"), theirs))
        process.start()
        theirs.close()
        try:
            seconds, peak, n_users, n_items, n_interactions, n_queries = ours.recv()
        except EOFError:
            raise SystemExit("the reading process failed") from None
        process.join()
    print("| reviews | metadata lines | users | items | interactions | test queries | seconds | peak memory, MB |")
    print("| --: | --: | --: | --: | --: | --: | --: | --: |")
    print(
        f"| {arguments.reviews:,} | {arguments.metadata:,} | {n_users:,} | {n_items:,} | {n_interactions:,} | {n_queries:,} "
        f"| {seconds:.1f} | {peak / 1e6:.0f} |"
    )


if __name__ == "__main__":
    main()
