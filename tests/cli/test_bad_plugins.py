"""Plugins that break their contract: named, with the query at fault, while all others work (architecture.md section 8)."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WritePlugin = Callable[..., Path]


def test_a_folder_that_is_not_installed_runs(recbench: Any, write_plugin: WritePlugin) -> None:
    folder = write_plugin("strange")
    answer = recbench("run", "-m", "strange", "-d", "demo", "--plugin", folder, "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["record"]["model"]["distribution"] == str(folder)
    assert recbench("recommend", "last", "--history", "item-0001", "--plugin", folder).code == 0
    recbench("recommend", "last", "--history", "item-0001").refuses("Model 'strange' is not installed", f"--plugin {folder}")


def test_several_plugins_may_be_given(recbench: Any, write_plugin: WritePlugin) -> None:
    first, second = write_plugin("one"), write_plugin("two")
    rows = recbench("list", "models", "--plugin", first, "--plugin", second, "--json").json
    assert {"one", "two", "popularity"} <= {row["name"] for row in rows if not row["broken"]}


@pytest.mark.parametrize(
    ("init", "reason"),
    [
        ("import a_library_that_nobody_has", "ModuleNotFoundError: No module named 'a_library_that_nobody_has'"),
        ("raise RuntimeError('not today')", "RuntimeError: not today"),
        ("import sys\nsys.exit('no')", "SystemExit: no"),
        ("x = 1", "has no attribute 'PLUGIN'"),
        ("PLUGIN = 'a string'", "PLUGIN is a str"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_listed_with_its_reason(
    recbench: Any, write_plugin: WritePlugin, init: str, reason: str
) -> None:
    folder = write_plugin("sick", init=init)
    rows = {row["name"]: row for row in recbench("list", "models", "--plugin", folder, "--json").json}
    assert reason in rows["sick"]["broken"]
    assert rows["popularity"]["broken"] is None
    assert "broken" in recbench("list", "models", "--plugin", folder).stdout
    before = recbench.listing()
    recbench("run", "-m", "sick", "-d", "demo", "--plugin", folder).refuses("'sick'", reason, code=1)
    assert recbench.listing() == before
    assert recbench("run", "-m", "popularity", "-d", "demo", "--plugin", folder).code == 0
    doctor = recbench("doctor", "--plugin", folder, "--json")
    assert doctor.code == 1
    assert reason in next(check for check in doctor.json if check["name"] == "plugins")["found"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("items[0, 7, 2] = self.n_items", ("query 7", "300")),
        ("items[1, 7, 2] = -5", ("query 7", "-5")),
        ("items, scores = items[:, :, :3], scores[:, :, :3]", ("shape",)),
        ("items, scores = items[:, :-1], scores[:, :-1]", ("shape",)),
        ("scores[0, 7, 2] = np.nan", ("query 7", "nan")),
        ("items[0, 7, 2] = items[0, 7, 1]", ("query 7",)),
        ("items[1, 7, 2] = queries.histories[7][0]", ("query 7", "history")),
    ],
)
def test_a_ranking_that_breaks_the_contract_fails_the_run_and_names_the_query(
    recbench: Any, write_plugin: WritePlugin, spoil: str, words: tuple[str, ...]
) -> None:
    folder = write_plugin("wild", spoil=spoil)
    answer = recbench("run", "-m", "wild", "-d", "demo", "--plugin", folder)
    assert answer.code == 1
    for word in words:
        assert word.lower() in answer.stderr.lower(), answer.stderr
    assert "Traceback" not in answer.stderr
    (run,) = (recbench.folder / "runs").iterdir()
    assert not (run / "record.json").exists()
    assert json.loads((run / "failure.json").read_text())["error"] == "PluginFailed"
    assert recbench.half_written() == []
    assert not list((recbench.home / "stages").glob("ranking-*"))
    row = recbench("list", "runs", "--json").json[0]
    assert row["failure"]


@pytest.mark.slow
def test_a_failed_cell_stops_no_other_and_makes_the_exit_code_1(recbench: Any, write_plugin: WritePlugin) -> None:
    folder = write_plugin("wild", spoil="scores[:] = np.nan")
    answer = recbench("compare", "-m", "wild,popularity", "-d", "demo", "--plugin", folder, "--threads", "1")
    assert answer.code == 1
    assert "popularity:default" in answer.stdout
    assert "Failed: wild on demo, seed 0" in answer.stderr
    assert "failed" in answer.stderr
    states = {row["run"].split("-")[1]: row["failure"] is None for row in recbench("list", "runs", "--json").json}
    assert states == {"wild": False, "popularity": True}


def pretend_distribution(root: Path, name: str) -> Path:
    """What an installed distribution leaves on the path that offers a model called `popularity`."""
    info = root / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[recbench.models]\npopularity = somebody_elses.popularity:PLUGIN\n")
    return root


def test_two_distributions_that_claim_one_name_are_both_named(recbench: Any, tmp_path: Path) -> None:
    site = pretend_distribution(tmp_path / "site", "somebody-elses")
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def give(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "recbench", *words]
        return subprocess.run(command, env=environment, cwd=recbench.folder, capture_output=True, text=True, timeout=120)

    done = give("run", "-m", "popularity", "-d", "demo")
    assert done.returncode == 2
    assert "somebody-elses" in done.stderr
    assert "recbench" in done.stderr
    assert "claim the model 'popularity'" in done.stderr
    assert recbench.listing() == {}
    rows = {row["name"]: row for row in json.loads(give("list", "models", "--json").stdout)}
    assert "somebody-elses" in rows["popularity"]["broken"]
    assert rows["random"]["broken"] is None


def test_a_folder_may_not_take_an_installed_name(recbench: Any, write_plugin: WritePlugin) -> None:
    folder = write_plugin("popularity")
    recbench("run", "-m", "popularity", "-d", "demo", "--plugin", folder).refuses("claim the model 'popularity'", str(folder), "recbench")
    assert recbench.listing() == {}
