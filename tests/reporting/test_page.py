"""The HTML page: the markdown's own figures, a line per row, one file that asks for nothing else."""

import json
import re
from pathlib import Path
from typing import Any

from recbench.core.ranking import VIEWS
from recbench.reporting import StoredRun, make_boards, publish
from recbench.reporting.answers import NO_ANSWERS
from recbench.reporting.export import FORMATS, export_board
from recbench.reporting.grids import accuracy, cost, published, significance, slices
from recbench.reporting.page import figures_json, render_page
from recbench.reporting.publishing import all_pages

ROOT = Path(__file__).resolve().parents[2]


def figures_of(page: str) -> Any:
    """The block of JSON, as the page's script reads it."""
    block = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert block is not None
    return json.loads(block[1])


def test_rows_hold_what_the_markdown_prints(workshop: Any, cards: Any) -> None:
    runs = [workshop.run(seed=0), workshop.run(seed=1), workshop.trivial(skill=0.6), workshop.run("sasrec", "cpu", device={"jobs": 2})]
    boards = make_boards([StoredRun.open(run) for run in runs], cards)
    (section,) = boards[0].sections
    found = json.loads(figures_json(boards, NO_ANSWERS))
    (board,) = found["boards"]
    assert [row["model"] for row in board["rows"]] == [board_row.row.label for board_row in section.rows]
    assert {row["model"]: row["kind"] for row in board["rows"]}["popularity:default"] == "trivial"
    for place, row in enumerate(board["rows"]):
        for view in VIEWS:
            assert row[view]["accuracy"] == list(accuracy(section, view).rows[place][2:])
            for title, grid in slices(section, view):
                cells = next(cells for cells in grid.rows if cells[0] == row["model"])
                groups = {f"{group} ({n})": value for kind, group, n, value in row[view]["groups"] if kind == title}
                assert tuple(groups.values()) == cells[1:]
                assert tuple(groups) == grid.header[1:]
        assert row["cost"] == [list(cost(section).rows[place][1:])]
        assert row["against"] == [list(cells[1:]) for cells in significance(section).rows if cells[0] == row["model"]]
        assert row["published"] == [list(cells[1:]) for cells in published(section).rows if cells[0] == row["model"]]
        run_ids = {run.record.run_id for run in section.rows[place].row.runs}
        assert {line[1] for line in row["made"]} == {f"records/{run_id}/record.json" for run_id in run_ids}
    assert any(row["cost"][0][-1].endswith("†") for row in board["rows"])
    assert any("below popularity" in row["keep"]["accuracy"][-1] for row in board["rows"])
    assert board["about"]["missing"] == ["ease (not applicable: 80 items; ease takes at most 50)"]


def test_every_row_has_a_line_of_its_own(published_boards: Path) -> None:
    lines = (published_boards / "index.html").read_text().splitlines()
    assert sum(line.startswith('{"model":') for line in lines) == 3
    assert sum(line.startswith('{"about":') for line in lines) == 2


def test_every_model_across_data_sets_has_a_line_of_its_own(workshop: Any) -> None:
    runs = [workshop.run(model, dataset={"name": name}) for name in ("one", "two") for model in ("a", "b")]
    text = figures_json(make_boards([StoredRun.open(run) for run in runs], {}), NO_ANSWERS)
    (keep, unseen) = json.loads(text)["across"]
    assert (keep["about"]["view"], unseen["about"]["view"]) == VIEWS
    assert keep["about"]["datasets"] == ["one", "two"]
    assert keep["about"]["ranked"] == len(keep["rows"]) == 2
    assert all(f"\n{json.dumps(cells, ensure_ascii=False, separators=(',', ':'))}" in text for cells in keep["rows"])


def test_no_text_of_a_record_or_card_can_end_the_script(workshop: Any, make_card: Any) -> None:
    title = "</script><script>alert(1)</script><!-- <script>"
    cards = {
        "sasrec": make_card(
            "sasrec", published=[{"dataset": "toy", "view": "keep", "metrics": {"ndcg@10": 0.5}, "source": title, "kind": "paper"}]
        )
    }
    page = render_page(make_boards([StoredRun.open(workshop.run(dataset={"title": title}))], cards), NO_ANSWERS)
    assert title not in page
    assert page.count("</script>") == 2
    (board,) = figures_of(page)["boards"]
    assert board["about"]["title"] == title
    assert board["rows"][0]["published"][0][3] == f"{title} (paper)"


def test_no_text_of_a_record_or_card_steers_a_terminal_or_the_page(workshop: Any, make_card: Any) -> None:
    odd = "T\u202e\x1b[31m\x9b\x07\u2066"
    steering = set(odd) - set("T[31m")
    source = {"dataset": "toy", "view": "keep", "metrics": {"ndcg@10": 0.5}, "source": odd, "kind": "paper"}
    boards = make_boards([StoredRun.open(workshop.run(dataset={"title": odd}))], {"sasrec": make_card("sasrec", published=[source])})
    texts = {**all_pages(boards, NO_ANSWERS), **{name: export_board(boards[0], name) for name in FORMATS}}
    assert set(texts) == {"index.html", "index.md", "toy.md", *FORMATS}
    for name, text in texts.items():
        assert not steering & set(text), name
    assert r"# T\\u202e\\x1b[31m\\x9b" in texts["toy.md"]
    assert figures_of(texts["index.html"])["boards"][0]["about"]["title"].startswith(r"T\u202e\x1b[31m")


def test_a_page_without_rows_is_a_page(tmp_path: Path) -> None:
    publish(tmp_path, [], {})
    assert figures_of((tmp_path / "index.html").read_text()) == {"tasks": {}, "across": [], "answers": [], "boards": []}


def test_the_published_page_names_no_address_and_links_to_files_that_exist() -> None:
    page = (ROOT / "leaderboards" / "index.html").read_text(encoding="utf-8")
    figures = figures_of(page)
    assert not re.search(r"https?:|//[a-z0-9.-]+\.[a-z]{2,}|@import|url\(|<link(?! rel=\"icon\" href=\"data:,\")|\bsrc=|\bfetch\(", page)
    paths = [line[1] for board in figures["boards"] for row in board["rows"] for line in row["made"]]
    assert len(paths) == len(set(paths)) > 0
    for path in paths:
        assert (ROOT / "leaderboards" / path).is_file()
    # A browser reads it whole before it shows the first table.
    assert len(page.encode()) < 100_000 + 3_000 * len(paths)
