"""From files to a split, over the number of events: seconds and peak memory of each step, and the exponent of time.

    python benchmarks/data_at_scale.py [--events 500000,5000000,50000000] [--formats parquet,csv,json] [--folder FOLDER]

For each size a folder in a true format is generated: parquet parts of 2 M events, one csv file, or JSON lines as of Amazon 2018; events of
ten per user on average (log-normal), items of Zipf-like popularity, one item for each 50 events with a title of about 60 characters and a
brand. A fresh process then reads them, filters as a card says (first event of a pair), and makes the leave-one-out split, each step saved
and opened as the cache does. `--folder` keeps what was generated, so that a second call need not make it again.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

EVENTS_PER_USER, EVENTS_PER_ITEM, EVENTS_PER_PART = 10, 50, 2_000_000
_FIRST_S, _SPAN_S = 1_262_304_000, 200_000_000
_TEXT = "blue steel kitchen small large classic garden travel set pack with for soft cotton spare wireless"
_WORDS = np.array(_TEXT.split(), dtype=object)
FORMATS = ("parquet", "csv", "json")

_CARD = """
name = "generated"
title = "Generated events"
terms = "none"
reader = "{reader}"
filters = [{{ kind = "first-per-pair" }}]
time = "seconds"
is_synthetic = true

[[sources]]
kind = "folder"
path = "."
"""
_FILES = """files = [{ role = "reviews", name = "Generated_5.json.gz" }, { role = "metadata", name = "meta_Generated.json.gz" }]
"""
_LAYOUT = {
    "parquet": ("parquet", "interactions.parquet", "items.parquet"),
    "csv": ("csv", "interactions.csv", "items.csv"),
    "json": ("amazon-2018", "Generated_5.json.gz", "meta_Generated.json.gz"),
}
"""Reader and names of the files by format."""


def parts(n_events: int, seed: int = 0) -> Iterator[pa.Table]:
    """The events in the order of time, in tables of bounded size."""
    draw = np.random.default_rng(seed)
    n_users, n_items = max(1, n_events // EVENTS_PER_USER), max(1, n_events // EVENTS_PER_ITEM)
    activity = np.cumsum(draw.lognormal(0.0, 1.0, n_users))
    popularity = np.cumsum(1.0 / (20.0 + np.arange(n_items)) ** 0.8)
    user_ids = pa.array([f"A{number:013X}" for number in draw.permutation(n_users).tolist()])
    item_ids = pa.array([f"B{number:09d}" for number in range(n_items)])
    for start in range(0, n_events, EVENTS_PER_PART):
        n = min(EVENTS_PER_PART, n_events - start)
        user = np.searchsorted(activity, draw.random(n) * activity[-1])
        item = np.searchsorted(popularity, draw.random(n) * popularity[-1])
        second = _FIRST_S + np.sort(start + draw.random(n) * n) * (_SPAN_S / n_events)
        columns = {"user_id": user_ids.take(pa.array(user)), "item_id": item_ids.take(pa.array(item))}
        yield pa.table({**columns, "timestamp": pa.array(second.astype(np.int64)), "rating": pa.array(draw.integers(1, 6, n))})


def item_table(n_items: int, seed: int = 1) -> pa.Table:
    """Titles and brands of the items."""
    draw = np.random.default_rng(seed)
    words = draw.integers(0, len(_WORDS), (n_items, 9))
    titles = [f"{' '.join(_WORDS[row])} No. {number}" for number, row in enumerate(words)]
    brands = [f"Brand {number}" for number in draw.integers(0, 2_000, n_items).tolist()]
    return pa.table({"item_id": [f"B{number:09d}" for number in range(n_items)], "title": titles, "brand": brands})


def generate(folder: Path, n_events: int, kind: str) -> None:
    """Write the files and the card of one size into a new folder."""
    reader, events_name, items_name = _LAYOUT[kind]
    folder.mkdir(parents=True)
    table = item_table(max(1, n_events // EVENTS_PER_ITEM))
    if kind == "parquet":
        (folder / events_name).mkdir()
        for number, part in enumerate(parts(n_events)):
            pq.write_table(part, folder / events_name / f"part-{number:03d}.parquet")
        pq.write_table(table, folder / items_name)
    elif kind == "csv":
        writer = None
        for part in parts(n_events):
            writer = writer or pa_csv.CSVWriter(folder / events_name, part.schema)
            writer.write_table(part)
        if writer is not None:
            writer.close()
        pa_csv.write_csv(table, folder / items_name)
    else:
        # Not packed, whatever the name says: the reader looks at the first bytes.
        with (folder / events_name).open("w", encoding="utf-8") as out:
            for part in parts(n_events):
                columns = (part.column(name).to_pylist() for name in ("user_id", "item_id", "timestamp", "rating"))
                for user, item, second, rating in zip(*columns, strict=True):
                    out.write(
                        f'{{"overall": {rating}.0, "verified": true, "reviewTime": "01 1, 2018", "reviewerID": "{user}", "asin": "{item}", '
                        f'"reviewerName": "J", "reviewText": "As described.", "summary": "Good", "unixReviewTime": {second}}}\n'
                    )
        with (folder / items_name).open("w", encoding="utf-8") as out:
            for row in table.to_pylist():
                out.write(json.dumps({"asin": row["item_id"], "title": row["title"], "brand": row["brand"], "category": ["Home"]}) + "\n")
    card = _CARD.format(reader=reader) + (_FILES if kind == "json" else "")
    (folder / "generated.toml").write_text(card, encoding="utf-8")


@dataclass(frozen=True)
class Measured:
    """One folder, read and divided."""

    seconds: dict[str, float]
    peak_bytes: int
    n_users: int
    n_items: int
    test_fingerprint: str


def measured(folder: Path) -> Measured:
    """Files to split, here; the peak is that of the whole process so far."""
    from recbench.core import SilentProgress
    from recbench.data import Dataset, Split, locate, make_split, read_dataset
    from recbench.tasks import NEXT_ITEM

    home = folder / "home"
    progress = SilentProgress()
    located = locate(str(folder / "generated.toml"), data_dir=None, home=home, progress=progress)
    steps: dict[str, Callable[[], object]] = {
        "read": lambda: read_dataset(located, progress).save(home / "dataset"),
        "split": lambda: make_split(Dataset.open(home / "dataset"), NEXT_ITEM.protocol()).save(home / "split"),
        "open": lambda: Split.open(home / "split"),
    }
    seconds = {}
    for name, step in steps.items():
        start = time.perf_counter()
        step()
        seconds[name] = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    split = Split.open(home / "split")
    return Measured(seconds, peak, len(split.user_ids), len(split.items), split.fingerprints.test)


def _send(folder: Path, answer: Connection) -> None:
    answer.send(measured(folder))


def in_a_process(folder: Path) -> Measured:
    """`measured` in a fresh process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_send, args=(folder, theirs))
    process.start()
    theirs.close()
    try:
        found: Measured = ours.recv()
    except EOFError:
        raise SystemExit("the measured process failed") from None
    process.join()
    return found


def print_table(sizes: list[int], formats: list[str], kept: Path) -> None:
    """Generate what is not there, measure, print one row for each size and format and the exponent of time of each format."""
    print("| format | events | users | items | read, s | split, s | open, s | peak, GiB |")
    print("| :-- | --: | --: | --: | --: | --: | --: | --: |")
    for kind in formats:
        seconds = []
        for n_events in sizes:
            folder = kept / f"{kind}-{n_events}"
            if not folder.is_dir():
                generate(folder, n_events, kind)
            found = in_a_process(folder)
            seconds.append(sum(found.seconds.values()))
            row = [kind, f"{n_events:,}", f"{found.n_users:,}", f"{found.n_items:,}", *(f"{took:.1f}" for took in found.seconds.values())]
            print(f"| {' | '.join(row)} | {found.peak_bytes / 2**30:.2f} |", flush=True)
        if len(sizes) > 1:
            print(f"{kind}: time grows with events to the power of {np.polyfit(np.log(sizes), np.log(seconds), 1)[0]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", default="500000,5000000,50000000")
    parser.add_argument("--formats", default="parquet,csv,json")
    parser.add_argument("--folder", type=Path, help="Keep generated files there, and take those that are there.")
    asked = parser.parse_args()
    sizes, formats = [int(number) for number in asked.events.split(",")], asked.formats.split(",")
    with tempfile.TemporaryDirectory(prefix="recbench-scale-") as name:
        print_table(sizes, formats, asked.folder or Path(name))


if __name__ == "__main__":
    main()
