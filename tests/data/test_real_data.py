"""The data sets under RECBENCH_DATA: sizes, published facts, equal splits from different files."""

import time
from pathlib import Path

import pytest

from recbench.core import SilentProgress, TimeKind
from recbench.data import Dataset, Split, locate, make_split, read_dataset, stats
from recbench.tasks import NEXT_ITEM

GIVEN = {
    "beauty": (22363, 12101, 198502),
    "sports": (35598, 18357, 296337),
    "yelp": (30431, 20033, 316354),
    "games": (50546, 16859, 452989),
    "instruments": (24772, 9922, 206153),
    "industrial": (3285, 3686, 22743),
    "office": (3231, 3459, 22447),
    "lastfm": (1362, 2975, 15674),
    "ml-100k": (943, 1682, 100000),
    "ml-1m": (6040, 3416, 999611),
    "steam": (10369, 3593, 126824),
    "food": (17813, 41240, 555618),
    "health": (38329, 18427, 343831),
}
SECONDS = {"lastfm", "ml-100k", "ml-1m", "steam", "food", "health"}


def read_split(name: str, data_dir: Path | None, home: Path) -> tuple[Dataset, Split]:
    progress = SilentProgress()
    dataset = read_dataset(locate(name, data_dir=data_dir, home=home, progress=progress), progress)
    return dataset, make_split(dataset, NEXT_ITEM.protocol())


@pytest.mark.real_data
@pytest.mark.parametrize("name", GIVEN)
def test_size_is_that_of_the_card(name: str, real_data: Path, tmp_path: Path) -> None:
    dataset, split = read_split(name, real_data, tmp_path)
    assert (dataset.n_users, dataset.n_items, dataset.n_interactions) == GIVEN[name]
    counts = dataset.card.counts
    assert (counts.users, counts.items, counts.interactions) == GIVEN[name]
    assert (dataset.interactions.time is TimeKind.SECONDS) == (name in SECONDS)
    assert dataset.notes.get("duplicate events dropped", 0) == 0
    assert dataset.notes["events out of time order, sorted"] == 0
    assert split.n_users_train_only == (256 if name == "lastfm" else 0)
    assert ("categories" in dataset.items.columns) == (name in {"beauty", "sports", "yelp", "ml-100k", "ml-1m"})


# baselines.md, section 1: mean, median and longest sequence; targets never seen; section 6.3: share of later ids.
FACTS = {"beauty": (8.876, 6, 204, 138, 51, 0.712), "sports": (8.325, 6, 296, 317, 118, 0.706)}


@pytest.mark.real_data
@pytest.mark.parametrize("name", FACTS)
def test_published_facts(name: str, real_data: Path, tmp_path: Path) -> None:
    dataset, split = read_split(name, real_data, tmp_path)
    mean, median, longest, test_never, valid_never, later = FACTS[name]
    found = stats(dataset, split)
    assert found.mean_length == pytest.approx(mean, abs=5e-4)
    assert (found.median_length, found.max_length) == (median, longest)
    assert (found.test_not_in_train, found.valid_never_seen) == (test_never, valid_never)
    assert found.order_in_ids == pytest.approx(later, abs=5e-4)
    assert found.repeats == 0
    assert found.test_in_history == 0


@pytest.mark.real_data
def test_repeats_of_yelp(real_data: Path, tmp_path: Path) -> None:
    found = stats(*read_split("yelp", real_data, tmp_path))
    assert found.repeats == 11_830
    assert found.items_of_equal_text == 1_247
    assert found.test_in_history == pytest.approx(0.067, abs=5e-4)


@pytest.mark.real_data
def test_fingerprints_of_sports_take_no_time(real_data: Path, tmp_path: Path) -> None:
    dataset, split = read_split("sports", real_data, tmp_path)
    start = time.process_time()
    assert make_split(dataset, NEXT_ITEM.protocol()).fingerprints == split.fingerprints
    assert time.process_time() - start < 2.0


@pytest.mark.real_data
def test_stored_sports_is_the_same(real_data: Path, tmp_path: Path) -> None:
    dataset, split = read_split("sports", real_data, tmp_path)
    dataset.save(tmp_path / "dataset")
    opened = Dataset.open(tmp_path / "dataset")
    assert make_split(opened, NEXT_ITEM.protocol()).fingerprints == split.fingerprints


@pytest.mark.real_data
def test_temporal_cut_of_ml_100k(real_data: Path, tmp_path: Path) -> None:
    dataset, _ = read_split("ml-100k", real_data, tmp_path)
    for targets in ("last", "successive", "all"):
        split = make_split(dataset, NEXT_ITEM.protocol(f"temporal:targets={targets}"))
        cut = int(split.notes["test cut, seconds since 1970"])
        assert split.train.timestamp.max() < int(split.notes["validation cut, seconds since 1970"]) < cut
        assert split.test.timestamp is not None
        n_after = int((dataset.interactions.timestamp >= cut).sum())
        skipped = int(split.notes["test targets without a history, left out"])
        assert len(split.test) + skipped <= n_after
        assert targets != "successive" or len(split.test) + skipped == n_after


@pytest.mark.real_data
@pytest.mark.network
def test_ml_100k_from_the_wheel_and_from_parquet_is_one_split(real_data: Path, tmp_path: Path) -> None:
    ready, from_parquet = read_split("ml-100k", real_data, tmp_path)
    fetched, from_wheel = read_split("ml-100k", None, tmp_path)
    assert (ready.card.reader, fetched.card.reader) == ("parquet", "recbole")
    assert from_wheel.fingerprints == from_parquet.fingerprints
