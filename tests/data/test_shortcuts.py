"""The shortcut card of a small data set by hand, and who has none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recbench.cli.app import app
from recbench.data import Dataset, make_split
from recbench.evaluation import RELATIONS
from recbench.tasks import NEXT_ITEM
from tests.data.sets_case import random_tables

ROWS = [
    ("u", "a", 1), ("u", "b", 2), ("u", "c", 3), ("u", "d", 3),
    ("v", "c", 1), ("v", "d", 2), ("v", "b", 3), ("v", "c", 9),
    ("w", "c", 1), ("w", "d", 2), ("w", "a", 3), ("w", "e", 4),
]  # fmt: skip
"""Train a-b, c-d and c-d; asked for d after c, seen in train and tied, for c after b, in the history, and for e after a, never seen."""


def test_card_by_hand(write_folder: Callable[..., Path], read: Callable[..., Dataset]) -> None:
    dataset = read(write_folder([(user, item, 10**9 + time) for user, item, time in ROWS]))
    found = NEXT_ITEM.shortcut_card(make_split(dataset, NEXT_ITEM.protocol()))
    assert found.n_targets == 3
    assert {name: share.value for name, share in found.relations.items() if share.value} == {
        "seen pair": pytest.approx(1 / 3),
        "none of these": pytest.approx(2 / 3),
    }
    assert tuple(found.relations) == RELATIONS
    assert sum(share.by_chance for share in found.relations.values()) == pytest.approx(1)
    assert (found.repeated, found.tied, found.cold) == (1 / 3, 1 / 3, 1 / 3)
    assert found.entropy is not None
    assert (found.entropy.n_steps, found.entropy.unseen) == (3, 1 / 3)
    # a, b, c, d, e: 0, 0, 1/3, 1/3, 1/3 of the targets, 1/6, 1/6, 1/3, 1/3, 0 of the train events.
    assert found.target_drift.value == pytest.approx(1 / 3)
    assert found.late_drift is None
    rows = dict(found.rows())
    assert rows["steps whose pair was seen once"] == rows["targets in the history"] == "33.3%"
    assert rows["drift, latest tenth of train against the rest (by chance)"] == "unknown"


def test_shares_of_relations_sum_to_one_under_every_protocol(tmp_path: Path) -> None:
    for protocol in ("leave-one-out", "temporal:targets=all", "cold:share=0.1"):
        done = CliRunner().invoke(
            app, ["data", "shortcuts", "demo", "--protocol", protocol, "--json"], env={"RECBENCH_HOME": str(tmp_path / "home")}
        )
        assert done.exit_code == 0, done.stderr
        found = json.loads(done.stdout)
        for kind in ("value", "by_chance"):
            assert sum(share[kind] for share in found["relations"].values()) == pytest.approx(1)
        assert 0 <= found["target_drift"]["value"] <= 1
        assert (found["cold"] == 1) == protocol.startswith("cold")


def test_bundles_have_no_card(write_tables: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_tables(random_tables())
    done = CliRunner().invoke(app, ["data", "shortcuts", str(folder)], env={"RECBENCH_HOME": str(tmp_path / "home")})
    assert done.exit_code == 2
    assert "The task bundle says nothing about shortcuts." in " ".join(done.stderr.split())
