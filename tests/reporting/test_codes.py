"""What a record says about item codes: a table, plain data for machines, a picture."""

import dataclasses
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from recbench.core.codes_file import ENDED
from recbench.core.errors import BadData, BadRequest
from recbench.evaluation import CODES_FILE, code_figures, read_codes
from recbench.nn.codes.catalogue import ItemCodes, make_unique
from recbench.reporting import StoredRun, code_report, codes_table, plot_codes, publish, record_table

N_ITEMS = 80


def drawn(table: Any) -> str:
    stream = io.StringIO()
    Console(width=220, file=stream).print(table)
    return stream.getvalue()


def run_with(workshop: Any, codes: ItemCodes, names: list[str] | None = None) -> Path:
    """A finished run whose record says what its codes are like."""
    workshop.runs.mkdir(exist_ok=True)
    path = codes.save(workshop.runs)
    figures = code_figures(read_codes(path), names)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    plain = StoredRun.open(workshop.run()).record.files
    files = [part.model_dump() for part in plain] + [{"name": CODES_FILE, "sha256": digest}]
    run: Path = workshop.run(diagnostics=figures, files=files)
    path.rename(run / CODES_FILE)
    return run


def run_with_codes(workshop: Any, *, categories: bool = True) -> Path:
    """The same with codes of two levels and one that tells apart."""
    rng = np.random.default_rng(0)
    category = np.arange(N_ITEMS) % 4
    codes = np.stack([category * 2 + rng.integers(0, 2, N_ITEMS), rng.integers(0, 5, N_ITEMS)], axis=1).astype(np.int32)
    unique = dataclasses.replace(make_unique(codes, (10, 5), least_size=10), unexplained=(0.6, 0.4))
    return run_with(workshop, unique, [f"kind {number}" for number in category] if categories else None)


def lexical_codes() -> ItemCodes:
    """Twelve items called by three words each, item 2 by two; the last two have the same words, and a number."""
    code = np.array([[item % 3, 3 + item % 4, 10, ENDED] for item in range(10)] + [[9, 8, 7, 0], [9, 8, 7, 1]], np.int32)
    code[2, 2] = ENDED
    return ItemCodes(code, (11,) * 4, n_extra=1, is_numbered=np.arange(12) >= 10, shared_tokens=True)


def test_a_line_per_level(workshop: Any) -> None:
    record = StoredRun.open(run_with_codes(workshop)).record
    report = code_report(record)
    assert [level.size for level in report.levels] == [10, 5, 10]
    assert [level.is_extra for level in report.levels] == [False, False, True]
    assert [level.usage for level in report.levels[:2]] == [0.8, 1.0]
    assert [level.unexplained for level in report.levels] == [0.6, 0.4, None]
    assert report.levels[0].purity == 1.0
    assert report.items == N_ITEMS
    assert report.largest_group == report.levels[2].used
    text = drawn(codes_table(report))
    for part in ("80.0%", "3 (tells apart)", "Variance left", "60.0%", "Purity", "100.0%", "for 80 items", "Perplexity", "–"):
        assert part in text
    json.dumps(dataclasses.asdict(report))


def test_lexical_ids_have_lines_of_their_own(workshop: Any) -> None:
    report = code_report(StoredRun.open(run_with(workshop, lexical_codes())).record)
    assert (report.numbered, report.distinct_tokens, report.repeated, report.prefix_of_another) == (2, 11, 0, 0)
    assert report.is_unique
    assert [level.largest_prefix for level in report.levels] == [4, 2, 2, 1]
    text = drawn(codes_table(report))
    for part in (
        "Items per prefix  at most",
        "different codes before the number that tells apart  11 for 12 items",
        "items with a number that tells apart                2",
        "different tokens in all codes                       11",
        "codes with a token twice                            0",
        "codes that are the beginning of another             0",
        "no two items have the same code                     yes",
    ):
        assert part in text
    assert "items whose last code is not 0" not in text
    json.dumps(dataclasses.asdict(report))


def test_codes_that_are_not_unique_are_told(workshop: Any) -> None:
    run = run_with(workshop, ItemCodes(np.array([[0, 1], [0, 1], [0, ENDED]], np.int32), (1, 2)))
    report = code_report(StoredRun.open(run).record)
    assert (report.is_unique, report.prefix_of_another) == (False, 1)
    text = drawn(codes_table(report))
    assert "no, some share theirs" in text
    assert "different codes  " in text
    assert "items whose last code is not 0" not in text  # nothing tells items apart


def test_a_record_from_before_has_no_lines_for_what_was_not_counted(workshop: Any) -> None:
    record = StoredRun.open(run_with_codes(workshop)).record
    later = ("codes_largest_", "codes_unique", "codes_prefix_of_another")
    figures = {name: value for name, value in record.diagnostics.items() if name == "codes_largest_group" or not name.startswith(later)}
    report = code_report(record.model_copy(update={"diagnostics": figures}))
    assert (report.is_unique, report.prefix_of_another, report.numbered, report.distinct_tokens, report.repeated) == (None,) * 5
    assert {level.largest_prefix for level in report.levels} == {None}
    text = drawn(codes_table(report))
    for part in ("at most", "same code", "beginning of another", "token", "number"):
        assert part not in text
    assert "items in the largest such group" in text
    assert "items whose last code is not 0" in text


def test_without_categories_there_is_no_purity(workshop: Any) -> None:
    run = run_with_codes(workshop, categories=False)
    report = code_report(StoredRun.open(run).record)
    assert report.levels[0].purity is None
    assert "Purity" not in drawn(codes_table(report))
    assert plot_codes(run).read_bytes().startswith(b"\x89PNG")


def test_the_whole_record_says_where_the_codes_are_shown(workshop: Any) -> None:
    text = drawn(record_table(StoredRun.open(run_with_codes(workshop)).record))
    assert "shown with --codes" in text
    assert "codes_usage_1" not in text


def test_the_picture_is_the_same_for_the_same_codes(workshop: Any) -> None:
    run = run_with_codes(workshop)
    path = plot_codes(run)
    assert path == run / "codes.png"
    first = path.read_bytes()
    assert first.startswith(b"\x89PNG")
    assert plot_codes(run, run / "again.png").read_bytes() == first


def test_a_run_without_codes_says_so(workshop: Any) -> None:
    run = workshop.run()
    with pytest.raises(BadRequest, match=r"has no item codes: sasrec:paper does not give items codes"):
        code_report(StoredRun.open(run).record)
    with pytest.raises(BadRequest, match="has no item codes"):
        plot_codes(run)


def test_a_published_record_keeps_the_figures_and_not_the_codes(workshop: Any, cards: Any, tmp_path: Path) -> None:
    run = run_with_codes(workshop)
    publish(tmp_path / "boards", [run], cards)
    published = tmp_path / "boards" / "records" / run.name
    assert not (published / CODES_FILE).exists()
    assert code_report(StoredRun.open(published).record) == code_report(StoredRun.open(run).record)
    with pytest.raises(BadData, match=CODES_FILE):
        plot_codes(published)
