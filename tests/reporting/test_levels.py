"""Published numbers by their level: the verdict, the board, the page, and the rows whose codes are counted."""

import csv
import io
from typing import Any

import pytest
from rich.console import Console

from recbench.reporting import StoredRun, code_report, codes_table, export_board, make_boards, run_table
from recbench.reporting.answers import NO_ANSWERS
from recbench.reporting.board import Section
from recbench.reporting.court import court, levels
from recbench.reporting.markdown import render_pages
from recbench.reporting.page import render_page
from tests.reporting.conftest import Workshop

PUBLISHED = {"dataset": "toy", "view": "keep", "metrics": {"recall@10": 0.3}, "source": "A paper", "kind": "paper"}


def figures_of_codes(sid: float = 0.3, **more: float) -> dict[str, float]:
    """What a record says about codes of one level, with scores at both levels for two metrics of one view."""
    of_level = ("size", "used", "usage", "entropy", "perplexity", "prefixes", "items_per_prefix")
    figures = {f"codes_{name}_1": 8.0 for name in of_level}
    figures |= {"codes_items": 80, "codes_levels": 1, "codes_extra": 0, "codes_distinct": 70, "codes_colliding_share": 0.25}
    figures |= {"codes_largest_group": 5, "codes_last_nonzero_share": 1, "codes_targets_in_groups": 0.125, "codes_mean_1_over_g": 0.875}
    for metric in ("recall@10", "ndcg@10"):
        figures |= {f"codes_item_{order}_{metric}_keep": 0.2 for order in ("random", "by_row", "worst", "best")}
        figures |= {f"codes_sid_{metric}_keep": sid, f"codes_sid_{metric}_keep_low": sid - 0.05}
        figures |= {f"codes_sid_{metric}_keep_high": sid + 0.05, f"codes_inflation_{metric}_keep": sid / 0.2}
    return figures | {"codes_undecided@10_keep": 3} | more


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    """A run of `sasrec:paper` without codes; `variant` makes others of it, which need no measuring."""
    return StoredRun.open(Workshop(tmp_path_factory.mktemp("levels") / "runs").run())


def variant(
    run: StoredRun, figures: dict[str, float] | None = None, /, *, model: str = "sasrec", preset: str = "paper", seed: int = 0
) -> StoredRun:
    """The same ranks as another run."""
    label = f"{model}:{preset}"
    part = run.record.model.model_copy(update={"name": model, "preset": preset, "row_name": label})
    changes = {"run_id": f"{label}-{seed}", "config_hash": label, "seed": seed, "model": part, "diagnostics": figures or {}}
    return run.with_record(run.record.model_copy(update=changes))


def section_of(cards: dict[str, Any], *runs: StoredRun) -> Section:
    (board,) = make_boards(runs, cards)
    return board.sections[0]


def drawn(table: Any) -> str:
    stream = io.StringIO()
    Console(width=220, file=stream).print(table)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("level", "diagnostics", "measured", "verdict"),
    [
        ("sid", figures_of_codes(0.31), 0.31, "reproduced"),
        ("sid", figures_of_codes(0.9), 0.9, "above"),
        ("sid", {}, None, "not measured"),
        ("item", figures_of_codes(0.9), "item", None),
        ("unknown", figures_of_codes(0.9), "item", None),
    ],
)
def test_a_number_stands_beside_the_figure_of_its_level(
    plain: StoredRun, make_card: Any, level: str, diagnostics: dict[str, float], measured: Any, verdict: str | None
) -> None:
    cards = {"sasrec": make_card("sasrec", published=[PUBLISHED | {"level": level}])}
    section = section_of(cards, variant(plain, diagnostics))
    row = section.rows[0].row
    (figure,) = section.rows[0].published
    assert figure.level == level
    assert figure.measured == (row.mean("recall@10", "keep") if measured == "item" else measured)
    if verdict is not None:
        assert figure.verdict == verdict
    if verdict == "not measured":
        assert figure.reason == "the run has no scores at code level"


def test_a_level_nobody_names_is_unknown_and_another_word_is_refused(make_card: Any) -> None:
    assert make_card("sasrec", published=[PUBLISHED]).published[0].level == "unknown"
    with pytest.raises(ValueError, match="level"):
        make_card("sasrec", published=[PUBLISHED | {"level": "token"}])


def test_seeds_share_a_figure_at_code_level_where_all_have_one(plain: StoredRun) -> None:
    both = section_of({}, variant(plain, figures_of_codes(0.3)), variant(plain, figures_of_codes(0.5), seed=1))
    figure = both.rows[0].row.code_figure("recall@10", "keep")
    assert figure is not None
    assert (figure.value, figure.low, figure.high) == pytest.approx((0.4, 0.35, 0.45))
    assert figure.std == pytest.approx(0.1 * 2**0.5)
    assert both.rows[0].row.code_figure("recall@10", "unseen") is None
    one = section_of({}, variant(plain, figures_of_codes(0.3)), variant(plain, seed=1))
    assert one.rows[0].row.code_figure("recall@10", "keep") is None


def test_the_court_hears_the_row_that_was_judged(plain: StoredRun, make_card: Any) -> None:
    numbers = [PUBLISHED | {"level": "sid"}, PUBLISHED | {"preset": "cpu", "view": "unknown", "source": "A readme"}]
    cards = {"sasrec": make_card("sasrec", published=numbers)}
    section = section_of(cards, variant(plain, preset="cpu"), variant(plain, figures_of_codes()))
    assert section.rows[0].row.label == "sasrec:cpu"  # the best by name, as both have the same ranks
    grid = court(section)
    first, second = (dict(zip(grid.header, cells, strict=True)) for cells in grid.rows)
    assert (first["Our row"], first["Level"], first["Verdict"], first["At code level"]) == ("sasrec:paper", "sid", "reproduced", "0.3000")
    assert first["Repeat with"] == "recbench run --model sasrec --dataset toy --preset paper"
    assert (second["Our row"], second["Verdict"]) == ("sasrec:cpu", "not comparable (view unknown)")
    assert (second["Level"], second["At code level"]) == ("unknown", "–")
    item = section.rows[0].row.mean("recall@10", "keep")
    assert second["At item level"] == f"{item:.4f}"


def test_the_court_hears_the_row_that_is_best_in_the_view_of_the_number(plain: StoredRun, make_card: Any) -> None:
    numbers = [PUBLISHED | {"view": view} for view in ("keep", "unseen", "unknown")]
    cards = {"sasrec": make_card("sasrec", published=numbers)}
    runs = []
    for preset, view in (("cpu", "keep"), ("smoke", "unseen")):
        run = variant(plain, preset=preset)
        cell = run.record.metrics[view]["recall@10"]
        better = {"recall@10": cell.model_copy(update={"value": cell.value + 0.01})}
        metrics = run.record.metrics | {view: run.record.metrics[view] | better}
        runs.append(run.with_record(run.record.model_copy(update={"metrics": metrics})))
    grid = court(section_of(cards, *runs))
    ours = [dict(zip(grid.header, cells, strict=True))["Our row"] for cells in grid.rows]
    assert ours == ["sasrec:cpu", "sasrec:smoke", "sasrec:cpu"]


def test_boards_show_models_with_codes_at_both_levels(plain: StoredRun, make_card: Any) -> None:
    cards = {"sasrec": make_card("sasrec", published=[PUBLISHED | {"level": "sid"}])}
    before = {
        name: value for name, value in figures_of_codes().items() if not name.startswith(("codes_sid", "codes_targets", "codes_item_"))
    }
    runs = [
        variant(plain, figures_of_codes()),
        variant(plain, {name: before[name] for name in before if "inflation" not in name and "undecided" not in name}, model="gram"),
        variant(plain, model="plain"),
    ]
    boards = make_boards(runs, cards)
    grid = levels(boards[0].sections[0], "keep")
    found = {cells[0]: dict(zip(grid.header, cells, strict=True)) for cells in grid.rows}
    assert set(found) == {"sasrec:paper", "gram:paper"}
    coded = found["sasrec:paper"]
    assert (coded["Items in groups"], coded["Targets in groups"], coded["Mean 1/g"]) == ("25.0 %", "12.5 %", "0.8750")
    assert (coded["Recall@10 at code level"], coded["Recall@10 inflation"], coded["Undecided"]) == ("0.3000", "1.500", "3")
    # A record of before the scores: a dash, and its place on the page.
    assert found["gram:paper"]["Items in groups"] == "25.0 %"
    assert {found["gram:paper"][name] for name in ("Targets in groups", "Recall@10 at code level", "NDCG@10 inflation", "Undecided")} == {
        "–"
    }
    page = render_pages(boards, NO_ANSWERS)["toy.md"]
    assert "### The court" in page
    assert "| sasrec | Recall@10 | keep | sid | 0.3000 |" in page
    assert "0.3000 (code level, reproduced)" not in page  # the column of published numbers is about the main metric, ndcg@10
    html = render_page(boards, NO_ANSWERS)
    assert '"court":[\n["sasrec","Recall@10","keep","sid"' in html
    assert '"levels":["25.0 %","12.5 %","0.8750"' in html


def test_the_level_stands_beside_a_published_cell(plain: StoredRun, make_card: Any) -> None:
    numbers = [PUBLISHED | {"metrics": {"ndcg@10": 0.3}, "level": level} for level in ("sid", "item", "unknown")]
    cards = {"sasrec": make_card("sasrec", published=numbers)}
    run = variant(plain, figures_of_codes())
    page = render_pages(make_boards([run], cards), NO_ANSWERS)["toy.md"]
    assert "0.3000 (code level, reproduced); 0.3000 (item level, " in page
    assert "0.3000 (level unknown, " in page
    shown = drawn(run_table(run.record, cards["sasrec"]))
    assert "view keep, code level" in shown
    assert "view keep, level unknown" in shown
    assert "At code level NDCG@10 keep is 0.3000, 1.500 times item level" in shown


def test_codes_are_shown_with_their_scores(plain: StoredRun) -> None:
    record = variant(plain, figures_of_codes()).record
    report = code_report(record)
    assert (report.targets_in_groups, report.mean_1_over_g) == (0.125, 0.875)
    assert [(part.metric, part.view, part.sid, part.undecided) for part in report.scores] == [
        ("recall@10", "keep", 0.3, 3),
        ("ndcg@10", "keep", 0.3, 3),
    ]
    assert report.scores[0].item == record.metrics["keep"]["recall@10"].value
    text = drawn(codes_table(report))
    for part in ("At code level", "1.500", "test targets that share theirs", "12.5%", "0.8750"):
        assert part in text


def test_the_spreadsheet_has_both_levels(plain: StoredRun) -> None:
    (board,) = make_boards([variant(plain, figures_of_codes()), variant(plain, model="plain")], {})
    lines = {line["model"]: line for line in csv.DictReader(io.StringIO(export_board(board, "csv")))}
    assert lines["sasrec"]["ndcg@10_keep_code_level"] == "0.3"
    assert lines["sasrec"]["ndcg@10_unseen_code_level"] == lines["plain"]["ndcg@10_keep_code_level"] == ""
