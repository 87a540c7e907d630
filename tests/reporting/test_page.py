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
from recbench.reporting.headline import best_of_kinds, headline_line, headlines
from recbench.reporting.page import figures_json, records_json, render_page
from recbench.reporting.publishing import all_pages
from recbench.tasks import NEXT_ITEM

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
    assert {row["model"]: row["kind"] for row in board["rows"]}["popularity:default"] == "untrained"
    for place, row in enumerate(board["rows"]):
        for view in VIEWS:
            assert row[view]["accuracy"] == list(accuracy(section, view).rows[place][2:])
            for title, grid in slices(section, view):
                cells = next(cells for cells in grid.rows if cells[0] == row["model"])
                of_board = zip(board["about"]["groups"][view], row[view]["groups"], strict=True)
                groups = {f"{group} ({n})": value for (kind, group, n), value in of_board if kind == title}
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
    assert sum(line.startswith('{"about":{"name":') for line in lines) == 2
    assert sum(line.startswith('"toy-') for line in lines) == 4  # what the page tells of each record


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
    assert page.count("</script>") == 3
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
    figures = figures_of((tmp_path / "index.html").read_text())
    assert all(figures.pop("badges"))
    assert figures == {"tasks": {}, "headlines": [], "across": [], "answers": [], "boards": []}


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


def test_the_headline_names_the_best_row_of_each_kind_and_the_best_published_number(workshop: Any, cards: Any) -> None:
    fit = {"parameters": 0, "parameters_trainable": 0, "parameters_embedding": 0}
    runs = [
        workshop.run(skill=0.3),
        workshop.run("sasrec", "cpu", skill=0.6),
        workshop.run("tiger", skill=0.2, model={"family": "generative"}),
        workshop.trivial(skill=0.1),
        workshop.run("text-knn", "default", skill=0.9, fit=fit),
    ]
    boards = make_boards([StoredRun.open(run) for run in runs], cards)
    (found,) = headlines(boards, NEXT_ITEM, "keep")
    assert {kind: label for kind, (label, _) in found.best.items()} == {
        "untrained": "text-knn:default",
        "scoring": "sasrec:cpu",
        "generative": "tiger:paper",
    }
    assert found.ahead == ["untrained"]
    assert (found.published.published, found.published_model) == (0.5, "sasrec")
    (row,) = best_of_kinds([found], NEXT_ITEM).rows
    figure = next(board_row.row for board_row in boards[0].sections[0].rows if board_row.row.label == "sasrec:cpu").figure(
        "ndcg@10", "keep"
    )
    assert row[2] == f"{figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}] sasrec:cpu"
    assert row[-1] == "0.5000 sasrec, level unknown"
    line = headline_line([found], NEXT_ITEM)
    assert line == (
        "Where several kinds of models were run, the highest NDCG@10 (view keep) is that of an untrained model on 1 of 1, "
        "a sequential model on 0 of 1 and a generative model on 0 of 1."
    )
    # In the other view a number counts only where its source says so.
    assert headlines(boards, NEXT_ITEM, "unseen")[0].published is None
    alone = make_boards([StoredRun.open(runs[3])], {})
    assert headline_line(headlines(alone, NEXT_ITEM, "keep"), NEXT_ITEM) == "On 1 data set one kind alone was run."
    page = json.loads(figures_json(boards, NO_ANSWERS))["headlines"][0]
    assert page["about"]["sentence"] == line
    assert page["rows"][0]["best"]["scoring"][0] == "sasrec:cpu"


def test_a_record_on_the_page_tells_what_its_file_says(workshop: Any, cards: Any) -> None:
    config = {"width": 64, "codes": {"levels": [1, 2]}}
    runs = [workshop.run(seed=seed, config=config, budget="3cpu-min") for seed in (0, 1)]
    told = json.loads(records_json(make_boards([StoredRun.open(run) for run in runs], cards)))
    assert list(told["runs"]) == sorted(run.name for run in runs)
    assert told["settings"] == [{"width": "64", "codes.levels": "[1, 2]"}]
    for run in runs:
        raw = json.loads((run / "record.json").read_text())
        found = told["runs"][run.name]
        facts = dict(
            zip(told["titles"]["facts"], (told["shared"][one] if isinstance(one, int) else one for one in found["facts"]), strict=True)
        )
        assert facts["Seed"] == str(raw["seed"])
        assert facts["Budget"] == "3cpu-min"
        assert facts["Libraries"] == "numpy 2.0, torch 2.4"
        assert facts["Training"].startswith("20 steps, 1.00 epochs; 1,000 examples seen, 1.0 passes over 1,000")
        assert f"NDCG@10 keep {raw['metrics']['keep']['ndcg@10']['value']:.4f} [" in facts["Quality"]
        assert dict(zip(told["titles"]["stages"], found["stages"][0], strict=True)) == {
            "Stage": "training",
            "Seconds": "12.5",
            "CPU s": "–",
            "Peak memory MiB": "256",
            "Steps": "–",
            "From the cache": "no",
        }
    assert "sasrec" not in [told["shared"][one] for one in told["runs"][runs[0].name]["facts"] if isinstance(one, int)]


def test_every_column_and_every_mark_of_a_row_is_explained(workshop: Any, cards: Any) -> None:
    changes = {"code": {"is_dirty": True}, "fit": {"examples_seen": 300}, "model": {"distribution": "mine"}}
    runs = [workshop.run(seed=seed, **changes) for seed in (0, 1)]
    runs += [workshop.trivial(skill=0.9), workshop.run("sasrec", "cpu", config={"width": 7})]
    found = json.loads(figures_json(make_boards([StoredRun.open(run) for run in runs], cards), NO_ANSWERS))
    task = found["tasks"]["next-item"]
    titles = [title for table in task["columns"].values() for title in table]
    assert [title for title in titles if not task["explained"][title]] == []
    assert all(sentence.endswith(".") for sentence in task["explained"].values())
    notes = {note for board in found["boards"] for row in board["rows"] for note in row["keep"]["accuracy"][-1].split("; ")}
    assert len(notes) > 5
    assert [note for note in notes if not any(re.match(pattern, note) for pattern, _ in found["badges"])] == []
