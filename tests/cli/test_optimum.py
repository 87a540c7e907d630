"""`recbench data optimum` as a user sees it."""

from typing import Any

NAME = "synthetic:items=60,users=50"


def test_figures_runs_and_what_is_missing(recbench: Any) -> None:
    empty = recbench("data", "optimum", NAME, "--runs")
    assert empty.code == 0
    assert "NDCG@10 of the best lists on" in empty.stdout
    assert f"No finished run on {NAME} is in the folder of runs." in empty.stdout
    assert recbench("run", "-m", "popularity", "-d", "synthetic:users=50,items=60", "--threads", "1").code == 0
    found = recbench("data", "optimum", NAME, "--runs", "--json").json
    assert [run["row_name"] for run in found["runs"]] == ["popularity:default"] * 2
    assert found["runs"][0]["below"]["value"] > 0
    shown = recbench("data", "optimum", NAME, "--runs").stdout
    assert f"{100 * found['runs'][0]['share']:.1f} %" in shown
    assert f"{found['best'][0]['exact']:.4f}" in shown
    recbench("data", "optimum", "demo").refuses("No optimum of demo is known")
