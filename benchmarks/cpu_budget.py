"""Training examples that a budget of processor time buys: alone, and beside other processes that keep the machine busy.

    RECBENCH_DATA=... python benchmarks/cpu_budget.py [--dataset beauty] [--models sasrec,gru4rec] [--budget 1cpu-min] [--busy 3]

Each run is a process of its own with one thread and an empty folder of runs; stages are shared. A model that reads texts needs a budget
beyond what their vectors take. A busy process adds numbers without end.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def busy(n: int) -> Iterator[None]:
    """So many processes that compute without end."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(100_000))"]) for _ in range(n)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def trained(model: str, options: argparse.Namespace, home: Path) -> dict[str, Any]:
    """What the record of a new run says."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "recbench", "run", "-m", model, "-d", options.dataset, "--threads", "1", "--json"]
        command += [
            "--preset",
            options.preset,
            "--budget",
            options.budget,
            "--set",
            "training.max_epochs=100000",
            "--rerun",
            f"training-{model}",
        ]
        env = {**os.environ, "RECBENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}
        told = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        if told.returncode:
            sys.exit(told.stderr)
        record: dict[str, Any] = json.loads(next(Path(folder, "runs").glob("*/record.json")).read_text())
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="beauty")
    parser.add_argument("--models", default="sasrec")
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--budget", default="1cpu-min")
    parser.add_argument("--busy", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recbench-cpu-budget-") as name:
        for model in options.models.split(","):
            seen = []
            for n in (0, options.busy):
                with busy(n):
                    record = trained(model, options, Path(name))
                fit, cost = record["fit"], record["cost"]
                seen.append(fit["examples_seen"])
                print(
                    f"{model:10} beside {n} busy processes: {fit['examples_seen']:>10,} examples, {fit['steps']:>6,} steps, "
                    f"{cost['train_cpu_s']:6.1f} processor s, {cost['train_s']:6.1f} s on the clock",
                    flush=True,
                )
            print(f"{model:10} {seen[1] / seen[0]:.3f} of the examples", flush=True)


if __name__ == "__main__":
    main()
