"""Seconds and memory of `leaderboard publish`, `verify` and `leaderboard remeasure` for many records, beside another checkout if given.

    python benchmarks/verify_boards.py [--records 104] [--copies 1] [--rows] [--jobs N] [--commands publish,verify] [--repeats 1]
        [--against CHECKOUT]

Takes next-item records of a folder of boards, spread evenly over their names, and copies each under new run ids into a scratch folder
as runs that nobody has published. Copies are superseded seeds of one row; with --rows each is a row of its own, and is tested against
the best. Every command is a process of its own. Processor seconds are those of all its processes, memory that of the largest. `publish`
writes the pages that `verify` and `remeasure` read, so it always comes first.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from recbench.core.records import RECORD_FILE, read_record

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {"publish": ["leaderboard", "publish"], "verify": ["verify"], "remeasure": ["leaderboard", "remeasure"]}


@dataclass(frozen=True)
class Spent:
    """What a command took: seconds on the clock, seconds of all processors, memory of its largest process in MiB."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def copy_records(boards: Path, n_records: int, copies: int, into: Path, *, as_rows: bool) -> int:
    """Lay records and what they share out as fresh run folders; gives how many there are."""
    folders = [path.parent for path in sorted((boards / "records").glob(f"*/{RECORD_FILE}"))]
    folders = [folder for folder in folders if read_record(folder / RECORD_FILE).task == "next-item"]
    n_records = min(n_records, len(folders))
    shutil.copytree(boards / "records" / "shared", into / "shared")
    for folder in (folders[place * len(folders) // n_records] for place in range(n_records)):
        record = read_record(folder / RECORD_FILE)
        for copy in range(copies):
            target = into / (record.run_id if copy == 0 else f"{record.run_id}.{copy}")
            shutil.copytree(folder, target)
            changes = {"run_id": target.name}
            if as_rows and copy:
                changes["config_hash"] = hashlib.sha256(f"{record.config_hash}/{copy}".encode()).hexdigest()
            (target / RECORD_FILE).write_text(record.model_copy(update=changes).to_json(), encoding="utf-8")
    return n_records * copies


def spent_by(command: list[str], checkout: Path, runs: Path) -> Spent:
    """Run recbench of a checkout, which finds its runs in a folder, and wait for its end."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "RECBENCH_RUNS": str(runs)}
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    start = time.perf_counter()
    process = os.posix_spawn(sys.executable, [sys.executable, "-P", "-m", "recbench", *command], environment, file_actions=quiet)
    _, status, usage = os.wait4(process, 0)
    if status != 0:
        raise SystemExit(f"recbench {' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}; see above.")
    return Spent(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time publishing, verifying and remeasuring many records.")
    parser.add_argument("--boards", type=Path, default=ROOT / "leaderboards", help="Boards whose records are taken.")
    parser.add_argument("--records", type=int, default=104, help="How many records are taken, at most.")
    parser.add_argument("--copies", type=int, default=1, help="Copies of each.")
    parser.add_argument("--rows", action="store_true", help="Each copy is a row of its own.")
    parser.add_argument("--jobs", type=int, help="Processes of this checkout. Default: what the commands take.")
    parser.add_argument("--commands", default="publish,verify,remeasure", help="Which of publish, verify, remeasure.")
    parser.add_argument(
        "--repeats", type=int, default=1, help="Runs of each command, in turn with the other checkout's; publish only once."
    )
    parser.add_argument("--against", type=Path, help="Another checkout, for the same records.")
    asked = parser.parse_args()

    named = asked.commands.split(",")
    jobs = [] if asked.jobs is None else ["--jobs", str(asked.jobs)]
    checkouts = {"this": (ROOT, jobs)} | ({"other": (asked.against.resolve(), [])} if asked.against else {})
    with tempfile.TemporaryDirectory() as scratch:
        runs = Path(scratch) / "runs"
        runs.mkdir()
        n_records = copy_records(asked.boards, asked.records, asked.copies, runs, as_rows=asked.rows)
        print(f"{n_records:,} records")
        for name in ["publish", *(name for name in named if name != "publish")]:
            for _ in range(asked.repeats if name != "publish" else 1):
                for checkout, (root, options) in checkouts.items():
                    boards = Path(scratch) / f"boards-{checkout}"
                    spent = spent_by([*COMMANDS[name], "--boards", str(boards), *options], root, runs)
                    took = f"{spent.wall_s:8.2f} s, {spent.cpu_s:8.2f} s of processor, {spent.peak_mib:6.0f} MiB"
                    print(f"  {name:9s} {checkout:5s} {took}; {1000 * spent.cpu_s / n_records:.1f} ms per record", flush=True)
        pages = [{page.name: page.read_bytes() for page in Path(scratch).glob(f"boards-{name}/*.*")} for name in checkouts]
        if len(pages) > 1:
            print(f"  pages of both checkouts: {'equal' if pages[0] == pages[1] else 'DIFFERENT'}")


if __name__ == "__main__":
    main()
