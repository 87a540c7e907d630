"""How far models are from the best possible lists: three knobs swept, and curves over data size and parameters with their exponents.

    python benchmarks/optimum.py [--parts knobs,users,width] [--models popularity,...,sasrec:cpu] [--world items=500] [--folder FOLDER]

Every cell is a `recbench run` on synthetic data (docs/known-optimum.md) with one thread and --budget, leave-one-out, view `keep`; what
FOLDER holds is not run again. Models that train weights make --steps steps, however few events there are, and are chosen by validation.
`below` is the NDCG@10 of the oracle that knows process and history less that of the model, on the same targets, with its 95 % interval over
users.

knobs  every model on the world with one knob turned, for each --knob.
users  --curves on worlds that differ in their number of users alone (--sizes), and last-item-markov in a world of bigrams alone.
width  SASRec at --widths, the inner width being four times that, on the world with the most users of --sizes; against its parameters.

Curves are fitted as below = c * n^-a by least squares of the logarithms: a with its standard error, and the factor by which the worst point
is off the line. A model that cannot express the process keeps a distance at any n, and its points bend away from the line.
"""

import argparse
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbench import registry
from recbench.core.config import part_of
from recbench.running.after.optimum import Distance, Optimum, find_optimum
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunRequest
from recbench.running.run.execute import run_request

MODELS = "popularity,last-item-markov,item-knn,ease,graph-heuristic,text-knn:tfidf,sasrec:cpu"
KNOBS = ("text=0,0.1,0.3,0.5", "two_step=0,0.2,0.4,0.6", "events=6,12,24")
BIGRAMS = {"two_step": "0", "taste": "0", "text": "0"}
World = Mapping[str, str]


@dataclass(frozen=True)
class Sweep:
    """Runs models on worlds, and keeps what is found."""

    workplace: Workplace
    budget: str
    steps: int

    def optimum(self, world: World) -> Optimum:
        return find_optimum(name_of(world), self.workplace, with_runs=True)

    def distance(self, model: str, world: World, overrides: Mapping[str, Any] | None = None) -> tuple[Optimum, Distance]:
        """The optimum of a world and what a model is below it, `keep`."""
        name, _, preset = model.partition(":")
        values: dict[str, Any] = dict(overrides or {})
        if part_of(registry.models().load(name).config, "training") is not None:
            values |= {"training.max_steps": self.steps, "training.max_epochs": 1_000_000}
        request = RunRequest(name, name_of(world), preset=preset or None, overrides=values, budget=self.budget, threads=1)
        outcome = run_request(request, self.workplace)
        assert outcome is not None
        optimum = self.optimum(world)
        return optimum, next(run for run in optimum.runs if (run.run_id, run.view) == (outcome.record.run_id, "keep"))


def name_of(world: World) -> str:
    return "synthetic:" + ",".join(f"{knob}={value}" for knob, value in world.items())


def best(optimum: Optimum) -> str:
    figure = next(figure for figure in optimum.best if (figure.oracle, figure.view) == ("history", "keep"))
    return f"{figure.exact:.4f} ({figure.sampled:.4f} ± {figure.standard_error:.4f})"


def below(run: Distance) -> str:
    return f"{run.below.value:.4f} [{run.below.low:.4f}, {run.below.high:.4f}]"


def print_row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def print_header(*cells: object) -> None:
    print_row(*cells)
    print_row(":--", *["--:"] * (len(cells) - 1))


def print_knob(sweep: Sweep, knob: str, values: Sequence[str], base: World, models: Sequence[str]) -> list[Distance]:
    """A table of distances: models by values of a knob."""
    worlds = [{**base, knob: value} for value in values]
    print(f"\n{knob}, `below` and share of the optimum\n")
    print_header("model", *(f"{knob}={value}" for value in values))
    print_row("optimum, exact (sampled)", *(best(sweep.optimum(world)) for world in worlds))
    found = []
    for model in models:
        runs = [sweep.distance(model, world)[1] for world in worlds]
        print_row(runs[0].row_name, *(f"{below(run)} {100 * (run.share or 0):.0f} %" for run in runs))
        found += runs
    return found


def print_curve(what: str, points: Sequence[tuple[int, Optimum, Distance]]) -> None:
    """A table over sizes with the fitted exponent; points that are not below the optimum have no logarithm and are left out of it."""
    print(f"\n{points[0][2].row_name}: {what}\n")
    print_header(what, "optimum, exact (sampled)", "NDCG@10", "below")
    for size, optimum, run in points:
        print_row(f"{size:,}", best(optimum), f"{run.value:.4f}", below(run))
    used = [(size, run.below.value) for size, _, run in points if run.below.value > 0]
    if len(used) < 2:
        print(f"\nexponent: none, {len(used)} of {len(points)} points are below the optimum", flush=True)
        return
    exponent, error, worst = power_law(*zip(*used, strict=True))
    margin = "" if math.isnan(error) else f" ± {error:.3f}"
    print(f"\nexponent: below ~ n^({-exponent:.3f}{margin}) from {len(used)} points, the worst off by a factor of {worst:.2f}", flush=True)


def power_law(sizes: Sequence[float], excess: Sequence[float]) -> tuple[float, float, float]:
    """Exponent a of excess = c * size^-a with its standard error (NaN for two points), and the factor by which the worst point is off."""
    x, y = np.log(sizes), np.log(excess)
    slope, start = np.polyfit(x, y, 1)
    residual = y - (slope * x + start)
    spread = ((x - x.mean()) ** 2).sum()
    error = math.sqrt((residual**2).sum() / (len(x) - 2) / spread) if len(x) > 2 else math.nan
    return -float(slope), error, float(np.exp(np.abs(residual).max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="knobs,users,width")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--world", default="items=500", help="knobs of every world, where they are not the default")
    parser.add_argument("--knob", action="append", help="KNOB=VALUE,VALUE,... to sweep; repeatable")
    parser.add_argument("--curves", default="last-item-markov,graph-heuristic,sasrec:cpu", help="models of the part users")
    parser.add_argument("--sizes", default="250,500,1000,2000,4000,8000")
    parser.add_argument("--widths", default="8,16,32,64,128")
    parser.add_argument("--budget", default="1cpu-min")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    base = dict(part.split("=") for part in options.world.split(","))
    sizes, parts = options.sizes.split(","), options.parts.split(",")
    with tempfile.TemporaryDirectory(prefix="recbench-optimum-") as name:
        folder = options.folder or Path(name)
        sweep = Sweep(Workplace(folder / "home", None, folder / "runs", folder / "leaderboards"), options.budget, options.steps)
        if "knobs" in parts:
            runs: list[Distance] = []
            for text in options.knob or KNOBS:
                knob, _, values = text.partition("=")
                runs += print_knob(sweep, knob, values.split(","), base, options.models.split(","))
            above = [run for run in runs if run.below.high < 0]
            print(f"\n{len(above)} of {len(runs)} runs above the optimum by more than their interval", flush=True)
        if "users" in parts:
            worlds = [(model, base) for model in options.curves.split(",")] + [("last-item-markov", {**base, **BIGRAMS})]
            for model, world in worlds:
                what = "users" if world is base else "users, bigrams alone"
                print_curve(what, [(int(size), *sweep.distance(model, {**world, "users": size})) for size in sizes])
        if "width" in parts:
            points = []
            for width in map(int, options.widths.split(",")):
                network = {"network.width": width, "network.hidden": 4 * width}
                optimum, run = sweep.distance("sasrec:cpu", {**base, "users": sizes[-1]}, network)
                points.append((run.n_parameters, optimum, run))
            print_curve(f"parameters, {sizes[-1]} users", points)


if __name__ == "__main__":
    main()
