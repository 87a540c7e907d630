"""What the fuzz campaign damages: for each kind of input how it is made, how recbench reads it, and what must come out.

`judge` returns what recbench made of an input that it accepted, or raises; `expect` what an independent reading gives. An input whose
every change must be noticed, such as a published record, has no independent reading: there, acceptance itself is the fault.
"""

import json
import random
import shutil
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mutations
import pyarrow as pa
import pyarrow.parquet as pq
import slow_reader
from mutations import Row
from slow_reader import CannotRead, Figures

from recbench import registry
from recbench.core import Catalogue, SilentProgress
from recbench.core.errors import BadRequest
from recbench.core.model_card import ModelCard
from recbench.data import Split, locate, make_split, read_dataset
from recbench.evaluation import ranks_of_targets, values_per_user
from recbench.reporting.verification import inspect_boards
from recbench.running.after.loaded import LoadedRun
from recbench.running.foreign.lists import place_lists, read_lists
from recbench.running.host.workplace import Workplace
from recbench.running.run.searched_settings import read_settings
from recbench.running.run.splits import load_split
from recbench.running.stages.store import StageStore
from recbench.tasks import NEXT_ITEM

_PROGRESS = SilentProgress()
_LIST = 50


class Refused(BadRequest):
    """Where the campaign itself says no, as the command around what it calls does."""


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes:
        name: in tables.
        weight: how often it is drawn.
        make: writes an input at random into an empty folder.
        judge: what recbench makes of it.
        expect: what an independent reading makes of it, None where nothing may be made of it.
    """

    name: str
    weight: int
    make: Callable[[Path, random.Random], None]
    judge: Callable[[Path], Any]
    expect: Callable[[Path], Any] | None


# Events and items, in three formats.

_EVENT_HEADER = ["user_id", "item_id", "timestamp"]


def _events(rng: random.Random) -> list[Row]:
    """A small log: users of two to eight events among a dozen items."""
    rows: list[Row] = []
    start, step = rng.choice(((1_600_000_000, 1000), (1_600_000_000, 3), (1_600_000_000_000, 700), (0, 1)))
    for user in range(rng.randint(2, 12)):
        time = start
        for _ in range(rng.randint(2, 8)):
            rows.append([f"u{user}", f"i{rng.randrange(12):02}", time])
            time += rng.randint(0, step) if step > 1 else 1
    return rows


def _items(rng: random.Random) -> list[Row]:
    return [[f"i{item:02}", f"Item {item}" if rng.random() < 0.9 else "", rng.choice(("a, b", "c", "d e"))] for item in range(12)]


def _spoil_table(header: list[str], rows: list[Row], rng: random.Random) -> tuple[list[str], list[Row]]:
    for _ in range(rng.choice((0, 1, 1, 2))):
        if rows:
            header, rows = mutations.mixed(header, rows, rng)
    return header, rows


def _csv_text(header: list[str], rows: list[Row], rng: random.Random) -> bytes:
    always = rng.random() < 0.1

    def cell(value: Any) -> str:
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if always or any(letter in text for letter in ',"\r\n') else text

    return ("\n".join(",".join(map(cell, row)) for row in [header, *rows]) + "\n").encode("utf-8", errors="surrogatepass")


def _spoil_text(data: bytes, rng: random.Random) -> bytes:
    draw = rng.random()
    return mutations.damaged(data, rng) if draw < 0.15 else mutations.reworded(data, rng) if draw < 0.5 else data


def make_csv(folder: Path, rng: random.Random) -> None:
    """A folder with interactions.csv and, mostly, items.csv."""
    header, rows = _spoil_table(_EVENT_HEADER, _events(rng), rng)
    (folder / "interactions.csv").write_bytes(_spoil_text(_csv_text(header, rows, rng), rng))
    if rng.random() < 0.7:
        items = _csv_text(["item_id", "title", "categories"], _items(rng), rng)
        if rng.random() < 0.4:
            items = _csv_text(*_spoil_table(["item_id", "title", "categories"], _items(rng), rng), rng)
            items = _spoil_text(items, rng)
        (folder / "items.csv").write_bytes(items)


def make_parquet(folder: Path, rng: random.Random) -> None:
    """A folder with interactions.parquet and, mostly, items.parquet."""
    _write_parquet(folder / "interactions.parquet", *_spoil_table(_EVENT_HEADER, _events(rng), rng), rng)
    if rng.random() < 0.7:
        header, rows = ["item_id", "title", "categories"], _items(rng)
        if rng.random() < 0.4:
            header, rows = _spoil_table(header, rows, rng)
        _write_parquet(folder / "items.parquet", header, rows, rng)


def _write_parquet(path: Path, header: list[str], rows: list[Row], rng: random.Random) -> None:
    arrays = [_array([row[place] for row in rows], rng) for place in range(len(header))]
    pq.write_table(pa.Table.from_arrays(arrays, names=header), path)
    if rng.random() < 0.1:
        path.write_bytes(mutations.damaged(path.read_bytes(), rng))


def _array(values: list[Any], rng: random.Random) -> pa.Array:
    """A column of the type that its values ask for, or now and then of another one that can hold them."""
    kinds: list[Any] = [None]
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        kinds += [None, pa.timestamp(rng.choice(("s", "ms", "us", "ns"))), pa.float64(), pa.int32(), pa.string(), pa.date32()]
    if values and all(isinstance(value, str) for value in values):
        kinds += [pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
    kind = rng.choice(kinds)
    with suppress(pa.ArrowException, OverflowError, ValueError, TypeError):
        return pa.array(values, type=kind)
    return pa.array([None if value is None else str(value) for value in values], type=pa.string())


def make_inter(folder: Path, rng: random.Random) -> None:
    """RecBole's two files and a card that names them."""
    header, rows = _spoil_table(_EVENT_HEADER, _events(rng), rng)
    names = {"user_id": "user_id:token", "item_id": "item_id:token", "timestamp": "timestamp:float"}
    _write_tabs(folder / "shop.inter", [names.get(name, name) for name in header], rows, rng)
    header, rows = ["item_id", "title", "categories"], _items(rng)
    if rng.random() < 0.4:
        header, rows = _spoil_table(header, rows, rng)
    names = {"item_id": "item_id:token", "title": "title:token_seq", "categories": "categories:token_seq"}
    _write_tabs(folder / "shop.item", [names.get(name, name) for name in header], rows, rng)
    (folder / "card.toml").write_text(_card("recbole", {"interactions": "shop.inter", "items": "shop.item"}))


def _write_tabs(path: Path, header: list[str], rows: list[Row], rng: random.Random) -> None:
    lines = ["\t".join("" if cell is None else str(cell) for cell in row) for row in [header, *rows]]
    data = ("\n".join(lines) + "\n").encode("utf-8", errors="surrogatepass")
    draw = rng.random()
    path.write_bytes(mutations.damaged(data, rng) if draw < 0.1 else data.replace(b"\n", b"\r\n") if draw < 0.15 else data)


def _card(reader: str, files: dict[str, str], filters: str = "") -> str:
    listed = "\n".join(f'[[sources.files]]\nrole = "{role}"\nname = "{name}"' for role, name in files.items())
    return (
        f'name = "shop"\ntitle = "A shop"\nterms = "none"\nreader = "{reader}"\ntime = "detect"\n{filters}\n'
        f'[[sources]]\nkind = "folder"\npath = "."\n{listed}\n'
    )


def judge_folder(folder: Path) -> Figures:
    """Figures of a folder of ready data, as recbench reads it."""
    return _figures(str(folder), folder)


def judge_card(folder: Path) -> Figures:
    """Figures of the data that a card names."""
    return _figures(str(folder / "card.toml"), folder)


def _figures(name: str, folder: Path) -> Figures:
    located = locate(name, data_dir=None, home=folder / "home", progress=_PROGRESS, fetch=False)
    dataset = read_dataset(located, _PROGRESS)
    split = make_split(dataset, NEXT_ITEM.protocol())
    part, items = split.test, split.items
    targets: dict[str, str] = {}
    ranks: dict[str, tuple[int, int]] = {}
    ndcg = (0.0, 0.0)
    if len(part):
        rankings, queries = _popularity(split)
        found = ranks_of_targets(rankings, part.targets, queries)
        users = [split.user_ids[user] for user in part.user]
        targets = {user: items.item_ids[item] for user, item in zip(users, part.targets.item.tolist(), strict=True)}
        pairs = zip(found["keep"].tolist(), found["unseen"].tolist(), strict=True)
        ranks = dict(zip(users, pairs, strict=True))
        means = [float(values_per_user(found[view], part.targets.offsets, ("ndcg@10",)).mean()) for view in ("keep", "unseen")]
        ndcg = (means[0], means[1])
    texts: dict[str, dict[str, str]] = {item: {} for item in items.item_ids} if items.columns else {}
    for column, values in items.columns.items():
        for item, value in zip(items.item_ids, values, strict=True):
            if value is not None:
                texts[item][column] = value
    return Figures((dataset.n_users, dataset.n_items, dataset.n_interactions), targets, ranks, ndcg, texts)


def _popularity(split: Split) -> Any:
    """Lists of the most popular items for the test users, and the queries."""
    plugin = registry.models(()).load("popularity")
    model = plugin.build(plugin.config(), Catalogue(n_items=len(split.items), n_users=len(split.user_ids)))
    model.fit(SimpleNamespace(train=split.train))
    queries = split.test.queries(split.user_ids, ("keep", "unseen"))
    return model.generate(queries, _LIST), queries


def expect_folder(folder: Path) -> Figures:
    """Figures of a folder of ready data, read slowly."""
    parquet = folder / "interactions.parquet"
    if parquet.is_file():
        events = slow_reader.events_of(slow_reader.parquet_table(parquet))
        items = folder / "items.parquet"
        texts = slow_reader.texts_of(slow_reader.parquet_table(items)) if items.is_file() else None
    else:
        events = slow_reader.events_of(slow_reader.csv_table(folder / "interactions.csv"))
        items = folder / "items.csv"
        texts = slow_reader.texts_of(slow_reader.csv_table(items)) if items.is_file() else None
    return slow_reader.figures(slow_reader.without_duplicates(events), texts)


def expect_inter(folder: Path) -> Figures:
    """The same of RecBole's files; a column's type stands behind its name, and one mark parts all sequences of a column."""
    inter = slow_reader.csv_table(folder / "shop.inter", "\t", quoted=False)
    item = slow_reader.csv_table(folder / "shop.item", "\t", quoted=False)
    events = slow_reader.events_of(([name.partition(":")[0] for name in inter[0]], inter[1]))
    names = [name.partition(":")[0] for name in item[0]]
    texts = slow_reader.texts_of((names, item[1]))
    if "categories:token_seq" in item[0]:
        written = {row[names.index("item_id")]: row[item[0].index("categories:token_seq")] for row in item[1]}
        mark = next((mark for mark in (", ", "|", ";", " ") if any(mark in text for text in written.values())), ", ")
        for name, text in written.items():
            joined = ", ".join(part.strip() for part in text.split(mark) if part.strip())
            texts[name].pop("categories", None)
            texts[name] |= {"categories": joined} if joined else {}
    return slow_reader.figures(slow_reader.without_duplicates(events), texts)


def make_card(folder: Path, rng: random.Random) -> None:
    """Sound files with ratings, and a card with filters that is bent."""
    rows = [[*row, rng.randint(1, 5)] for row in _events(rng)]
    (folder / "events.csv").write_bytes(_csv_text([*_EVENT_HEADER, "rating"], rows, rng))
    choices = (
        '[[filters]]\nkind = "min-rating"\nvalue = 3',
        '[[filters]]\nkind = "k-core"\nuser = 2\nitem = 2',
        '[[filters]]\nkind = "first-per-pair"',
        '[[filters]]\nkind = "min-counts"\nuser = 3\nitem = 2',
    )
    text = _card("csv", {"interactions": "events.csv"}, "\n".join(rng.sample(choices, rng.randint(0, 3))))
    draw = rng.random()
    if draw < 0.2:
        text = mutations.damaged(text.encode(), rng).decode("utf-8", errors="surrogateescape")
    elif draw < 0.8:
        text = as_toml(mutations.bent(tomllib.loads(text), rng))
    (folder / "card.toml").write_bytes(text.encode("utf-8", errors="surrogateescape"))


def expect_card(folder: Path) -> Figures:
    """Figures by the card's own words: its filters in order, duplicates as it says."""
    card = tomllib.loads((folder / "card.toml").read_text(encoding="utf-8"))
    source = card["sources"][0]
    if [file["role"] for file in source["files"]] != ["interactions"]:
        raise CannotRead("other files")
    path = folder / source["path"] / source["files"][0]["name"]
    options = source.get("options", card.get("options", {}))
    events = slow_reader.events_of(slow_reader.csv_table(path, options.get("delimiter", ",")))
    if source.get("time", card["time"]) == "none":
        events = [slow_reader.Event(event.user, event.item, event.time, event.rating, event.position) for event in events]
    if card.get("duplicates", "drop") == "drop":
        events = slow_reader.without_duplicates(events)
    events = slow_reader.filtered(events, source.get("filters", card.get("filters", ())))
    if source.get("time", card["time"]) == "none":
        events = [slow_reader.Event(event.user, event.item, None, event.rating) for event in events]
    return slow_reader.figures(events, None)


def as_toml(tree: Any) -> str:
    """A tree as TOML; values that TOML cannot say are written as texts."""

    def value(item: Any) -> str:
        if isinstance(item, bool):
            return str(item).lower()
        if isinstance(item, int | float):
            return repr(item)
        if isinstance(item, dict):
            return "{" + ", ".join(f"{json.dumps(str(key))} = {value(part)}" for key, part in item.items()) + "}"
        if isinstance(item, list):
            return "[" + ", ".join(map(value, item)) + "]"
        return json.dumps(str(item), ensure_ascii=True)

    return "".join(f"{json.dumps(str(key))} = {value(item)}\n" for key, item in tree.items()) if isinstance(tree, dict) else value(tree)


# Settings.

_SETTINGS = {
    "loss": "ce",
    "batch_size": 64,
    "network": {"width": 64, "n_heads": 2, "dropout": 0.25},
    "training": {"learning_rate": 0.001, "max_steps": 100, "betas": [0.9, 0.98]},
}


def make_settings(folder: Path, rng: random.Random) -> None:
    """A config file of sasrec, bent."""
    tree: Any = {key: _SETTINGS[key] for key in rng.sample(list(_SETTINGS), rng.randint(1, len(_SETTINGS)))}
    for _ in range(rng.choice((0, 1, 1, 2))):
        tree = mutations.bent(tree, rng)
    data = as_toml(tree).encode("utf-8", errors="surrogatepass")
    (folder / "settings.toml").write_bytes(mutations.damaged(data, rng) if rng.random() < 0.2 else data)


def judge_settings(folder: Path) -> dict[str, Any]:
    """All settings that the model gets."""
    plugin = registry.models(()).load("sasrec")
    values, _ = read_settings(folder / "settings.toml", plugin.card)
    return plugin.resolve("cpu", values, {}).model_dump(mode="json")


def expect_settings(folder: Path) -> dict[str, Any]:
    """The preset's settings, but for those that the file names."""
    expected = registry.models(()).load("sasrec").resolve("cpu").model_dump(mode="json")

    def lay(values: dict[str, Any], over: dict[str, Any]) -> None:
        for key, value in values.items():
            name, _, rest = key.partition(".")
            if rest:
                lay({rest: value}, over[name])
            elif isinstance(value, dict):
                lay(value, over[name])
            else:
                over[name] = value

    lay(tomllib.loads((folder / "settings.toml").read_text(encoding="utf-8")), expected)
    return expected


# Lists of another toolkit, on a fixed split.


@dataclass(frozen=True)
class Fixtures:
    """Sound things, made once, of which each input damages a copy.

    Attributes:
        folder: with `shop` (data), `boards` (a published board), `home` (a cache that holds the shop).
        split: of the shop.
        cards: of the models on the board.
    """

    folder: Path
    split: Split
    cards: Mapping[str, ModelCard]


def kinds(fixtures: Fixtures) -> list[Kind]:
    """All kinds of input."""
    shop = fixtures.folder / "shop"
    split, n_test = fixtures.split, len(fixtures.split.test)

    def make_lists(folder: Path, rng: random.Random) -> None:
        with_scores, view = rng.random() < 0.5, rng.choice(("keep", "unseen", "both"))
        header = ["user_id", "item_id", "score" if with_scores else "rank", *(["view"] if view == "both" else [])]
        rows: list[Row] = []
        for query in range(n_test):
            user, history = split.user_ids[split.test.user[query]], set(split.test.histories[query].tolist())
            for name in ("keep", "unseen") if view == "both" else (view,):
                items = [item for item in range(len(split.items)) if name == "keep" or item not in history]
                rng.shuffle(items)
                for place, item in enumerate(items[: rng.randint(10, len(items)) if len(items) > 10 else None]):
                    value = round(rng.random(), 1) if with_scores else place + 1
                    rows.append([user, split.items.item_ids[item], value, *([name] if view == "both" else [])])
        header, rows = _spoil_table(header, rows, rng)
        if rng.random() < 0.5:
            (folder / "lists.csv").write_bytes(_spoil_text(_csv_text(header, rows, rng), rng))
        else:
            _write_parquet(folder / "lists.parquet", header, rows, rng)

    def judge_lists(folder: Path) -> Any:
        (path,) = folder.glob("lists.*")
        lists = read_lists(path)
        views: Any = ("keep",) if None in lists.views else tuple(view for view in ("keep", "unseen") if view in lists.views)
        placed = place_lists(lists, split, views, replace(NEXT_ITEM, list_length=_LIST))
        queries = split.test.queries(split.user_ids, views)
        found = ranks_of_targets(placed.rankings, split.test.targets, queries)
        return {view: found[view].tolist() for view in views}

    def _longest(lists: Mapping[str, Any], view: str) -> int:
        """How many places of a list count: all that are asked for where one list is as long as it can be, else those of the longest."""
        lengths = []
        for query in range(n_test):
            excluded = set(split.test.histories[query].tolist()) if view == "unseen" else set()
            length = len(lists.get(split.user_ids[split.test.user[query]], ()))
            lengths.append(_LIST if length >= min(_LIST, len(split.items) - len(excluded)) else length)
        return max(lengths)

    def expect_lists(folder: Path) -> Any:
        (path,) = folder.glob("lists.*")
        header, rows = slow_reader.csv_table(path) if path.suffix == ".csv" else slow_reader.parquet_table(path)
        if any(header.count(name) > 1 for name in ("user_id", "item_id", "rank", "score", "view")):
            raise CannotRead("a column twice")
        at = {name: header.index(name) for name in ("user_id", "item_id", "rank", "score", "view") if name in header}
        lists: dict[str, dict[str, list[tuple[float, int]]]] = {}
        row_of = {item: row for row, item in enumerate(split.items.item_ids)}
        for row in rows:
            view = str(row[at["view"]]) if "view" in at else "keep"
            item = row_of[str(row[at["item_id"]])]
            key = float(row[at["rank"]]) if "rank" in at else -float(row[at["score"]])
            lists.setdefault(view, {}).setdefault(str(row[at["user_id"]]), []).append((key, item))
        found: dict[str, list[int]] = {}
        longest = min(_longest(lists[view], view) for view in lists)
        for view in [name for name in ("keep", "unseen") if name in lists]:
            found[view] = []
            for query in range(n_test):
                user, target = split.user_ids[split.test.user[query]], int(split.test.targets.item[query])
                order = [item for _, item in sorted(lists[view].get(user, []))][:longest]
                is_miss = target not in order or (view == "unseen" and target in split.test.histories[query])
                found[view].append(-1 if is_miss else order.index(target))
        return found

    boards = fixtures.folder / "boards"
    pages = [path.relative_to(boards) for path in sorted(boards.iterdir()) if path.is_file()]
    recorded = [path.relative_to(boards) for path in sorted((boards / "records").rglob("*")) if path.is_file()]

    def maker(files: list[Path]) -> Callable[[Path, random.Random], None]:
        def make(folder: Path, rng: random.Random) -> None:
            shutil.copytree(boards, folder / "boards")
            spoil_file(folder / "boards" / rng.choice(files), rng)

        return make

    def judge_boards(folder: Path) -> bool:
        report = inspect_boards(folder / "boards", fixtures.cards)
        if report.faults:
            raise Refused(" ".join(map(str, report.faults)))
        return True

    def make_cache(folder: Path, rng: random.Random) -> None:
        shutil.copytree(fixtures.folder / "home", folder / "home")
        files = [path for path in sorted((folder / "home" / "stages").glob("*-*/*")) if path.is_file()]
        spoil_file(rng.choice(files), rng)

    def judge_cache(folder: Path) -> Any:
        workplace = Workplace(folder / "home", None, folder / "runs", folder / "boards")
        loaded = load_split(str(shop), NEXT_ITEM.protocol(), workplace, StageStore(workplace.stages))
        return _same_split(loaded.split)

    def expect_cache(folder: Path) -> Any:  # noqa: ARG001
        return _same_split(split)

    (trained,) = (fixtures.folder / "runs").glob("*-popularity-*")
    history = split.items.item_ids[:3].tolist()

    def answers(run: Path) -> Any:
        model = LoadedRun.open(run, registry.models(()).load("popularity"))
        return [(line.item_id, line.title, line.score) for line in model.recommend(history, 10)]

    def make_model(folder: Path, rng: random.Random) -> None:
        shutil.copytree(trained, folder / "run")
        files = [path for path in sorted((folder / "run").rglob("*")) if path.is_file() and path.name != "log.txt"]
        spoil_file(rng.choice(files), rng)

    return [
        Kind("csv", 24, make_csv, judge_folder, expect_folder),
        Kind("parquet", 20, make_parquet, judge_folder, expect_folder),
        Kind(".inter and .item", 12, make_inter, judge_card, expect_inter),
        Kind("cards", 10, make_card, judge_card, expect_card),
        Kind("configs", 10, make_settings, judge_settings, expect_settings),
        Kind("rank files", 10, make_lists, judge_lists, expect_lists),
        Kind("records", 5, maker(recorded), judge_boards, None),
        Kind("page files", 4, maker(pages), judge_boards, None),
        Kind("saved models", 5, make_model, lambda folder: answers(folder / "run"), lambda folder: answers(trained)),  # noqa: ARG005
        Kind("cache entries", 5, make_cache, judge_cache, expect_cache),
    ]


def _same_split(split: Split) -> Any:
    """All that a run takes from a split."""
    return (
        split.fingerprints.model_dump(),
        split.train.item.tolist(),
        split.test.targets.item.tolist(),
        split.items.item_ids.tolist(),
        split.user_ids.tolist(),
    )


def spoil_file(path: Path, rng: random.Random) -> None:
    """Change one file so that it says something else, whatever its format."""
    before = path.read_bytes()
    after = before
    while after == before:
        after = mutations.damaged(before, rng)
        if path.suffix == ".json" and rng.random() < 0.7:
            after = json.dumps(mutations.bent(json.loads(before), rng)).encode("utf-8", errors="surrogatepass")
        elif path.suffix == ".parquet" and rng.random() < 0.5:
            after = _other_table(path, rng)
        elif path.suffix in {".md", ".html"} and rng.random() < 0.5:
            after = mutations.reworded(before, rng)
    path.write_bytes(after)


def _other_table(path: Path, rng: random.Random) -> bytes:
    """A parquet file with one column changed, its notes kept."""
    table = pq.read_table(path)
    if not table.num_columns:
        return b""
    place = rng.randrange(table.num_columns)
    values = table.column(place).to_pylist()
    if values and rng.random() < 0.6:
        values[rng.randrange(len(values))] = rng.choice((None, -1, 7, 10**6))
    name = table.column_names[place] if rng.random() < 0.8 else "other"
    with suppress(pa.ArrowException, ValueError, TypeError, OverflowError):
        table = table.set_column(place, name, pa.array(values))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data
