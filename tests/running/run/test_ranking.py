"""A ranking that was stopped goes on behind what it had answered, alone and in a group."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shared_stages

from recbench.core import Plugin, Queries, Rankings, World
from recbench.data import Split
from recbench.running.run import fit_context
from recbench.running.stages.store import StageStore
from recbench.testing import small_split

PER_CALL = 8


@pytest.fixture
def split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Split:
    monkeypatch.setattr(fit_context, "_QUERIES_PER_CALL", PER_CALL)
    small_split(tmp_path)
    return Split.open(tmp_path / "split")


def model(folder: Path) -> Plugin:
    return shared_stages.plugin_of("counts", lambda context: np.zeros((len(context.items), 1), np.float32), folder)


def stopped_after(n_calls: int, split: Split, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank until the model was asked so often, and stop there as Ctrl-C does."""
    answer = shared_stages.Holder.generate

    def generate(self: shared_stages.Holder, queries: Queries, k: int) -> Rankings:
        if len(self.ranked) >= n_calls * PER_CALL:
            signal.raise_signal(signal.SIGINT)
        return answer(self, queries, k)

    with monkeypatch.context() as patched:
        patched.setattr(shared_stages.Holder, "generate", generate)
        with pytest.raises(KeyboardInterrupt):
            shared_stages.lists(model(folder / "model"), split, StageStore(folder / "stages"), World())


def ranked(split: Split, folder: Path) -> tuple[list[Any], dict[str, int], list[int]]:
    return shared_stages.lists(model(folder / "model"), split, StageStore(folder / "stages"), World())


def test_what_was_answered_before_a_stop_is_not_asked_again(split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = split.test.user.tolist()
    assert len(users) > 2 * PER_CALL
    whole = ranked(split, tmp_path / "whole")
    assert whole[2] == users
    stopped_after(2, split, tmp_path / "stopped", monkeypatch)
    lists, counters, asked = ranked(split, tmp_path / "stopped")
    assert asked == users[2 * PER_CALL :]
    assert (lists, counters) == whole[:2]
    assert not list((tmp_path / "stopped" / "stages" / "partial").glob("ranking-*")), "nothing is left behind"


@pytest.mark.parametrize("name", ["answered.json", "items.npy", "scores.npy"])
@pytest.mark.parametrize("damage", ["empty", "gone"])
def test_damaged_beginnings_are_ranked_again(split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: str) -> None:
    stopped_after(1, split, tmp_path, monkeypatch)
    (path,) = (tmp_path / "stages" / "partial").glob(f"ranking-*/*/{name}")
    path.unlink() if damage == "gone" else path.write_bytes(b"")
    lists, counters, asked = ranked(split, tmp_path)
    assert asked == split.test.user.tolist()
    assert counters == {"sequences": len(asked)}
    assert len(lists[0]) == len(asked)


@pytest.mark.slow
def test_the_loss_of_a_process_costs_one_call_of_its_share(tmp_path: Path) -> None:
    (first, _), (second, _) = shared_stages.in_a_group(str(tmp_path), "lose")
    assert second == 9
    assert first not in {0, 9}, "the other one ends with an error, and does not wait for ever"
    for code, log in shared_stages.in_a_group(str(tmp_path), "lists"):
        assert code == 0, log
    found = [json.loads((tmp_path / f"facts-{rank}.json").read_text()) for rank in range(2)]
    split = Split.open(tmp_path / "split")
    users, n_items = split.test.user.tolist(), len(split.items)
    half = len(users) // 2
    assert found[0][2] == [], "its share was finished"
    assert found[1][2] == users[half + 4 :], "four were answered before the loss"
    for lists, counters, _ in found:
        assert lists == [[[(user + place) % n_items for place in range(3)] for user in users]]
        assert counters == {"sequences": len(users)}
