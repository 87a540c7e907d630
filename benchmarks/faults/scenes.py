"""What the kill campaign kills: commands, the desk that each is given at, and what must be there in the end.

A desk is a folder with `work` (where the command is given) and `home` (the cache). Its data are a made-up shop of 60 users and 40 items.
"""

import csv
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from forked import Command, end_of

from recbench.core.records import read_record

RECORD = "record.json"
FAILURE = "failure.json"
_THREADS = ("--threads", "1")
_TRAIN = "--dataset shop --preset smoke --set training.checkpoint_every_s=0.03"
_SASREC = f"run --model sasrec {_TRAIN} --set training.max_steps=120 --set training.curve_every_steps=20"
_TIGER = f"run --model tiger {_TRAIN} --set training.max_steps=40 --set generator.n_beams=20 --set training.validate_every_epochs=5"
_GRAM = f"run --model gram {_TRAIN} --set training.max_steps=30 --set training.validate_every_epochs=5"
_POPULARITY = "run --model popularity --dataset shop"
_COMPARE = "compare --models sasrec:smoke --datasets shop --seeds 2 --set training.max_steps=80 --set training.checkpoint_every_s=0.03"
_TUNE = "tune sasrec shop --preset smoke --trials 2"
_HALF_WRITTEN = (".writing", ".building", ".removing", ".source", ".wheel", ".damaged")
_HALF_WRITTEN_ENDS = (".part", ".tmp")


@dataclass(frozen=True)
class Scene:
    """A command to be killed.

    Attributes:
        name: in tables.
        words: the command.
        weight: how often it is chosen, against the others.
        prepare: what must have been done at a desk, as commands given in order; run once, then copied.
        arrange: changes files of the prepared desk that no command makes.
        facts: what must be as after the undisturbed command, by name.
        after: commands that must succeed once it has ended.
        has_workers: whether it starts processes of its own.
    """

    name: str
    words: str
    weight: int
    prepare: tuple[str, ...] = ()
    arrange: Callable[[Path], None] | None = None
    facts: Callable[[Path], dict[str, str]] = lambda desk: run_facts(desk)
    after: tuple[str, ...] = ()
    has_workers: bool = False


def scenes(address: str) -> list[Scene]:
    """All of them.

    Args:
        address: where the shop's files can be downloaded, for `data fetch`.
    """
    publish = "leaderboard publish"
    boards = (_POPULARITY, f"{_SASREC} --seed 1", "run --model last-item-markov --dataset shop")
    return [
        Scene("run sasrec", _SASREC, 26, (_POPULARITY,)),
        Scene("run tiger", _TIGER, 20, (_POPULARITY,)),
        Scene("run gram", _GRAM, 14, (_POPULARITY,)),
        Scene(
            "run --rerun",
            f"{_SASREC} --rerun training-sasrec",
            6,
            (f"{_SASREC} --seed 1", _SASREC),
            _without_run("sasrec-smoke-s0"),
            rerun_facts,
        ),
        Scene("import-ranks", "import-ranks lists.csv --model other --dataset shop --seen keep", 4, (_POPULARITY,), _write_lists),
        Scene("leaderboard publish", publish, 8, boards, facts=board_facts, after=("verify",)),
        Scene("leaderboard publish, again", publish, 4, (*boards[:1], publish, *boards[1:]), facts=board_facts, after=("verify",)),
        Scene("leaderboard remeasure", "leaderboard remeasure", 8, (*boards, publish), _age_boards(publish), board_facts, ("verify",)),
        Scene("cache clean", "cache clean", 4, boards[:2], None, cache_facts, (f"{_SASREC} --seed 1 --again",)),
        Scene("data fetch", "data fetch card.toml", 4, (_POPULARITY,), _write_card(address), fetch_facts, ("data check card.toml",)),
        Scene("compare", _COMPARE, 2, (f"{_POPULARITY} --seed 1",), has_workers=True),
        Scene("tune", _TUNE, 2, (_POPULARITY,), facts=tune_facts, has_workers=True),
    ]


def environment(desk: Path) -> dict[str, str]:
    """Variables for a command at a desk."""
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    computing = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    # Records name the commit of a checkout, which may move while the campaign runs; without git they name none.
    return {**plain, **computing, "RECBENCH_HOME": str(desk / "home"), "GIT_DIR": str(desk / "none")}


def command(words: str, desk: Path) -> Command:
    """A command line, given at a desk; commands that compute do so on one thread."""
    threads = _THREADS if words.startswith(("run ", "compare ", "tune ")) else ()
    return Command((*words.split(), *threads), desk / "work", environment(desk))


def prepare(scene: Scene, desk: Path, begun: dict[tuple[str, ...], Path]) -> None:
    """Set a desk up as the scene wants it.

    Args:
        scene: what it is for.
        desk: is made.
        begun: desks where some commands were given, by these; scenes that begin alike start from one. Those of this scene are added.
    """
    source = _begun(scene.prepare, begun, desk.parent)
    shutil.copytree(source, desk, symlinks=True)
    if scene.arrange is not None:
        scene.arrange(desk)


def _begun(commands: tuple[str, ...], begun: dict[tuple[str, ...], Path], folder: Path) -> Path:
    """The desk where these commands were given, made below `folder` where there is none yet."""
    if commands in begun:
        return begun[commands]
    if commands:
        before = _begun(commands[:-1], begun, folder)
        desk = Path(shutil.copytree(before, folder / f"begun-{len(begun)}", symlinks=True))
        done = end_of(command(commands[-1], desk))
        if done.code:
            raise SystemExit(f"recbench {commands[-1]} ended with {done.code}: {done.errors}")
    else:
        desk = folder / "begun-0"
        (desk / "work").mkdir(parents=True)
        (desk / "home").mkdir()
        write_shop(desk / "work" / "shop")
    begun[commands] = desk
    return desk


def write_shop(folder: Path) -> None:
    """A made-up data set: users who walk within one of four themes."""
    folder.mkdir(parents=True)
    rng = random.Random(0)
    kinds, colours = ("lamp", "chair", "table", "book"), ("red", "green", "blue", "old")
    with (folder / "items.csv").open("w", newline="") as stream:
        items = csv.writer(stream, lineterminator="\n")
        items.writerow(["item_id", "title", "categories"])
        items.writerows([f"i{n:02}", f"{colours[n % 4]} {kinds[n // 10]} {n}", f"theme {n % 4}"] for n in range(40))
    with (folder / "interactions.csv").open("w", newline="") as stream:
        events = csv.writer(stream, lineterminator="\n")
        events.writerow(["user_id", "item_id", "timestamp"])
        for user in range(60):
            time = 1_600_000_000 + user
            for _ in range(rng.randint(3, 9)):
                time += rng.randint(1, 1000)
                events.writerow([f"u{user:02}", f"i{user % 4 + 4 * rng.randrange(10):02}", time])


def _without_run(part: str) -> Callable[[Path], None]:
    def arrange(desk: Path) -> None:
        for folder in (desk / "work" / "runs").glob(f"*{part}*"):
            shutil.rmtree(folder)

    return arrange


def _write_lists(desk: Path) -> None:
    rows = [f"u{user:02},i{(user + place) % 40:02},{place}" for user in range(60) for place in range(12)]
    (desk / "work" / "lists.csv").write_text("\n".join(["user_id,item_id,rank", *rows]) + "\n")


def _age_boards(publish: str) -> Callable[[Path], None]:
    """Records as an older evaluator would have left them, on pages that show them so."""

    def arrange(desk: Path) -> None:
        boards = desk / "work" / "leaderboards"
        for path in boards.glob(f"records/*/{RECORD}"):
            record = read_record(path)
            metrics = {view: dict(part) for view, part in record.metrics.items()}
            for part in metrics.values():
                part["ndcg@10"] = part["ndcg@10"].model_copy(update={"high": part["ndcg@10"].high + 0.001})
            path.write_text(record.model_copy(update={"metrics": metrics}).to_json())
        for page in [*boards.glob("*.md"), *boards.glob("*.html")]:
            page.unlink()
        shutil.rmtree(desk / "work" / "runs")
        done = end_of(command(publish, desk))
        assert done.code == 0, done.errors

    return arrange


def _write_card(address: str) -> Callable[[Path], None]:
    def arrange(desk: Path) -> None:
        shop = desk / "work" / "shop"
        files = "\n".join(
            f'[[sources.files]]\nrole = "{role}"\nurl = "{address}/{role}.csv"\nsha256 = "{_sha256(shop / f"{role}.csv")}"'
            for role in ("interactions", "items")
        )
        (desk / "work" / "card.toml").write_text(
            'name = "fetched"\ntitle = "The shop"\nterms = "none"\nreader = "csv"\ntime = "seconds"\n'
            f'[counts]\nusers = 60\n[[sources]]\nkind = "download"\n{files}\n'
        )

    return arrange


def run_facts(desk: Path) -> dict[str, str]:
    """Of every finished record: name, figures, sha256 of the tables and of the model, losses."""
    facts = {}
    for path in sorted((desk / "work" / "runs").glob(f"*/{RECORD}")):
        record = json.loads(path.read_text())
        run = path.parent.name
        facts[run] = json.dumps([record["metrics"], record["beyond"], record["slices"], record["targets"], record["fit"]["steps"]])
        for file in sorted(path.parent.rglob("*")):
            name = file.relative_to(path.parent).as_posix()
            if file.suffix in {".parquet", ".safetensors", ".npy"}:
                facts[f"{run}/{name}"] = _sha256(file)
            elif name == "curve.csv":
                facts[f"{run}/{name}"] = _losses(file)
    return facts


def rerun_facts(desk: Path) -> dict[str, str]:
    """The same, whatever the numbers of the records: asked for again, a finished run is made again; all must be equal."""
    facts: dict[str, set[str]] = {}
    for name, value in run_facts(desk).items():
        run, _, file = name.partition("/")
        facts.setdefault(f"{run.rpartition('-')[0]}/{file}", set()).add(value)
    return {name: " and ".join(sorted(values)) for name, values in facts.items()}


def _losses(curve: Path) -> str:
    with curve.open(newline="") as stream:
        return json.dumps([{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(stream)])


def board_facts(desk: Path) -> dict[str, str]:
    """Every file of the boards, to the byte; of records, which say what they cost, all but that is."""
    boards = desk / "work" / "leaderboards"
    return {file.relative_to(boards).as_posix(): _sha256(file) for file in sorted(boards.rglob("*")) if file.is_file()}


def cache_facts(desk: Path) -> dict[str, str]:
    """What is left in the cache, by name; locks stay."""
    home = desk / "home"
    return {
        file.relative_to(home).as_posix(): "" for file in sorted(home.rglob("*")) if file.is_file() and not file.name.endswith(".lock")
    } | run_facts(desk)


def fetch_facts(desk: Path) -> dict[str, str]:
    """The files that were fetched."""
    folder = desk / "home" / "datasets"
    return {file.relative_to(folder).as_posix(): _sha256(file) for file in sorted(folder.rglob("*.csv"))}


def tune_facts(desk: Path) -> dict[str, str]:
    """Of every trial what was drawn, what it scored and how far it trained; and the settings that won."""
    facts = {}
    for path in sorted((desk / "work" / "runs" / "tune").glob("*/trials.json")):
        trials = json.loads(path.read_text())["trials"]
        facts[path.parent.name] = json.dumps(
            [[trial[name] for name in ("trial", "values", "config", "state", "score", "steps")] for trial in trials]
        )
        lines = (path.parent / "best.toml").read_text().splitlines()
        facts[f"{path.parent.name}/best.toml"] = "\n".join(line for line in lines if "sha256" not in line and not line.startswith("#"))
    return facts


def leftovers(desk: Path) -> list[str]:
    """What a killed command left that nothing but a person would take away."""
    found = []
    for path in sorted(desk.rglob("*")):
        name = path.relative_to(desk).as_posix()
        is_half_written = path.name.startswith(_HALF_WRITTEN) or path.name.endswith(_HALF_WRITTEN_ENDS)
        if is_half_written or path.name == FAILURE or path.parent.name in {"partial", "damaged"}:
            found.append(name)
    return found


def buried_runs(desk: Path) -> Mapping[str, int]:
    """Failed runs that a harness kept whose worker was killed under it: how many of each name, the numbers of its folders being 1 to that.

    One that says something else of its end, holds a record, or has a number out of turn is not among them.
    """
    numbers: dict[str, set[int]] = {}
    for path in (desk / "work" / "runs").glob(f"*/{FAILURE}"):
        stem, _, number = path.parent.name.rpartition("-")
        failure = json.loads(path.read_text())
        is_of_kill = failure["error"] == "PluginFailed" and failure["message"].startswith("Signal 9 (SIGKILL) ended the process")
        if is_of_kill and not (path.parent / RECORD).exists():
            numbers.setdefault(stem, set()).add(int(number))
    return {stem: len(found) for stem, found in numbers.items() if found == set(range(1, len(found) + 1))}


def as_if_first(facts: Mapping[str, str], buried: Mapping[str, int]) -> dict[str, str]:
    """The facts, with the run behind the buried ones of its name under the number that it has where no worker was killed."""
    first = {f"{stem}-{count + 1}": f"{stem}-1" for stem, count in buried.items()}
    named = {}
    for name, value in facts.items():
        run, slash, file = name.partition("/")
        named[first.get(run, run) + slash + file] = value
    return named


def records(desk: Path) -> Mapping[str, str]:
    """sha256 of every finished record below the runs, by folder; none may be lost or altered."""
    return {path.parent.name: _sha256(path) for path in sorted((desk / "work" / "runs").glob(f"*/{RECORD}"))}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def prepare_boards(folder: Path) -> None:
    """FOLDER/shop, FOLDER/runs with two runs on it, FOLDER/boards with these published, and FOLDER/home with what they cached."""
    from recbench.cli.options import model_cards
    from recbench.reporting import publish
    from recbench.running.host.workplace import Workplace
    from recbench.running.requests import RunRequest
    from recbench.running.run.execute import run_request
    from recbench.running.run.folders import run_folders

    write_shop(folder / "shop")
    workplace = Workplace(folder / "home", None, folder / "runs", folder / "boards")
    for model in ("popularity", "last-item-markov"):
        run_request(RunRequest(model, str(folder / "shop"), threads=1), workplace)
    publish(workplace.boards, run_folders(workplace.runs), model_cards())
