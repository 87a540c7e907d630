"""The benchmark beside other toolkits, on toys: our sides work from what travels to the others too, and quality is counted as by hand."""

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "peers.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_our_side_is_measured_in_a_process_of_its_own(
    script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECBENCH_DATA", str(tmp_path))
    script["main"](["--ours-alone", "--parts", "sasrec", "--datasets", "demo", "--batch", "500", "--passes", "1"])
    rows = re.findall(r"^sasrec, demo, batches of 500: (\w+) +(\w+) +([\d,.]+) +nan", capsys.readouterr().out, re.MULTILINE)
    assert [row[:2] for row in rows] == [("training", "pairs"), ("ranking", "users")]
    assert all(float(rate.replace(",", "")) > 0 for _, _, rate in rows)


def test_our_tiger_has_both_encoders(script: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 40, 6).tolist() for _ in range(8)]
    found = script["recbench_tiger"](script["Work"](n_items=40, threads=1, seed=0, batch=16, passes=1), sequences, tmp_path)
    count = {name: row["count"] for name, row in found.rows.items()}
    # Of six items the last two are for validation and test, and the first has no history.
    assert count == {"training, causal": 24, "decoding, causal": 8, "training, full": 24, "decoding, full": 8}


def test_quality_is_counted_by_place(script: dict[str, Any]) -> None:
    lists = np.stack([np.arange(50), np.arange(50), np.arange(50)]).astype(np.int32)
    recall, ndcg = script["values_at_10"](lists, np.array([0, 2, 10], np.int32))
    np.testing.assert_array_equal(recall, [1, 1, 0])
    np.testing.assert_allclose(ndcg, [1, 0.5, 0])


def test_the_first_users_have_the_pairs_asked_for(script: dict[str, Any]) -> None:
    sequences = script["Sequences"](np.arange(15, dtype=np.int32), np.array([0, 5, 10, 15]))
    assert script["first_pairs"](sequences, 3).lists() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert script["first_pairs"](sequences, 100).lists() == sequences.lists()
