"""Damage run folders at random: a saved model answers as it did, or a sentence says that it cannot.

    python benchmarks/faults/saved_models.py --damages 1000 --seed 0

Trains the smallest presets of several models on `demo` once (minutes), then damages a copy of their run folders again and again: flipped
bits, zeroed blocks, cut-off, deleted, swapped and added files. After each damage the run is opened and asked, in this process. Exit code
1 where anything but a sentence, or the same scores, came out.
"""

import argparse
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbench import registry
from recbench.core import RecbenchError
from recbench.core.records import read_record
from recbench.running.after.loaded import LoadedRun
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunRequest
from recbench.running.run.execute import run_request

MODELS = (
    ("popularity", None),
    ("item-knn", None),
    ("sasrec", "smoke"),
    ("tiger", "smoke"),
    ("gram", "smoke"),
    ("hllm", "smoke"),
    ("prorec", "smoke"),
)
_BLOCK = 64
Answer = tuple[str, tuple[tuple[str, float], ...]]
Rng = np.random.Generator


def flip(folder: Path, file: Path, rng: Rng) -> None:  # noqa: ARG001 (all damages are called alike)
    """One bit is another."""
    data = bytearray(file.read_bytes())
    if data:
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    file.write_bytes(data)


def zero(folder: Path, file: Path, rng: Rng) -> None:  # noqa: ARG001
    """A block is zeros, as after a power cut."""
    data = bytearray(file.read_bytes())
    start = int(rng.integers(max(len(data), 1)))
    data[start : start + _BLOCK] = bytes(len(data[start : start + _BLOCK]))
    file.write_bytes(data)


def truncate(folder: Path, file: Path, rng: Rng) -> None:  # noqa: ARG001
    """The end is missing."""
    data = file.read_bytes()
    file.write_bytes(data[: int(rng.integers(max(len(data), 1)))])


def extend(folder: Path, file: Path, rng: Rng) -> None:  # noqa: ARG001
    """Bytes too many."""
    file.write_bytes(file.read_bytes() + rng.bytes(_BLOCK))


def delete(folder: Path, file: Path, rng: Rng) -> None:  # noqa: ARG001
    """The file is gone."""
    file.unlink()


def become_a_folder(folder: Path, file: Path, rng: Rng) -> None:  # noqa: ARG001
    """A folder has its name."""
    file.unlink()
    file.mkdir()


def swap(folder: Path, file: Path, rng: Rng) -> None:
    """Two files have changed places."""
    other = files_of(folder)[int(rng.integers(len(files_of(folder))))]
    first, second = file.read_bytes(), other.read_bytes()
    file.write_bytes(second)
    other.write_bytes(first)


def add(folder: Path, file: Path, rng: Rng) -> None:  # noqa: ARG001
    """A file nobody wrote lies beside it."""
    (file.parent / f"extra-{int(rng.integers(1000))}{file.suffix}").write_bytes(file.read_bytes())


DAMAGES: Sequence[Callable[[Path, Path, Rng], None]] = (flip, zero, truncate, extend, delete, become_a_folder, swap, add)


def files_of(folder: Path) -> list[Path]:
    """All files of a run folder, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def answer(folder: Path) -> Answer:
    """The record, where it stands, and what the model recommends after no item, one and two."""
    record = read_record(folder / "record.json")
    run = LoadedRun.open(folder, registry.models().load(record.model.name))
    histories: tuple[list[str], ...] = ([], list(run.item_ids[:1]), list(run.item_ids[3:5]))
    found = tuple((line.item_id, line.score) for history in histories for line in run.recommend(history, k=20))
    return record.to_json(), found


@dataclass(frozen=True)
class Outcome:
    """What one damage led to: `refused`, `same`, `other` (another answer) or `raw` (an error that is no sentence)."""

    damage: str
    file: str
    kind: str
    text: str = ""


def after_damage(original: Path, expected: Answer, rng: Rng, scratch: Path) -> Outcome:
    """Damage a copy of a run folder at random and ask it."""
    folder = shutil.copytree(original, scratch / original.name)
    files = files_of(folder)
    # Records and the model's files are read, the others not: half of the damages go to the former.
    read = [file for file in files if file.name in {"record.json", "catalogue.parquet"} or file.parent.name == "model"]
    chosen = read if rng.random() < 0.5 else files
    file = chosen[int(rng.integers(len(chosen)))]
    damage = DAMAGES[int(rng.integers(len(DAMAGES)))]
    damage(folder, file, rng)
    name = file.relative_to(folder).as_posix()
    try:
        kind, text = ("same" if answer(folder) == expected else "other"), ""
    except RecbenchError as error:
        kind, text = "refused", str(error)
    except Exception as error:  # what this campaign looks for
        kind, text = "raw", f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder)
    return Outcome(damage.__name__, name, kind, text)


def train(root: Path, models: Sequence[tuple[str, str | None]]) -> list[Path]:
    """Run folders of these models and presets on `demo`."""
    workplace = Workplace(root / "home", None, root / "runs", root / "leaderboards")
    folders = []
    for model, preset in models:
        outcome = run_request(RunRequest(model, "demo", preset=preset, device="cpu", threads=1), workplace)
        assert outcome is not None  # torchrun alone has processes without one
        folders.append(outcome.folder)
    return folders


def main() -> int:
    """Train, damage, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--damages", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    rng = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folders = train(root, MODELS)
        expected = {folder: answer(folder) for folder in folders}
        outcomes = []
        for number in range(arguments.damages):
            folder = folders[number % len(folders)]
            outcomes.append(after_damage(folder, expected[folder], rng, root))
    print(f"seed {arguments.seed}, {len(outcomes)} damages of {len(folders)} saved models")
    kinds = ("refused", "same", "other", "raw")
    print(f"{'damage':<16}" + "".join(f"{kind:>9}" for kind in kinds))
    counts = Counter((outcome.damage, outcome.kind) for outcome in outcomes)
    for damage in DAMAGES:
        print(f"{damage.__name__:<16}" + "".join(f"{counts[damage.__name__, kind]:>9}" for kind in kinds))
    print(f"{'all':<16}" + "".join(f"{sum(outcome.kind == kind for outcome in outcomes):>9}" for kind in kinds))
    faults = [outcome for outcome in outcomes if outcome.kind in {"other", "raw"}]
    for fault in faults:
        print(f"{fault.kind}: {fault.damage} of {fault.file}: {fault.text}")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
