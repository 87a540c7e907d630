"""A second task and a metric of its own, one file each (`half_set.py`, `first_hit.py`): no file of the harness knows them."""

import csv
import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from recbench.cli.app import app
from recbench.core.errors import BadRequest
from recbench.evaluation import METRICS
from recbench.running.host.workplace import Workplace
from recbench.running.run.splits import load_split
from recbench.running.stages.store import StageStore
from recbench.tasks import find_task

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; the extra test brings it")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ENTRY_POINTS = """
[recbench.tasks]
half-set = tests.tasks.half_set:TASK

[recbench.metrics]
first_hit = tests.tasks.first_hit:METRIC
"""
CARD = """
name = "sets"
title = "Sets of the tests"
terms = "none"
reader = "csv"
time = "none"
task = "half-set"

[[sources]]
kind = "folder"
path = "sets"
"""
MODEL_CARD = """
name = "{name}"
title = "Counts"
summary = "Items by how many sets hold them."
family = "scoring"
is_trivial = {is_trivial}
tasks = ["half-set"]

[presets.default]

[default]
cpu = "default"
cuda = "default"
"""
MODEL = """
from recbench.core import FitReport, Plugin, PluginConfig
from recbench.nn.ranking import ItemCounts


class Counts(ItemCounts):
    def fit(self, context):
        self.count_I = {sign} * context.train.item_counts()
        found = context.validate(self)
        assert found.metric == "first_hit@3" and found.value == found.metrics["first_hit@3"]
        return FitReport()


PLUGIN = Plugin.from_folder(__file__, PluginConfig, lambda config, catalogue: Counts(catalogue))
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with sets, their card and two models; task and metric are offered as an installed distribution offers them."""
    folder = tmp_path_factory.mktemp("sets")
    info = folder / "site" / "half_set-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: half-set\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "sets.toml").write_text(CARD)
    (folder / "sets").mkdir()
    random = np.random.default_rng(3)
    with (folder / "sets" / "interactions.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id"])
        for row in range(80):
            items = np.unique(random.geometric(0.15, random.integers(4, 10)) % 30)
            writer.writerows([f"set{row:02}", f"i{item:02}"] for item in random.permutation(items))
    for name, sign, is_trivial in (("counts", 1, "true"), ("rare", -1, "false")):
        plugin = folder / name
        plugin.mkdir()
        (plugin / "card.toml").write_text(MODEL_CARD.format(name=name, is_trivial=is_trivial))
        (plugin / "__init__.py").write_text(MODEL.replace("{sign}", str(sign)))
    METRICS.__dict__.pop("_installed", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder / "site"))
        patch.chdir(folder)
        patch.setenv("RECBENCH_HOME", str(folder / "home"))
        patch.delenv("RECBENCH_DATA", raising=False)
        yield folder
    find_task.cache_clear()
    METRICS.__dict__.pop("_installed", None)


def give(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), prog_name="recbench")


@pytest.fixture(scope="module")
def board(here: Path) -> str:
    """The page of the second task, with two rows."""
    for name in ("counts", "rare"):
        done = give("run", "-m", name, "-d", "sets.toml", "--plugin", str(here / name))
        assert done.exit_code == 0, done.stderr
    assert "First hit@3" in give("show", "last").stdout
    done = give("leaderboard", "publish")
    assert done.exit_code == 0, done.stderr
    return (here / "leaderboards" / "sets.md").read_text()


def test_a_run_is_measured_as_its_task_says(board: str, here: Path) -> None:
    record = json.loads(next((here / "runs").glob("sets-counts-*/record.json")).read_text())
    assert (record["task"], record["protocol"]["split"], record["protocol"]["views"]) == ("half-set", "halves", ["unseen"])
    assert list(record["metrics"]["unseen"]) == ["recall@3", "recall@12", "first_hit@3", "first_hit@12"]
    assert {part["slice"] for part in record["slices"]} == {"size of the other half"}
    assert record["protocol"]["list_length"] == 12


def test_the_first_hits_are_those_of_a_count_by_hand(board: str, here: Path) -> None:
    with (here / "sets" / "interactions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = sorted({row["user_id"] for row in rows})
    sets = [[row["item_id"] for row in rows if row["user_id"] == name] for name in names]
    train = [item for row, items in enumerate(sets) if row % 4 > 1 for item in items]
    order = sorted({row["item_id"] for row in rows}, key=lambda item: (-train.count(item), item))
    hits = []
    for items in sets[::4]:
        known, asked = items[: len(items) // 2], items[len(items) // 2 :]
        hits.append(next(item for item in order if item not in known) in asked)
    record = json.loads(next((here / "runs").glob("sets-counts-*/record.json")).read_text())
    assert record["metrics"]["unseen"]["first_hit@3"]["value"] == np.mean(hits)
    assert 0 < np.mean(hits) < 1


def test_its_board_speaks_its_words_and_names_its_baselines(board: str, here: Path) -> None:
    assert "20 sets to complete." in board
    assert "First hit@3 [95 %]" in board
    assert "below counts" in board
    assert "Small halves hold at most three items." in board
    assert not {"NDCG", "keep", "users", "popularity"} & set(board.replace("@", " ").replace("`", " ").replace(":", " ").split())
    index = (here / "leaderboards" / "index.html").read_text()
    assert '"units":"sets"' in index
    verified = give("verify")
    assert verified.exit_code == 0, verified.stderr
    assert "2 records" in verified.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "-m", "popularity", "-d", "sets.toml"), "Model 'popularity' is for next-item and bundle; the data set asks for half-set."),
        (("run", "-m", "counts", "-d", "demo", "--plugin", "counts"), "Model 'counts' is for half-set; the data set asks for next-item."),
        (("run", "-m", "counts", "-d", "sets.toml", "--plugin", "counts", "--seen", "keep"), "--seen 'keep' is not known for half-set."),
        (("run", "-m", "counts", "-d", "sets.toml", "--plugin", "counts", "--protocol", "temporal"), "Known: halves."),
    ],
)
def test_what_does_not_fit_the_task_is_refused_by_name(here: Path, words: tuple[str, ...], sentence: str) -> None:
    done = give(*words)
    assert done.exit_code == 2
    assert sentence in " ".join(done.stderr.split())


def test_a_task_that_nobody_defines_is_named() -> None:
    with pytest.raises(BadRequest, match=r"no task 'next-itme' here\. Did you mean 'next-item'"):
        find_task("next-itme")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here; on Debian: apt-get install chromium")
def test_a_page_of_two_tasks_shows_each_in_its_words(board: str, here: Path, tmp_path: Path) -> None:
    with (here / "sets" / "interactions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    (tmp_path / "walks").mkdir()
    with (tmp_path / "walks" / "interactions.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp"])
        writer.writerows([row["user_id"], row["item_id"], place] for place, row in enumerate(rows))
    done = give("run", "-m", "popularity", "-d", str(tmp_path / "walks"))
    assert done.exit_code == 0, done.stderr
    done = give("leaderboard", "publish", "--boards", str(tmp_path / "boards"))
    assert done.exit_code == 0, done.stderr
    complaints: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((tmp_path / "boards" / "index.html").as_uri())
        for view in ("unseen", "keep"):
            page.locator(f"#view input[value={view}]").check()
            assert page.locator('#overview-next-item th[data-title="NDCG@10, keep"]').count() == 1
            assert page.locator('#overview-half-set th[data-title="First hit@3, unseen"]').count() == 1
            titles = page.locator("main thead th").evaluate_all("cells => cells.map(cell => cell.dataset.title)")
            assert {"NDCG@10 [95 %]", "First hit@3 [95 %]", "Published First hit@3"} <= set(titles)
        page.locator("#board-1-rows .more").first.click()
        assert page.get_by_text("First hit@3 by group of sets, view unseen").count() == 1
        browser.close()
    assert not complaints
    index = (tmp_path / "boards" / "index.md").read_text()
    assert index.index("## The other half of a set") < index.index("## Next-item prediction")
    assert "| Test sets |" in index
    assert "NDCG@10 `keep` | NDCG@10 `unseen` |" in index


def test_every_command_after_a_run_asks_the_task(board: str, here: Path) -> None:
    model = ("--plugin", str(here / "counts"))
    assert "First hit@3 unseen" in give("list", "runs").stdout
    shown = give("recommend", "sets-counts", "--history", "i00,i01", "--k", "2", *model)
    assert shown.exit_code == 0, shown.stderr
    exported = give("recommend", "sets-counts", "--export", "lists.csv", "--dataset", "sets.toml", *model)
    assert exported.exit_code == 0, exported.stderr
    imported = give("import-ranks", "lists.csv", "--model", "again", "-d", "sets.toml")
    assert imported.exit_code == 0, imported.stderr
    assert "First hit@3" in imported.stdout


def test_a_changed_rule_of_another_distribution_cuts_anew(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = (Path(__file__).parent / "half_set.py").read_text()
    workplace = Workplace(tmp_path / "home", None, tmp_path / "runs", tmp_path / "boards")
    sizes = []
    for name, text in (
        ("rule_of_before", source),
        ("rule_of_after", source.replace("np.flatnonzero(place == 0)", "np.flatnonzero(place > 1)")),
    ):
        (tmp_path / f"{name}.py").write_text(text)
        task = importlib.import_module(name).TASK
        # Name, options and data are the same: only the sources say that the split is another one.
        loaded = load_split(str(here / "sets.toml"), task.protocol(), workplace, StageStore(workplace.stages))
        sizes.append(len(loaded.split.test))
    assert sizes == [20, 40]
