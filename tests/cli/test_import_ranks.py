"""`recbench import-ranks`: another toolkit's lists under this protocol, and every way in which they can be wrong."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

Rows = list[dict[str, Any]]
on_read_demo = pytest.mark.usefixtures("demo_home")
"""For tests that do not look for what a refused command left in the cache."""


def run(recbench: Any, model: str, data: str = "demo") -> Any:
    done = recbench("run", "-m", model, "-d", data, "--json")
    assert done.code == 0, done.stderr
    return done.json


def imported(recbench: Any, file: Path | str, *options: str, data: str = "demo") -> Any:
    done = recbench("import-ranks", file, "-m", "theirs", "-d", data, *options, "--json")
    assert done.code == 0, done.stderr
    return done.json


def figures(record: Any) -> Any:
    return {name: record[name] for name in ("metrics", "slices", "beyond", "targets", "fingerprints")}


def write(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path: Path) -> Rows:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@on_read_demo
def test_lists_stand_beside_the_references_of_their_split(recbench: Any) -> None:
    """As a run of the same lists does; and beside the reference that made them."""
    native = run(recbench, "last-item-markov")
    assert recbench("recommend", "last", "--export", "lists.csv", "--seen", "both").code == 0
    found = imported(recbench, "lists.csv")
    beside = {(part["reference"], part["view"]): part for part in found["references"]}
    for part in native["references"]:
        assert beside.pop((part["reference"], part["view"])) == part
    assert set(beside) == {("last-item-markov:default", "keep"), ("last-item-markov:default", "unseen")}
    assert all(part["difference"]["value"] == 0 for part in beside.values())
    again = recbench("import-ranks", "lists.csv", "-m", "theirs", "-d", "demo")
    assert "theirs beside cheap references on the same split" in again.stdout
    assert "level with last-item-markov" in again.stdout


@on_read_demo
@pytest.mark.parametrize("model", ["popularity", "item-knn"])
def test_lists_of_our_own_give_the_same_figures_to_the_last_digit(recbench: Any, model: str) -> None:
    """Both rank with ties: popularity by counts, item-knn where nothing is alike."""
    native = run(recbench, model)
    assert recbench("recommend", "last", "--export", "lists.csv", "--seen", "both").code == 0
    found = imported(recbench, "lists.csv")
    assert figures(found["record"]) == figures(native["record"])
    hashes = [{part["name"]: part["sha256"] for part in answer["record"]["files"]} for answer in (native, found)]
    of_model = ("curve.csv", "config.toml", "catalogue.parquet", "references.json", "model/")
    assert hashes[1].pop("references.json")
    assert hashes[1] == {name: value for name, value in hashes[0].items() if not name.startswith(of_model)}
    diagnostics = found["record"]["diagnostics"]
    assert (
        diagnostics.items() - {("users_without_list_keep", 0.0), ("users_without_list_unseen", 0.0)}
        <= native["record"]["diagnostics"].items()
    )

    # Without ranks the scores decide, and of equal ones the smaller row: in whatever order the rows stand, csv or parquet.
    rows = [{name: value for name, value in row.items() if name != "rank"} for row in read(recbench.folder / "lists.csv")]
    write(recbench.folder / "scores.csv", rows[::-1])
    assert figures(imported(recbench, "scores.csv")["record"]) == figures(native["record"])
    pq.write_table(pa_csv.read_csv(recbench.folder / "scores.csv"), recbench.folder / "scores.parquet")
    assert figures(imported(recbench, "scores.parquet")["record"]) == figures(native["record"])

    # One view, as `recommend --export` writes it when nobody asks for both; ranks from 0 are as good as ranks from 1.
    assert recbench("recommend", native["run"], "--export", "keep.csv").code == 0
    zeros = read(recbench.folder / "keep.csv")
    for row in zeros:
        row["rank"] = int(row["rank"]) - 1
        del row["score"]
    write(recbench.folder / "zeros.csv", zeros)
    for name in ("keep.csv", "zeros.csv"):
        one = imported(recbench, name, "--seen", "keep")["record"]
        assert one["metrics"] == {"keep": native["record"]["metrics"]["keep"]}
        assert one["protocol"]["views"] == ["keep"]


@on_read_demo
def test_the_record_says_that_the_lists_are_foreign(recbench: Any) -> None:
    run(recbench, "popularity")
    recbench("recommend", "last", "--export", "lists.csv", "--seen", "both")
    found = imported(recbench, "lists.csv")
    record = found["record"]
    assert record["foreign"]["file"] == "lists.csv"
    assert record["cost"] is None
    assert record["model"]["row_name"] == "theirs:foreign"
    assert found["is_new"]
    assert not imported(recbench, "lists.csv")["is_new"]
    assert imported(recbench, "lists.csv", "--seed", "1")["run"] != found["run"]
    shown = recbench("show", found["run"], "--plot")
    assert shown.code == 0, shown.stderr
    assert "their cost is not known" in shown.stdout
    assert recbench("list", "runs").code == 0
    assert recbench("diff", found["run"], "demo-popularity").code == 0
    recbench("reproduce", found["run"]).refuses("another toolkit", "lists.csv", "import-ranks")
    recbench("recommend", found["run"], "--history", "item-0001").refuses("another toolkit")


@on_read_demo
def test_users_without_a_list_are_misses_and_are_counted(recbench: Any) -> None:
    native = run(recbench, "popularity")["record"]
    recbench("recommend", "last", "--export", "lists.csv")
    rows = read(recbench.folder / "lists.csv")
    users = sorted({row["user_id"] for row in rows})
    gone = set(users[: len(users) // 2])
    write(recbench.folder / "half.csv", [row for row in rows if row["user_id"] not in gone])
    done = recbench("import-ranks", "half.csv", "-m", "theirs", "-d", "demo", "--seen", "keep")
    assert f"{len(users) - len(gone)} of {len(users)} test users have a list" in done.stdout
    record = imported(recbench, "half.csv", "--seen", "keep")["record"]
    assert record["foreign"]["users_without_list"] == {"keep": len(gone)}
    assert record["diagnostics"]["users_without_list_keep"] == len(gone)
    assert record["targets"] == native["targets"]
    assert record["metrics"]["keep"]["recall@50"]["value"] < native["metrics"]["keep"]["recall@50"]["value"]


@on_read_demo
def test_short_lists_have_no_figures_beyond_their_length_and_long_ones_are_cut(recbench: Any) -> None:
    native = run(recbench, "popularity")
    for k in (20, 70):
        assert recbench("recommend", native["run"], "--export", f"{k}.csv", "--k", k).code == 0
    short, long = (imported(recbench, f"{k}.csv", "--seen", "keep")["record"] for k in (20, 70))
    assert short["protocol"]["list_length"] == 20
    assert "recall@20" in short["metrics"]["keep"]
    assert "recall@50" not in short["metrics"]["keep"]
    assert long["metrics"]["keep"] == native["record"]["metrics"]["keep"]
    assert long["foreign"]["lists_cut"] == native["record"]["targets"]["n_users"]


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Lists of twelve for all test users of `demo`, none of which holds an item of a history but the first."""
    from recbench.running.host.workplace import Workplace
    from recbench.running.run.splits import load_split
    from recbench.running.stages.store import StageStore
    from recbench.tasks import NEXT_ITEM

    home = tmp_path_factory.mktemp("home")
    workplace = Workplace(home, None, home / "runs", home / "boards")
    split = load_split("demo", NEXT_ITEM.protocol(), workplace, StageStore(workplace.stages)).split
    rows: Rows = []
    for query, user in enumerate(split.test.user.tolist()):
        history = set(split.test.histories[query].tolist())
        items = [item for item in range(len(split.items)) if item not in history][:12]
        if query == 0:
            items[11] = min(history)
        rows += [
            {"user_id": split.user_ids[user], "item_id": split.items.item_ids[item], "rank": place} for place, item in enumerate(items, 1)
        ]
    return rows


def change(row: int, **values: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [*rows[:row], rows[row] | values, *rows[row + 1 :]]


def scored(rows: Rows) -> Rows:
    return [row | {"score": 100 - row["rank"]} for row in rows]


@on_read_demo
@pytest.mark.parametrize(
    ("spoil", "options", "words"),
    [
        (change(3, user_id="nobody"), (), ("1 of 501 user ids", "'nobody'", "'user-0000'")),
        (change(3, item_id="nothing"), (), ("item ids", "'nothing'", "'item-0000'")),
        (change(3, user_id=""), (), ("row 3 has no user_id",)),
        (lambda rows: change(3, item_id=rows[2]["item_id"])(rows), (), ("'user-0000'", "more than once")),
        (change(3, rank=5), (), ("'user-0000'", "rank 5 stands where 4 is due", "without gaps")),
        (change(4, rank=4), (), ("rank 4 is given twice",)),
        (change(0, rank=0), (), ("rank 2 stands where 1 is due", "from 0 on")),
        (change(3, rank=-1), (), ("rank -1 stands where 1 is due",)),
        (change(3, rank=2.5), (), ("rank 2.5 stands where 3 is due",)),
        (change(3, rank="nan"), (), ("the rank in row 3 is nan",)),
        (change(3, rank="inf"), (), ("the rank in row 3 is inf",)),
        (change(3, rank="third"), (), ("column 'rank' holds string",)),
        (lambda rows: change(3, score=1000)(scored(rows)), (), ("the score 1000 at rank 4", "higher than the one before")),
        (lambda rows: change(3, score="nan")(scored(rows)), (), ("the score in row 3 is nan",)),
        (lambda rows: change(3, view="seen")([row | {"view": "keep"} for row in rows]), (), ("'view' holds 'seen'", "keep or unseen")),
        (lambda rows: [row | {"view": "keep"} for row in rows], ("--seen", "both"), ("no list of the view unseen",)),
        (lambda rows: rows, ("--seen", "unseen"), ("'user-0000'", "stands in the history", "as keep")),
        (lambda rows: rows, ("--seen", "some"), ("--seen 'some'", "keep, unseen or both")),
        (lambda rows: rows, ("--seen", "both"), ("no column view", "--seen unseen")),
        (lambda rows: rows, ("--seen", "keep", "--protocol", "temporal:targets=successive"), ("asks users several times",)),
        (lambda rows: rows, ("--seen", "keep", "--ties", "heads"), ("heads", "shuffle=")),
        (lambda rows: [row for row in rows if row["rank"] < 8], (), ("the longest list has 7 items", "at least 10")),
        (
            lambda rows: [{"user": row["user_id"], "item_id": row["item_id"], "rank": row["rank"]} for row in rows],
            (),
            ("no column 'user_id'",),
        ),
        (lambda rows: [{"user_id": row["user_id"], "item_id": row["item_id"]} for row in rows], (), ("neither a column 'rank' nor",)),
        (
            lambda rows: [{"user_id": row["user_id"], "item_id": row["item_id"], "score": 2**53 + 1} for row in rows],
            (),
            ("'score' holds a number too large to be exact", "9007199254740993"),
        ),
        (lambda rows: [{"user_id": row["user_id"], "a\nb": 1, "rank": 1} for row in rows], (), ("no column 'item_id'", "a\\nb")),
    ],
)
def test_what_cannot_be_measured_is_refused_with_a_sentence(
    recbench: Any, lists: Rows, spoil: Callable[[Rows], Rows], options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    write(recbench.folder / "lists.csv", spoil(lists))
    answer = recbench("import-ranks", "lists.csv", "-m", "theirs", "-d", "demo", *(options or ("--seen", "keep")))
    answer.refuses(*words)
    assert [path.name for path in recbench.folder.iterdir()] == ["lists.csv"]
    assert recbench.half_written() == []


def test_a_file_that_is_no_table_and_a_name_that_is_no_name_are_refused(recbench: Any, lists: Rows) -> None:
    write(recbench.folder / "lists.csv", lists)
    (recbench.folder / "lists.parquet").write_bytes(b"PAR1 and no more")
    (recbench.folder / "lists.txt").write_text("user_id\n")
    (recbench.folder / "empty.csv").write_text("user_id,item_id,rank\n")
    before = recbench.listing()
    options = ("-m", "theirs", "-d", "demo", "--seen", "keep")
    recbench("import-ranks", "none.csv", *options).refuses("none.csv", "no such file")
    recbench("import-ranks", "lists.txt", *options).refuses("lists.txt", ".parquet")
    recbench("import-ranks", "lists.parquet", *options).refuses("lists.parquet", "not a whole parquet file")
    recbench("import-ranks", "empty.csv", *options).refuses("empty.csv", "no rows")
    recbench("import-ranks", "lists.csv", "-m", "a/b", "-d", "demo", "--seen", "keep").refuses("--model 'a/b'", "letters")
    recbench("import-ranks", "lists.csv", "-m", "theirs", "-d", "dmo", "--seen", "keep").refuses("'dmo'", "Did you mean 'demo'?")
    recbench("import-ranks", "lists.csv", "-m", "theirs", "-d", "demo").refuses("no column view", "--seen keep")
    assert recbench.listing() == before


@on_read_demo
def test_lists_that_never_hold_the_history_draw_a_question(recbench: Any, lists: Rows) -> None:
    write(recbench.folder / "lists.csv", lists[12:])
    answer = recbench("import-ranks", "lists.csv", "-m", "theirs", "-d", "demo", "--seen", "keep")
    assert answer.code == 0
    assert "these are lists for --seen unseen" in answer.stderr


def test_an_imported_record_is_published_verified_and_marked(recbench: Any) -> None:
    folder = recbench.folder / "walks"
    folder.mkdir()
    rows = [
        {"user_id": f"u{user:02}", "item_id": f"i{(user * 7 + step * step) % 40:02}", "timestamp": 1_000_000 + step}
        for user in range(40)
        for step in range(6)
    ]
    write(folder / "interactions.csv", rows)
    native = run(recbench, "popularity", "./walks")
    assert recbench("recommend", "last", "--export", "lists.csv", "--seen", "both", "--data-dir", ".").code == 0
    record = imported(recbench, "lists.csv", data="./walks")["record"]
    assert record["metrics"] == native["record"]["metrics"]
    assert recbench("leaderboard", "publish").code == 0
    verified = recbench("verify")
    assert verified.code == 0, verified.stderr
    assert "3 pages, 2 rows, 2 records" in verified.stdout
    page = (recbench.folder / "leaderboards" / "walks.md").read_text()
    row = next(line for line in page.splitlines() if "theirs:foreign" in line and "NDCG" not in line)
    assert "foreign; " in row
    cost = next(line for line in page.splitlines() if "lists made elsewhere" in line)
    assert cost.count("–") == 4
    exported = list(csv.DictReader(recbench("leaderboard", "export", "walks").stdout.splitlines()))
    assert {line["badge"]: line["train_s"] for line in exported}["foreign"] == ""

    # A baseline made elsewhere is no baseline of ours.
    shutil.rmtree(recbench.folder / "runs")
    shutil.rmtree(recbench.folder / "leaderboards")
    done = recbench("import-ranks", "lists.csv", "-m", "popularity", "-d", "./walks")
    assert done.code == 0, done.stderr
    assert recbench("leaderboard", "publish").code == 0
    assert "missing: recbench run -m popularity -d walks" in (recbench.folder / "leaderboards" / "walks.md").read_text()
    assert json.loads(recbench("verify", "--json").stdout)["faults"] == []
