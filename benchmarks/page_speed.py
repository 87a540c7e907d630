"""The boards' page in a headless Chromium: when its figures are there, and what a key in the filter of models takes.

    python benchmarks/page_speed.py [--rows 1000] [--repeats 5] [--against PAGE]

A page of the wished number of rows is made from `leaderboards/index.html`: rows are copied under other names and run ids, board by board,
until there are enough. First figures: from the navigation to the first frame behind the script; a filter: from a key to the frame that
shows its rows, the longest of four. Both as seconds on the clock, and as processor seconds of the page's main thread, for which what the
page does bit by bit afterwards is held back. With --against another page, such as that of an older commit, is measured in turn.
"""

import argparse
import json
import re
import shutil
import statistics
import tempfile
from itertools import cycle
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r'(<script type="application/json" id="figures">\n)(.*?)(\n</script>)', re.DOTALL)
KEYS = ("s", "sas", "sasrec", "")
HOLD = """(() => {
    const held = [], later = globalThis.setTimeout;
    let isHeld = true;
    globalThis.setTimeout = (work, ...rest) => (isHeld ? held.push(work) : later(work, ...rest));
    globalThis.hold = () => { isHeld = true; };
    globalThis.release = () => { isHeld = false; held.splice(0).forEach((work) => later(work)); };
})()"""
"""Holds back what a page does bit by bit, until it is released."""
WATCH = """addEventListener("DOMContentLoaded", () => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => { globalThis.shownAt = performance.now(); };
    channel.port2.postMessage(null);
}))"""
"""Notes when the first frame behind the script was made."""
TYPE = """async (text) => {
    const input = document.getElementById("model"), start = performance.now();
    input.value = text;
    input.dispatchEvent(new Event("input"));
    await new Promise((done) => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = done;
        channel.port2.postMessage(null);
    }));
    return performance.now() - start;
}"""


def grown(page: str, n_rows: int) -> str:
    """The page with so many rows, if it has fewer: copies of its rows."""
    found = BLOCK.search(page)
    if found is None:
        raise SystemExit("That is no page of boards: it holds no figures.")
    figures = json.loads(found[2])
    boards = [(board, list(board["rows"])) for board in figures["boards"]]
    missing = n_rows - sum(len(rows) for _, rows in boards)
    for copy, (board, rows) in enumerate(cycle(boards)):
        if missing <= 0:
            break
        for row in rows[:missing]:
            made = [[seed, path.replace("/record.json", f"-{copy}/record.json"), *rest] for seed, path, *rest in row["made"]]
            board["rows"].append({**row, "model": f"{row['model']}, copy {copy}", "made": made})
        missing -= len(rows)
    text = json.dumps(figures, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return page[: found.start(2)] + text + page[found.end(2) :]


def measure(browser: Any, file: Path) -> dict[str, float]:
    """Seconds of one visit on the clock and of another in processor time: `first`, `filter`, `first_cpu`, `filter_cpu`."""
    first, filtered, _, _ = _visit(browser, file, is_held=False)
    _, _, first_cpu, filter_cpu = _visit(browser, file, is_held=True)
    return {"first": first, "filter": filtered, "first_cpu": first_cpu, "filter_cpu": filter_cpu}


def _visit(browser: Any, file: Path, *, is_held: bool) -> tuple[float, float, float, float]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, offline=True)
    page = context.new_page()
    page.add_init_script(WATCH)
    if is_held:
        page.add_init_script(HOLD)
    session = context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    start = _busy(session)
    page.goto(file.as_uri())
    while (shown := page.evaluate("globalThis.shownAt")) is None:
        page.wait_for_timeout(5)
    first_cpu = _busy(session) - start
    if is_held:
        page.evaluate("release()")
    page.wait_for_selector("main:not([aria-busy=true])", state="attached")  # a reader looks before typing
    if is_held:
        page.evaluate("hold()")
    took, used = [], []
    for text in KEYS:
        before = _busy(session)
        took.append(page.evaluate(TYPE, text) / 1000)
        used.append(_busy(session) - before)
    context.close()
    return shown / 1000, max(took), first_cpu, max(used)


def _busy(session: Any) -> float:
    """Processor seconds of the page's main thread so far."""
    return next(one["value"] for one in session.send("Performance.getMetrics")["metrics"] if one["name"] == "TaskDuration")


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, default=ROOT / "leaderboards" / "index.html")
    parser.add_argument("--against", type=Path, help="another page, measured in turn")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    pages = {"this": options.page} | ({"other": options.against} if options.against else {})
    found: dict[str, list[dict[str, float]]] = {name: [] for name in pages}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox", "--disable-gpu"])
        for name, page in pages.items():
            (Path(folder) / f"{name}.html").write_text(grown(page.read_text(encoding="utf-8"), options.rows), encoding="utf-8")
        for _ in range(options.repeats):
            for name, measured in found.items():
                measured.append(measure(browser, Path(folder) / f"{name}.html"))
        browser.close()
        for name, page in pages.items():
            size, large = page.stat().st_size, (Path(folder) / f"{name}.html").stat().st_size
            print(f"{name}: {size / 1e6:.2f} MB, grown to {large / 1e6:.2f} MB; medians of {options.repeats}, ms")
            for title, key in (("first figures", "first"), ("a filter", "filter")):
                clock, used = (1000 * statistics.median(one[part] for one in found[name]) for part in (key, f"{key}_cpu"))
                print(f"  {title:13}  {clock:7.0f} on the clock, {used:7.0f} of processor")


if __name__ == "__main__":
    main()
