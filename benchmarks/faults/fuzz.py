"""Gives damaged and strange inputs to everything that reads a file, and holds what is accepted against an independent slow reader.

    python benchmarks/faults/fuzz.py [--inputs 10000] [--seed 0] [--minutes 10] [--only KIND,KIND] [--keep FOLDER] [--one NUMBER]

Every input must end in one of two ways: a sentence of a `RecbenchError`, one line, with exit code 1 or 2; or acceptance with the very
figures that `slow_reader.py` works out. Tracebacks, silent differences and hangs are printed with the input's number, which `--one`
makes again. The exit code is 1 where there was one.
"""

import argparse
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import scenes
from fuzz_kinds import Fixtures, Kind, kinds
from slow_reader import CannotRead, Figures

from recbench.cli.faults import explain
from recbench.cli.options import model_cards
from recbench.core.errors import RecbenchError
from recbench.running.host.workplace import Workplace
from recbench.running.run.splits import load_split
from recbench.running.stages.store import StageStore
from recbench.tasks import NEXT_ITEM

_HANG_S = 10.0
_OUTCOMES = ("refused", "the same", "traceback", "silent difference", "hang")
_RELATIVE = 1e-12
"""Two sums of the same numbers in another order may differ in their last digits; ranks, from which they follow, may not."""


class _Hang(BaseException):
    """Not an `Exception`: nothing that is tested may take it for a fault of the input."""


@dataclass(frozen=True)
class Verdict:
    """What came of one input."""

    outcome: str
    told: str = ""


def set_alarm() -> Any:
    """Make an alarm end what hangs; gives the handler that was there."""

    def hang(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise _Hang

    return signal.signal(signal.SIGALRM, hang)


def judged(kind: Kind, folder: Path) -> Verdict:
    """Let recbench read an input, and say how that compares with what it should make of it."""
    try:
        signal.setitimer(signal.ITIMER_REAL, _HANG_S)
        try:
            found = kind.judge(folder)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Hang:
        return Verdict("hang", f"no answer within {_HANG_S:.0f} s")
    except RecbenchError as error:
        sentence, code = explain(error)
        if code not in {1, 2} or not str(error).strip() or "\x1b" in sentence or ("\n" in str(error) and kind.expect is not None):
            return Verdict("traceback", f"exit code {code}: {sentence!r}")
        return Verdict("refused", sentence)
    except Exception as error:
        sentence, _ = explain(error)
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Verdict("traceback", f"{sentence} ({Path(last.filename).name}:{last.lineno})")
    if kind.expect is None:
        return Verdict("silent difference", "accepted, although something was changed")
    try:
        expected = kind.expect(folder)
    except (CannotRead, ArithmeticError, LookupError, OSError, TypeError, ValueError) as error:
        return Verdict("silent difference", f"accepted; the slow reader sees no meaning in it: {type(error).__name__}: {error}")
    difference = different(found, expected)
    return Verdict("silent difference", difference) if difference else Verdict("the same")


def different(found: Any, expected: Any) -> str:
    """In a few words what differs; empty where nothing does."""
    if isinstance(found, Figures):
        for name in ("sizes", "targets", "ranks"):
            if getattr(found, name) != getattr(expected, name):
                return f"{name}: {_few(getattr(found, name))} here, {_few(getattr(expected, name))} by the slow reader"
        if not all(math.isclose(one, other, rel_tol=_RELATIVE) for one, other in zip(found.ndcg, expected.ndcg, strict=True)):
            return f"ndcg: {found.ndcg} here, {expected.ndcg} by the slow reader"
        for item, columns in expected.texts.items():
            for column, text in columns.items():
                here = found.texts.get(item, {}).get(column)
                if here != text:
                    return f"{column} of item {item!r}: {here!r} here, {text!r} by the slow reader"
        return ""
    if isinstance(found, dict) and isinstance(expected, dict):
        wrong = [key for key in found.keys() | expected.keys() if not _equal(found.get(key), expected.get(key))]
        return "; ".join(f"{key}: {found.get(key)!r} here, {expected.get(key)!r} by the slow reader" for key in sorted(map(str, wrong)))[
            :300
        ]
    return "" if found == expected else f"{_few(found)} here, {_few(expected)} expected"


def _equal(one: Any, other: Any) -> bool:
    """Whether two values say the same: 1 is 1.0, but neither True nor "1"."""
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _few(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 160 else text[:160] + " ..."


def fixtures(folder: Path) -> Fixtures:
    """The sound things that inputs are damaged copies of, made through the command line."""
    scenes.prepare_boards(folder)
    workplace = Workplace(folder / "home", None, folder / "runs", folder / "boards")
    loaded = load_split(str(folder / "shop"), NEXT_ITEM.protocol(), workplace, StageStore(workplace.stages))
    return Fixtures(folder, loaded.split, model_cards())


def campaign(asked: argparse.Namespace, folder: Path) -> Counter[tuple[str, str]]:
    """All inputs; counts by kind and outcome."""
    known = kinds(fixtures(folder / "sound"))
    wanted = [part.strip() for part in asked.only.split(",") if part.strip()]
    chosen = [kind for kind in known if not wanted or kind.name in wanted]
    if not chosen:
        raise SystemExit(f"no kind is called {asked.only!r}; known: {', '.join(kind.name for kind in known)}")
    counts: Counter[tuple[str, str]] = Counter()
    until = time.monotonic() + 60 * asked.minutes
    numbers = range(asked.inputs) if asked.one is None else [asked.one]
    for number in numbers:
        if time.monotonic() > until:
            break
        rng = random.Random(f"{asked.seed}-{number}")
        (kind,) = rng.choices(chosen, [kind.weight for kind in chosen])
        here = folder / "input"
        here.mkdir()
        kind.make(here, rng)
        if asked.keep is not None and asked.one is not None:
            shutil.copytree(here, asked.keep / f"{asked.seed}-{number}", dirs_exist_ok=True)
        verdict = judged(kind, here)
        counts[kind.name, verdict.outcome] += 1
        if verdict.outcome not in {"refused", "the same"} or asked.one is not None:
            print(f"input {number}, {kind.name}: {verdict.outcome}: {verdict.told}", flush=True)
            if asked.keep is not None:
                shutil.copytree(here, asked.keep / f"{asked.seed}-{number}", dirs_exist_ok=True)
        shutil.rmtree(here)
    return counts


def show(counts: Counter[tuple[str, str]], seed: int, seconds: float) -> int:
    """A table by kind and outcome, and the number of faults."""
    names = sorted({kind for kind, _ in counts})
    print(f"\n| input | inputs | {' | '.join(_OUTCOMES)} |")
    print("| --- |" + " ---: |" * (len(_OUTCOMES) + 1))
    for name in [*names, "all"]:
        row = [sum(count for (kind, done), count in counts.items() if name in {kind, "all"} and done == outcome) for outcome in _OUTCOMES]
        print(f"| {name} | {sum(row)} | {' | '.join(map(str, row))} |")
    faults = sum(count for (_, outcome), count in counts.items() if outcome not in {"refused", "the same"})
    print(f"\nseed {seed}, {seconds:.0f} s: {counts.total()} inputs, {faults} faults")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10.0, help="no input is made later than this")
    parser.add_argument("--only", default="", help="kinds of input, separated by commas; default: all")
    parser.add_argument("--keep", type=Path, help="folder for inputs with a fault")
    parser.add_argument("--one", type=int, help="only the input of this number")
    asked = parser.parse_args()

    set_alarm()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="recbench-fuzz-") as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning is shown to nobody here
        counts = campaign(asked, Path(name))
    return int(show(counts, asked.seed, time.monotonic() - start) > 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
