import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recbench.core import BadData
from recbench.evaluation import (
    Exposure,
    RankTable,
    TargetFacts,
    content_name,
    evaluate,
    exposure_counts,
    ranks_of_targets,
    read_exposure,
    read_items,
    read_ranks,
    read_targets,
    target_facts,
    write_exposure,
    write_items,
    write_ranks,
    write_targets,
)
from recbench.tasks import NEXT_ITEM
from tests.evaluation.scored import random_scored


@dataclasses.dataclass(frozen=True)
class Case:
    ranks: RankTable
    facts: TargetFacts
    exposure: Exposure
    train_count: np.ndarray


@pytest.fixture
def case() -> Case:
    scored = random_scored(np.random.default_rng(0), n_users=40, largest_set=3)
    queries, rankings = scored.queries(), scored.rankings(20)
    return Case(
        RankTable.of_queries(queries.user, scored.targets, ranks_of_targets(rankings, scored.targets, queries), 20),
        target_facts(scored.train(), scored.histories, scored.targets, queries.user, np.arange(40) % 2 == 0),
        exposure_counts(rankings, scored.n_items),
        scored.train().item_counts(),
    )


def same(first: object, second: object) -> bool:
    """Whether two tables have equal columns of equal types."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if dataclasses.is_dataclass(first):
        return all(same(getattr(first, field.name), getattr(second, field.name)) for field in dataclasses.fields(first))
    return first == second


def test_what_is_written_is_read_and_gives_the_same_evaluation(case: Case, tmp_path: Path) -> None:
    ranks = read_ranks(write_ranks(case.ranks, tmp_path / "ranks.parquet"))
    exposure = read_exposure(write_exposure(case.exposure, tmp_path / "exposure.parquet"))
    facts = read_targets(write_targets(case.facts, tmp_path))
    train_count = read_items(write_items(case.train_count, tmp_path))
    assert same(ranks, case.ranks)
    assert same(exposure, case.exposure)
    assert same(facts, case.facts)
    assert same(train_count, case.train_count)
    assert evaluate(ranks, facts, exposure, train_count, NEXT_ITEM.measures) == evaluate(
        case.ranks, case.facts, case.exposure, case.train_count, NEXT_ITEM.measures
    )


def test_columns_are_those_of_the_record(case: Case, tmp_path: Path) -> None:
    kinds = {
        write_ranks(case.ranks, tmp_path / "ranks.parquet"): {
            "user": "int32", "target": "int32", "rank_keep": "int16", "rank_unseen": "int16",
        },
        write_exposure(case.exposure, tmp_path / "exposure.parquet"): {"item": "int32", "keep": "int32", "unseen": "int32"},
        write_items(case.train_count, tmp_path): {"item": "int32", "train_count": "int64"},
        write_targets(case.facts, tmp_path): {
            "user": "int32", "target": "int32", "target_count": "int32", "history_length": "int32", "is_tied": "bool",
            "in_history": "bool", "follows_last": "bool", "history_popularity": "double",
        },
    }  # fmt: skip
    for path, columns in kinds.items():
        schema = pq.read_schema(path)
        assert {field.name: str(field.type) for field in schema} == columns


def test_one_view_alone_and_unknown_times_survive(case: Case, tmp_path: Path) -> None:
    ranks = RankTable(case.ranks.user, case.ranks.target, {"unseen": case.ranks.rank["unseen"]}, 7_000)
    assert same(read_ranks(write_ranks(ranks, tmp_path / "ranks.parquet")), ranks)
    exposure = Exposure({"keep": case.exposure.counts["keep"]})
    assert same(read_exposure(write_exposure(exposure, tmp_path / "exposure.parquet")), exposure)
    facts = dataclasses.replace(case.facts, is_tied=None)
    assert same(read_targets(write_targets(facts, tmp_path)), facts)


def test_equal_content_gives_equal_bytes_and_names(case: Case, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    copy = dataclasses.replace(case.facts, target_count=case.facts.target_count.copy())
    first, second = write_targets(case.facts, tmp_path / "a"), write_targets(copy, tmp_path / "b")
    assert first.name == second.name == content_name("targets", first.read_bytes())
    assert first.read_bytes() == second.read_bytes()
    assert first.name == f"targets-{hashlib.sha256(first.read_bytes()).hexdigest()[:16]}.parquet"
    assert write_ranks(case.ranks, tmp_path / "x").read_bytes() == write_ranks(case.ranks, tmp_path / "y").read_bytes()
    other = dataclasses.replace(case.facts, target_count=case.facts.target_count + 1)
    assert write_targets(other, tmp_path / "a").name != first.name


def test_a_shared_file_that_is_there_is_left_alone_and_nothing_else_stays(case: Case, tmp_path: Path) -> None:
    path = write_items(case.train_count, tmp_path)
    before = path.stat()
    assert write_items(case.train_count, tmp_path) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.write_bytes(b"damaged")
    write_items(case.train_count, tmp_path)
    assert same(read_items(path), case.train_count)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def rewritten(path: Path, change) -> Path:
    """The file with its table changed by `change`, notes kept."""
    table = pq.read_table(path)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["target"]), "has no column 'target', only user, rank_keep, rank_unseen"),
        (lambda t: t.drop_columns(["rank_keep", "rank_unseen"]), "none of the columns rank_keep, rank_unseen"),
        (lambda t: t.append_column("score", t["user"]), "has a column 'score' that does not belong there"),
        (lambda t: t.append_column("user", t["user"]), "has 2 columns 'user'"),
        (lambda t: t.set_column(0, "user", t["user"].cast(pa.int64())), "column 'user' is int64, not int32"),
        (lambda t: t.set_column(2, "rank_keep", pa.array([None] * len(t), pa.int16())), "column 'rank_keep' has 40 nulls"),
        (lambda t: t.set_column(2, "rank_keep", pa.array([20] * len(t), pa.int16())), "rank_keep runs from 0 to 20; -1 to 19"),
        (lambda t: t.set_column(2, "rank_keep", pa.array([-2] * len(t), pa.int16())), "rank_keep runs from -2 to 0; -1 to 19"),
    ],
)
def test_a_wrong_rank_file_is_refused_by_name(case: Case, tmp_path: Path, change, message: str) -> None:
    one_each = case.ranks.take(np.flatnonzero(np.diff(case.ranks.user, prepend=-1)))
    path = rewritten(write_ranks(one_each, tmp_path / "ranks.parquet"), change)
    with pytest.raises(BadData, match=message) as caught:
        read_ranks(path)
    assert str(path) in str(caught.value)


def test_a_rank_file_must_say_how_long_the_lists_were(case: Case, tmp_path: Path) -> None:
    path = write_ranks(case.ranks, tmp_path / "ranks.parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    with pytest.raises(BadData, match="does not say how long its lists were"):
        read_ranks(path)


def test_items_must_run_from_zero_on(case: Case, tmp_path: Path) -> None:
    path = rewritten(write_exposure(case.exposure, tmp_path / "exposure.parquet"), lambda t: t.slice(1))
    with pytest.raises(BadData, match="row 0 is about item 1"):
        read_exposure(path)
    path = rewritten(write_items(case.train_count, tmp_path), lambda t: t.take([0, 2, 1]))
    with pytest.raises(BadData, match="row 1 is about item 2"):
        read_items(path)
    path = rewritten(write_exposure(case.exposure, tmp_path / "exposure.parquet"), lambda t: t.select(["item"]))
    with pytest.raises(BadData, match="no column of a view"):
        read_exposure(path)


def test_times_are_known_for_all_targets_or_none(case: Case, tmp_path: Path) -> None:
    def forget_one(table: pa.Table) -> pa.Table:
        return table.set_column(4, "is_tied", pa.array([None, *table["is_tied"].to_pylist()[1:]], pa.bool_()))

    path = rewritten(write_targets(case.facts, tmp_path), forget_one)
    with pytest.raises(BadData, match="null in 1"):
        read_targets(path)


def test_a_missing_a_cut_off_and_a_foreign_file_are_refused_by_name(case: Case, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"nothing\.parquet: there is no such file"):
        read_ranks(tmp_path / "nothing.parquet")
    path = write_ranks(case.ranks, tmp_path / "ranks.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadData, match=r"ranks\.parquet is not a readable parquet file"):
        read_ranks(path)
    path.write_text("user,target\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"ranks\.parquet is not a readable parquet file"):
        read_ranks(path)


def test_a_changed_byte_in_the_data_is_noticed(case: Case, tmp_path: Path) -> None:
    path = write_ranks(case.ranks, tmp_path / "ranks.parquet")
    data = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    # The last byte of a column's data page; the page's checksum covers it.
    place = column.data_page_offset + column.total_compressed_size - 1
    if column.dictionary_page_offset:
        place = column.dictionary_page_offset + column.total_compressed_size - 1
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(BadData, match="not a readable parquet file"):
        read_ranks(path)
