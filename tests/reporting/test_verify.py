"""Verifying: a clean board passes, and every single change is found and named."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.core.errors import VerifyFailed
from recbench.evaluation import Exposure, RankTable, read_exposure, read_ranks, write_exposure, write_ranks
from recbench.reporting import inspect_boards, publish, verify


@pytest.fixture
def boards(published_boards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published_boards, tmp_path / "boards"))


def next_digit(text: str, place: int) -> str:
    return text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]


def refusal(boards: Path, cards: Any) -> str:
    with pytest.raises(VerifyFailed) as error:
        verify(boards, cards)
    return str(error.value)


def a_record(boards: Path) -> Path:
    return next(path for path in sorted((boards / "records").iterdir()) if "sasrec-paper-s1" in path.name)


def test_a_clean_board_passes(boards: Path, cards: Any) -> None:
    report = verify(boards, cards)
    assert (report.n_pages, report.n_rows, report.n_records) == (3, 3, 4)
    assert report.n_figures > 500
    assert report.faults == ()


def test_one_digit_of_each_kind_on_a_page_is_found_with_its_line(boards: Path, cards: Any) -> None:
    page = boards / "toy.md"
    text = page.read_text()
    seen = 0
    for heading in ("Accuracy, view `keep`", "Published numbers", "Cost", "Against the best row", "by group", "Beyond", "How each"):
        table = text.index("| :--", text.index(heading))
        place = re.compile(r"\d(?=\d{3})|\d\.|(?<=\| )\d").search(text, text.index("\n", table) + 1)
        assert place is not None
        page.write_text(next_digit(text, place.start()))
        line = text[: place.start()].count("\n") + 1
        assert f"toy.md, line {line}: " in refusal(boards, cards)
        seen += 1
    assert seen == 7


def test_an_edited_index_is_found(boards: Path, cards: Any) -> None:
    page = boards / "index.md"
    page.write_text(page.read_text().replace("| 100 |", "| 101 |", 1))
    assert "index.md, line 7" in refusal(boards, cards)


@pytest.mark.parametrize(
    "figure",
    [
        r'"keep":\{"accuracy":\["0\.\d{4}',
        r'"unseen":\{"accuracy":\["0\.\d{4}',
        r'"beyond":\["0\.\d{4}',
        r'"target popularity","mid","\d',
        r'"cost":\[\["[^]]*"12\.5',
        r'"against":\[\["\d and \d","[+−]0\.\d{4}',
        r'"published":\[\["NDCG@10","keep","[^]]*"0\.5',
        r'"made":\[\[\d',
        r'"n_users":\d',
        r'"fingerprint":"\d',
        r'"protocol":"leave-one-out, ties shuffle=\d',
        r"LEAST_SECONDS = 0\.\d",
    ],
)
def test_one_digit_of_the_html_page_is_found_with_its_line(boards: Path, cards: Any, figure: str) -> None:
    page = boards / "index.html"
    text = page.read_text()
    match = re.search(figure, text)
    assert match is not None
    page.write_text(next_digit(text, match.end() - 1))
    message = refusal(boards, cards)
    assert f"index.html, line {text[: match.end()].count(chr(10)) + 1}: it reads " in message
    assert next_digit(match[0], len(match[0]) - 1)[-12:] in message
    assert message.count("\n") == 1


def test_another_hash_of_a_record_in_the_html_page_is_found(boards: Path, cards: Any) -> None:
    page = boards / "index.html"
    found = re.search(r'/record\.json","([0-9a-f]{16})"', page.read_text())
    assert found is not None
    page.write_text(page.read_text().replace(found[1], found[1][::-1]))
    message = refusal(boards, cards)
    assert f"says {found[1][::-1]}: one was edited" in message
    assert "index.html, line" in message


def test_another_protocol_in_a_record_is_found(boards: Path, cards: Any, reseal: Any) -> None:
    record = a_record(boards) / "record.json"
    text = re.sub(r'("ties": ?)"source"', r'\1"shuffle=7"', record.read_text(), count=1)
    assert text != record.read_text()
    record.write_text(reseal(text))
    message = refusal(boards, cards)
    for named in (str(record), "index.html line", "index.html, line", "toy.md, line"):
        assert named in message


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r'"value": ?0\.\d{4}', "computed again from the ranks"),
        (r'"train_s": ?\d', "one was edited"),
        (r'"seed": ?\d', "one was edited"),
        (r'"coverage@10": ?0\.\d\d', "beyond, keep, coverage@10"),
        (r'"n_cold": ?\d', "targets, n_cold"),
        (r'"share_tied": ?0\.\d', "targets, share_tied"),
        (r'"n_items": ?\d', "dataset, n_items"),
        (r'"list_length": ?\d', "protocol, list_length"),
    ],
)
def test_one_digit_of_a_record_is_found(boards: Path, cards: Any, reseal: Any, pattern: str, said: str) -> None:
    path = a_record(boards) / "record.json"
    text = path.read_text()
    match = re.search(pattern, text)
    assert match is not None
    path.write_text(reseal(next_digit(text, match.end() - 1)))
    message = refusal(boards, cards)
    assert str(path) in message
    assert said in message


def test_an_unreadable_record_is_found(boards: Path, cards: Any) -> None:
    path = a_record(boards) / "record.json"
    path.write_text(path.read_text()[:-20])
    message = refusal(boards, cards)
    assert f"{path}: is not valid JSON" in message or f"{path}: " in message


def change_ranks(path: Path) -> None:
    table = read_ranks(path)
    keep = table.rank["keep"].copy()
    keep[0] = (keep[0] + 2) % 40
    write_ranks(RankTable(table.user, table.target, {**table.rank, "keep": keep}, table.list_length), path)


def change_exposure(path: Path) -> None:
    counts = {view: column.copy() for view, column in read_exposure(path).counts.items()}
    counts["keep"][0] += 1
    write_exposure(Exposure(counts), path)


def change_last_byte(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ranks.parquet", change_ranks),
        ("ranks.parquet", change_last_byte),
        ("exposure.parquet", change_exposure),
        ("curve.csv", change_last_byte),
        ("curve.csv", Path.unlink),
        ("ranks.parquet", Path.unlink),
    ],
)
def test_a_changed_or_missing_file_of_a_record_is_found(boards: Path, cards: Any, name: str, change: Callable[[Path], Any]) -> None:
    path = a_record(boards) / name
    change(path)
    assert str(path) in refusal(boards, cards)


@pytest.mark.parametrize("prefix", ["targets-", "items-"])
def test_a_changed_shared_file_is_found(boards: Path, cards: Any, prefix: str) -> None:
    path = next((boards / "records" / "shared").glob(f"{prefix}*"))
    change_last_byte(path)
    message = refusal(boards, cards)
    assert str(path) in message
    assert "its name says" in message


def test_ranks_changed_together_with_the_hash_in_the_record_are_found(boards: Path, cards: Any, reseal: Any) -> None:
    from recbench.core.digests import file_sha256

    folder = a_record(boards)
    before = file_sha256(folder / "ranks.parquet")
    change_ranks(folder / "ranks.parquet")
    record = folder / "record.json"
    record.write_text(reseal(record.read_text().replace(before, file_sha256(folder / "ranks.parquet"))))
    message = refusal(boards, cards)
    assert "computed again from the ranks" in message
    assert "one was edited" in message


@pytest.mark.parametrize(("what", "factor", "is_refused"), [("low", 1 - 1e-6, True), ("low", 1 - 1e-13, False), ("value", 1 - 1e-15, True)])
def test_means_must_come_out_again_to_the_last_digit_and_ends_to_a_billionth(
    boards: Path, cards: Any, reseal: Any, what: str, factor: float, is_refused: bool
) -> None:
    path = a_record(boards) / "record.json"
    record = json.loads(path.read_text())
    record["metrics"]["keep"]["ndcg@10"][what] *= factor
    path.write_text(reseal(json.dumps(record)))
    assert (f"metrics, keep, ndcg@10, {what} is" in refusal(boards, cards)) == is_refused


def test_a_removed_record_is_named(boards: Path, cards: Any) -> None:
    folder = a_record(boards)
    shutil.rmtree(folder)
    message = refusal(boards, cards)
    assert f"{folder / 'record.json'}: the record is gone" in message
    for page in ("toy.md", "index.html"):
        assert re.search(rf"{page} line \d+ names it", message)


def test_a_record_that_no_page_shows_is_found(boards: Path, cards: Any, workshop: Any, tmp_path: Path) -> None:
    publish(tmp_path / "other", [workshop.run(seed=5)], cards)
    for folder in (tmp_path / "other" / "records").glob("toy-*"):
        shutil.copytree(folder, boards / "records" / folder.name)
    assert "toy.md, line" in refusal(boards, cards)


def test_a_record_under_another_name_is_found(boards: Path, cards: Any) -> None:
    shutil.copytree(a_record(boards), boards / "records" / "twin")
    assert "twin" in refusal(boards, cards)


def test_a_missing_page_and_a_page_too_many_are_found(boards: Path, cards: Any) -> None:
    (boards / "toy.md").rename(boards / "toys.md")
    message = refusal(boards, cards)
    assert "toy.md: the page is missing" in message
    assert "toys.md: no record belongs to this page" in message


def test_a_missing_and_a_second_html_page_are_found_and_a_foreign_one_is_not_looked_at(boards: Path, cards: Any) -> None:
    (boards / "notes.html").write_text("<!doctype html>")
    assert verify(boards, cards).n_pages == 3
    (boards / "index.html").rename(boards / "copy.html")
    message = refusal(boards, cards)
    assert "index.html: the page is missing" in message
    assert "copy.html: no record belongs to this page" in message
    assert "notes.html" not in message


def test_all_faults_are_listed(boards: Path, cards: Any) -> None:
    change_exposure(a_record(boards) / "exposure.parquet")
    page = boards / "index.md"
    page.write_text(page.read_text().replace("| 80 |", "| 90 |"))
    files = {fault.file.name for fault in inspect_boards(boards, cards).faults}
    assert {"exposure.parquet", "index.md"} <= files
    assert "exposure.parquet" in refusal(boards, cards)


@pytest.mark.parametrize("published", [False, True])
def test_nothing_to_verify_fails(tmp_path: Path, cards: Any, published: bool) -> None:
    if published:
        publish(tmp_path / "boards", [], cards)
    assert "there is no row to verify" in refusal(tmp_path / "boards", cards)
