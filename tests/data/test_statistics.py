"""Figures of a data set, by hand, and the findings of `check`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from recbench.cli.app import app
from recbench.core import SilentProgress
from recbench.data import Dataset, check, make_split, stats
from recbench.tasks import BUNDLE, NEXT_ITEM
from tests.data.sets_case import divided, random_tables

ROWS = [
    ("u", "a", 1), ("u", "b", 2), ("u", "c", 3), ("u", "d", 3),
    ("v", "b", 1), ("v", "a", 9),
    ("w", "c", 2), ("w", "a", 4), ("w", "c", 8),
]  # fmt: skip
ITEMS = {"item_id": ["a", "b", "c", "d", "e"], "title": ["A", None, "C", "D", "E"]}


def test_figures_by_hand(write_folder: Callable[..., Path], read: Callable[..., Dataset]) -> None:
    dataset = read(write_folder([(user, item, 10**9 + time) for user, item, time in ROWS], ITEMS))
    found = stats(dataset, make_split(dataset, NEXT_ITEM.protocol()))
    assert (found.users, found.items, found.interactions, found.items_without_events) == (3, 5, 9, 1)
    assert found.density == pytest.approx(9 / 15)
    assert (found.mean_length, found.median_length, found.max_length) == (3.0, 3.0, 4)
    assert found.repeats == 1
    assert found.tied_pairs == pytest.approx(1 / 6)
    assert found.tied_test == 0.5
    # Validation targets c and a, test targets d and c: both sort later.
    assert found.order_in_ids == 1.0
    assert found.test_in_history == 0.5
    # Train holds a, b of u; b, a of v; c of w.
    assert (found.valid_never_seen, found.test_never_seen, found.test_not_in_train) == (0, 1, 1)
    assert (found.test_queries, found.users_train_only) == (2, 1)
    assert found.text_coverage == {"title": 0.8, "brand": 0, "categories": 0, "description": 0, "price": 0}
    assert found.items_of_equal_text == 0
    rows = dict(found.rows())
    assert rows["density"] == "60.0000%"
    assert rows["items with title"] == "80.00%"
    assert found.to_dict()["repeats"] == 1


def test_items_of_equal_text_are_counted(write_folder: Callable[..., Path], read: Callable[..., Dataset]) -> None:
    texts = {"title": ["A", "A", "A", None, None], "brand": ["x", "x", "y", None, None]}
    dataset = read(write_folder(ROWS, {"item_id": ["a", "b", "c", "d", "e"], **texts}))
    # a and b; d and e have no text to share.
    found = stats(dataset, make_split(dataset, NEXT_ITEM.protocol()))
    assert found.items_of_equal_text == 2
    assert dict(found.rows())["items that share all their text with another"] == "2"


def test_times_that_are_not_seconds_have_no_ties(write_folder: Callable[..., Path], read: Callable[..., Dataset]) -> None:
    dataset = read(write_folder([("u", "a", 0), ("u", "b", 1), ("u", "c", 2)]))
    found = stats(dataset, make_split(dataset, NEXT_ITEM.protocol()))
    assert found.tied_pairs is None
    assert dict(found.rows())["neighbouring events of equal time"] == "unknown"


def test_check_finds_what_holds_and_what_does_not(write_folder: Callable[..., Path], tmp_path: Path) -> None:
    def findings(name: str) -> dict[str, bool]:
        return {
            finding.what: finding.is_good
            for finding in check(
                name, data_dir=None, home=tmp_path / "home", progress=SilentProgress(), protocol_of=lambda _: NEXT_ITEM.protocol()
            )
        }

    assert all(findings(str(write_folder(ROWS, ITEMS))).values())
    assert findings(str(write_folder(ROWS, {"item_id": ["a"]}, name="lacking"))) == {"files": True, "columns": True, "counts": False}
    assert findings(str(write_folder(ROWS[4:6], name="short")))["leave-one-out"] is False
    assert findings("lastfm") == {"files": False}


BUNDLES = divided({"one": ("train", "", "abc"), "two": ("train", "", "ad"), "tried": ("valid", "a", "b"), "asked": ("test", "a", "ez")})


def test_figures_of_bundles_speak_of_bundles(write_tables: Callable[..., Path], read: Callable[..., Dataset]) -> None:
    dataset = read(write_tables({"bundles": BUNDLES}))
    found = stats(dataset, make_split(dataset, BUNDLE.protocol("published")))
    rows = dict(found.rows("bundle", "bundles"))
    assert (rows["bundles"], rows["pairs of bundle and item"], rows["bundles in the train part"]) == ("4", "10", "2")
    assert rows["items per bundle: mean, median, max"] == "2.50, 2.5, 3"
    assert (rows["validation bundles contained in a train bundle"], rows["test bundles contained in a train bundle"]) == ("100.0%", "0.0%")
    assert not any(word in label for label in rows for word in ("user", "event before", "interactions", "equal time", "id sorts"))
    assert (found.order_in_ids, found.to_dict()["notes"]) == (None, dict(found.notes))


def test_check_of_bundles_follows_the_card_and_shows_leaks_and_vectors(write_tables: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_tables({"bundles": random_tables()["bundles"], "feedback": {"user_id": ["u", "v"], "item_id": ["i1", "i2"]}})
    (folder / "features").mkdir()
    np.save(folder / "features" / "image.npy", np.ones((2, 3), np.float32))
    (folder / "features" / "image.ids.txt").write_text("i1\ni2\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["data", "check", str(folder)], prog_name="recbench", env={"RECBENCH_HOME": str(tmp_path / "home")})
    assert done.exit_code == 0, done.stdout + done.stderr
    shown = " ".join(done.stdout.split())
    for part in (
        "90 bundles, 40 items,", "pairs; the card states none", " random ok ", "image: 2 of 40 items; 3 columns",
        "bundles equal to another left out: ", "feedback: unfiltered, for no table says who owns which bundle",
    ):  # fmt: skip
        assert part in shown
    refused = CliRunner().invoke(
        app, ["data", "stats", str(folder), "--protocol", "session"], env={"RECBENCH_HOME": str(tmp_path / "home")}
    )
    assert refused.exit_code == 2
    assert "Use --protocol random." in " ".join(refused.stderr.split())
