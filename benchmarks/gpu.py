"""Training, search and ranking on a GPU, all in one run of bounded time: what bf16, compiling and fused attention give there.

    RECBENCH_DATA=... python benchmarks/gpu.py [--parts sasrec,tiger,gram,prorec,hllm,ranking,attention] [--limit 540]
                                               [--out gpu.jsonl] [--dataset beauty] [--steps 120] [--users 2000] [--repeats 3]

Every measurement is printed and written to --out, a line of JSON, as soon as it is there. A part may take its share of the time that is
left, by the weights below; what it leaves goes to the parts behind it. A process of its own works through the parts: when one overstays
its share the process is ended, when one fails it says why, and a new process goes on with the next part.

sasrec, tiger, gram, prorec, hllm
            Targets per second of whole training steps by the plugin's own `fit`, in float32, in bf16 (autocast, as `--precision bf16` has
            it) and in bf16 compiled; the most memory that torch had on the device; and the mean loss per target over the last ten steps,
            after as many steps of the same batches in each mode. Where the network is compiled dropout draws other numbers. Steps are
            fewer than asked where the share of time is too short for them. A short training goes first: it makes the parts that are made
            once, codes and item vectors, in float32 for all modes. Then the lists of 50 of the float32 model for the first test users,
            both views, in users per second. TIGER and PRORec search with 50 beams once more with weights and states in bf16: the share of
            users whose list is the same, and the share of their ten first places that hold the same item. (GRAM keeps the states of item
            prompts in float32.) TIGER and PRORec are compiled by their setting `generator.compile`; SASRec has none, and its encoder is
            compiled from here.
ranking     Users per second from vectors of width 64 to the 50 best of all items, both views, float32.
attention   Milliseconds of attention with a trained bias and dropout, forward and backward, at the sizes of TIGER's encoder: by products
            and a softmax, as `recbench.nn` does it in training, and by torch's fused attention.

Sizes are those of each card's preset for CUDA, but texts are read by TF-IDF, codes come from residual k-means, and language models have
random weights and the sizes of t5-small (GRAM), or 6 layers of width 512 (HLLM), so that nothing is downloaded. Times are taken after
`torch.cuda.synchronize`, in training after every ten steps; the first 20 steps do not count, and of the rest the median does. Without a
CUDA device the script ends with exit code 2. `--device cpu` lets it run there, to see that it works: its figures say nothing about GPUs.
"""

import argparse
import gc
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import IO, Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recbench import registry
from recbench.core import VIEWS, BadRequest, Catalogue, FitReport, Histories, Queries, Rankings, Recommender, SilentProgress
from recbench.core.plugin import Precision
from recbench.data import Split, locate, make_split, read_dataset
from recbench.nn.blocks import SequenceEncoder
from recbench.nn.blocks.t5_blocks import attend
from recbench.nn.compute import Dropout
from recbench.nn.ranking import full_catalogue_topk
from recbench.nn.training.memory import device_memory
from recbench.running.host.machine import processor, resolve_device
from recbench.tasks import NEXT_ITEM
from recbench.testing import LightContext

K = 50
WARM_BLOCKS = 2
WEIGHTS = {"sasrec": 1.0, "tiger": 2.0, "gram": 3.0, "prorec": 2.0, "hllm": 2.0, "ranking": 1.0, "attention": 0.5}
"""Shares of the time that parts are given."""
MODES: dict[str, tuple[Precision, bool]] = {"float32": ("fp32", False), "bf16": ("bf16", False), "bf16 compiled": ("bf16", True)}
SHORT_TEXT = {"text.encoder": "tfidf-svd", "text.svd_width": 64}
SHORT_CODES = {"codes.quantizer": "rkmeans", "codes.rkmeans.restarts": 1}
OFFLINE: dict[str, dict[str, Any]] = {
    "sasrec": {},
    "tiger": {**SHORT_TEXT, **SHORT_CODES},
    "gram": {**SHORT_TEXT, "ids.restarts": 1, "neighbours.count": 0, "backbone.name": "scratch"},
    "prorec": {**SHORT_TEXT, **SHORT_CODES, "collaborative.encoder": "sasrec", "joint.max_epochs": 1, "domination": False},
    "hllm": {"item.tower": "scratch", "user.tower": "scratch", "joint.steps": None},
}
"""What keeps a model from files that would have to be fetched, and from long preparations."""
PAPER_SIZES: dict[str, dict[str, Any]] = {
    "gram": {
        f"backbone.{name}": value
        for name, value in {
            "width": 512, "n_encoder_layers": 6, "n_decoder_layers": 6, "n_heads": 8, "head_width": 64, "hidden": 2048,
        }.items()
    },
    "hllm": {
        **{f"item.{name}": value for name, value in {"width": 512, "depth": 6, "heads": 8}.items()},
        **{f"user.{name}": value for name, value in {"width": 512, "depth": 6, "heads": 8, "key_heads": 8, "hidden": 2048}.items()},
    },
}  # fmt: skip
"""Sizes of language models with random weights, where preset `paper` names one to fetch."""
CAST: dict[str, Callable[[Any], torch.nn.Module]] = {
    "tiger": lambda model: model.generator.network,
    "prorec": lambda model: model.generator.network,
}
"""The network of a model whose search can be cast."""


_CAREFUL = 0.95
"""Share of its seconds that a part plans with."""


class OutOfTime(Exception):
    """The share of a part is used up."""


class Deadline(SilentProgress):
    """A display of progress that ends work, with `OutOfTime`, at the first step behind `until`, a `time.monotonic()`."""

    def __init__(self, until: float) -> None:
        self._until = until

    @contextmanager
    def task(self, title: str, total: float | None = None) -> Iterator["Deadline"]:  # noqa: ARG002
        yield self

    def advance(self, n: float = 1) -> None:  # noqa: ARG002
        if time.monotonic() > self._until:
            raise OutOfTime

    def show(self, text: str) -> None:
        pass

    def total(self, total: float) -> None:
        pass


class StepClock(Deadline):
    """The same, and it notes the time at every `block`-th step of the model's own training.

    Attributes:
        seconds: of the clock, at the start and after each block of steps.
        peak_bytes: most memory on the device during the training; None on a CPU.
    """

    def __init__(self, device: torch.device, until: float, block: int) -> None:
        super().__init__(until)
        self._device, self._memory, self._block = device, device_memory(str(device)), block
        self._steps = 0
        self.seconds: list[float] = []
        self.peak_bytes: int | None = None

    @contextmanager
    def task(self, title: str, total: float | None = None) -> Iterator[Deadline]:  # noqa: ARG002
        if title != "training":
            yield Deadline(self._until)
            return
        if self._memory is not None:
            self._memory.reset()
        self.seconds.append(self._now())
        yield self
        self.peak_bytes = None if self._memory is None else self._memory.peak_bytes()

    def advance(self, n: float = 1) -> None:
        super().advance(n)
        self._steps += 1
        if self._steps % self._block == 0:
            self.seconds.append(self._now())

    def _now(self) -> float:
        synchronize(self._device)
        return time.perf_counter()


@dataclass
class Context(LightContext):
    """A context whose stages are built once for all trainings of this process that ask for the same."""

    kept: dict[str, Path] = field(default_factory=dict, kw_only=True)

    def stage(self, name: str, build: Callable[[Path], None], **asked: Any) -> Path:
        key = json.dumps([name, asked], default=str, sort_keys=True)
        if key not in self.kept:
            self.kept[key] = super().stage(name, build, **asked)
        return self.kept[key]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device, repeats: int, until: float) -> float:
    """Median of the repeats that fit in, one at least."""
    taken: list[float] = []
    while not taken or (len(taken) < repeats and time.monotonic() + taken[-1] < until):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


@dataclass
class Worker:
    """What the parts share: settings, data and stages of one process."""

    options: argparse.Namespace
    folder: Path

    def __post_init__(self) -> None:
        self.device = torch.device(self.options.device)
        self._kept: dict[str, Path] = {}
        self._split: Split | None = None

    def say(self, part: str, what: str, **found: Any) -> None:
        print(json.dumps({"part": part, "what": what, **found}), flush=True)

    @property
    def split(self) -> Split:
        if self._split is None:
            home, progress = Path.home() / ".cache" / "recbench", SilentProgress()
            data = Path(os.environ["RECBENCH_DATA"])
            located = locate(self.options.dataset, data_dir=data, home=home, progress=progress, fetch=False)
            self._split = make_split(read_dataset(located, progress), NEXT_ITEM.protocol())
        return self._split

    def work(self, part: str, until: float) -> None:
        """One part, to its end or until its time is used up."""
        if part == "ranking":
            self.ranking(until)
        elif part == "attention":
            self.attention(until)
        else:
            self.model(part, until)

    def model(self, name: str, until: float) -> None:
        began, block = time.monotonic(), self.options.block
        clock, _, _ = self.train(name, MODES["float32"], WARM_BLOCKS * block, until)
        step_s = (clock.seconds[-1] - clock.seconds[-2]) / block
        self.say(name, "preparation", seconds=time.monotonic() - began)
        # Half of the time left belongs to steps that may be slower than those of float32, to lists and to compiling.
        possible = int((until - time.monotonic()) / (2 * len(MODES) * step_s)) // block * block
        n_steps = max(min(self.options.steps, possible), (WARM_BLOCKS + 1) * block)
        for mode, (precision, is_compiled) in MODES.items():
            if is_compiled and (name not in {"sasrec", "tiger", "prorec"} or self.device.type == "cpu"):
                continue
            clock, report, recommender = self.train(name, (precision, is_compiled), n_steps, until)
            step_s = statistics.median(np.diff(clock.seconds[WARM_BLOCKS:])) / block
            loss = next(point.loss for point in reversed(report.curve) if point.loss is not None)
            self.say(
                name,
                "training",
                mode=mode,
                targets_per_s=report.examples_seen / report.steps / step_s,
                step_ms=1e3 * step_s,
                warm_up_s=clock.seconds[WARM_BLOCKS] - clock.seconds[0],
                peak_bytes=clock.peak_bytes,
                steps=report.steps,
                warm_up_steps=WARM_BLOCKS * block,
                loss=loss,
            )
            if mode == "float32":
                self.lists(name, recommender, until)
            del recommender
            gc.collect()
            torch.cuda.empty_cache()

    def train(self, name: str, mode: tuple[Precision, bool], n_steps: int, until: float) -> tuple[StepClock, FitReport, Recommender]:
        """One training from the first weights."""
        precision, is_compiled = mode
        plugin = registry.models(()).load(name)
        preset = self.options.preset or plugin.card.default.cuda
        ends = {"max_steps": n_steps, "max_epochs": 1_000, "curve_every_steps": self.options.block, "validate_every_epochs": 1_000}
        settings = {
            **OFFLINE[name],
            **(PAPER_SIZES.get(name, {}) if preset == "paper" else {}),
            **{f"training.{key}": value for key, value in ends.items()},
        }
        if is_compiled and name != "sasrec":
            settings["generator.compile"] = True
        clock = StepClock(self.device, until, self.options.block)
        context = Context(
            self.split.train,
            Path(tempfile.mkdtemp(dir=self.folder)),
            texts=self.split.items.columns,
            judge=lambda _: 0.0,
            device=str(self.device),
            precision=precision,
            threads=torch.get_num_threads(),
            progress=clock,
            kept=self._kept,
        )
        recommender = plugin.build(plugin.resolve(preset, None, settings), Catalogue(context.train.n_items, context.train.n_users))
        with compiled_encoder() if is_compiled and name == "sasrec" else nullcontext():
            report = recommender.fit(context)
        return clock, report, recommender

    def lists(self, name: str, recommender: Recommender, until: float) -> None:
        """The lists of a trained model; searches of codes once more in bf16."""
        queries = self.split.test.queries(self.split.user_ids, VIEWS)
        queries = queries.take(np.arange(min(self.options.users, len(queries))))
        exact: Rankings | None = None
        for mode in ("float32", "bf16") if name in CAST else ("float32",):
            if mode == "bf16":
                CAST[name](recommender).to(torch.bfloat16).eval()
            # It warms up, and its lists are those that are compared.
            found = recommender.generate(queries, K)
            exact = exact or found
            taken = seconds_of(lambda: recommender.generate(queries, K), self.device, self.options.repeats, until)
            is_same = found.items == exact.items
            same = {view: [is_same[v].all(1).mean(), is_same[v, :, :10].mean()] for v, view in enumerate(VIEWS)}
            self.say(name, "lists", mode=mode, users_per_s=len(queries) / taken, same=None if found is exact else same)

    def ranking(self, until: float) -> None:
        for n_items in self.options.items:
            rng, n_users = np.random.default_rng(0), self.options.users
            vectors = [torch.from_numpy(rng.normal(size=(n, 64)).astype(np.float32)).to(self.device) for n in (n_users, n_items)]
            histories = Histories.from_lists([rng.integers(0, n_items, 10).tolist() for _ in range(n_users)])
            queries = Queries(histories, np.arange(n_users, dtype=np.int32), np.array([str(row) for row in range(n_users)], object))
            rank = partial(full_catalogue_topk, *vectors, queries, K)
            memory = device_memory(str(self.device))
            rank()
            if memory is not None:
                memory.reset()
            taken = seconds_of(rank, self.device, self.options.repeats, until)
            peak = None if memory is None else memory.peak_bytes()
            self.say("ranking", "lists", mode=f"{n_items:,} items", users_per_s=n_users / taken, peak_bytes=peak)

    def attention(self, until: float) -> None:
        n_heads, n_tokens, dropout = 6, 60, Dropout(0.1).train()
        ways = {
            "products": partial(products, n_heads=n_heads, dropout=dropout),
            "fused": partial(fused, n_heads=n_heads, share=dropout.share),
        }
        for mode, kind in (("float32", torch.float32), ("bf16", torch.bfloat16)):
            new = partial(torch.randn, device=self.device, dtype=kind, requires_grad=True)
            parts = [*(new(self.options.rows, n_tokens, n_heads * 64) for _ in range(3)), new(1, n_heads, n_tokens, n_tokens)]
            for way, read in ways.items():
                steps = partial(repeat, lambda read=read, parts=parts: read(*parts).sum().backward(), self.options.block)
                steps()
                ms = 1e3 * seconds_of(steps, self.device, self.options.repeats, until) / self.options.block
                self.say("attention", "attention", mode=f"{mode} {way}", ms=ms)


def products(query_BNX: Tensor, key_BNX: Tensor, value_BNX: Tensor, bias: Tensor, *, n_heads: int, dropout: Dropout) -> Tensor:
    """As T5 attends in training."""
    return attend(bias, n_heads, dropout, torch.cat([query_BNX, key_BNX, value_BNX], dim=-1))


def fused(query_BNX: Tensor, key_BNX: Tensor, value_BNX: Tensor, bias: Tensor, *, n_heads: int, share: float) -> Tensor:
    """What `attend` computes, by torch's own attention."""
    query, key, value = (x.unflatten(2, (n_heads, -1)).transpose(1, 2) for x in (query_BNX, key_BNX, value_BNX))
    read = functional.scaled_dot_product_attention(query, key, value, bias.expand(len(query), -1, -1, -1), share, scale=1.0)
    return read.transpose(1, 2).flatten(2)


def repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()


def compiled_encoder() -> AbstractContextManager[object]:
    """SASRec's encoder compiled, for trainings within."""
    return mock.patch.object(SequenceEncoder, "forward", torch.compile(SequenceEncoder.forward, dynamic=True))


def name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def serve(options: argparse.Namespace) -> None:
    """Work through the parts that stdin names, each with its seconds."""
    worker = Worker(options, options.serve)
    worker.say("all", "machine", device=name_of(worker.device), torch=torch.__version__, dataset=options.dataset)
    for line in sys.stdin:
        part, seconds = json.loads(line)
        try:
            worker.work(part, time.monotonic() + seconds)
        except OutOfTime:
            worker.say(part, "stop", reason=f"its {seconds:.0f} s are used up")
        except Exception as error:  # whatever a part fails with, the next one is to be measured
            worker.say(part, "stop", reason=shorten(f"{type(error).__name__}: {error}", 300))
            # A device that reported an error is of no use to this process any more.
            sys.exit(1)
        worker.say(part, "end")


class Parent:
    """Hands the parts out, one by one, and shows what comes back.

    Args:
        options: of the command.
        arguments: the same as they were written, for the working processes.
        folder: for what these write.
    """

    def __init__(self, options: argparse.Namespace, arguments: Sequence[str], folder: str) -> None:
        self._left, self._knows_machine, self._out = list(options.parts), False, options.out
        self._ends = time.monotonic() + options.limit
        self._command = [sys.executable, "-P", __file__, *arguments, "--device", options.device, "--serve", folder]
        if self._out is not None:
            self._out.write_text("", encoding="utf-8")

    def run(self) -> None:
        while self._left and time.monotonic() < self._ends:
            self._with_one_process()
        for part in self._left:
            self._show({"part": part, "what": "stop", "reason": "no time was left for it"})

    def _with_one_process(self) -> None:
        """Parts until one overstays its share, one fails, or none is left."""
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_read_into, args=(process.stdout, lines), daemon=True).start()
        try:
            while self._left and (seconds := self._share()) > 0:
                part = self._left.pop(0)
                with suppress(BrokenPipeError):  # its lines say that it has ended
                    process.stdin.write(json.dumps([part, _CAREFUL * seconds]) + "\n")
                    process.stdin.flush()
                if not self._is_done(part, lines, time.monotonic() + seconds):
                    return
        finally:
            process.kill()
            process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()

    def _share(self) -> float:
        """Seconds for the next part."""
        weights = [WEIGHTS[part] for part in self._left]
        return (self._ends - time.monotonic()) * weights[0] / sum(weights)

    def _is_done(self, part: str, lines: "queue.Queue[str | None]", until: float) -> bool:
        """Show the lines of a part, and say whether its process can go on with the next one."""
        has_stopped = False
        while True:
            try:
                line = lines.get(timeout=max(until - time.monotonic(), 0.0))
            except queue.Empty:
                self._show({"part": part, "what": "stop", "reason": "its share of the time is used up; the process was ended"})
                return False
            if line is None:
                if not has_stopped:
                    self._show({"part": part, "what": "stop", "reason": "the process ended by itself; what it wrote stands above"})
                return False
            if not line.startswith("{"):
                continue  # some library's own
            found = json.loads(line)
            if found["what"] == "end":
                return True
            has_stopped = found["what"] == "stop"
            if found["what"] != "machine" or not self._knows_machine:
                self._show(found)
            self._knows_machine = True

    def _show(self, found: Mapping[str, Any]) -> None:
        print(_sentence(found), flush=True)
        if self._out is not None:
            with self._out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(found) + "\n")


def _read_into(stream: IO[str], lines: "queue.Queue[str | None]") -> None:
    """Every line as it comes, then None."""
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _sentence(found: Mapping[str, Any]) -> str:
    start = f"{found['part']:9} {found['what']:11} {found.get('mode', ''):17}"
    peak = f"   {found['peak_bytes'] / 2**20:,.0f} MiB" if found.get("peak_bytes") is not None else ""
    match found["what"]:
        case "machine":
            return f"{start} {found['device']}, torch {found['torch']}, {found['dataset']}"
        case "preparation":
            return f"{start} {found['seconds']:9.1f} s"
        case "training":
            rate = f"{found['targets_per_s']:9,.0f} targets/s {found['step_ms']:8.2f} ms a step{peak}"
            warm_up = f"the first {found['warm_up_steps']} took {found['warm_up_s']:.1f} s"
            return f"{start} {rate}   loss {found['loss']:.4f} after {found['steps']} steps, {warm_up}"
        case "lists":
            same = (found.get("same") or {}).items()
            equal = "".join(f"   {view}: {lists:.1%} of lists equal, {places:.1%} of first ten places" for view, (lists, places) in same)
            return f"{start} {found['users_per_s']:9,.0f} users/s{peak}{equal}"
        case "attention":
            return f"{start} {found['ms']:9.3f} ms"
        case _:
            return f"{start} {found['reason']}"


def _device(asked: str | None) -> str:
    """`cpu` or `cuda:N`; ends with exit code 2 where it is not there."""
    try:
        return resolve_device(asked or "cuda")
    except BadRequest as error:
        none = "No CUDA device is here. Run this on a machine that has one, with a torch that is built for CUDA. "
        sys.stderr.write(f"{error}\n" if asked else f"{none}To see that the script works: --device cpu --preset smoke --dataset demo.\n")
        sys.exit(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=_parts, default=list(WEIGHTS))
    parser.add_argument("--limit", type=float, default=540.0, help="seconds on the clock for all of it")
    parser.add_argument("--out", type=Path, help="file for the lines of JSON")
    parser.add_argument("--device", help="cuda, cuda:N or cpu")
    parser.add_argument("--dataset", default="beauty")
    parser.add_argument("--preset", help="of all models; otherwise the one that each card names for CUDA")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--block", type=int, default=10, help="steps between two looks at the clock, each of which waits for the device")
    parser.add_argument("--users", type=int, default=2_000, help="users to make lists for")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--items", type=_numbers, default=[100_000, 1_000_000], help="sizes of the catalogue in part ranking")
    parser.add_argument("--rows", type=int, default=256, help="sequences of part attention")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.device = _device(options.device)
    if "RECBENCH_DATA" not in os.environ:
        sys.exit("RECBENCH_DATA is not set. Point it at a folder that holds NAME/interactions.parquet.")
    if options.serve is not None:
        serve(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        Parent(options, sys.argv[1:], folder).run()


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    if unknown := sorted(set(parts) - set(WEIGHTS)):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is not a part. Choose from {','.join(WEIGHTS)}.")
    return parts


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
