"""Start-up of commands that compute nothing: processor seconds of each, best of some, and what its imports cost.

    python benchmarks/start_up.py [--repeats 5] [--against CHECKOUT] [--bytecode]

Each command is a process of its own, as a user starts it, in a folder without runs, beside the boards of this checkout. With --against
the same command runs in turn on the `recbench` of another checkout. Processor seconds are user and system; on a machine that does other
work they say more than the clock. Python keeps compiled sources unless PYTHONDONTWRITEBYTECODE forbids it; --bytecode keeps them in a
folder of the benchmark, so that the first start alone compiles. Imports are those of `-X importtime`, the module with what it imports.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_SHOWN = 6
_LINE = re.compile(r"import time: +\d+ \| +(\d+) \| ( *)(\S+)")


def commands() -> dict[str, list[str]]:
    """What is measured: the title of a row and the words of the command."""
    record = sorted(folder.name for folder in (ROOT / "leaderboards" / "records").iterdir() if (folder / "record.json").exists())[0]
    return {
        "--help": ["--help"],
        "--version": ["--version"],
        "list models": ["list", "models"],
        "list datasets": ["list", "datasets"],
        "list runs": ["list", "runs"],
        "cache ls": ["cache", "ls"],
        "show RECORD": ["show", record],
        "run -m MISSPELT": ["run", "-m", "misspelt", "-d", "demo"],
    }


def seconds_of(words: list[str], source: Path, environment: Mapping[str, str], folder: Path) -> float:
    """Processor seconds of one command with the sources of one checkout."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-Pm", "recbench", *words],
        env={**environment, "PYTHONPATH": str(source)},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,  # one of the commands is refused
    )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def heaviest_imports(words: list[str], environment: Mapping[str, str], folder: Path) -> str:
    """The libraries that take longest to import, with milliseconds."""
    told = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", "-m", "recbench", *words],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
    ).stderr
    found: dict[str, float] = {}
    for cumulative, _, module in _LINE.findall(told):
        if "." not in module:
            found[module] = int(cumulative) / 1000
    heaviest = sorted(found, key=lambda module: -found[module])[:_SHOWN]
    return ", ".join(f"{module} {found[module]:.0f}" for module in heaviest)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout, measured in turn")
    parser.add_argument("--bytecode", action="store_true", help="keep compiled sources between starts")
    parser.add_argument("--only", help="one row of the table")
    chosen = parser.parse_args(arguments)
    sources = [ROOT] if chosen.against is None else [chosen.against.resolve(), ROOT]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "RECBENCH_HOME": str(folder / "home"), "RECBENCH_BOARDS": str(ROOT / "leaderboards")}
        if chosen.bytecode:
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        for title, words in commands().items():
            if chosen.only not in {None, title}:
                continue
            if chosen.bytecode:
                for source in sources:
                    seconds_of(words, source, environment, folder)
            taken = [[seconds_of(words, source, environment, folder) for source in sources] for _ in range(chosen.repeats)]
            best = [f"{min(times):.2f} s" for times in zip(*taken, strict=True)]
            print(f"{title:16} {' before, now '.join(best)}; imports, ms: {heaviest_imports(words, environment, folder)}", flush=True)


if __name__ == "__main__":
    main()
