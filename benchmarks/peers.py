"""Training and ranking beside two other toolkits, in one run: SASRec beside RecBole 1.2.1, TIGER beside cornac 3.0.1.

    RECBENCH_DATA=... python benchmarks/peers.py [--parts sasrec,quality,tiger] [--datasets ml-100k,beauty] [--folder FOLDER] [--threads 1]

Each toolkit works in a process of its own, one after the other, with as many threads. The others are installed with pip, at the versions
below, into environments of their own under FOLDER, by default in the cache; environments that hold these versions are used again. torch
and transformers have the versions of ours. Data go to both sides as sequences of item numbers: the test target of a user is the last item,
the one before it is for validation, and training sees the rest. Seconds are those of the whole of each side's own `fit`, without reading
and preparing data, and of the whole way from histories to lists; processor seconds are user and system of all threads.

sasrec   (history, target) pairs per second of training: width 64, 2 layers, 2 heads, inner width 256, post-norm, GELU, 50 items, dropout
         0.5, softmax over all items, Adam at 1e-3, batches of as many pairs (RecBole's default is 2,048; small batches suit its memory
         better). RecBole makes each prefix a row of 50 slots, and ends after the batches that hold --pairs of its shuffled rows; ours
         trains all prefixes of a window at once, and makes --passes passes over all users. Then users per second from histories to the
         50 best of all items, for all test users: RecBole's lists hold seen items, ours are two lists, with and without them.
quality  The same trained for --quality-passes whole passes by both, with seeds 0, 1, ... of the repeats: Recall@10 and NDCG@10 of the same
         test users, seen items included, counted from the lists of both in the same way. The interval is that of the difference over
         users; it knows nothing of seeds.
tiger    Pairs per second of training an encoder-decoder of 4 + 4 layers, width 128, 6 heads of 64, inner width 1,024, dropout 0.1, 20
         items, codes of 3 levels of 256 and one that tells equal ones apart, AdamW at 1e-3, batches of 256 pairs, on the first users that
         have --tiger-pairs of them. Codes are random and equal on both sides: what they mean costs no time. cornac encodes each prefix on
         its own, padded to 20 items. Ours has two rows: `causal`, as in preset `cpu`, where one pass over a user serves all its prefixes,
         and `full`, where each prefix is encoded on its own as in cornac, in batches of like length. Then users per second from histories
         to the lists of a search with 50 beams, seen items included; ours also makes the lists without them. cornac makes lists for
         --decoded users, one by one, as it has no other way.

With --keep-memory glibc gives no freed memory back to the system, on both sides: where the system is slow at handing out pages, and
RecBole asks for most, its default costs much.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
K = 50

# What pip installs for each toolkit. RecBole 1.2.1 runs with nothing newer.
PINS: dict[str, dict[str, str]] = {
    "recbole": {"recbole": "1.2.1", "numpy": "1.26.4", "pandas": "2.1.4", "scipy": "1.11.4", "setuptools": "80.9.0"},
    "cornac": {"cornac": "3.0.1"},
}
# What has the version that we run with.
SHARED = {"recbole": ["torch"], "cornac": ["torch", "transformers"]}


@dataclass
class Work:
    """What one side does; it travels as `work.json`."""

    n_items: int
    threads: int
    seed: int
    batch: int
    """Pairs in a batch."""
    passes: int
    """Over all pairs."""
    batches: int | None = None
    """RecBole ends after so many; None: it makes as many passes as ours."""
    decoded: int = 0
    """cornac makes lists for so many users."""


class Sequences:
    """The items of each user, oldest first; they travel as `sequences.npz`."""

    def __init__(self, item: IntArray, offsets: NDArray[np.int64]) -> None:
        self.item, self.offsets = item, offsets

    def lists(self) -> list[list[int]]:
        return [part.tolist() for part in np.split(self.item, self.offsets[1:-1])]

    def save(self, folder: Path) -> None:
        np.savez(folder / "sequences.npz", item=self.item, offsets=self.offsets)

    @classmethod
    def open(cls, folder: Path) -> "Sequences":
        with np.load(folder / "sequences.npz") as file:
            return cls(file["item"], file["offsets"])


@dataclass
class Found:
    """What one side took for each row of the table, and its lists; the numbers travel as `found.json`, the lists as `lists.npy`."""

    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    lists: IntArray | None = None

    @contextmanager
    def timed(self, row: str, count: int) -> Iterator[None]:
        """Time what is inside, in which `count` pairs or users are worked through."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.rows[row] = {"count": count, "processor_s": time.process_time() - processor, "wall_s": time.perf_counter() - wall}

    def save(self, folder: Path) -> None:
        (folder / "found.json").write_text(json.dumps(self.rows))
        if self.lists is not None:
            np.save(folder / "lists.npy", self.lists)

    @classmethod
    def open(cls, folder: Path) -> "Found":
        lists = folder / "lists.npy"
        return cls(json.loads((folder / "found.json").read_text()), np.load(lists) if lists.exists() else None)


def n_pairs(sequences: list[list[int]]) -> int:
    return sum(len(items) - 3 for items in sequences)


def codes_of(n_items: int) -> IntArray:
    """Three random levels of 256, lower codes more often, so that some items have equal ones."""
    return (256 * np.random.default_rng(0).random((n_items, 3)) ** 2).astype(np.int32)


def recbench_sasrec(work: Work, sequences: list[list[int]], folder: Path) -> Found:
    import torch

    from recbench.core import Catalogue
    from recbench.testing import LightContext, interactions, queries
    from recbench_models.sasrec import PLUGIN

    torch.set_num_threads(work.threads)
    settings = {
        "loss": "ce",
        "batch_size": work.batch,
        "batch_unit": "targets",
        "batch_order": "bucketed",
        "windows": "all",
        "training.max_epochs": work.passes,
        "training.validate_every_epochs": work.passes,
    }
    # RecBole's network is the one of this preset.
    config = PLUGIN.resolve("s3rec", None, settings)
    train = interactions([items[:-2] for items in sequences], work.n_items)
    context = LightContext(train, folder, judge=lambda _: 0.0, seed=work.seed, threads=work.threads)
    model = PLUGIN.build(config, Catalogue(work.n_items, len(sequences)))
    found = Found()
    with found.timed("training", work.passes * n_pairs(sequences)):
        model.fit(context)
    asked = queries([items[:-1] for items in sequences])
    with found.timed("ranking", len(asked)):
        rankings = model.generate(asked, K)
    found.lists = rankings.view("keep")
    return found


def recbole_sasrec(work: Work, sequences: list[list[int]], folder: Path) -> Found:
    from itertools import islice

    import torch

    sys.argv = sys.argv[:1]  # RecBole reads settings from it
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.sequential_recommender import SASRec
    from recbole.trainer import Trainer
    from recbole.utils import init_seed

    class FirstBatches:
        """The first batches of a loader, for a `fit` that knows of whole passes only."""

        def __init__(self, loader: Any, n: int | None) -> None:
            self.loader, self.dataset, self.n = loader, loader.dataset, n

        def __iter__(self) -> Iterator[Any]:
            return islice(iter(self.loader), self.n)

    torch.set_num_threads(work.threads)
    data = folder / "peers"
    data.mkdir()
    with (data / "peers.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for user, items in enumerate(sequences):
            file.writelines(f"{user}\t{item}\t{place}\n" for place, item in enumerate(items))
    # Items without events count in the catalogue too.
    (data / "peers.item").write_text("item_id:token\n" + "".join(f"{item}\n" for item in range(work.n_items)))
    settings = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
        "MAX_ITEM_LIST_LENGTH": 50,
        "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "train_batch_size": work.batch,
        "epochs": 1 if work.batches else work.passes,
        "learner": "adam",
        "learning_rate": 1e-3,
        "metrics": ["Recall", "NDCG"],
        "valid_metric": "NDCG@10",
        "seed": work.seed,
        "use_gpu": False,
        "gpu_id": "",
        "show_progress": False,
    }
    config = Config(model="SASRec", dataset="peers", config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, _, test = data_preparation(config, dataset)
    if len(train.dataset) != n_pairs(sequences) or len(test.dataset) != len(sequences) or dataset.item_num != work.n_items + 1:
        sys.exit(f"RecBole made other parts: {len(train.dataset)} pairs, {len(test.dataset)} test users, {dataset.item_num - 1} items.")
    model = SASRec(config, train.dataset)
    trainer = Trainer(config, model)
    pairs = min(work.batches * work.batch, n_pairs(sequences)) if work.batches else work.passes * n_pairs(sequences)
    found = Found()
    with found.timed("training", pairs):
        trainer.fit(FirstBatches(train, work.batches), saved=False, verbose=False)
    model.eval()
    best, users = [], []
    with found.timed("ranking", len(sequences)), torch.inference_mode():
        for histories, *_ in test:
            score = model.full_sort_predict(histories)
            score[:, 0] = -torch.inf
            best.append(score.topk(K).indices)
            users.append(histories["user_id"])
    row_of_item = np.array([-1, *map(int, dataset.field2id_token["item_id"][1:])])
    row_of_user = np.array([-1, *map(int, dataset.field2id_token["user_id"][1:])])
    found.lists = np.empty((len(sequences), K), np.int32)
    found.lists[row_of_user[torch.cat(users).numpy()]] = row_of_item[torch.cat(best).numpy()]
    return found


def recbench_tiger(work: Work, sequences: list[list[int]], folder: Path) -> Found:
    import torch

    from recbench.nn.blocks import CodeGenerator, Seq2SeqSettings
    from recbench.nn.codes import make_unique
    from recbench.nn.training import TrainingSettings
    from recbench.testing import LightContext, interactions, queries

    torch.set_num_threads(work.threads)
    codes = make_unique(codes_of(work.n_items), (256, 256, 256))
    loop = TrainingSettings(weight_decay=1e-4, max_epochs=work.passes, validate_every_epochs=work.passes)
    train = interactions([items[:-2] for items in sequences], work.n_items)
    asked = queries([items[:-1] for items in sequences])
    found = Found()
    for kind in ("causal", "full"):
        (folder / kind).mkdir()
        context = LightContext(train, folder / kind, judge=lambda _: 0.0, seed=work.seed, threads=work.threads)
        generator = CodeGenerator(Seq2SeqSettings(encoder_attention=kind, batch_targets=work.batch), codes, work.seed)
        with found.timed(f"training, {kind}", work.passes * n_pairs(sequences)):
            generator.fit(context, loop)
        with found.timed(f"decoding, {kind}", len(asked)):
            generator.generate(asked, K)
    return found


def cornac_tiger(work: Work, sequences: list[list[int]], _: Path) -> Found:
    import torch
    from cornac.data import FeatureModality
    from cornac.eval_methods import NextItemEvaluation
    from cornac.models import TIGER

    found = Found()

    class WithCodes(TIGER):
        """The library's model with codes in place of vectors, its second training timed."""

        def _tokenize(self, torch: Any, feats_t: Any) -> NDArray[np.int64]:  # noqa: ARG002
            codes: NDArray[np.int64] = feats_t.long().numpy()
            return codes

        def _fit_seq2seq(self, torch: Any, val_set: Any) -> None:
            with found.timed("training", n_pairs(sequences)):
                super()._fit_seq2seq(torch, val_set)

    torch.set_num_threads(work.threads)
    parts = [items[:-2] for items in sequences]
    # Sessions of one item, which train nothing, put all of the catalogue into its maps.
    parts += [[item] for item in range(work.n_items)]
    events = [(str(user), str(user), str(item), place) for user, items in enumerate(parts) for place, item in enumerate(items)]
    vectors = FeatureModality(features=codes_of(work.n_items).astype(np.float32), ids=[str(item) for item in range(work.n_items)])
    data = NextItemEvaluation.from_splits(train_data=events, test_data=events[: len(parts[0])], fmt="USIT", item_feature=vectors)
    model = WithCodes(n_epochs=1, batch_size=work.batch, n_beams=K, device="cpu", seed=work.seed).fit(data.train_set)
    row_of_item = data.train_set.iid_map
    asked = [[row_of_item[str(item)] for item in items[:-1]] for items in sequences[: work.decoded]]
    with found.timed("decoding", len(asked)):
        for user, history in enumerate(asked):
            model.rank(user, k=K, history_items=history)
    return found


Side = Callable[[Work, list[list[int]], Path], Found]
SIDES: dict[str, Side] = {side.__name__: side for side in (recbench_sasrec, recbole_sasrec, recbench_tiger, cornac_tiger)}


def installed(toolkit: str, chosen: Path | None) -> Path:
    """The Python of the environment that holds the toolkit; it is made where it is not there."""
    from recbench.core.home import cache_home

    folder = (chosen or cache_home() / "peers") / toolkit
    pins = PINS[toolkit] | {name: version(name).split("+")[0] for name in SHARED[toolkit]}
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    told = subprocess.run([str(python), "-m", "pip", "list", "--format", "json"], check=True, capture_output=True, text=True).stdout
    there = {entry["name"]: entry["version"].split("+")[0] for entry in json.loads(told)}
    if not pins.items() <= there.items():
        print(f"installing {toolkit} into {folder}", file=sys.stderr, flush=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *(f"{name}=={pin}" for name, pin in pins.items())], check=True)
    return python


def sequences_of(dataset: str) -> tuple[Sequences, int]:
    """The whole sequence of every user, and the number of items."""
    from recbench.core import SilentProgress
    from recbench.core.home import cache_home
    from recbench.data import locate, make_split, read_dataset
    from recbench.tasks import NEXT_ITEM

    progress = SilentProgress()
    located = locate(dataset, data_dir=Path(os.environ["RECBENCH_DATA"]), home=cache_home(), progress=progress, fetch=False)
    split = make_split(read_dataset(located, progress), NEXT_ITEM.protocol())
    test = split.test
    if split.n_users_train_only or (test.histories.lengths != split.train.lengths + 1).any():
        sys.exit(f"{dataset} has users without a test item, whom the toolkits would treat differently. Take another data set.")
    # The target stands behind the end of each history.
    item = np.insert(test.histories.item, test.histories.offsets[1:], test.targets.item)
    return Sequences(item, test.histories.offsets + np.arange(len(test) + 1)), split.train.n_items


def first_pairs(sequences: Sequences, n: int) -> Sequences:
    """The first users, who have `n` pairs together."""
    total = np.cumsum(np.diff(sequences.offsets) - 3)
    n_users = min(int(np.searchsorted(total, n)) + 1, len(total))
    return Sequences(sequences.item[: sequences.offsets[n_users]], sequences.offsets[: n_users + 1])


def run_side(name: str, python: Path, work: Work, sequences: Sequences, environment: Mapping[str, str]) -> Found:
    """Let one side do the work in a process of its own."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        sequences.save(folder)
        (folder / "work.json").write_text(json.dumps(asdict(work)))
        command = [str(python), "-P", str(Path(__file__).resolve()), "--side", name, "--work", text]
        told = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        if told.returncode:
            sys.exit(f"{name} failed:\n{told.stderr}")
        return Found.open(folder)


def values_at_10(lists: IntArray, target: IntArray) -> NDArray[np.float64]:
    """Recall@10 and NDCG@10 of each user, (2, users)."""
    is_hit = lists[:, :10] == target[:, None]
    return np.stack([is_hit.any(1), (is_hit / np.log2(np.arange(10) + 2)).sum(1)])


def print_speed(title: str, unit: str, ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> None:
    """One row: medians of the repeats, and their ratios by processor and by wall."""
    rate = {
        clock: [statistics.median(run["count"] / run[clock] for run in runs) if runs else np.nan for runs in (ours, theirs)]
        for clock in ("processor_s", "wall_s")
    }
    columns = " ".join(f"{mine:10,.1f} {other:10,.1f} {mine / other:7.1f}" for mine, other in rate.values())
    print(f"{title:45} {unit:6} {columns}", flush=True)


def print_quality(lists: list[tuple[IntArray, IntArray]], target: IntArray) -> None:
    ours, theirs = (np.mean([values_at_10(pair[side], target) for pair in lists], 0) for side in (0, 1))
    for name, mine, other in zip(("Recall@10", "NDCG@10"), ours, theirs, strict=True):
        gap = mine - other
        half = 1.96 * gap.std(ddof=1) / len(gap) ** 0.5
        print(f"  {name:10} ours {mine.mean():.4f}   theirs {other.mean():.4f}   difference {gap.mean():+.4f} ± {half:.4f}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="sasrec,quality,tiger")
    parser.add_argument("--datasets", default="ml-100k,beauty", help="of the part sasrec; quality takes the first, tiger the last")
    parser.add_argument("--folder", type=Path, help="of the other toolkits' environments")
    parser.add_argument("--ours-alone", action="store_true", help="measure our side only, without the other toolkits")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--batch", default="2048,256", help="pairs in a batch of SASRec; quality takes the last")
    parser.add_argument("--passes", type=int, default=2, help="of our side, in sasrec and tiger")
    parser.add_argument("--pairs", type=int, default=8192, help="that RecBole trains in the part sasrec")
    parser.add_argument("--tiger-pairs", type=int, default=2048, help="that cornac trains, and ours in each pass")
    parser.add_argument("--quality-passes", type=int, default=5)
    parser.add_argument("--decoded", type=int, default=20, help="users whose lists cornac makes")
    parser.add_argument("--keep-memory", action="store_true", help="let glibc keep what is freed, on both sides")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.side:
        work = Work(**json.loads((chosen.work / "work.json").read_text()))
        SIDES[chosen.side](work, Sequences.open(chosen.work).lists(), chosen.work).save(chosen.work)
        return
    if "RECBENCH_DATA" not in os.environ:
        sys.exit("RECBENCH_DATA is not set. Point it at a folder that holds NAME/interactions.parquet.")
    parts, datasets, sizes = chosen.parts.split(","), chosen.datasets.split(","), [int(size) for size in chosen.batch.split(",")]
    environment = {**os.environ, "OMP_NUM_THREADS": str(chosen.threads), "MKL_NUM_THREADS": str(chosen.threads)}
    if chosen.keep_memory:
        environment |= {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
    print(f"{chosen.threads} threads, median of {chosen.repeats}; per second of the processor, then per second on the clock")
    print(f"{'':52} {'ours':>10} {'theirs':>10} {'ratio':>7} {'ours':>10} {'theirs':>10} {'ratio':>7}")

    def measure(title: str, toolkit: str, model: str, sequences: Sequences, work: Work) -> list[tuple[Found, Found]]:
        """Both sides in turn, and what they took printed."""
        runs = []
        for seed in range(chosen.repeats):
            task = replace(work, seed=seed)
            ours = run_side(f"recbench_{model}", Path(sys.executable), task, sequences, environment)
            beside = Found()
            if not chosen.ours_alone:
                beside = run_side(f"{toolkit}_{model}", installed(toolkit, chosen.folder), task, sequences, environment)
            runs.append((ours, beside))
        for row in runs[0][0].rows:
            kind = row.split(",")[0]
            theirs = [other.rows[kind] for _, other in runs if other.rows]
            print_speed(f"{title}: {row}", "pairs" if kind == "training" else "users", [own.rows[row] for own, _ in runs], theirs)
        return runs

    if "sasrec" in parts:
        for dataset in datasets:
            sequences, n_items = sequences_of(dataset)
            for size in sizes:
                work = Work(n_items, chosen.threads, 0, size, chosen.passes, -(-chosen.pairs // size))
                measure(f"sasrec, {dataset}, batches of {size}", "recbole", "sasrec", sequences, work)
    if "quality" in parts:
        sequences, n_items = sequences_of(datasets[0])
        work = Work(n_items, chosen.threads, 0, sizes[-1], chosen.quality_passes)
        runs = measure(f"quality, {datasets[0]}, {work.passes} passes", "recbole", "sasrec", sequences, work)
        lists = [(own.lists, other.lists) for own, other in runs if own.lists is not None and other.lists is not None]
        if lists:
            print_quality(lists, sequences.item[sequences.offsets[1:] - 1])
    if "tiger" in parts:
        sequences, n_items = sequences_of(datasets[-1])
        work = Work(n_items, chosen.threads, 0, 256, chosen.passes, decoded=chosen.decoded)
        measure(f"tiger, {datasets[-1]}", "cornac", "tiger", first_pairs(sequences, chosen.tiger_pairs), work)


if __name__ == "__main__":
    main()
