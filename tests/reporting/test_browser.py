"""The HTML page in a real browser without a network: it sorts, filters, unfolds, links and fits, wide and narrow."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recbench.reporting import publish
from recbench.tasks import Task, find_task

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; install the extra dev")

BOARDS = Path(__file__).resolve().parents[2] / "leaderboards"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE, NARROW = 1400, 380
QUALITY = "NDCG@10 [95 %]"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here; on Debian: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


class Window:
    """A page opened from a file, everything else refused; what it asked for and complained about."""

    def __init__(self, browser: Any, file: Path, width: int, **options: Any) -> None:
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.address = file.as_uri()
        self.context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        self.context.route("**/*", self._answer)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(self.address)

    def begin_anew(self) -> None:
        """Open the page again, and forget what there was."""
        self.page.goto("about:blank")
        self.page.emulate_media(color_scheme=None)
        self.asked.clear()
        self.complaints.clear()
        self.page.goto(self.address)

    def _answer(self, route: Any) -> None:
        if route.request.url == self.address:
            route.continue_()
        else:
            self.asked.append(route.request.url)
            route.abort()

    def header(self, table: str, title: str) -> Any:
        return self.page.locator(f'#{table} thead th[data-title="{title}"]')

    def column(self, table: str, title: str) -> list[str]:
        """Text of a column's cells from top to bottom, the details of unfolded rows left out."""
        place = self.page.locator(f"#{table} thead th").evaluate_all(
            f"cells => cells.findIndex(cell => cell.dataset.title === {json.dumps(title)})"
        )
        return self.page.locator(f"#{table} > tbody > tr:first-child > :nth-child({place + 1})").all_inner_texts()

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def sections(self) -> list[str]:
        return self.page.locator("main section[data-dataset]").evaluate_all("nodes => nodes.map(node => node.dataset.dataset)")

    def choose(self, group: str, value: str) -> None:
        self.page.locator(f'#{group} input[value="{value}"]').check()


@pytest.fixture(scope="module", params=[WIDE, NARROW])
def opened(browser: Any, request: pytest.FixtureRequest) -> Iterator[Window]:
    """The published page in a window that many tests share: opening one takes the browser longer than most of them."""
    window = Window(browser, BOARDS / "index.html", request.param)
    yield window
    window.context.close()


@pytest.fixture
def window(opened: Window) -> Iterator[Window]:
    """The published page as it is at first; at the end no request left and nothing was complained about."""
    opened.begin_anew()
    yield opened
    assert opened.asked == []
    assert opened.complaints == []


@pytest.fixture(scope="module")
def boards() -> list[dict[str, Any]]:
    """The boards as the published page holds them."""
    text = (BOARDS / "index.html").read_text(encoding="utf-8")
    block = re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)
    assert block is not None
    return json.loads(block[1])["boards"]


def task_of(board: dict[str, Any]) -> Task:
    return find_task(board["about"]["task"])


def numbers(cells: list[str]) -> list[float]:
    """The first number of each cell, those without one left out."""
    found = [re.search(r"[-+−]?\d[\d,]*(\.\d+)?", cell) for cell in cells]
    return [float(match[0].replace(",", "").replace("−", "-")) for match in found if match]


def natural(text: str) -> list[str]:
    """Text by which a reader would sort: `3` before `20`."""
    return [f"{int(part):012}" if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def test_a_click_on_a_header_sorts_and_a_second_one_turns_the_order(window: Window, boards: list[dict[str, Any]]) -> None:
    header = window.header("board-1-rows", QUALITY)
    assert header.get_attribute("aria-sort") == "descending"
    best_first = numbers(window.column("board-1-rows", QUALITY))
    assert best_first == sorted(best_first, reverse=True)
    assert len(best_first) == len(boards[0]["rows"])
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert numbers(window.column("board-1-rows", QUALITY)) == best_first[::-1] != best_first
    window.header("board-1-rows", "Model").locator("button").press("Enter")
    assert header.get_attribute("aria-sort") is None
    models = window.column("board-1-rows", "Model")
    assert models == sorted(models, key=natural)
    assert models.index("tiger:cpu\n(rkmeans, minilm), budget 3cpu-min") < models.index("tiger:cpu\n(rkmeans, minilm), budget 1500steps")


def test_every_column_of_every_table_sorts_both_ways(browser: Any) -> None:
    window = Window(browser, BOARDS / "index.html", WIDE)
    window.choose("columns", "all")
    for table in ("board-1-rows", "overview-next-item", "across-0", "answer-0"):
        titles = window.page.locator(f"#{table} thead th").evaluate_all("cells => cells.map(cell => cell.dataset.title)")
        assert len(titles) == len(set(titles)) > 5
        for title in titles:
            header = window.header(table, title)
            for _ in range(2):
                # Without the mouse, whose way to a button takes a browser longer than the sorting.
                header.locator("button").evaluate("button => button.click()")
                direction = header.get_attribute("aria-sort")
                if "words" not in header.get_attribute("class") and title not in {"Model", "Data set", "Records"}:
                    shown = window.column(table, title)
                    found = numbers(shown)
                    assert found == sorted(found, reverse=direction == "descending"), title
                    assert len(numbers(shown[: len(found)])) == len(found), f"{title}: cells without a number go last"
    assert window.complaints == []
    window.context.close()


def test_filters_leave_what_was_asked_for(window: Window, boards: list[dict[str, Any]]) -> None:
    page = window.page
    names = [board["about"]["name"] for board in boards]
    assert window.sections() == names
    page.select_option("#dataset", names[-1])
    chosen = [board for board in boards if board["about"]["name"] == names[-1]]
    assert window.sections() == [names[-1]] * len(chosen)
    assert page.locator("#across").count() == 0
    n_rows = [len(board["rows"]) for board in boards]
    assert page.locator("#count").inner_text() == f"{sum(len(board['rows']) for board in chosen)} of {sum(n_rows)} rows"
    page.select_option("#dataset", "")
    page.select_option("#protocol", boards[0]["about"]["protocol"])
    assert window.sections() == [board["about"]["name"] for board in boards if board["about"]["protocol"] == boards[0]["about"]["protocol"]]
    page.fill("#model", "SASRec ce")
    assert all("sasrec" in label and "ce" in label for label in window.column("board-1-rows", "Model"))
    page.fill("#model", "no such model")
    assert page.locator("#board-1-rows").count() == 0
    page.fill("#model", "")
    for view in ("unseen", "keep"):
        window.choose("view", view)
        # A cell shows what follows a name without the comma between them: `graph-heuristic:default tuned-40`.
        printed = [(row["model"], float(row[view]["accuracy"][4].split()[0])) for row in boards[0]["rows"]]
        assert len(window.column("board-1-rows", QUALITY)) == n_rows[0]
        best = max(figure for _, figure in printed)
        assert numbers(window.column("board-1-rows", QUALITY))[0] == best
        top = window.column("board-1-rows", "Model")[0].replace(",", "").split()
        assert top in [model.replace(",", "").split() for model, figure in printed if figure == best]


def test_the_protocol_filter_leaves_one_of_two(browser: Any, published_boards: Path) -> None:
    window = Window(browser, published_boards / "index.html", WIDE)
    assert window.sections() == ["toy", "toy"]
    window.page.select_option("#protocol", "leave-one-out, ties shuffle=1")
    assert window.page.locator("main section[data-dataset]").get_attribute("data-protocol") == "leave-one-out, ties shuffle=1"
    assert window.complaints == window.asked == []
    window.context.close()


def test_links_point_to_files_and_places_that_exist(window: Window, boards: list[dict[str, Any]]) -> None:
    page = window.page
    page.locator(".more").evaluate_all("buttons => buttons.forEach(button => button.click())")
    targets = set(page.locator("a").evaluate_all("links => links.map(link => link.getAttribute('href'))"))
    files = {target for target in targets if not target.startswith("#")}
    assert all((BOARDS / target).is_file() for target in files)
    assert {line[1] for board in boards for row in board["rows"] for line in row["made"]} <= files
    for target in targets - files:
        assert page.locator(target).count() == 1


def test_every_measured_number_leads_to_the_records_of_its_row(browser: Any, boards: list[dict[str, Any]]) -> None:
    window = Window(browser, BOARDS / "index.html", WIDE)
    window.choose("columns", "all")
    for number, board in enumerate(boards, start=1):
        unlinked = {"#", "Model", "Records", "Machine", "Seeds", "Notes", f"Published {task_of(board).main_title}"}
        table = window.page.locator(f"#board-{number}-rows")
        titles = table.locator("thead th").evaluate_all("cells => cells.map(cell => cell.dataset.title)")
        assert unlinked <= set(titles)
        for place, row in enumerate(board["rows"], start=1):
            records = [line[1] for line in row["made"] if line[-1] == "counts"]
            expected = records[0] if len(records) == 1 else f"#board-{number}-{place}-made"
            cells = table.locator(f"#board-{number}-{place} > tr > *").evaluate_all(
                "cells => cells.map(cell => [cell.innerText, [...cell.querySelectorAll('a.of')].map(link => link.getAttribute('href'))])"
            )
            for title, (text, links) in zip(titles, cells, strict=True):
                assert links == ([] if title in unlinked or text == "–" else [expected]), (row["model"], title)
    assert window.complaints == window.asked == []
    window.context.close()


def test_a_mean_over_seeds_unfolds_the_records_it_is_made_of(window: Window, boards: list[dict[str, Any]]) -> None:
    number, place, row = next(
        (number, place, row)
        for number, board in enumerate(boards, start=1)
        for place, row in enumerate(board["rows"], start=1)
        if sum(line[-1] == "counts" for line in row["made"]) > 1
    )
    body = window.page.locator(f"#board-{number}-{place}")
    for _ in range(2):  # the second time the row is unfolded already
        body.locator("a.of").first.click()
        assert window.page.url.endswith(f"#board-{number}-{place}-made")
        listed = body.locator("td.detail a[href$='record.json']").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        assert listed == [line[1] for line in row["made"]]
    assert body.locator(f"#board-{number}-{place}-made").is_visible()


def test_figures_across_data_sets_and_beside_published_ones_lead_to_records(browser: Any, boards: list[dict[str, Any]]) -> None:
    window = Window(browser, BOARDS / "index.html", WIDE)
    made = {f"#board-{number}-{place}-made" for number, board in enumerate(boards, 1) for place, _ in enumerate(board["rows"], 1)}
    known = made | {line[1] for board in boards for row in board["rows"] for line in row["made"]}
    tables = {"overview-next-item": 2, "across-0": len(boards)}
    tables |= {f"board-{number}-court": 2 for number, board in enumerate(boards, 1) if board["court"]}
    tables |= {f"board-{number}-published": 2 for number, board in enumerate(boards, 1) if any(row["published"] for row in board["rows"])}
    for table, most in tables.items():
        rows = window.page.locator(f"#{table} > tbody > tr").evaluate_all(
            "rows => rows.map(row => [...row.querySelectorAll('a.of')].map(link => link.getAttribute('href')))"
        )
        assert rows
        assert all(0 < len(links) <= most for links in rows), table
        assert known.issuperset(link for links in rows for link in links)
    assert max(len(links) for links in rows) == 2
    window.context.close()


def test_a_row_unfolds_into_groups_published_numbers_and_records(window: Window, boards: list[dict[str, Any]]) -> None:
    board = next(number for number, board in enumerate(boards, start=1) if any(row["published"] for row in board["rows"]))
    row, place = next((row, place) for place, row in enumerate(boards[board - 1]["rows"], start=1) if row["published"])
    body = window.page.locator(f"#board-{board}-{place}")
    button = body.locator(".more")
    assert button.get_attribute("aria-expanded") == "false"
    button.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    detail = body.locator("td.detail").inner_text()
    for text in [row["keep"]["groups"][0][3], row["published"][0][4], row["published"][0][5], row["made"][0][2]]:
        assert text in detail
    window.header(f"board-{board}-rows", "Model").locator("button").click()
    assert body.locator("td.detail").count() == 1
    assert window.overflow() <= 0
    button.click()
    assert body.locator("td.detail").count() == 0
    window.page.locator(f"details:has(#board-{board}-published) summary").click()
    assert row["published"][0][4] in window.column(f"board-{board}-published", "Verdict")
    # The court lists what a filter leaves, with the same words as the markdown page.
    window.page.locator(f"details:has(#board-{board}-court) summary").click()
    assert sorted(window.column(f"board-{board}-court", "Level")) == sorted(line[3] for line in boards[board - 1]["court"])


def test_the_chart_has_a_mark_with_a_title_for_each_row(window: Window, boards: list[dict[str, Any]]) -> None:
    for number, board in enumerate(boards):
        titles = window.page.locator("section[data-dataset] figure").nth(number).locator("a title").all_text_contents()
        task = task_of(board)
        place, middle = task.board_metrics.index(task.main_metric), f": {task.main_title} "
        accuracy = {row["model"]: row[task.main_view]["accuracy"][place] for row in board["rows"]}
        assert {title.partition(middle)[0] for title in titles} == set(accuracy)
        assert all(accuracy[title.partition(middle)[0]].split()[0] in title for title in titles)


def test_the_answer_shows_every_model_with_its_interval_and_goes_with_the_view(window: Window) -> None:
    page = window.page
    first = page.locator("#answer figure").first
    models = page.locator("#answer-0 tbody tr").count()
    assert models > 5
    assert first.locator("g .mark").count() == first.locator(".interval").count() == models
    titles = first.locator("title").evaluate_all("titles => titles.map(title => title.textContent)")
    assert all("strength" in title and "[" in title for title in titles)
    assert "view keep" in page.locator("#answer .caption").first.inner_text()
    window.choose("view", "unseen")
    assert "view unseen" in page.locator("#answer .caption").first.inner_text()
    window.choose("view", "keep")
    page.select_option("#dataset", "beauty")
    assert page.locator("#answer").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_window(window: Window, tmp_path: Path, scheme: str) -> None:
    window.page.emulate_media(color_scheme=scheme)
    for chosen in ("all", "overview"):
        window.choose("columns", chosen)
        assert window.overflow() <= 0
    scrolls = window.page.locator("#board-1-rows").evaluate("table => table.parentElement.scrollWidth > table.parentElement.clientWidth")
    assert scrolls or window.page.viewport_size["width"] == WIDE
    picture = tmp_path / "page.png"
    window.page.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 20_000


def test_odd_rows_and_names_are_shown_as_they_are(browser: Any, workshop: Any, tmp_path: Path) -> None:
    title = "<script>document.title = 'gone'</script> & co"
    runs = [workshop.run("a", dataset={"title": title}), workshop.run("b", views=("keep",), list_length=10, dataset={"title": title})]
    publish(tmp_path, runs, {})
    window = Window(browser, tmp_path / "index.html", NARROW)
    assert window.page.locator("h2#board-1").inner_text() == title
    assert window.page.title() == "recbench leaderboards"
    window.choose("columns", "all")
    window.choose("view", "unseen")
    for direction in ("descending", "ascending"):
        assert window.header("board-1-rows", QUALITY).get_attribute("aria-sort") == direction
        assert window.column("board-1-rows", QUALITY)[-1] == "–"
        window.header("board-1-rows", QUALITY).locator("button").click()
    window.page.locator(".more").first.click()
    window.page.locator(".more").last.click()
    assert window.page.locator("figure a").count() == 1
    assert window.complaints == window.asked == []
    window.context.close()


def test_a_page_without_records_says_what_to_do(browser: Any, tmp_path: Path) -> None:
    publish(tmp_path, [], {})
    window = Window(browser, tmp_path / "index.html", NARROW)
    assert "There is no record yet" in window.page.locator("header").inner_text()
    assert not window.page.locator("#filters").is_visible()
    assert window.complaints == window.asked == []
    window.context.close()


def test_without_scripts_the_page_points_to_the_markdown(browser: Any, boards: list[dict[str, Any]]) -> None:
    window = Window(browser, BOARDS / "index.html", WIDE, java_script_enabled=False)
    assert "drawn by a script" in window.page.locator("body").inner_text()
    for board in boards:
        assert window.page.get_by_role("link", name=f"{board['about']['name']}.md", exact=True).is_visible()
    assert not window.page.locator("#filters").is_visible()
    window.context.close()
