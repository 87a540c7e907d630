"""`recbench plan`: what a run will cost, what that rests on, and how good such figures were."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recbench import registry

CPU = ("--device", "cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Writes the record of a SASRec that was never trained, with the costs that are given, below ./runs."""
    settings = registry.models().load("sasrec").resolve("tuned").model_dump(mode="json")
    interval = {"value": 0.1, "low": 0.0, "high": 0.2}

    def write(runs: Path, dataset: str, *, users: int, items: int, events: int, train_s: float, mib: int = 1000, **changes: Any) -> str:
        possible = events - 3 * users
        fit = {"steps": 24 * possible // 1000, "epochs": 24.0, "examples_seen": 24 * possible, "examples_possible": possible}
        fit |= {"parameters": 100 * items + 5000, "parameters_trainable": 0, "parameters_embedding": 100 * items}
        seed = changes.pop("seed", 0)
        run_id = f"{dataset}-sasrec-tuned-s{seed}-00000000-1"
        stage = {"key": "k", "peak_memory_bytes": mib << 20, "reused": False}
        record: dict[str, Any] = {
            "schema_version": 1,
            "run_id": run_id,
            "started": "2026-11-27T00:00:00+00:00",
            "command": [],
            "model": {"name": "sasrec", "preset": "tuned", "row_name": "sasrec:tuned (ce)", "family": "scoring", "is_trivial": False}
            | {"reads_text": False, "source_hash": "0"},
            "dataset": {"name": dataset, "title": dataset, "is_synthetic": False, "time": "none", "n_users": users, "n_items": items}
            | {"n_interactions": events},
            "protocol": {"split": "leave-one-out", "list_length": 50, "views": ["keep", "unseen"]},
            "fingerprints": dict.fromkeys(("train", "valid", "test", "item_text"), "0"),
            "config": settings,
            "config_hash": "0",
            "budget": None,
            "seed": seed,
            "code": {"version": "0", "commit": None, "is_dirty": None},
            "libraries": {},
            "device": {"type": "cpu", "name": "Toy CPU", "threads": 2, "precision": "fp32"},
            "stages": [{"name": "training-sasrec", "seconds": train_s, **stage}, {"name": "ranking", "seconds": 10.0, **stage}],
            "fit": fit | {"chosen": {}, "stopped_by": "done"},
            "targets": {
                "n_users": users,
                "n_targets": users,
                "n_users_train_only": 0,
                "share_in_history": 0.0,
                "share_tied": None,
                "n_cold": 0,
            },
            "metrics": {"keep": {"ndcg@10": interval}},
            "slices": [],
            "beyond": {},
            "diagnostics": {},
            "cost": {"train_s": train_s, "rank_s": 10.0, "total_s": train_s + 10.0, "users_per_s": 1.0, "peak_memory_bytes": mib << 20},
            "files": [],
        }
        for key, value in changes.items():
            record[key] = record[key] | value if isinstance(value, dict) else value
        (runs / run_id).mkdir(parents=True)
        (runs / run_id / "record.json").write_text(json.dumps(record))
        return run_id

    return write


def planned(recbench: Any, *arguments: str) -> Any:
    answer = recbench("plan", *arguments, *CPU, "--json")
    assert answer.code == 0, answer.stderr
    return answer.json


def test_with_no_record_it_says_that_there_is_nothing_to_go_by(recbench: Any) -> None:
    before = recbench.listing()
    answer = recbench("plan", "-m", "sasrec", "-d", "toys", *CPU)
    assert answer.code == 0
    assert "There is nothing to go by." in answer.stdout
    assert "19,412 users, 11,924 items" in answer.stdout
    found = planned(recbench, "-m", "sasrec", "-d", "toys")
    assert found["total_s"] is None
    assert found["basis"] == []
    assert recbench.listing() == before


def test_another_data_set_is_scaled_by_its_examples(recbench: Any, made: Any) -> None:
    runs = recbench.folder / "runs"
    near = made(runs, "near", users=10_000, items=10_000, events=130_000, train_s=500.0, mib=900)
    made(runs, "far", users=1_000, items=100, events=13_000, train_s=10.0, mib=400)
    found = planned(recbench, "-m", "sasrec", "-d", "toys", "--preset", "tuned")
    assert found["rule"] == "other-data"
    assert found["basis"] == [near]
    examples = 167_597 - 3 * 19_412
    assert found["train_s"]["value"] == pytest.approx(500.0 * examples / 100_000)
    assert found["rank_s"]["value"] == pytest.approx(10.0 * 1.9412 * 1.1924)
    assert found["memory_bytes"]["value"] == pytest.approx((400 + 500 * math.sqrt(1.1924)) * 2**20)
    weights = (100 * 10_000 * 1.1924 + 5000) * 4 * 5
    assert found["disk_bytes"] == pytest.approx(weights + 2 * 19_412 * 50 * 8 + 167_597 * 32)

    # Each of the two is predicted from the other: 10 s from 500 s and 500 s from 10 s, ten times the examples.
    error = found["time_error"]
    assert error["n"] == 2
    assert error["of"] == "all models"
    small, large = 50.0 + 10.0 * 0.1 * 0.01, 100.0 + 10.0 * 10 * 100
    ratios = sorted([small / 20.0, large / 510.0])
    assert error["worst"] == pytest.approx(ratios[1])
    assert error["median"] == pytest.approx(sum(ratios) / 2)
    assert found["total_s"]["high"] == pytest.approx(found["total_s"]["value"] * ratios[1])
    table = recbench("plan", "-m", "sasrec", "-d", "toys", "--preset", "tuned", *CPU).stdout
    assert "predicted 2 past records of all models, each from the others" in table
    assert near in table


def test_seeds_of_the_same_run_come_first_and_settings_nobody_tried_are_named(recbench: Any, made: Any) -> None:
    runs = recbench.folder / "runs"
    for seed, seconds in enumerate((100.0, 120.0, 160.0)):
        made(runs, "toys", users=19_412, items=11_924, events=167_597, train_s=seconds, seed=seed, device={"jobs": 2})
    made(runs, "near", users=19_000, items=11_000, events=160_000, train_s=900.0)
    found = planned(recbench, "-m", "sasrec", "-d", "toys", "--preset", "tuned")
    assert found["rule"] == "same"
    assert len(found["basis"]) == 3
    assert found["train_s"]["value"] == pytest.approx(120.0)
    assert found["time_error"]["n"] == 3
    assert found["time_error"]["of"] == "sasrec"
    assert any("shared the machine" in note for note in found["notes"])
    half = planned(
        recbench, "-m", "sasrec", "-d", "toys", "--preset", "tuned", "--set", "training.max_epochs=12", "--set", "network.width=128"
    )
    assert half["train_s"]["value"] == pytest.approx(60.0)
    assert any("network.width=128" in note and "max_epochs" not in note for note in half["notes"])
    bounded = planned(recbench, "-m", "sasrec", "-d", "toys", "--preset", "tuned", "--budget", "1m")
    assert bounded["total_s"]["value"] == 60.0
    steps = planned(recbench, "-m", "sasrec", "-d", "toys", "--preset", "tuned", "--budget", "1308steps")
    assert steps["train_s"]["value"] == pytest.approx(60.0, rel=0.01)
    weak = planned(recbench, "-m", "sasrec", "-d", "toys", "--preset", "paper")
    assert weak["rule"] == "other-preset"
    other = recbench("plan", "-m", "sasrec", "-d", "toys", "--preset", "tuned", "--device", "cuda", "--json").json
    assert other["rule"] is None
    assert any("there are some of cpu" in note for note in other["notes"])


def test_what_a_budget_of_time_ended_is_no_past_error(recbench: Any, made: Any) -> None:
    runs = recbench.folder / "runs"
    for seed, budget in enumerate((None, None, "3cpu-min", "1m")):
        stopped_by = "done" if budget is None else "budget"
        more: dict[str, Any] = {"seed": seed, "budget": budget, "fit": {"stopped_by": stopped_by}}
        made(runs, "toys", users=19_412, items=11_924, events=167_597, train_s=100.0 if budget is None else 5000.0, **more)
    assert planned(recbench, "-m", "sasrec", "-d", "toys", "--preset", "tuned")["time_error"]["n"] == 2


def test_a_record_of_another_cut_says_nothing_of_the_sizes(recbench: Any, made: Any) -> None:
    other = {
        "protocol": {"split": "rolling", "split_options": {"cut": 0, "targets": "last"}, "list_length": 50, "views": ["keep", "unseen"]}
    }
    made(recbench.folder / "runs", "ml-100k", users=179, items=1_682, events=100_000, train_s=1.0, **other)
    sizes = planned(recbench, "-m", "sasrec", "-d", "ml-100k", "--preset", "tuned", "--protocol", "rolling:cut=0")["sizes"]
    assert sizes["n_users"] == 179
    sizes = planned(recbench, "-m", "sasrec", "-d", "ml-100k", "--preset", "tuned", "--protocol", "rolling:cut=1")["sizes"]
    assert sizes["source"] == "card"


def test_memory_is_at_least_what_reading_the_events_takes(recbench: Any, made: Any) -> None:
    made(recbench.folder / "runs", "near", users=1_000, items=11_924, events=13_000, train_s=1.0, mib=400)
    found = planned(recbench, "-m", "sasrec", "-d", "toys", "--preset", "tuned")
    assert found["memory_bytes"]["value"] == pytest.approx(400 * 2**20 + 95 * 167_597)


def test_a_protocol_that_asks_fewer_users_costs_less_ranking_alone(recbench: Any, made: Any) -> None:
    made(recbench.folder / "runs", "toys", users=19_412, items=11_924, events=167_597, train_s=100.0)
    asked = ("-m", "sasrec", "-d", "toys", "--preset", "tuned")
    everyone, fewer = planned(recbench, *asked), planned(recbench, *asked, "--protocol", "leave-one-out:users=1000")
    assert fewer["sizes"]["n_users"] == 1_000
    assert fewer["rank_s"]["value"] == pytest.approx(10.0 * 1_000 / 19_412)
    assert fewer["train_s"]["value"] == everyone["train_s"]["value"] == pytest.approx(100.0)
    more = planned(recbench, *asked, "--protocol", "leave-one-out:users=1000000")
    assert more["rank_s"]["value"] == everyone["rank_s"]["value"]


def test_real_runs_lists_of_others_and_damaged_records(recbench: Any) -> None:
    for seed in ("0", "1"):
        assert recbench("run", "-m", "popularity", "-d", "demo", "--seed", seed).code == 0
    recbench("recommend", "last", "--export", "lists.csv", "--seen", "both")
    assert recbench("import-ranks", "lists.csv", "-m", "popularity", "-d", "demo").code == 0
    broken = recbench.folder / "runs" / "broken"
    broken.mkdir()
    (broken / "record.json").write_text("{")
    answer = recbench("plan", "-m", "popularity", "-d", "demo", *CPU, "--json")
    assert "left out" in answer.stderr
    found = answer.json
    assert len(found["basis"]) == 2
    assert not any("foreign" in run for run in found["basis"])
    assert found["time_error"]["n"] == 2
    assert found["sizes"]["n_items"] == 300


def test_a_folder_of_data_is_measured_and_nothing_is_written_or_downloaded(recbench: Any) -> None:
    rows = [f"u{user:02},i{(user * 7 + place**2) % 40:02},{1_000_000 + place}" for user in range(40) for place in range(6)]
    (recbench.folder / "walks").mkdir()
    (recbench.folder / "walks" / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows, ""]))
    before = recbench.listing()
    sizes = planned(recbench, "-m", "popularity", "-d", "./walks")["sizes"]
    assert (sizes["n_users"], sizes["n_interactions"], sizes["source"]) == (40, 240, "the data")
    assert recbench.listing() == before


def test_it_asks_no_torch(recbench: Any) -> None:
    code = (
        "import sys\nsys.argv = ['recbench', 'plan', '-m', 'sasrec', '-d', 'toys', '--device', 'cpu']\n"
        "from recbench.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'transformers', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-m", "sasrecc", "-d", "toys"), ("'sasrecc'", "Did you mean 'sasrec'?")),
        (("-m", "sasrec", "-d", "tyos"), ("'tyos'", "Did you mean 'toys'?")),
        (("-m", "sasrec", "-d", "toys", "--preset", "tunned"), ("'tunned'", "Did you mean 'tuned'?")),
        (("-m", "sasrec", "-d", "toys", "--set", "widht=3"), ("'widht'", "Did you mean 'network.width'?")),
        (("-m", "sasrec", "-d", "toys", "--budget", "soon"), ("--budget 'soon'",)),
        (("-m", "sasrec", "-d", "toys", "--seen", "some"), ("--seen 'some'",)),
        (("-m", "sasrec", "-d", "toys", "--device", "tpu"), ("--device 'tpu'",)),
        (("-m", "ease", "-d", "amazon-books"), ("not applicable", "the model's limit is 30,000", "of memory")),
    ],
)
def test_an_impossible_run_has_no_plan(recbench: Any, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    recbench("plan", *arguments).refuses(*words)
    assert recbench.listing() == {}
