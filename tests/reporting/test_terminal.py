"""Tables of one run, of a comparison, of a difference."""

import dataclasses
import io
import json
from typing import Any

import pytest
from rich.console import Console, RenderableType

from recbench.core.errors import BadRequest, SplitMismatch
from recbench.core.records import Interval, ReferencePart
from recbench.evaluation import paired_bootstrap
from recbench.reporting import (
    StoredRun,
    compare_runs,
    comparison_table,
    diff,
    diff_table,
    record_table,
    run_lines,
    run_table,
)


def drawn(table: RenderableType, width: int = 220) -> str:
    stream = io.StringIO()
    Console(width=width, file=stream).print(table)
    return stream.getvalue()


def test_a_run_stands_beside_what_was_published(workshop: Any, cards: Any) -> None:
    record = StoredRun.open(workshop.run()).record
    line = next(line for line in run_lines(record, cards["sasrec"]) if line.metric == "ndcg@10")
    keep = line.figures["keep"]
    assert keep is not None
    assert keep.value == record.metrics["keep"]["ndcg@10"].value
    assert [(figure.published, figure.view, figure.verdict) for figure in line.published] == [
        (0.5, "keep", "below"),
        (0.05, "unknown", "not comparable"),
    ]
    text = drawn(run_table(record, cards["sasrec"]))
    for part in (
        f"{keep.value:.4f}",
        "0.5000 [1]",
        "below",
        "[1] A paper, table 2 (paper), view keep",
        "not comparable: view unknown",
        "12.5 s of training",
    ):
        assert part in text
    json.dumps([dataclasses.asdict(line) for line in run_lines(record, cards["sasrec"])])


def test_a_published_metric_that_the_run_lacks_has_a_line(workshop: Any, make_card: Any) -> None:
    numbers = {"dataset": "tiny", "view": "keep", "metrics": {"recall@200": 0.25}, "source": "A paper", "kind": "paper"}
    record = StoredRun.open(workshop.run()).record
    card = make_card("sasrec", published=[numbers | {"dataset": record.dataset.name}])
    line = run_lines(record, card)[-1]
    assert (line.metric, line.figures) == ("recall@200", {"keep": None, "unseen": None})
    text = drawn(run_table(record, card))
    assert "0.2500 [1]" in text
    assert "[1] A paper (paper), view keep, level unknown; not measured: lists hold 50 places" in text


def test_a_run_without_published_numbers_needs_no_card(workshop: Any) -> None:
    record = StoredRun.open(workshop.run(views=("unseen",), device={"jobs": 3})).record
    text = drawn(run_table(record, None))
    assert "Published" not in text
    assert "–" in text
    assert "3 runs shared the machine" in text


def test_the_dagger_of_a_comparison_is_explained_where_there_is_one(workshop: Any) -> None:
    shared = drawn(comparison_table(compare_runs([workshop.run("a"), workshop.run("b", device={"jobs": 3})])))
    assert shared.count("† Measured while several runs shared the machine") == 1
    row = next(line for line in shared.splitlines() if line.strip().startswith("b:paper") and "†" in line)
    assert row.count("†") == 3
    assert "†" not in drawn(comparison_table(compare_runs([workshop.run("a"), workshop.run("b")])))


def test_a_run_stands_beside_its_references_in_words(workshop: Any) -> None:
    record = StoredRun.open(workshop.run()).record

    def part(view: str, low: float, high: float) -> ReferencePart:
        difference = Interval(value=(low + high) / 2, low=low, high=high)
        return ReferencePart(reference="popularity:default", model="popularity", view=view, value=0.0224, difference=difference)

    parts = [part("keep", -0.02, -0.01), part("unseen", -0.01, 0.03)]
    for text in (drawn(run_table(record, None, parts)), drawn(record_table(record, None, parts))):
        line = next(line for line in text.splitlines() if line.strip().startswith("popularity:default"))
        assert "-0.0150 [-0.0200, -0.0100]  below popularity" in line
        assert "+0.0100 [-0.0100, +0.0300]  level with popularity" in line


def test_an_undertrained_run_says_so_before_its_figures(workshop: Any) -> None:
    hardly = workshop.run(fit={"examples_seen": 300})
    for text in (drawn(run_table(StoredRun.open(hardly).record, None)), drawn(comparison_table(compare_runs([hardly])))):
        assert "undertrained: 0.3 passes" in text
    assert "undertrained" not in drawn(run_table(StoredRun.open(workshop.run()).record, None))


def test_a_whole_record_for_reading(workshop: Any) -> None:
    run = workshop.run(fit={"resumed_at": 10}, budget="60 seconds")
    text = drawn(record_table(StoredRun.open(run).record))
    for part in (run.name, "resumed at step 10", "60 seconds", "target popularity: mid", "coverage@10 keep", "width", "Toy CPU"):
        assert part in text


def test_a_record_shows_no_heading_without_lines(workshop: Any) -> None:
    record = StoredRun.open(workshop.run()).record
    headings = {"Diagnostics", "Beyond accuracy", "Group of users", "Settings"}
    assert {"Beyond accuracy", "Group of users", "Settings"} <= {heading for heading in headings if heading in drawn(record_table(record))}
    empty = record.model_copy(update={"diagnostics": {}, "beyond": {}, "slices": [], "config": {}})
    assert not {heading for heading in headings if heading in drawn(record_table(empty))}


def test_a_comparison_has_rows_data_sets_and_tests(workshop: Any) -> None:
    runs = [workshop.run("a", skill=0.8), workshop.run("b"), workshop.run("a", dataset={"name": "other"}, split=1)]
    comparison = compare_runs(runs)
    assert [section.dataset.name for section in comparison.sections] == ["other", "toy"]
    assert [test.other for test in comparison.tests["toy"]] == ["b:paper"]
    assert comparison.tests["other"] == ()
    text = drawn(comparison_table(comparison))
    assert "toy: a:paper against each other row" in text
    row = next(line for line in text.splitlines() if line.strip().startswith("b:paper"))
    assert "–" in row


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"split": 1}, "test parts differ"), ({"protocol": {"ties": "shuffle=1"}}, "ties shuffle=1")],
)
def test_a_comparison_refuses_what_does_not_belong_together(workshop: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SplitMismatch, match=message):
        compare_runs([workshop.run("a"), workshop.run("b", **changes)])


def test_a_comparison_of_nothing_is_refused() -> None:
    with pytest.raises(BadRequest, match="no finished run"):
        compare_runs([])


def test_equal_runs_do_not_differ(workshop: Any) -> None:
    first, second = workshop.run(), workshop.run()
    assert diff(first, second, {}) == []
    assert "Nothing differs" in drawn(diff_table(diff(first, second, {})))


def test_a_difference_names_causes_before_figures(workshop: Any) -> None:
    first = workshop.run()
    second = workshop.run(
        skill=0.6,
        config={"width": 128, "depth": {"blocks": 3}},
        code={"version": "0.2.0"},
        libraries={"torch": "2.13"},
        device={"threads": 1},
        fit={"steps": 40},
        fingerprints={"train": "0" * 64},
    )
    rows = diff(first, second, {})
    found = {(row.area, row.name): row for row in rows}
    assert (found["setting", "config.width"].first, found["setting", "config.width"].second) == ("64", "128")
    assert (found["setting", "config.depth.blocks"].first, found["setting", "config.depth.blocks"].second) == ("–", "3")
    assert found["data", "train"].note == "the models learnt from other data"
    assert ("code", "version") in found
    assert found["library", "torch"].second == "2.13"
    assert "1 thread," in found["machine", "machine"].second
    assert found["training", "steps"].second == "40"
    gap = paired_bootstrap(*(StoredRun.open(run).per_user("ndcg@10", "keep") for run in (second, first)))
    assert found["figure", "keep ndcg@10"].note == f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
    areas = [row.area for row in rows]
    assert areas == sorted(areas, key=["setting", "data", "code", "library", "machine", "training", "figure"].index)
    assert "config.width" in drawn(diff_table(rows))


def test_runs_on_other_targets_are_not_paired(workshop: Any) -> None:
    rows = diff(workshop.run(), workshop.run(split=1), {})
    assert any(row.name == "test" and "cannot be compared" in row.note for row in rows)
    assert {row.note for row in rows if row.area == "figure"} == {"other targets: no interval"}
