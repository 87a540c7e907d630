"""Ends commands with signals at random moments, gives them again until they end by themselves, and looks at what is there then.

    python benchmarks/faults/kill.py [--points 1000] [--seed 0] [--minutes 30] [--lanes 2] [--only NAME,NAME] [--keep FOLDER]

One case: a fresh desk, one to four blows on the same command, then the command until it ends. The end must be that of a desk where nothing
was killed: tables, weights and losses to the byte, one record for the request, all earlier records as they were, nothing half-written.
README.md beside this file says what is checked; the exit code is 1 where something differed.
"""

import argparse
import contextlib
import http.server
import json
import mmap
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import scenes
from forked import KINDS, PHASES, Blow, End, drawn_blow, end_of, import_all, modules_of
from scenes import Scene

_MOST_BLOWS = 4
_SHOWN = 3
"""Faults of a case that are printed; one broken folder differs in many files."""
_INTERRUPTED = 130
_TRIES = 3
"""How often the command may be given after the last blow; one that must be given twice is a fault, and the next one says more."""


@dataclass(frozen=True)
class Reference:
    """The undisturbed command."""

    seconds: float
    events: int
    facts: Mapping[str, str]
    kept: frozenset[str]
    """Names of the records that were there before and are there after."""


@dataclass(frozen=True)
class Struck:
    """One blow that came before the command's end."""

    kind: str
    phase: str
    by: str


@dataclass(frozen=True)
class Case:
    """What came of one desk."""

    number: int
    scene: str
    blows: tuple[Struck, ...]
    faults: tuple[str, ...]

    def line(self) -> str:
        """As it is kept."""
        return json.dumps(
            {
                "number": self.number,
                "scene": self.scene,
                "blows": [[blow.kind, blow.phase, blow.by] for blow in self.blows],
                "faults": self.faults,
            }
        )

    @classmethod
    def parse(cls, line: str) -> "Case":
        """What `line` gave."""
        value = json.loads(line)
        return cls(value["number"], value["scene"], tuple(Struck(*blow) for blow in value["blows"]), tuple(value["faults"]))


def play(number: int, scene: Scene, rng: random.Random, template: Path, reference: Reference, desk: Path) -> Case:
    """One case at a fresh desk, which is left as it is."""
    shutil.copytree(template, desk, symlinks=True)
    before = scenes.records(desk)
    command = scenes.command(scene.words, desk)
    blows: list[Struck] = []
    faults: list[str] = []
    share, is_done, n_killed_workers = 1.0, False, 0
    for _ in range(rng.randint(1, _MOST_BLOWS)):
        blow = drawn_blow(rng, reference.seconds, reference.events, share=share, has_workers=scene.has_workers)
        end = end_of(command, blow)
        if not end.struck:
            faults += _faults_of_end(end, "undisturbed")
            is_done = end.code == 0
            break
        blows.append(Struck(blow.kind, "workers" if scene.has_workers else end.phase, "clock" if blow.at_event is None else "file"))
        faults += _faults_of_blow(blow, end)
        n_killed_workers += (blow.kind, blow.target) == ("SIGKILL", "worker")
        share = 0.7
    if not is_done:
        end = end_of(command)
        faults += _faults_of_end(end, "after the blows")
        for _ in range(_TRIES - 1):
            if end.code == 0:
                break
            end = end_of(command)
    faults += _faults_at(desk, scene, before, reference, n_killed_workers)
    return Case(number, scene.name, tuple(blows), tuple(faults))


def _faults_of_blow(blow: Blow, end: End) -> Iterator[str]:
    """What a user should not have seen when it was struck."""
    moment = f"at file event {blow.at_event}" if blow.at_s is None else f"after {blow.at_s:.3f} s"
    told = f"{blow.kind} in {end.phase} ({blow.target}, {moment})"
    if "Traceback" in end.errors:
        yield f"{told}: a traceback: {_tail(end.errors)}"
    if "fault of recbench" in end.errors:
        yield f"{told}: {_tail(end.errors)}"
    if end.orphans:
        yield f"{told}: {end.orphans} processes went on"
    # Where the last work is done, a signal may come too late to be heard; before the command has its handlers, the system obeys it.
    allowed = {
        "SIGKILL": {-9},
        "SIGTERM": {_INTERRUPTED, -15, 0},
        "SIGINT": {_INTERRUPTED, -2, 0},
        "Ctrl-C twice": {_INTERRUPTED, -2, 0},
    }[blow.kind] | ({0, 1} if blow.target == "worker" else set())
    if end.code not in allowed:
        yield f"{told}: exit code {end.code}: {_tail(end.errors)}"


def _faults_of_end(end: End, when: str) -> Iterator[str]:
    if end.code != 0:
        yield f"{when}: exit code {end.code}: {_tail(end.errors)}"
    if end.orphans:
        yield f"{when}: {end.orphans} processes went on"


def _faults_at(desk: Path, scene: Scene, before: Mapping[str, str], reference: Reference, n_killed_workers: int = 0) -> Iterator[str]:
    """What is not as it is where nothing was killed.

    A worker that is killed alone leaves a harness that knows of it and keeps the attempt as a failed run with the reason; the good run
    then has the next number. No other case may have a failed run, and no case more of them than workers were killed.
    """
    buried = scenes.buried_runs(desk) if n_killed_workers else {}
    if sum(buried.values()) > n_killed_workers:
        yield f"in the end: {sum(buried.values())} failed runs of {n_killed_workers} killed workers"
    found = scenes.as_if_first(scene.facts(desk), buried)
    for name in sorted(found.keys() | reference.facts.keys()):
        if found.get(name) != reference.facts.get(name):
            what = "is missing" if name not in found else "should not be there" if name not in reference.facts else "differs"
            yield f"in the end: {name} {what}"
    kept = {f"work/runs/{stem}-{number + 1}/{scenes.FAILURE}" for stem, count in buried.items() for number in range(count)}
    for name in sorted(set(scenes.leftovers(desk)) - kept):
        yield f"in the end: left over: {name}"
    after = scenes.records(desk)
    for name in sorted(reference.kept):
        if after.get(name) != before.get(name):
            yield f"in the end: the record {name} was {'lost' if name not in after else 'altered'}"
    for words in scene.after:
        end = end_of(scenes.command(words, desk))
        if end.code:
            yield f"in the end: recbench {words} ended with {end.code}: {_tail(end.errors or end.output)}"


def _tail(text: str) -> str:
    return " | ".join(line.strip() for line in text.strip().splitlines()[-3:])[-600:]


def undisturbed(scene: Scene, template: Path, desk: Path) -> Reference:
    """The command at a copy of a prepared desk, with nobody in its way."""
    shutil.copytree(template, desk, symlinks=True)
    before = scenes.records(desk)
    end = end_of(scenes.command(scene.words, desk))
    if end.code:
        raise SystemExit(f"{scene.name} ended with {end.code}: {end.errors}")
    kept = frozenset(name for name, sha256 in scenes.records(desk).items() if before.get(name) == sha256)
    facts = scene.facts(desk)
    faults = list(_faults_at(desk, scene, before, Reference(end.seconds, end.events, facts, kept)))
    if faults:
        raise SystemExit(f"{scene.name}, undisturbed: {faults}")
    return Reference(end.seconds, end.events, facts, kept)


@contextlib.contextmanager
def shop_server(folder: Path) -> Iterator[str]:
    """The address of the shop's files, served by a process of its own for as long as the block runs."""
    scenes.write_shop(folder)
    handler = partial(_Quiet, directory=str(folder))
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        pid = os.fork()
        if pid == 0:
            server.serve_forever()
            os._exit(0)
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's word)
        pass

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # whoever asked was killed
            super().handle()


@dataclass(frozen=True)
class Plan:
    """What is to be done, for every lane alike."""

    seed: int
    points: int
    until: float
    lanes: int
    keep: Path | None
    folder: Path


def work(lane: int, plan: Plan, chosen: Sequence[Scene], references: Mapping[str, Reference], counts: mmap.mmap) -> None:
    """Every so many-th case until enough blows have fallen or the time is over."""
    weights = [scene.weight for scene in chosen]
    done = 0
    number = lane
    with (plan.folder / f"lane-{lane}.jsonl").open("w", encoding="utf-8") as stream:
        while _points(counts, plan.lanes) < plan.points and time.monotonic() < plan.until:
            rng = random.Random(f"{plan.seed}-{number}")
            (scene,) = rng.choices(chosen, weights)
            desk = plan.folder / f"lane-{lane}" / str(number)
            desk.parent.mkdir(exist_ok=True)
            case = play(number, scene, rng, plan.folder / "templates" / scene.name, references[scene.name], desk)
            stream.write(case.line() + "\n")
            stream.flush()
            for fault in case.faults[:_SHOWN]:
                print(f"case {number}, {scene.name}: {fault}", flush=True)
            if len(case.faults) > _SHOWN:
                print(f"case {number}, {scene.name}: and {len(case.faults) - _SHOWN} more", flush=True)
            if case.faults and plan.keep is not None:
                shutil.copytree(desk, plan.keep / f"case-{plan.seed}-{number}", dirs_exist_ok=True, symlinks=True)
            shutil.rmtree(desk)
            done += len(case.blows)
            counts[8 * lane : 8 * lane + 8] = done.to_bytes(8, "little")
            number += plan.lanes


def _points(counts: mmap.mmap, lanes: int) -> int:
    return sum(int.from_bytes(counts[8 * lane : 8 * lane + 8], "little") for lane in range(lanes))


def campaign(plan: Plan, chosen: Sequence[Scene]) -> list[Case]:
    """All cases, in their order."""
    references = {}
    begun: dict[tuple[str, ...], Path] = {}
    for scene in chosen:
        template = plan.folder / "templates" / scene.name
        scenes.prepare(scene, template, begun)
        references[scene.name] = undisturbed(scene, template, plan.folder / "undisturbed" / scene.name)
        print(f"{scene.name}: {references[scene.name].seconds:.2f} s, {references[scene.name].events} changes of files", flush=True)
    counts = mmap.mmap(-1, 8 * plan.lanes)
    lanes = []
    for lane in range(plan.lanes):
        pid = os.fork()
        if pid == 0:
            work(lane, plan, chosen, references, counts)
            os._exit(0)
        lanes.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in lanes]
    if any(codes):
        raise SystemExit(f"the lanes of the campaign ended with {codes}")
    lines = [line for path in sorted(plan.folder.glob("lane-*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(map(Case.parse, lines), key=lambda case: case.number)


def show(cases: Sequence[Case], seed: int, seconds: float) -> None:
    """Tables: blows by command and signal, and by phase; then the verdict."""
    names = sorted({case.scene for case in cases})
    by_kind = Counter((case.scene, blow.kind) for case in cases for blow in case.blows)
    print(f"\n| command | cases | {' | '.join(KINDS)} | kill points | cases with a fault |")
    print("| --- |" + " ---: |" * (len(KINDS) + 3))
    for name in names:
        mine = [case for case in cases if case.scene == name]
        counts = [by_kind[name, kind] for kind in KINDS]
        print(f"| {name} | {len(mine)} | {' | '.join(map(str, counts))} | {sum(counts)} | {sum(bool(case.faults) for case in mine)} |")
    totals = [sum(by_kind[name, kind] for name in names) for kind in KINDS]
    print(f"| all | {len(cases)} | {' | '.join(map(str, totals))} | {sum(totals)} | {sum(bool(case.faults) for case in cases)} |")
    phases = Counter(blow.phase for case in cases for blow in case.blows)
    by = Counter(blow.by for case in cases for blow in case.blows)
    print("\nphase: " + ", ".join(f"{phase} {phases[phase]}" for phase in PHASES if phases[phase]))
    print(f"by the clock {by['clock']}, before a change of a file {by['file']}")
    print(f"seed {seed}, {seconds:.0f} s: {sum(totals)} kill points, {sum(len(case.faults) for case in cases)} faults")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1000, help="how many blows must fall before a command's end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30.0, help="no case starts later than this")
    parser.add_argument("--lanes", type=int, default=2, help="cases at a time")
    parser.add_argument("--only", default="", help="names of commands, separated by commas; default: all")
    parser.add_argument("--keep", type=Path, help="folder for the desks of cases with a fault")
    asked = parser.parse_args()
    start = time.monotonic()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="recbench-kill-") as name:
        folder = Path(name)
        with shop_server(folder / "served") as address:
            known = scenes.scenes(address)
            wanted = [part.strip() for part in asked.only.split(",") if part.strip()]
            unknown = sorted(set(wanted) - {scene.name for scene in known})
            if unknown:
                parser.error(f"no command is called {unknown[0]!r}; known: {', '.join(scene.name for scene in known)}")
            chosen = [scene for scene in known if not wanted or scene.name in wanted]
            warm_up(folder / "warm", chosen)
            plan = Plan(asked.seed, asked.points, start + 60 * asked.minutes, asked.lanes, asked.keep, folder)
            cases = campaign(plan, chosen)
    show(cases, asked.seed, time.monotonic() - start)
    return int(any(case.faults for case in cases))


def warm_up(desk: Path, chosen: Sequence[Scene]) -> None:
    """Import here what the chosen commands import, so that no fork has to."""
    (desk / "home").mkdir(parents=True)
    scenes.write_shop(desk / "work" / "shop")
    texts = {words for scene in chosen if not scene.has_workers for words in (*scene.prepare, scene.words, *scene.after)}
    runs = sorted({"run --model popularity --dataset shop", *(text for text in texts if text.startswith("run "))})
    # One run of each model: other settings import nothing else.
    of_models = {words.split()[2]: words for words in runs}
    for words in (*of_models.values(), "leaderboard publish", "verify"):
        import_all(modules_of(scenes.command(words, desk)))


if __name__ == "__main__":
    sys.exit(main())
