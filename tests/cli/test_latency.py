"""`recbench latency`: what a call takes, on users that are the same for every model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.core.errors import BadData
from recbench.core.latency import LATENCY_FILE, read_latency

pytestmark = pytest.mark.usefixtures("demo_home")

SLEEPS = "import time; time.sleep(0.02)"
NOTES = "with (Path(__file__).parent / 'calls').open('a') as notes: notes.write(f'{len(queries)} {queries.user.tolist()}\\n')"
CPU = ("--threads", "1", "--device", "cpu")


def test_a_call_takes_what_it_takes_and_more_users_share_it(recbench: Any, write_plugin: Callable[..., Path]) -> None:
    plugin = write_plugin("sleeper", spoil=SLEEPS, save="(folder / 'x').write_text('0')")
    assert recbench("run", "-m", "sleeper", "-d", "demo", "--plugin", plugin, *CPU).code == 0
    found = recbench("latency", "last", "--plugin", plugin, "--users", "150", "--batches", "1,50", *CPU, "--json").json
    one, fifty = found["batches"]
    assert (one["batch"], one["n_calls"], fifty["batch"], fifty["n_calls"]) == (1, 150, 50, 3)
    assert 20 <= one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"]
    assert one["users_per_s"] <= 50
    assert one["users_per_s"] < fifty["users_per_s"] <= 50 * 50
    assert (fifty["p95_ms"], fifty["p99_ms"]) == (None, None), "three calls have no such percentile"
    answer = recbench("latency", "last", "--plugin", plugin, "--users", "40", "--batches", "1", "--seconds", "0.1", *CPU)
    assert "sleeper:default on demo: lists of 10, view unseen, 40 users" in answer.stdout
    (line,) = (line.split() for line in answer.stdout.splitlines() if line.split()[0] == "1")
    assert 1 <= int(line[1]) <= 5, "0.1 s of calls of 0.02 s"
    assert line[4] == "–"


def test_warm_up_is_not_counted_and_the_users_are_the_same_each_time(recbench: Any, write_plugin: Callable[..., Path]) -> None:
    plugin = write_plugin("noter", spoil=NOTES, save="(folder / 'x').write_text('0')")
    assert recbench("run", "-m", "noter", "-d", "demo", "--plugin", plugin, *CPU).code == 0
    calls = []
    for _ in range(2):
        (plugin / "calls").unlink()
        found = recbench("latency", "last", "--plugin", plugin, "--users", "45", "--batches", "1,20", *CPU, "--json").json
        calls.append((plugin / "calls").read_text().splitlines())
    assert calls[0] == calls[1]
    sizes = [int(call.split()[0]) for call in calls[0]]
    assert sizes == [1] * (10 + 45) + [20] * (10 + 2), "45 users make two calls of 20; the rest would be a smaller one"
    assert [line["n_calls"] for line in found["batches"]] == [45, 2]
    assert len(set(calls[0][10:55])) == 45


@pytest.mark.parametrize("model", ["popularity", "sasrec:smoke"])
def test_real_models_answer(recbench: Any, model: str) -> None:
    name, _, preset = model.partition(":")
    assert recbench("run", "-m", name, *(("--preset", preset) if preset else ()), "-d", "demo", *CPU).code == 0
    found = recbench("latency", "last", "--users", "30", "--batches", "1,1000", "--seen", "keep", *CPU, "--json").json
    assert [line["batch"] for line in found["batches"]] == [1, 30]
    assert all(line["users_per_s"] > 0 for line in found["batches"])


def test_what_cannot_be_timed_is_refused(recbench: Any) -> None:
    assert recbench("run", "-m", "popularity", "-d", "demo", *CPU).code == 0
    recbench("latency", "last", "--batches", "1,x").refuses("--batches '1,x'", "whole numbers")
    recbench("latency", "last", "--batches", "0").refuses("--batches 0", "above 0")
    recbench("latency", "last", "--seen", "both").refuses("--seen 'both'", "keep or unseen")
    recbench("latency", "last", "--k", "1000").refuses("--k 1000", "1 to 300")


def test_lists_of_any_length_end_with_the_catalogue(recbench: Any) -> None:
    assert recbench("run", "-m", "popularity", "-d", "demo", *CPU).code == 0
    answer = recbench("recommend", "last", "--export", "lists.csv", "--k", "1000000000000")
    assert answer.code == 0, answer.stderr
    ranks = [int(line.split(",")[1]) for line in (recbench.folder / "lists.csv").read_text().splitlines()[1:]]
    assert max(ranks) == 300
    recbench("latency", "nothing").refuses("'nothing'")
    assert recbench("recommend", "last", "--export", "lists.csv", "--seen", "both").code == 0
    imported = recbench("import-ranks", "lists.csv", "-m", "theirs", "-d", "demo", "--json").json
    recbench("latency", imported["run"]).refuses("another toolkit")


def test_saved_figures_lie_beside_the_record_and_are_read_again(recbench: Any) -> None:
    assert recbench("run", "-m", "popularity", "-d", "demo", *CPU).code == 0
    options = ("--users", "30", "--batches", "1,10", *CPU, "--json")
    assert recbench("latency", "last", *options).code == 0
    (folder,) = (recbench.folder / "runs").iterdir()
    assert not (folder / LATENCY_FILE).exists()
    shown = recbench("latency", "last", *options, "--save").json
    saved = read_latency(folder / LATENCY_FILE, shown["run_id"])
    assert saved is not None
    assert saved.model_dump(mode="json") == shown
    assert saved.of(10) == saved.batches[1]
    assert saved.of(7) is None
    for text, word in (("{", "not valid JSON"), ("{}", "run_id"), (saved.to_json().replace(saved.run_id, "another"), "'another'")):
        (folder / LATENCY_FILE).write_text(text)
        with pytest.raises(BadData, match=word):
            read_latency(folder / LATENCY_FILE, shown["run_id"])
