"""Records that strangers hand in: what fits is taken in, what is forged, copied, foreign to the split or no record is refused by name."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from recbench.cli.app import app
from recbench.core.errors import BadRequest, VerifyFailed
from recbench.core.records import RunRecord
from recbench.reporting import Known, accept_submissions, check_submissions, verify, write_submission

TEXTS = {part: f"0{part}".encode().hex().ljust(64, "0") for part in ("train", "valid", "test", "item_text")}
"""Fingerprints of the split that the published records are of."""


@pytest.fixture
def known(cards: Any, make_card: Any, published_boards: Path, tmp_path: Path) -> Known:
    boards = shutil.copytree(published_boards, tmp_path / "boards")
    cards = cards | {name: make_card(name) for name in ("gru4rec", "hgn")}
    return Known(boards, cards, dict.fromkeys(cards, "recbench"), {"toy": "Toy | shop"})


@pytest.fixture
def handed_in(workshop: Any, known: Known, tmp_path: Path) -> Path:
    """A submission of one sound record."""
    write_submission(tmp_path / "submission", [workshop.run("gru4rec", skill=0.35)], known)
    return tmp_path / "submission"


def record_of(submission: Path) -> Path:
    return next(submission.glob("records/*/record.json"))


def edit(submission: Path, change: Callable[[Any], Any]) -> None:
    """Change a record and give it the sum of its new content, as a forger would."""
    path = record_of(submission)
    raw = json.loads(path.read_text())
    raw.pop("sha256")
    change(raw)
    path.write_text(RunRecord.model_validate(raw).to_json())


def faults_of(submission: Path, known: Known) -> str:
    return "\n".join(map(str, check_submissions([submission], known).faults))


def test_a_sound_record_is_written_checked_and_taken_in(workshop: Any, known: Known, tmp_path: Path) -> None:
    run = workshop.run("gru4rec", skill=0.35)
    report = write_submission(tmp_path / "submission", [run], known)
    assert (report.n_records, report.faults, report.notes) == (1, (), ())
    assert report.n_figures > 100
    assert "gru4rec:paper" in (tmp_path / "submission" / "README.md").read_text()
    assert check_submissions([tmp_path / "submission"], known) == report
    _, result = accept_submissions([tmp_path / "submission"], known)
    assert known.boards is not None
    assert "gru4rec:paper" in (known.boards / "toy.md").read_text()
    assert not [skipped for skipped in result.skipped if skipped.is_fault]
    verify(known.boards, known.cards)
    assert "is published already" in faults_of(tmp_path / "submission", known)
    with pytest.raises(BadRequest, match="is there already"):
        write_submission(tmp_path / "submission", [run], known)


def test_a_run_that_counts_in_place_of_another_needs_a_word(workshop: Any, known: Known, tmp_path: Path) -> None:
    for name, started, words in (
        ("newer", "2026-11-29T10:00:00+00:00", "counts in place of"),
        ("older", "2020-01-01T10:00:00+00:00", "superseded by"),
    ):
        run = workshop.run(skill=0.4, started=started, run_id=f"toy-sasrec-paper-s0-{name}-1")
        with pytest.raises(VerifyFailed, match=f"{words}.*--replace"):
            write_submission(tmp_path / name, [run], known)
        (note,) = write_submission(tmp_path / name, [run], replace(known, replace=True)).notes
        assert words in note


def test_what_must_not_be_handed_in_is_refused_before_it_is_written(workshop: Any, known: Known, tmp_path: Path) -> None:
    pulled = workshop.run()
    (pulled / "pulled.json").write_text("{}")
    for run, words in (
        (pulled, "was pulled"),
        (workshop.run(dataset={"name": "demo", "is_synthetic": True}), "is synthetic"),
        (workshop.run("gru4rec", code={"is_dirty": True}), "uncommitted changes"),
    ):
        with pytest.raises((BadRequest, VerifyFailed), match=words):
            write_submission(tmp_path / "submission", [run], known)
    assert [path.name for path in tmp_path.iterdir() if "submission" in path.name] == []


def test_lists_of_another_toolkit_are_taken_too(workshop: Any, known: Known, tmp_path: Path) -> None:
    foreign = {
        "file": "lists.csv",
        "sha256": "0" * 64,
        "users_without_list": {"keep": 0, "unseen": 0},
        "users_not_asked": 0,
        "lists_cut": 0,
    }
    about = {"family": "unknown", "distribution": "foreign"}
    run = workshop.run("theirs", "foreign", model=about, foreign=foreign, run_id="toy-theirs-foreign-s0-1-1")
    raw = json.loads((run / "record.json").read_text())
    raw.pop("sha256")
    (run / "record.json").write_text(RunRecord.model_validate(raw | {"config": {}, "cost": None}).to_json())
    assert not write_submission(tmp_path / "submission", [run], known).faults
    assert "under the name of recbench's model" in faults_of(
        tmp_path / "submission", replace(known, cards=known.cards | {"theirs": known.cards["hgn"]})
    )
    edit(tmp_path / "submission", lambda raw: raw["model"].update(is_trivial=True))
    assert "claims to be a run of this one" in faults_of(tmp_path / "submission", known)


FORGED: list[tuple[str, Callable[[Any], Any], str]] = [
    ("a figure", lambda raw: raw["metrics"]["keep"]["ndcg@10"].update(value=0.99), "metrics, keep, ndcg@10, value is 0.99"),
    ("the number of targets", lambda raw: raw["targets"].update(n_users=7), "targets, n_users is 7"),
    ("another split", lambda raw: raw["fingerprints"].update(test="f" * 64), "its test part is ffffffffffffffff"),
    ("another train part", lambda raw: raw["fingerprints"].update(train="f" * 64), "its train part is ffffffffffffffff"),
    ("a protocol nobody published", lambda raw: raw["protocol"].update(ties="shuffle=9"), "no published record is on this split"),
    ("sizes", lambda raw: raw["dataset"].update(n_interactions=7), "counts of toy are not those"),
    ("users of the train part", lambda raw: raw["targets"].update(n_users_train_only=7), "counts of toy are not those"),
    ("notes on the data", lambda raw: raw.update(notes={"not drawn": 7}), "counts of toy are not those"),
    ("an unknown data set", lambda raw: raw["dataset"].update(name="elsewhere"), "no data set with a card is called 'elsewhere'"),
    ("a title", lambda raw: raw["dataset"].update(title="Better"), "is not what the card says"),
    ("a name that leads away", lambda raw: raw["model"].update(name="../x"), "cannot stand on a board"),
    ("a row of another name", lambda raw: raw["model"].update(row_name="best"), "a row 'best' of 'gru4rec:paper'"),
    ("another run's name", lambda raw: raw.update(run_id="toy-other-paper-s0-1-1"), "calls itself 'toy-other-paper-s0-1-1'"),
    ("a baseline that is none", lambda raw: raw["model"].update(is_trivial=True), "is not what the card of the model says"),
    (
        "a baseline nobody knows",
        lambda raw: raw["model"].update(is_trivial=True, name="mine", row_name="mine:paper"),
        "no trivial baseline is called 'mine'",
    ),
    ("a model that recbench has not", lambda raw: raw["model"].update(name="mine", row_name="mine:paper"), "recbench has no model 'mine'"),
    ("settings of another row", lambda raw: raw["config"].update(width=4096), "its hash of settings is not that of its settings"),
    ("a budget", lambda raw: raw.update(budget="3cpu-min"), "its hash of settings is not that of its settings"),
    ("a hash that is text", lambda raw: raw.update(config_hash="<b>"), "it holds '<b>' in the place of a hash"),
    ("a commit that is text", lambda raw: raw["code"].update(commit="see my page"), "in the place of a hash"),
    ("settings that hide others", lambda raw: raw["config"].update(width={"a": 1}), "its hash of settings is not that of its settings"),
    ("a count below nothing", lambda raw: raw["fit"].update(parameters=-1), "a count or cost of it is below 0"),
    ("no cost", lambda raw: raw.update(cost=None), "only lists of another toolkit have no cost"),
    ("a time that sorts last", lambda raw: raw.update(started="20261101T100000+00:00"), "or one not written as recbench does"),
    ("a number beyond sums", lambda raw: raw["cost"].update(peak_memory_bytes=10**400), "which no page can show"),
    ("an endless number", lambda raw: raw["cost"].update(train_s=1e300), "which no page can show"),
    ("a table twice", lambda raw: raw["files"].append(raw["files"][0]), "or several, to compute its figures from"),
    ("a file twice", lambda raw: raw["files"].append(raw["files"][-1]), "names the file 'curve.csv' twice"),
    (
        "a name that is taken",
        lambda raw: raw["model"].update(distribution="theirs", name="sasrec", row_name="sasrec:x"),
        "belongs to a model",
    ),
    ("a model in a folder", lambda raw: raw["model"].update(distribution="/tmp/model"), "came from the folder '/tmp/model'"),
    ("a time to come", lambda raw: raw.update(started="2999-01-01T00:00:00Z"), "a time to come, or"),
    ("no time", lambda raw: raw.update(started="soon"), "a time to come, or"),
    ("text that steers", lambda raw: raw["command"].append("\x1b[2J"), "which no page can show"),
    ("endless text", lambda raw: raw["device"].update(name="x" * 5000), "which no page can show"),
    ("a task nobody knows", lambda raw: raw.update(task="magic"), "magic"),
    ("a path outside", lambda raw: raw["files"][0].update(name="targets-../../../x"), "no name of a file"),
    ("a missing table", lambda raw: raw["files"].pop(0), "names no file 'ranks.parquet'"),
    (
        "a search that nobody made",
        lambda raw: raw.update(tuned={"trials": 9, "trial": 1, "score": 1.0, "dataset": "toy", "valid": "0"}),
        "a search",
    ),
]


def test_energy_and_operations_may_be_handed_in(handed_in: Path, known: Known) -> None:
    edit(handed_in, lambda raw: raw["cost"].update(train_energy_kwh=0.5, train_flops=1e15))
    assert not faults_of(handed_in, known)


@pytest.mark.parametrize("figure", [{"train_energy_kwh": -0.1}, {"train_flops": "many"}, {"train_flops": float("inf")}])
def test_energy_and_operations_that_cannot_be_are_refused(handed_in: Path, known: Known, figure: dict[str, Any]) -> None:
    path = record_of(handed_in)
    raw = json.loads(path.read_text())
    del raw["sha256"]
    raw["cost"].update(figure)
    raw["sha256"] = hashlib.sha256(json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
    path.write_text(json.dumps(raw))
    expected = "is not what was written" if figure == {"train_flops": float("inf")} else f"cost.{next(iter(figure))}: "
    assert expected in faults_of(handed_in, known)


@pytest.mark.parametrize(("what", "change", "words"), FORGED, ids=[what for what, _, _ in FORGED])
def test_a_forged_record_is_refused(handed_in: Path, known: Known, what: str, change: Callable[[Any], Any], words: str) -> None:
    if what == "a path outside":  # no record of this code can say so
        path = record_of(handed_in)
        path.write_text(path.read_text().replace('"ranks.parquet"', '"../../ranks.parquet"'))
        assert "is not what was written" in faults_of(handed_in, known)
        return
    edit(handed_in, change)
    assert words in faults_of(handed_in, known), what


def test_other_ranks_and_other_targets_are_refused_even_where_all_sums_are_right(
    workshop: Any, known: Known, handed_in: Path, tmp_path: Path
) -> None:
    ranks = record_of(handed_in).parent / "ranks.parquet"
    table = pq.read_table(ranks)
    best = table.set_column(2, "rank_keep", pa.array(np.zeros(len(table), np.int16)))
    pq.write_table(best, ranks)
    assert "its sha256 is" in faults_of(handed_in, known)
    edit(handed_in, lambda raw: raw["files"][0].update(sha256=hashlib.sha256(ranks.read_bytes()).hexdigest()))
    assert "computed again from the ranks it is" in faults_of(handed_in, known)
    # Easy targets of one's own, all figures computed from them, under the fingerprints of the published split.
    easy = workshop.run("gru4rec", split=1, fingerprints=TEXTS)
    size = json.loads(next(known.boards.glob("records/*/record.json")).read_text())["dataset"]["n_interactions"]  # type: ignore[union-attr]
    raw = json.loads((easy / "record.json").read_text())
    raw.pop("sha256")
    raw["dataset"]["n_interactions"] = size
    (easy / "record.json").write_text(RunRecord.model_validate(raw).to_json())
    assert not write_submission(tmp_path / "easy", [easy], replace(known, boards=None)).faults
    assert "is none of the published records of this split" in faults_of(tmp_path / "easy", known)


def test_a_table_that_another_library_wrote_is_the_same_table(handed_in: Path, known: Known) -> None:
    (targets,) = handed_in.glob("records/shared/targets-*")
    table, old = pq.read_table(targets), targets.name
    targets.unlink()
    pq.write_table(table, targets, compression="gzip")
    digest = hashlib.sha256(targets.read_bytes()).hexdigest()
    targets.rename(targets.with_name(f"targets-{digest[:16]}.parquet"))

    def rename(raw: Any) -> None:
        next(part for part in raw["files"] if part["name"] == old).update(name=f"targets-{digest[:16]}.parquet", sha256=digest)

    edit(handed_in, rename)
    assert faults_of(handed_in, known) == ""


def test_copies_are_refused(workshop: Any, known: Known, tmp_path: Path) -> None:
    run = workshop.run(seed=0, run_id="toy-sasrec-paper-s0-again-1")
    with pytest.raises(VerifyFailed, match="the same row and seed: nothing new"):
        write_submission(tmp_path / "again", [run], known)
    run = workshop.run(seed=0, run_id="toy-mine-paper-s0-1-1")
    raw = json.loads((run / "record.json").read_text())
    raw.pop("sha256")
    raw["model"] |= {"name": "mine", "row_name": "mine:paper", "distribution": "theirs"}
    (run / "record.json").write_text(RunRecord.model_validate(raw).to_json())
    with pytest.raises(VerifyFailed, match="which is of another model"):
        write_submission(tmp_path / "mine", [run], known)


def giant(submission: Path) -> None:
    with (record_of(submission).parent / "exposure.parquet").open("r+b") as stream:
        stream.truncate(65 << 20)


def linked(submission: Path) -> None:
    path = record_of(submission).parent / "curve.csv"
    path.unlink()
    path.symlink_to("/etc/passwd")


def linked_folder(submission: Path) -> None:
    folder = record_of(submission).parent
    folder.rename(submission.parent / "elsewhere")
    folder.symlink_to(submission.parent / "elsewhere")


def of_texts(submission: Path) -> None:
    pq.write_table(pa.table({"user": ["a" * 1000] * 10}), record_of(submission).parent / "ranks.parquet")


def forged_table(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Changes columns of a table and writes its new sum into the record."""

    def harm(submission: Path) -> None:
        path = record_of(submission).parent / name
        table = pq.read_table(path)
        columns = {column: table[column].to_numpy().copy() for column in table.column_names}
        change(columns)
        new = pa.table(columns).cast(table.schema).replace_schema_metadata(table.schema.metadata)
        pq.write_table(new, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        edit(submission, lambda raw: next(part for part in raw["files"] if part["name"] == name).update(sha256=digest))

    return harm


def test_ranks_that_no_lists_give_are_refused(workshop: Any, known: Known, tmp_path: Path) -> None:
    run = workshop.run("gru4rec", skill=0.35)
    write_submission(tmp_path / "submission", [run], known)
    forged_table("exposure.parquet", lambda columns: columns.update(keep=np.zeros_like(columns["keep"])))(tmp_path / "submission")
    assert "beyond, keep" in faults_of(tmp_path / "submission", known)
    assert "No lists give that" in faults_of(tmp_path / "submission", known)


def test_a_copy_is_known_however_it_is_written(workshop: Any, known: Known, tmp_path: Path) -> None:
    def theirs(name: str, change: Callable[[Any], Any]) -> Path:
        run = workshop.run(seed=0, run_id=f"toy-{name}-paper-s0-1-1")
        submission = tmp_path / name
        about = {"name": name, "row_name": f"{name}:paper", "distribution": "theirs"}
        shutil.copytree(run, submission / "records" / run.name)
        (submission / "records" / "shared").mkdir()
        for table in [*run.glob("targets-*"), *run.glob("items-*")]:
            shutil.move(submission / "records" / run.name / table.name, submission / "records" / "shared")
        edit(submission, lambda raw: raw["model"].update(about))
        forged_table("ranks.parquet", change)(submission)
        return submission

    assert "which is of another model" in faults_of(theirs("again", lambda _: None), known)

    def one_rank_lower(columns: Any) -> None:
        place = int(np.flatnonzero(columns["rank_keep"] == 0)[0])
        columns["rank_keep"][place] = 1

    notes = check_submissions([theirs("nearly", one_rank_lower)], known).notes
    assert any("of another model: ask how it was made" in note for note in notes)


def twice(submission: Path) -> None:
    """The seed twice: whoever reads the text sees the first, a program the last."""
    path = record_of(submission)
    path.write_text(path.read_text().replace('"seed": 0,', '"seed": 7,\n "seed": 0,', 1))


STRANGE: list[tuple[str, Callable[[Path], Any], str]] = [
    ("a link", linked, "this is a link"),
    ("a linked folder", linked_folder, "this is a link"),
    ("a giant file", giant, "has 65.0 MiB, more than 64.0 MiB"),
    ("a table of texts", of_texts, "tables of a record hold numbers only"),
    ("no table", lambda folder: (record_of(folder).parent / "ranks.parquet").write_bytes(b"x"), "no whole parquet file"),
    ("a pipe", lambda folder: os.mkfifo(record_of(folder).parent / "tune.json"), "this is no file"),
    ("a script", lambda folder: (folder / "setup.py").write_text("1"), "no submission has such a file"),
    ("weights", lambda folder: (record_of(folder).parent / "model.safetensors").write_text("1"), "no submission has such a file"),
    ("a hidden folder", lambda folder: (folder / ".github").mkdir(), "no submission has such a folder"),
    ("a deep folder", lambda folder: (record_of(folder).parent / "model").mkdir(), "no submission has such a folder"),
    ("a folder of an odd name", lambda folder: (folder / "records" / "a b").mkdir(), "no submission has such a folder"),
    ("an empty folder", lambda folder: (folder / "records" / "empty").mkdir(), "there is no such record"),
    ("nothing", lambda folder: shutil.rmtree(folder / "records"), "there is no record to check"),
    ("a key twice", twice, "is not laid out as recbench writes it"),
    ("anything as a curve", lambda folder: (record_of(folder).parent / "curve.csv").write_text("=cmd()"), "is no training curve"),
    ("deep JSON", lambda folder: record_of(folder).write_text("[" * 100_000), "not valid JSON"),
]


@pytest.mark.parametrize(("what", "harm", "words"), STRANGE, ids=[what for what, _, _ in STRANGE])
def test_what_is_no_submission_is_refused_unread(handed_in: Path, known: Known, what: str, harm: Callable[[Path], Any], words: str) -> None:
    harm(handed_in)
    assert words in faults_of(handed_in, known), what
    with pytest.raises(VerifyFailed):
        accept_submissions([handed_in], known)


def test_a_table_that_would_unpack_to_any_size_is_not_read(handed_in: Path, known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbench.evaluation.tables._MOST_CELLS", 100)
    assert "more than any split" in faults_of(handed_in, known)


def test_one_fault_keeps_all_out(workshop: Any, known: Known, handed_in: Path, tmp_path: Path) -> None:
    write_submission(tmp_path / "other", [workshop.run("hgn", skill=0.2)], known)
    edit(tmp_path / "other", FORGED[0][1])
    assert known.boards is not None
    before = sorted(known.boards.rglob("*"))
    with pytest.raises(VerifyFailed, match="1 fault:"):
        accept_submissions([handed_in, tmp_path / "other"], known)
    assert sorted(known.boards.rglob("*")) == before


def test_a_split_that_nobody_published_needs_a_word(workshop: Any, known: Known, tmp_path: Path) -> None:
    run = workshop.run("gru4rec", protocol={"ties": "shuffle=7"})
    with pytest.raises(VerifyFailed, match="--new-split"):
        write_submission(tmp_path / "new", [run], known)
    assert not write_submission(tmp_path / "new", [run], replace(known, new_split=True)).faults


def test_the_commands_hand_in_check_and_accept(workshop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"name": "ml-100k", "title": "MovieLens 100K"}
    workshop.trivial(dataset=data)
    mine = workshop.run(dataset=data, skill=0.5)
    monkeypatch.chdir(tmp_path)

    def recbench(*words: str) -> Any:
        return CliRunner().invoke(app, list(words), prog_name="recbench")

    shutil.move(mine, tmp_path / "mine")
    assert recbench("leaderboard", "publish").exit_code == 0
    shutil.move(tmp_path / "mine", mine)
    done = recbench("submit", mine.name, "--output", "submissions/me")
    assert done.exit_code == 0, done.stderr
    assert "open a pull request" in done.stdout
    assert "recbench leaderboard check submissions/me" in done.stdout
    assert "1 record, " in recbench("leaderboard", "check", "submissions/me").stdout
    assert json.loads(recbench("leaderboard", "check", "submissions/me", "--json").stdout)["faults"] == []
    assert recbench("leaderboard", "accept", "submissions/me").exit_code == 0
    assert recbench("verify").exit_code == 0
    again = recbench("leaderboard", "check", "submissions/me")
    assert again.exit_code == 1
    assert "is published already" in again.stderr
    assert recbench("leaderboard", "check", "nowhere").exit_code == 1
