"""`recbench show --codes` on a plugin of the tests: from `fit` to the record, the table and the picture."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.evaluation import CODES_FILE, read_codes

pytestmark = pytest.mark.usefixtures("demo_home")

CODES = """
    import pyarrow as pa
    import pyarrow.parquet as pq
    def make(folder):
        codes = [[row % 4, row // 4] for row in range({n_items})]
        items = pa.array(range({n_items}), pa.int32())
        pq.write_table(pa.table({{"item": items, "code": pa.array(codes, pa.list_(pa.int32()))}}), folder / "anything.parquet")
    return FitReport(artefacts={{"codes": context.stage("codes", make, config={{}}) / "{file}"}})
"""


@pytest.fixture
def coded(write_plugin: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a plugin whose `fit` names a file of codes as its artefact."""

    def write(name: str = "coded", *, n_items: str = "len(context.items)", file: str = "anything.parquet") -> Path:
        folder = write_plugin(name)
        body = "\n    ".join(CODES.format(n_items=n_items, file=file).splitlines())
        source = folder / "__init__.py"
        source.write_text(source.read_text().replace("        return FitReport()", body))
        return folder

    return write


def test_codes_go_into_the_run_and_are_shown(recbench: Any, coded: Callable[..., Path]) -> None:
    plugin = coded()
    made = recbench("run", "-m", "coded", "-d", "demo", "--plugin", plugin, "--json")
    assert made.code == 0, made.stderr
    run, record = Path(made.json["folder"]), made.json["record"]
    table = read_codes(run / CODES_FILE)
    assert table.level_sizes[0] == 4
    assert record["diagnostics"]["codes_usage_1"] == 1
    assert record["diagnostics"]["codes_purity_random_1"] > 0
    # No two items share a code: both levels are one.
    assert record["diagnostics"]["codes_mean_1_over_g"] == 1
    for view in ("keep", "unseen"):
        for metric in ("recall@10", "ndcg@20"):
            assert record["diagnostics"][f"codes_sid_{metric}_{view}"] == pytest.approx(record["metrics"][view][metric]["value"])
    assert CODES_FILE in [part["name"] for part in record["files"]]
    shown = recbench("show", "last", "--codes", "--plugin", plugin)
    assert shown.code == 0, shown.stderr
    assert "Perplexity" in shown.stdout
    assert "Purity" in shown.stdout
    assert "At code level" in shown.stdout
    assert "At code level NDCG@10 keep is" in recbench("show", "last", "--plugin", plugin).stdout
    found = recbench("show", "last", "--codes", "--plot", "--json", "--plugin", plugin).json
    assert [level["size"] for level in found["codes"]["levels"]] == list(table.level_sizes)
    assert found["codes"]["distinct"] == len(table.code)
    assert Path(found["plot"]) == run / "codes.png"
    assert (run / "codes.png").read_bytes().startswith(b"\x89PNG")
    # No file of the run says where on this machine it was made.
    for file in ("record.json", "config.toml", CODES_FILE):
        assert str(recbench.home).encode() not in (run / file).read_bytes()


def test_codes_outlive_the_stage_they_came_from(recbench: Any, coded: Callable[..., Path]) -> None:
    plugin = coded()
    first = recbench("run", "-m", "coded", "-d", "demo", "--plugin", plugin, "--json").json
    for stage in (recbench.home / "stages").glob("coded.codes-*"):
        shutil.rmtree(stage)
    again = recbench("run", "-m", "coded", "-d", "demo", "--plugin", plugin, "--json", "--again").json
    assert {stage["name"]: stage["reused"] for stage in again["record"]["stages"]}["training-coded"]
    assert (Path(again["folder"]) / CODES_FILE).read_bytes() == (Path(first["folder"]) / CODES_FILE).read_bytes()
    assert again["record"]["diagnostics"] == first["record"]["diagnostics"]
    for file in (recbench.home / "stages").rglob("report.json"):
        assert str(recbench.home) not in file.read_text()


def test_a_model_without_codes_is_told_so(recbench: Any) -> None:
    assert recbench("run", "-m", "popularity", "-d", "demo").code == 0
    recbench("show", "last", "--codes").refuses("has no item codes", "popularity:default does not give items codes")
    recbench("show", "last", "--codes", "--json").refuses("has no item codes")
    recbench("show", "last", "--codes", "--plot").refuses("has no item codes")
    assert recbench("show", "last").code == 0


def test_codes_that_cannot_be_are_the_models_fault(recbench: Any, coded: Callable[..., Path]) -> None:
    short = coded("short", n_items="7")
    recbench("run", "-m", "short", "-d", "demo", "--plugin", short).refuses("'short' gave codes of 7 items", code=1)
    missing = coded("missing", file="nowhere.parquet")
    recbench("run", "-m", "missing", "-d", "demo", "--plugin", missing).refuses(
        "'missing': fit names", "nowhere.parquet", "no file", code=1
    )
    assert recbench.half_written() == []
