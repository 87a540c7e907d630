"""Protocols: hand-computed cases, properties, ties, refusals, storage."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import BadConfig, BadData, BadRequest, Interactions, ItemTable, TimeKind
from recbench.core.interactions import UNKNOWN_TIME
from recbench.data import Dataset, DatasetCard, Split, SplitProtocol, make_split
from recbench.data.reader import string_array
from recbench.data.rules import TEMPORAL as TEMPORAL_RULE
from recbench.tasks import NEXT_ITEM

Write = Callable[..., Path]
Read = Callable[..., Dataset]
DAY = 86_400


def in_memory(lists: dict[str, list[tuple[str, int]]], time: TimeKind = TimeKind.SECONDS, n_items: int = 0) -> Dataset:
    """A data set from (item, time) lists by user, in the order given."""
    item_ids = sorted({item for events in lists.values() for item, _ in events} | {f"cold{n}" for n in range(n_items)})
    row = {item: number for number, item in enumerate(item_ids)}
    users = sorted(lists)
    offsets = np.cumsum([0, *(len(lists[user]) for user in users)]).astype(np.int64)
    events = [event for user in users for event in lists[user]]
    interactions = Interactions(
        np.array([row[item] for item, _ in events], dtype=np.int32),
        offsets,
        np.array([stamp for _, stamp in events], dtype=np.int64),
        len(item_ids),
        time,
    )
    card = DatasetCard(name="memory", title="Memory", terms="none", reader="parquet", time=time.value)
    return Dataset(card, interactions, ItemTable(string_array(item_ids), {}), string_array(users))


def triples(split: Split, part: str) -> list[tuple[str, list[str], list[str]]]:
    """(user, history, targets) by id."""
    queries = getattr(split, part)
    ids = split.items.item_ids
    return [
        (split.user_ids[user], ids[queries.histories[row]].tolist(), ids[queries.targets[row]].tolist())
        for row, user in enumerate(queries.user)
    ]


def train(split: Split) -> dict[str, list[str]]:
    return {user: split.items.item_ids[split.train[row]].tolist() for row, user in enumerate(split.user_ids)}


LISTS = {
    "u": [("a", 1 * DAY), ("b", 2 * DAY), ("c", 3 * DAY), ("d", 3 * DAY)],
    "v": [("b", 1 * DAY), ("a", 9 * DAY)],
    "w": [("c", 2 * DAY), ("c", 4 * DAY), ("a", 8 * DAY)],
}


def test_leave_one_out_by_hand() -> None:
    split = make_split(in_memory(LISTS, n_items=1), NEXT_ITEM.protocol())
    assert train(split) == {"u": ["a", "b"], "v": ["b", "a"], "w": ["c"]}
    assert triples(split, "valid") == [("u", ["a", "b"], ["c"]), ("w", ["c"], ["c"])]
    assert triples(split, "test") == [("u", ["a", "b", "c"], ["d"]), ("w", ["c", "c"], ["a"])]
    assert split.test.is_tied is not None
    assert split.test.is_tied.tolist() == [True, False]
    assert split.test.timestamp is not None
    assert split.test.timestamp.tolist() == [1 * DAY, 2 * DAY, 3 * DAY, 2 * DAY, 4 * DAY]
    assert split.n_users_train_only == 1
    assert split.train.n_items == 5
    queries = split.test.queries(split.user_ids)
    assert queries.user_ids.tolist() == ["u", "w"]
    assert len(queries) == 2


def test_positions_are_no_times() -> None:
    lists = {"u": [("a", 0), ("b", 1), ("c", 2)]}
    split = make_split(in_memory(lists, TimeKind.POSITION), NEXT_ITEM.protocol())
    assert split.test.is_tied is None
    assert split.test.timestamp is None


@pytest.mark.parametrize("time", [TimeKind.POSITION, TimeKind.NONE])
def test_without_seconds_no_temporal_cut_and_no_shuffle(time: TimeKind) -> None:
    dataset = in_memory({"u": [("a", 0), ("b", 1), ("c", 2)]}, time)
    with pytest.raises(BadRequest, match=r"memory has .* no global time.*leave-one-out"):
        make_split(dataset, NEXT_ITEM.protocol("temporal"))
    with pytest.raises(BadRequest, match="ties are unknown"):
        make_split(dataset, NEXT_ITEM.protocol(ties="shuffle=1"))


TEMPORAL = {
    "early": [("a", 1), ("b", 2), ("c", 3), ("d", 4)],
    "late": [("b", 3), ("c", 7), ("a", 8), ("d", 9), ("b", 10)],
    "new": [("d", 10)],
}


@pytest.mark.parametrize(
    ("targets", "valid", "test"),
    [
        ("last", [("late", ["b"], ["c"])], [("late", ["b", "c", "a", "d"], ["b"])]),
        (
            "successive",
            [("late", ["b"], ["c"])],
            [("late", ["b", "c"], ["a"]), ("late", ["b", "c", "a"], ["d"]), ("late", ["b", "c", "a", "d"], ["b"])],
        ),
        ("all", [("late", ["b"], ["c"])], [("late", ["b", "c"], ["a", "b", "d"])]),
    ],
)
def test_temporal_by_hand(targets: str, valid: object, test: object) -> None:
    # Times 1 2 3 3 4 7 8 9 10 10: the 0.6 quantile is 8 (six of ten lie before it). Before it 1 2 3 3 4 7: the 0.6 quantile is 4.
    split = make_split(in_memory(TEMPORAL), NEXT_ITEM.protocol(f"temporal:quantile=0.6,targets={targets}"))
    assert split.notes["test cut, seconds since 1970"] == 8
    assert split.notes["validation cut, seconds since 1970"] == 4
    assert train(split) == {"early": ["a", "b", "c"], "late": ["b"], "new": []}
    found = [query for query in triples(split, "valid") if query[0] != "early"]
    assert found == valid
    assert ("early", ["a", "b", "c"], ["d"]) in triples(split, "valid")
    assert triples(split, "test") == test
    assert split.notes["test targets without a history, left out"] == 1
    assert split.n_users_train_only == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leave-one-ut", "Did you mean 'leave-one-out'"),
        ("temporal:quantil=0.8", "Did you mean 'quantile'"),
        ("temporal:quantile=1", "not between 0 and 1"),
        ("temporal:quantile=half", "not between 0 and 1"),
        ("temporal:targets=al", "Did you mean 'all'"),
        ("temporal:quantile", "not of the form key=value"),
        ("leave-one-out:quantile=0.5", "Known: users"),
        ("leave-one-out:users=0", "leaves nobody"),
        ("temporal:users=many", "no whole number"),
        ("leave-one-out:usres=5", "Did you mean 'users'"),
    ],
)
def test_faults_in_a_protocol_are_named(text: str, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        NEXT_ITEM.protocol(text)


@pytest.mark.parametrize("ties", ["shuffle", "shuffle=x", "random", "shuffle=-1"])
def test_faults_in_ties_are_named(ties: str) -> None:
    with pytest.raises(BadConfig, match="Write source or shuffle=SEED"):
        NEXT_ITEM.protocol("leave-one-out", ties)


def test_equal_protocols_are_equal() -> None:
    assert NEXT_ITEM.protocol("leave-one-out:users=5").identity() == NEXT_ITEM.protocol("leave-one-out:users=5.0").identity()
    assert NEXT_ITEM.protocol("temporal") == SplitProtocol(TEMPORAL_RULE, {"quantile": 0.9, "targets": "last"})
    assert str(NEXT_ITEM.protocol("temporal:quantile=0.8")) == "temporal:quantile=0.8,targets=last"
    assert str(NEXT_ITEM.protocol()) == "leave-one-out"


ROLLING = {
    # One event a second from 0 to 99: a quantile q is the second 100 q.
    f"user {user}": [(f"i{(user * 7 + second) % 30:02}", second) for second in range(user, 100, 5)]
    for user in range(5)
}


def test_rolling_cuts_move_on_and_ask_up_to_the_next() -> None:
    for cut, (valid_from, test_from, end) in enumerate([(50, 60, 70), (60, 70, 80), (70, 80, 90), (80, 90, 100)]):
        split = make_split(in_memory(ROLLING), NEXT_ITEM.protocol(f"rolling:cut={cut}"))
        assert str(split.protocol) == f"rolling:cut={cut},targets=last"
        for number, (user, events) in enumerate(ROLLING.items()):

            def items(first: int, last: int, events: list[tuple[str, int]] = events) -> list[str]:
                return [item for item, second in events if first <= second < last]

            assert train(split)[user] == items(0, valid_from)
            assert triples(split, "valid")[number] == (user, items(0, test_from)[:-1], items(0, test_from)[-1:])
            assert triples(split, "test")[number] == (user, items(0, end)[:-1], items(0, end)[-1:])
        assert split.notes.get("events behind the test part, in no part", 0) == 100 - end
    assert NEXT_ITEM.protocol("rolling").rule.seed_option == "cut"
    with pytest.raises(BadConfig, match="cut=4 is none of 0 to 3"):
        NEXT_ITEM.protocol("rolling:cut=4")
    with pytest.raises(BadConfig, match="rolling: targets='al'"):
        NEXT_ITEM.protocol("rolling:targets=al")


def test_seconds_beside_positions_cut_and_positions_order() -> None:
    lists = {"u": [("a", 0), ("b", 1), ("c", 2), ("d", 3)], "v": [("b", 0), ("c", 1)], "w": [("a", 0)], "x": [("a", 0), ("c", 1)]}
    numbered = in_memory(lists, TimeKind.POSITION)
    none = UNKNOWN_TIME
    # b comes after a, whatever its seconds say; the first of v has no time and happens with the second, w is never dated.
    seconds = np.array([40, 10, none, 90, none, 70, none, 5, 6])
    dated = replace(numbered, interactions=replace(numbered.interactions, unix_time=seconds))
    split = make_split(dated, NEXT_ITEM.protocol("temporal:quantile=0.6"))
    # In effect x: 5 6, u: 40 40 40 90, v: 70 70; w is in no part. 0.6 of eight is the sixth: 70, of the five before it the fourth: 40.
    assert split.notes["test cut, seconds since 1970"] == 70
    assert split.notes["validation cut, seconds since 1970"] == 40
    assert split.notes["events without a time, placed with the one before"] == 2
    assert train(split) == {"u": [], "v": [], "w": [], "x": ["a", "c"]}
    assert triples(split, "valid") == [("u", ["a", "b"], ["c"])]
    assert triples(split, "test") == [("u", ["a", "b", "c"], ["d"]), ("v", ["b"], ["c"])]
    assert split.notes["events of users without any time, in no part"] == 1
    with pytest.raises(BadRequest, match="ties are unknown"):
        make_split(dated, NEXT_ITEM.protocol("temporal", ties="shuffle=1"))


@pytest.mark.parametrize("protocol", ["leave-one-out", "temporal:quantile=0.5,targets=successive"])
def test_fewer_users_are_drawn_by_their_ids_alone(protocol: str) -> None:
    rng = np.random.default_rng(0)
    lists = {f"user {n}": [(f"i{rng.integers(30)}", int(second)) for second in np.sort(rng.integers(0, 99, 8))] for n in range(300)}
    all_asked = make_split(in_memory(lists), NEXT_ITEM.protocol(protocol))
    joint = "," if ":" in protocol else ":"
    fewer = make_split(in_memory(lists), NEXT_ITEM.protocol(f"{protocol}{joint}users=90.0"))
    assert str(fewer.protocol).endswith("users=90")
    assert train(fewer) == train(all_asked)
    assert fewer.fingerprints.train == all_asked.fingerprints.train
    assert fewer.fingerprints.test != all_asked.fingerprints.test
    asked = {user for user, _, _ in triples(fewer, "test")}
    assert len(asked) == 90
    assert fewer.notes["test users drawn"] == 90
    assert fewer.notes["test users not drawn"] == len({user for user, _, _ in triples(all_asked, "test")}) - 90
    for part in ("valid", "test"):
        drawn = {user for user, _, _ in triples(fewer, part)}
        assert triples(fewer, part) == [query for query in triples(all_asked, part) if query[0] in drawn]
    test, of_drawn = fewer.test, np.isin(all_asked.test.user, fewer.test.user)
    assert test.is_tied is not None
    assert test.timestamp is not None
    np.testing.assert_array_equal(test.is_tied, all_asked.test.is_tied[of_drawn])
    np.testing.assert_array_equal(test.timestamp, all_asked.test.timestamp[np.repeat(of_drawn, all_asked.test.histories.lengths)])
    # Whoever is drawn is drawn again where half of the others are not there.
    half = {user: events for number, (user, events) in enumerate(lists.items()) if number % 2 or user in asked}
    again = make_split(in_memory(half), NEXT_ITEM.protocol("leave-one-out:users=90"))
    if protocol == "leave-one-out":
        assert {user for user, _, _ in triples(again, "test")} == asked
    everyone = make_split(in_memory(lists), NEXT_ITEM.protocol(f"{protocol}{joint}users=1000"))
    assert everyone.fingerprints == all_asked.fingerprints


def test_an_empty_train_part_is_refused() -> None:
    lists = {"u": [("a", 5), ("b", 5), ("c", 5)], "v": [("b", 5), ("c", 7), ("a", 9)]}
    with pytest.raises(BadData, match="leaves nothing to train on"):
        make_split(in_memory(lists), NEXT_ITEM.protocol("temporal:quantile=0.6"))


def test_nobody_to_ask() -> None:
    with pytest.raises(BadData, match="0 validation and 0 test queries"):
        make_split(in_memory({"u": [("a", 1), ("b", 2)]}), NEXT_ITEM.protocol())


def test_shuffled_ties_depend_on_nothing_but_seed_and_event() -> None:
    tied = {f"u{n:02d}": [(f"i{(n * 7 + place) % 30:02d}", 100 + place // 4) for place in range(8)] for n in range(40)}
    reversed_source = {user: [events[place] for place in (3, 2, 1, 0, 7, 6, 5, 4)] for user, events in tied.items()}
    some = {user: events for user, events in tied.items() if user < "u10"}
    first = make_split(in_memory(tied, n_items=30), NEXT_ITEM.protocol(ties="shuffle=1"))
    assert triples(first, "test") == triples(
        make_split(in_memory(reversed_source, n_items=30), NEXT_ITEM.protocol(ties="shuffle=1")), "test"
    )
    assert triples(first, "test")[:10] == triples(make_split(in_memory(some), NEXT_ITEM.protocol(ties="shuffle=1")), "test")
    other = make_split(in_memory(tied, n_items=30), NEXT_ITEM.protocol(ties="shuffle=2"))
    source = make_split(in_memory(tied, n_items=30), NEXT_ITEM.protocol())
    assert first.fingerprints.test != other.fingerprints.test != source.fingerprints.test
    for _, history, target in triples(first, "test"):
        # Only events of equal time changed places.
        everything = [*history, *target]
        number = int(history[0][1:])
        assert len(everything) == 8
        assert len(set(everything)) == 8, number
    lasts = [int(target[0][1:]) for _, _, target in triples(first, "test")]
    places = [(last - int(user[1:]) * 7) % 30 for (user, _, _), last in zip(triples(first, "test"), lasts, strict=True)]
    assert set(places) == {4, 5, 6, 7}
    assert max(places.count(place) for place in (4, 5, 6, 7)) < 22


events_by_user = st.dictionaries(
    st.text(min_size=1, max_size=4).filter(lambda text: text.isprintable()),
    st.lists(st.tuples(st.sampled_from(["a", "b", "c", "dd", "é"]), st.integers(0, 40)), min_size=1, max_size=9),
    min_size=3,
    max_size=8,
)


@settings(max_examples=120, deadline=None)
@given(
    events_by_user,
    st.sampled_from(
        [
            "leave-one-out",
            *(f"temporal:targets={kind}" for kind in ("last", "successive", "all")),
            *(f"rolling:cut={cut},targets={kind}" for cut, kind in enumerate(("last", "successive", "all", "last"))),
        ]
    ),
)
def test_no_split_shows_the_future(lists: dict[str, list[tuple[str, int]]], protocol: str) -> None:
    ordered = {user: sorted(events, key=lambda event: event[1]) for user, events in lists.items()}
    dataset = in_memory(ordered)
    try:
        split = make_split(dataset, NEXT_ITEM.protocol(protocol))
    except BadData:
        return
    whole = {user: [item for item, _ in events] for user, events in ordered.items()}
    for part in ("valid", "test"):
        for user, history, targets in triples(split, part):
            assert history
            assert history == whole[user][: len(history)]
            assert set(targets) <= set(whole[user][len(history) :])
            if "all" not in protocol:
                assert targets == [whole[user][len(history)]]
            # What the model learns from ends before what validation asks for.
            assert len(train(split)[user]) <= len(history)
    by_user: dict[str, list[int]] = {}
    for user, history, _ in triples(split, "test"):
        by_user.setdefault(user, []).append(len(history))
    for user, history, targets in triples(split, "valid"):
        n_asked = len(history) + len(targets)
        assert all(n_asked <= length or "all" in protocol for length in by_user.get(user, []))
        assert train(split)[user] == whole[user][: len(train(split)[user])]


@settings(max_examples=40, deadline=None)
@given(events_by_user, st.data())
def test_one_changed_event_changes_a_fingerprint(lists: dict[str, list[tuple[str, int]]], data: st.DataObject) -> None:
    ordered = {user: sorted(events, key=lambda event: event[1]) for user, events in lists.items()}
    long = [user for user, events in ordered.items() if len(events) >= 3]
    if not long:
        return
    user = data.draw(st.sampled_from(long))
    place = data.draw(st.integers(0, len(ordered[user]) - 1))
    changed = {name: list(events) for name, events in ordered.items()}
    changed[user][place] = ("other", ordered[user][place][1])
    before = make_split(in_memory(ordered), NEXT_ITEM.protocol()).fingerprints
    after = make_split(in_memory(changed), NEXT_ITEM.protocol()).fingerprints
    n_events = len(ordered[user])
    assert before.test != after.test
    assert (before.valid != after.valid) == (place < n_events - 1)
    assert (before.train != after.train) == (place < n_events - 2)
    assert before.item_text != after.item_text or "other" not in changed


def test_fingerprints_do_not_depend_on_the_order_of_rows(write_folder: Write, read: Read) -> None:
    draw = np.random.default_rng(3)
    rows = [(f"u{draw.integers(20)}", f"i{draw.integers(40)}", int(time)) for time in draw.permutation(400)]
    items = {"item_id": [f"i{n}" for n in range(40)], "title": [f"Item {n}" for n in range(40)]}
    first = make_split(read(write_folder(rows, items, name="first")), NEXT_ITEM.protocol()).fingerprints
    shuffled = [rows[place] for place in draw.permutation(len(rows))]
    order = draw.permutation(40)
    items = {name: [column[place] for place in order] for name, column in items.items()}
    assert make_split(read(write_folder(shuffled, items, name="second")), NEXT_ITEM.protocol()).fingerprints == first


def test_ids_that_run_together_differ() -> None:
    one = make_split(in_memory({"u": [("a", 1), ("bc", 2), ("d", 3)]}), NEXT_ITEM.protocol()).fingerprints
    two = make_split(in_memory({"u": [("ab", 1), ("c", 2), ("d", 3)]}), NEXT_ITEM.protocol()).fingerprints
    assert one.test != two.test
    assert one.train != two.train


def test_fingerprints_by_hand() -> None:
    # Records hold these sums: a change here makes every published record incomparable.
    found = make_split(in_memory({"u": LISTS["u"], "ü": LISTS["w"]}), NEXT_ITEM.protocol()).fingerprints

    def token(role: str, text: str) -> bytes:
        return role.encode() + len(text.encode()).to_bytes(4, "little") + text.encode()

    header = b"recbench triples 1\n"
    first = token("u", "u") + token("h", "a") + token("h", "b")
    second = token("u", "ü") + token("h", "c")
    assert found.train == hashlib.sha256(header + first + second).hexdigest()
    assert found.valid == hashlib.sha256(header + first + token("t", "c") + second + token("t", "c")).hexdigest()
    first, second = first + token("h", "c"), second + token("h", "c")
    assert found.test == hashlib.sha256(header + first + token("t", "d") + second + token("t", "a")).hexdigest()
    nothing = b"".join(token("v", item) + b"nnnnn" for item in "abcd")
    assert found.item_text == hashlib.sha256(b"recbench text 1\n\n" + nothing).hexdigest()


def test_a_text_in_another_column_is_another_text(write_folder: Write, read: Read) -> None:
    rows = [("u", "a", 5), ("u", "b", 7), ("u", "c", 9)]
    ids = {"item_id": ["a", "b", "c"]}
    texts = [{"title": ["x", "y", None]}, {"title": ["x", None, "y"]}, {"brand": ["x", "y", None]}, {"title": ["x", "y", "z"]}]
    found = {
        make_split(read(write_folder(rows, ids | text, name=f"t{number}")), NEXT_ITEM.protocol()).fingerprints.item_text
        for number, text in enumerate(texts)
    }
    assert len(found) == 4


@pytest.mark.parametrize("protocol", ["leave-one-out", "temporal:quantile=0.6,targets=all"])
def test_save_and_open(tmp_path: Path, protocol: str) -> None:
    split = make_split(in_memory(TEMPORAL | LISTS), NEXT_ITEM.protocol(protocol))
    split.save(tmp_path / "split")
    opened = Split.open(tmp_path / "split")
    assert opened.protocol == split.protocol
    assert opened.fingerprints == split.fingerprints
    assert opened.n_users_train_only == split.n_users_train_only
    assert dict(opened.notes) == dict(split.notes)
    assert train(opened) == train(split)
    for part in ("valid", "test"):
        assert triples(opened, part) == triples(split, part)
        np.testing.assert_array_equal(getattr(opened, part).is_tied, getattr(split, part).is_tied)
        np.testing.assert_array_equal(getattr(opened, part).timestamp, getattr(split, part).timestamp)
    assert isinstance(opened.train.item, np.memmap)
    assert opened.train.time is TimeKind.SECONDS
    assert not list((tmp_path / "split").glob("*.pkl"))
    (tmp_path / "split" / "test.json").unlink()
    with pytest.raises(BadData, match=r"test.json"):
        Split.open(tmp_path / "split")


def test_one_order_of_ties_has_one_spelling() -> None:
    assert NEXT_ITEM.protocol("leave-one-out", "shuffle=007") == NEXT_ITEM.protocol(ties="shuffle=7")
