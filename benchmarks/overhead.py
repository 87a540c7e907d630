"""What the harness adds to a run: start, data, evaluation, record; seconds, and the share of a run of ten minutes.

    python benchmarks/overhead.py [--dataset beauty] [--model popularity] [--repeats 3]

Runs the command as a user does, in a cache of its own. The overhead is the wall time of the command less what its record says about
training and ranking: `train_s` and `rank_s`. Once with an empty cache, where the data set is read and split, then with other seeds,
where both are there; last the same command again, which only shows its record. On a machine that does other work, the processor's
seconds of the whole command say more than the wall; they include training and ranking. The targets: under 3 s and under 2 % of ten
minutes, with the data set at hand.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_LONG_RUN_S = 600.0


@dataclass(frozen=True)
class Timing:
    """Seconds of one command."""

    wall: float
    processor: float
    in_model: float
    """Training and ranking, by the record, where this command did them."""

    @property
    def overhead(self) -> float:
        return self.wall - self.in_model


def timed(words: list[str], folder: Path) -> Timing:
    """One command in `folder`."""
    environment = {**os.environ, "RECBENCH_HOME": str(folder / "home"), "RECBENCH_RUNS": str(folder / "runs")}
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "recbench", "run", *words, "--json"], env=environment, capture_output=True, text=True
    )
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        sys.exit(done.stderr)
    answer = json.loads(done.stdout)
    cost = answer["record"]["cost"]
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return Timing(wall, processor, cost["train_s"] + cost["rank_s"] if answer["is_new"] else 0.0)


def show(title: str, timings: list[Timing]) -> None:
    """A line: the medians of some timings."""
    wall, processor, in_model, overhead = (
        statistics.median(getattr(timing, name) for timing in timings) for name in ("wall", "processor", "in_model", "overhead")
    )
    share = overhead / (_LONG_RUN_S + overhead)
    print(f"{title:<30} {wall:>7.2f} {processor:>10.2f} {in_model:>12.2f} {overhead:>9.2f} {share:>9.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="beauty", help="a named data set, ready under RECBENCH_DATA")
    parser.add_argument("--model", default="popularity")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    words = ["--model", asked.model, "--dataset", asked.dataset]
    load = psutil.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cold = timed(words, folder)
        warm = [timed([*words, "--seed", str(1 + number)], folder) for number in range(asked.repeats)]
        again = [timed([*words, "--seed", "1"], folder) for _ in range(asked.repeats)]
    print(f"{asked.model} on {asked.dataset}, {os.cpu_count()} cores; load before {load:.1f}, after {psutil.getloadavg()[0]:.1f}")
    print(f"{'seconds (medians)':<30} {'wall':>7} {'processor':>10} {'train + rank':>12} {'overhead':>9} {'of 10 min':>9}")
    show("empty cache", [cold])
    show("data set and split there", warm)
    show("finished before", again)


if __name__ == "__main__":
    main()
