"""Targets per processor second of whole training steps, of this checkout and of another one, and the losses that they come to.

    RECBENCH_DATA=... python benchmarks/training_speed.py --against CHECKOUT [--models tiger,prorec,gram,sasrec,hllm] [--dataset beauty]
                                                          [--users 3000] [--steps 200] [--threads 1] [--repeats 3]

Each model is trained as its preset `cpu` says, on the train part of the first users, by the plugin's own `fit`: batches, dropout,
clipping and optimiser as in a run, no validation. Texts are read by TF-IDF, and HLLM's items by a small tower of random weights that is
not trained, so that nothing is downloaded and what is measured is the sequence model. The first tenth of the steps is not timed. Each
training is a process of its own, and both checkouts take turns. Processor seconds of all threads are counted: they say more than the
clock where the machine has other work. The loss is the mean per target over the last tenth of the steps. Both checkouts draw the same
numbers, so losses differ by what rounding has grown to over the steps.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TEXT = {"text.encoder": "tfidf-svd"}
SETTINGS: dict[str, dict[str, Any]] = {
    "tiger": TEXT,
    "prorec": {**TEXT, "text.unit_length": True, "joint.max_epochs": 1},
    "gram": {**TEXT, "neighbours.count": 0},
    "sasrec": {},
    "hllm": {"item.tower": "scratch", "item.layers": "none"},
}


class StepClock:
    """A display of progress that notes the processor seconds at each step of the training."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    @contextmanager
    def task(self, title: str, total: float | None = None) -> Iterator["StepClock"]:  # noqa: ARG002
        self.is_training = title == "training"
        yield self

    def advance(self, n: float = 1) -> None:  # noqa: ARG002
        if self.is_training:
            self.seconds.append(time.process_time())

    def show(self, text: str) -> None:
        pass

    def total(self, total: float) -> None:
        pass


def train_once(source: Path, model: str, dataset: str, n_users: int, n_steps: int, n_threads: int) -> dict[str, float]:
    """Train with the sources of one checkout; called in a process of its own."""
    sys.path.insert(0, str(source))
    models = types.ModuleType("recbench_models")
    models.__path__ = [str(source / "models")]
    sys.modules["recbench_models"] = models
    import importlib

    import numpy as np
    import torch

    from recbench.core import Catalogue, SilentProgress
    from recbench.data import locate, make_split, read_dataset
    from recbench.tasks import NEXT_ITEM
    from recbench.testing import LightContext

    torch.set_num_threads(n_threads)
    home, data = Path.home() / ".cache" / "recbench", Path(os.environ["RECBENCH_DATA"])
    progress = SilentProgress()
    split = make_split(
        read_dataset(locate(dataset, data_dir=data, home=home, progress=progress, fetch=False), progress), NEXT_ITEM.protocol()
    )
    plugin = importlib.import_module(f"recbench_models.{model}").PLUGIN
    tenth = max(n_steps // 10, 1)
    ends = {
        "training.max_steps": n_steps,
        "training.max_epochs": 1000,
        "training.curve_every_steps": tenth,
        "training.validate_every_epochs": 1000,
    }
    config = plugin.resolve("cpu", None, {**SETTINGS[model], **ends})
    clock = StepClock()
    with tempfile.TemporaryDirectory() as folder:
        context = LightContext(
            split.train.take(np.arange(min(n_users, split.train.n_users))),
            Path(folder),
            texts=split.items.columns,
            judge=lambda _: 0.0,
            progress=clock,  # type: ignore[arg-type]
            threads=n_threads,
        )
        report = plugin.build(config, Catalogue(context.train.n_items, context.train.n_users)).fit(context)
    timed = report.examples_seen * (n_steps - tenth) / n_steps
    loss = next(point.loss for point in reversed(report.curve) if point.loss is not None)
    return {"targets_per_s": timed / (clock.seconds[-1] - clock.seconds[tenth - 1]), "loss": loss}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout, trained in turn")
    parser.add_argument("--models", default=",".join(SETTINGS))
    parser.add_argument("--dataset", default="beauty")
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--once", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if "RECBENCH_DATA" not in os.environ:
        sys.exit("RECBENCH_DATA is not set. Point it at a folder that holds NAME/interactions.parquet.")
    sizes = [chosen.users, chosen.steps, chosen.threads]
    if chosen.once:
        print(json.dumps(train_once(Path(chosen.once), chosen.models, chosen.dataset, *sizes)))
        return
    sources = [ROOT] if chosen.against is None else [chosen.against.resolve(), ROOT]
    for model in chosen.models.split(","):
        found: list[list[dict[str, float]]] = [[] for _ in sources]
        for _ in range(chosen.repeats):
            for source, runs in zip(sources, found, strict=True):
                command = [sys.executable, "-P", __file__, "--once", str(source), "--models", model, "--dataset", chosen.dataset]
                command += ["--users", str(sizes[0]), "--steps", str(sizes[1]), "--threads", str(sizes[2])]
                told = subprocess.run(command, capture_output=True, text=True, check=False)
                if told.returncode:
                    sys.exit(told.stderr)
                runs.append(json.loads(told.stdout.splitlines()[-1]))
        rate = [statistics.median(run["targets_per_s"] for run in runs) for runs in found]
        losses = ", ".join(f"{runs[0]['loss']:.4f}" for runs in found)
        ratio = f"   {rate[1] / rate[0]:.2f} x" if len(rate) > 1 else ""
        print(f"{model:8} {' before, now '.join(f'{value:,.0f}' for value in rate)} targets/s{ratio}   loss {losses}", flush=True)


if __name__ == "__main__":
    main()
