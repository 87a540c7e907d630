"""Divisions of sets: golden ones of the real data, what holds for each, leaks, overlap."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import BadConfig, BadData, BadRequest, SilentProgress
from recbench.core.interactions import Interactions, ItemTable, TimeKind
from recbench.core.ragged import Histories
from recbench.data import Dataset, DatasetCard, Split, SplitPart, locate, make_split, read_dataset
from recbench.data.feedback_filter import UNOWNED
from recbench.data.set_splits import shortlex
from recbench.data.side import SideTables
from recbench.tasks import BUNDLE
from tests.data.sets_case import divided, random_tables

Write = Callable[..., Path]
Read = Callable[..., Dataset]


def bundles_of(split: Split, part: SplitPart) -> Iterator[tuple[str, list[str], list[str]]]:
    """Id, shown and asked items of each query."""
    for query, row in enumerate(part.user.tolist()):
        halves = (part.histories[query], part.targets[query])
        yield split.user_ids[row], *(split.items.item_ids[items].tolist() for items in halves)


def by_length(name: str) -> tuple[int, str]:
    return len(name), name


# Parts, hash of the test part, its first bundle, share of cold targets, feedback pairs dropped.
GOLDEN = [
    ("food", "random", (1408, 176, 177), "1294ad416c1fd0ca", ("1", "54400 54398", "54399 44028"), 0.358, 0),
    ("food", "session", (1406, 179, 176), "95c53d71b578b089", ("11", "17468", "35873"), 0.757, 1),
    ("electronic", "random", (1384, 173, 173), "323a39d23ca8f9e5", ("1", "125741 167070", "53005 41876"), 0.421, None),
    (
        "electronic",
        "session",
        (1362, 186, 182),
        "37917f37ab08b3f4",
        ("7", "134276 110708 159210", "178544 30035 178543 117733"),
        0.725,
        None,
    ),
    ("meal", "random", (3053, 382, 382), "de0b95c2e113c9c6", ("3", "1408", "292 303"), 0.029, None),
]


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "rule", "sizes", "digest", "first", "cold", "dropped"), GOLDEN)
def test_divisions_of_the_real_data_are_those_of_earlier_work(
    name: str,
    rule: str,
    sizes: tuple[int, int, int],
    digest: str,
    first: tuple[str, str, str],
    cold: float,
    dropped: int | None,
    real_data: Path,
    tmp_path: Path,
) -> None:
    progress = SilentProgress()
    dataset = read_dataset(locate(f"bundle-{name}", data_dir=real_data, home=tmp_path, progress=progress), progress)
    split = make_split(dataset, BUNDLE.protocol(rule))
    assert (np.count_nonzero(split.train.lengths), len(split.valid), len(split.test)) == sizes
    test = sorted(bundles_of(split, split.test), key=lambda bundle: by_length(bundle[0]))
    assert (test[0][0], set(test[0][1]), set(test[0][2])) == (first[0], set(first[1].split()), set(first[2].split()))
    lines = "".join("\t".join([bundle, *(",".join(sorted(half, key=by_length)) for half in halves)]) + "\n" for bundle, *halves in test)
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == digest
    assert np.mean(split.train.item_counts()[split.test.targets.item] == 0) == pytest.approx(cold, abs=5e-4)
    assert dropped is None or split.notes["feedback pairs that only a held bundle explains, dropped"] == dropped


@pytest.mark.parametrize("rule", ["session", "random"])
def test_parts_hold_different_bundles_and_ask_for_what_is_not_shown(rule: str, write_tables: Write, read: Read) -> None:
    dataset = read(write_tables(random_tables()))
    split = make_split(dataset, BUNDLE.protocol(rule))
    sets, side = dataset.interactions, dataset.side
    assert side is not None
    assert side.group is not None
    train = np.flatnonzero(split.train.lengths)
    contents = [{frozenset(sets[row].tolist()) for row in rows} for rows in (train, split.valid.user, split.test.user)]
    assert not contents[0] & contents[1] | contents[0] & contents[2] | contents[1] & contents[2]
    for part in (split.valid, split.test):
        assert not split.train.lengths[part.user].any()
        for query, row in enumerate(part.user.tolist()):
            shown, asked = set(part.histories[query].tolist()), set(part.targets[query].tolist())
            assert not shown & asked
            assert asked
            assert len(shown) == max(1, len(sets[row]) // 2)
            assert shown | asked == set(sets[row].tolist())
    groups = [set(side.group[rows].tolist()) for rows in (train, split.valid.user, split.test.user)]
    shared = groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    assert bool(shared) == (rule == "random")
    assert (split.test.cluster is None) == (rule == "random")
    assert set(split.test.queries(split.user_ids).user.tolist()) == {-1}


def test_small_and_equal_bundles_are_left_out_and_counted(write_tables: Write, read: Read) -> None:
    tables = random_tables()
    dataset = read(write_tables(tables))
    notes = make_split(dataset, BUNDLE.protocol("random")).notes
    contents: dict[str, set[str]] = {}
    for bundle, item in zip(tables["bundles"]["bundle_id"], tables["bundles"]["item_id"], strict=True):
        contents.setdefault(bundle, set()).add(item)
    large = [frozenset(items) for items in contents.values() if len(items) > 1]
    assert notes["bundles of fewer than 2 items left out"] == len(contents) - len(large) > 0
    assert notes["bundles equal to another left out"] == len(large) - len(set(large)) > 0


def test_a_division_depends_on_its_seed_and_on_no_order_of_rows(write_tables: Write, read: Read) -> None:
    tables = random_tables()
    dataset = read(write_tables(tables))
    turned = read(
        write_tables({name: {key: values[::-1] for key, values in table.items()} for name, table in tables.items()}, name="turned")
    )
    for rule in ("session", "random"):
        first, again = (make_split(data, BUNDLE.protocol(rule)).fingerprints for data in (dataset, turned))
        assert first == again
        assert make_split(dataset, BUNDLE.protocol(f"{rule}:seed=1")).fingerprints.test != first.test


def test_a_seed_has_one_spelling() -> None:
    protocols = [BUNDLE.protocol(text) for text in ("random:seed=0", "random:seed=0.0", "random")]
    assert {str(protocol) for protocol in protocols} == {"random:seed=0"}
    for wrong in ("random:seed=0.5", "random:seed=-1", "random:seed=one"):
        with pytest.raises(BadConfig, match="no whole number from 0"):
            BUNDLE.protocol(wrong)
    with pytest.raises(BadConfig, match=r"'sesion' is not known\. Did you mean 'session'"):
        BUNDLE.protocol("sesion")


def test_what_a_data_set_lacks_for_a_division_is_named(write_tables: Write, read: Read) -> None:
    dataset = read(write_tables({"bundles": random_tables()["bundles"]}))
    with pytest.raises(BadRequest, match=r"mine has no table of sessions.*Use --protocol random"):
        make_split(dataset, BUNDLE.protocol("session"))
    with pytest.raises(BadRequest, match=r"mine comes without a published division\. Use --protocol random"):
        make_split(dataset, BUNDLE.protocol("published"))
    few = read(write_tables({"bundles": {"bundle_id": ["1", "1"], "item_id": ["a", "b"]}}, name="few"))
    with pytest.raises(BadData, match="At least ten bundles of 2 items"):
        make_split(few, BUNDLE.protocol("random"))


def test_another_stream_of_numpy_is_refused(write_tables: Write, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = read(write_tables(random_tables()))
    monkeypatch.setattr("recbench.data.set_splits._KNOWN_PERMUTATION", tuple(range(10)))
    with pytest.raises(BadRequest, match="shuffles in another order"):
        make_split(dataset, BUNDLE.protocol("random"))


@settings(max_examples=25)
@given(numbers=st.lists(st.integers(0, 10**6), unique=True))
def test_short_ids_come_first_which_is_the_order_of_numbers(numbers: list[int]) -> None:
    ids = [str(number) for number in numbers]
    assert [numbers[row] for row in shortlex(ids, np.arange(len(ids)))] == sorted(numbers)


DIVIDED = divided(
    {
        "train": ("train", "", "ab"),
        "other": ("train", "", "xyz"),
        "asked": ("test", "b", "c"),
        "tried": ("valid", "x", "w"),
    }
)


def test_feedback_loses_what_only_a_held_bundle_explains(write_tables: Write, read: Read) -> None:
    owners = {"user_id": ["u", "u", "v"], "bundle_id": ["train", "asked", "asked"]}
    used = [*(("u", item) for item in "abcx"), *(("v", item) for item in "bcx"), ("w", "b"), ("w", "c"), ("u", "a"), ("u", "elsewhere")]
    feedback = {"user_id": [user for user, _ in used], "item_id": [item for _, item in used]}
    dataset = read(write_tables({"bundles": DIVIDED, "user_bundles": owners, "feedback": feedback}))
    split = make_split(dataset, BUNDLE.protocol("published"))
    assert split.feedback is not None
    kept = [split.items.item_ids[split.feedback[person]].tolist() for person in range(len(split.feedback))]
    assert kept == [["a", "b", "x"], ["x"], ["b", "c"]]
    notes = split.notes
    assert notes["feedback pairs that only a held bundle explains, dropped"] == 3
    assert notes["feedback pairs that a held and a train bundle explain, kept"] == 1
    assert notes["feedback pairs about others left out"] == 1
    assert split.fingerprints.feedback is not None
    assert "feedback" not in notes


def test_a_bundle_that_was_left_out_as_a_repeat_explains_as_its_equal_does() -> None:
    """The owner of the repeat of a held bundle would tell its items too."""
    lists = [[number, number + 1, number + 2] for number in range(20)]
    sets = Histories.from_lists([*lists, *lists])
    events = Interactions(sets.item, sets.offsets, np.zeros(len(sets.item), np.int64), 22, TimeKind.NONE)
    ids, names = (np.array([f"{kind}{number:02d}" for number in range(count)], dtype=object) for kind, count in (("i", 22), ("b", 40)))
    card = DatasetCard(name="x", title="x", terms="x", task="bundle", reader="bundles", time="none")
    owned = Histories.from_lists([[20 + number] for number in range(20)])
    side = SideTables(owned=owned, feedback=Histories.from_lists(lists))
    split = make_split(Dataset(card, events, ItemTable(ids, {}), names, {}, side), BUNDLE.protocol("random"))
    assert split.feedback is not None
    held = set(split.valid.user.tolist()) | set(split.test.user.tolist())
    assert len(held) == 4
    for person in range(20):
        assert bool(len(split.feedback[person])) == (person not in held)


def test_feedback_made_from_the_bundles_is_refused_where_nobody_says_whose_they_are(write_tables: Write, read: Read) -> None:
    tables = random_tables()
    # No item stands in two bundles: all that feedback made from bundles tells are the bundles.
    tables["bundles"]["item_id"] = ["/".join(pair) for pair in zip(*tables["bundles"].values(), strict=True)]
    owners = tables.pop("user_bundles")
    owner = dict(zip(owners["bundle_id"], owners["user_id"], strict=True))
    join = {"user_id": [owner[bundle] for bundle in tables["bundles"]["bundle_id"]], "item_id": tables["bundles"]["item_id"]}
    with pytest.raises(BadData, match=r"mine: the 20 items .* hold 100 % of the answers.*user_bundles"):
        make_split(read(write_tables({**tables, "feedback": join})), BUNDLE.protocol("random"))
    told = read(write_tables({**tables, "feedback": join, "user_bundles": owners}, name="told"))
    assert make_split(told, BUNDLE.protocol("random")).feedback is not None


def test_feedback_without_owners_says_how_often_it_holds_the_answers(write_tables: Write, read: Read) -> None:
    feedback = {"user_id": ["p", "p", "q", "q"], "item_id": ["x", "z", "a", "w"]}
    bundles = divided({"t": ("train", "", "abyz"), "one": ("valid", "x", "z"), "two": ("valid", "a", "b"), "last": ("test", "w", "a")})
    notes = make_split(read(write_tables({"bundles": bundles, "feedback": feedback})), BUNDLE.protocol("published")).notes
    assert notes["feedback"] == "unfiltered, for no table says who owns which bundle"
    assert notes["shown and wanted items of validation that one person used"] == 0.5
    assert notes["the same with wanted items of another bundle"] == 0.0


def test_held_bundles_without_an_owner_are_told(write_tables: Write, read: Read) -> None:
    feedback = {"user_id": ["p", "p", "q", "q"], "item_id": ["x", "z", "a", "w"]}
    bundles = divided({"t": ("train", "", "abyz"), "one": ("valid", "x", "z"), "two": ("valid", "a", "b"), "last": ("test", "w", "a")})
    owners = {"user_id": ["q", "q"], "bundle_id": ["t", "last"]}

    def notes(**more: object) -> dict[str, object]:
        folder = write_tables({"bundles": bundles, "feedback": feedback, "user_bundles": more or owners}, name=f"owned{len(more)}")
        return dict(make_split(read(folder), BUNDLE.protocol("published")).notes)

    assert notes()[UNOWNED] == 2
    assert notes()["shown and wanted items of validation that one person used"] == 0.5
    assert "2 validation and test bundles have no owner" in BUNDLE.words.divided(notes())  # type: ignore[arg-type]
    assert UNOWNED not in notes(user_id=["p", "p", "q", "q"], bundle_id=["one", "two", "last", "t"])


def test_feedback_of_a_small_catalogue_is_not_taken_for_the_answers(write_tables: Write, read: Read) -> None:
    drawn = np.random.default_rng(2)
    sets = [[f"i{item}" for item in drawn.choice(22, 4, replace=False)] for _ in range(60)]
    used = [[f"i{item}" for item in drawn.choice(22, 6, replace=False)] for _ in range(50)]
    bundles = {"bundle_id": np.repeat(np.arange(60), 4).astype(str).tolist(), "item_id": np.concatenate(sets).tolist()}
    feedback = {"user_id": np.repeat(np.arange(50), 6).astype(str).tolist(), "item_id": np.concatenate(used).tolist()}
    split = make_split(read(write_tables({"bundles": bundles, "feedback": feedback})), BUNDLE.protocol("random"))
    assert split.feedback is not None


def test_overlap_counts_what_a_train_bundle_holds_already(write_tables: Write, read: Read) -> None:
    bundles = divided(
        {
            "t1": ("train", "", "abcdefg"),
            "t2": ("train", "", "xyz"),
            "contained": ("test", "a", "b"),  # Jaccard 2/7
            "half": ("test", "x", "yw"),  # 2 of 4
            "same": ("test", "x", "yz"),
            "apart": ("test", "p", "q"),
            "v": ("valid", "p", "r"),
        }
    )
    sessions = {"t1": "1", "t2": "2", "contained": "3", "half": "4", "same": "5", "apart": "1", "v": "6"}
    groups = {"bundle_id": list(sessions), "session_id": list(sessions.values())}
    notes = make_split(read(write_tables({"bundles": bundles, "bundle_info": groups})), BUNDLE.protocol("published")).notes
    assert notes["test bundles equal to a train bundle"] == 1 / 4
    assert notes["test bundles contained in a train bundle"] == 2 / 4
    assert notes["test bundles with a train bundle of Jaccard 0.5 or more"] == 2 / 4
    assert notes["test bundles that share their session with a train bundle"] == 1 / 4
    assert notes["validation bundles contained in a train bundle"] == 0


def test_a_division_is_stored_and_opened_as_it_was(write_tables: Write, read: Read, tmp_path: Path) -> None:
    tables = random_tables()
    feedback = {"user_id": ["u0", "u1", "u1"], "item_id": ["i1", "i1", "i2"]}
    folder = write_tables({**tables, "feedback": feedback})
    (folder / "features").mkdir()
    np.save(folder / "features" / "image.npy", np.eye(3, dtype=np.float32))
    (folder / "features" / "image.ids.txt").write_text("i3\ni1\ni2", encoding="utf-8")
    dataset = read(folder)
    dataset.save(tmp_path / "dataset")
    split = make_split(Dataset.open(tmp_path / "dataset"), BUNDLE.protocol("session"))
    assert split.fingerprints == make_split(dataset, BUNDLE.protocol("session")).fingerprints
    assert split.fingerprints.features is not None
    assert set(split.fingerprints.features) == {"image"}
    split.save(tmp_path / "split")
    opened = Split.open(tmp_path / "split")
    assert opened.feedback is not None
    assert split.feedback is not None
    np.testing.assert_array_equal(opened.feedback.item, split.feedback.item)
    np.testing.assert_array_equal(opened.features["image"].matrix, split.features["image"].matrix)
    np.testing.assert_array_equal(opened.test.cluster, split.test.cluster)
    assert opened.test.is_of_strangers
    assert opened.notes == split.notes
