"""Synthetic data from knobs: the same everywhere, and with what each knob promises."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import BadConfig, SilentProgress
from recbench.core.ragged import Histories
from recbench.data import Dataset, dataset_card, make_split
from recbench.data.readers.synthetic import READER, SyntheticOptions
from recbench.tasks import NEXT_ITEM

SMALL = "synthetic:events=6,items=60,users=80"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("synthetic:branchng=3", r"'synthetic' has no key 'branchng'\. Did you mean 'branching'\?"),
        ("synthetic:text=0.9,taste=0.3", "sum to at most 1"),
        ("synthetic:cold=0.6", "less than or equal to 0.5"),
        ("synthetic:items=60,branching=16", "branching=16 is too many for 60 items"),
        ("synthetic:items=60,tastes=16", "tastes=16 is too many for 60 items"),
        ("synthetic:users=10000000,events=1000", "users=10000000 times events=1000 is 10,000,000,000, and 100,000,000 is the most"),
        ("synthetic:items=1000000,tastes=1000", "items=1000000 times tastes=1000 is 1,000,000,000, and"),
    ],
)
def test_impossible_knobs_are_refused_in_a_sentence(name: str, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        dataset_card(name)


def test_the_data_are_the_same_in_every_process_and_differ_between_seeds(read: Callable[..., Dataset]) -> None:
    code = (
        "import sys, pathlib, recbench.data as data; from recbench.core import SilentProgress; from recbench.tasks import NEXT_ITEM\n"
        f"found = data.locate({SMALL!r}, data_dir=None, home=pathlib.Path('.'), progress=SilentProgress())\n"
        "print(data.make_split(data.read_dataset(found, SilentProgress()), NEXT_ITEM.protocol()).fingerprints.model_dump_json())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout
    here = make_split(read(SMALL), NEXT_ITEM.protocol()).fingerprints
    assert json.loads(told) == here.model_dump()
    # Of another day, NumPy and machine.
    assert (here.test[:12], here.item_text[:12]) == ("181dc400e994", "ec32e4e5baa9")
    other = make_split(read(f"{SMALL},seed=1"), NEXT_ITEM.protocol()).fingerprints
    assert not {here.train, here.test, here.item_text} & {other.train, other.test, other.item_text}


def test_cold_items_are_targets_of_the_test_alone(read: Callable[..., Dataset]) -> None:
    dataset = read("synthetic:cold=0.3,items=100,text=0.6,users=400,events=5")
    split = make_split(dataset, NEXT_ITEM.protocol())
    known = np.unique(np.concatenate([split.train.item, split.valid.targets.item]))
    assert len(known) <= 70
    is_new = ~np.isin(split.test.targets.item, known)
    # Six in ten last events are by text, and three in ten items of a topic are cold.
    assert 0.1 < is_new.mean() < 0.3
    titles = dataset.items.titles()
    for query in np.flatnonzero(is_new)[:50]:
        last, target = split.test.histories[query][-1], split.test.targets.item[query]
        assert set(str(titles[last]).lower().split()) & set(str(titles[target]).lower().split())


def test_titles_tell_which_items_a_step_by_text_reaches(read: Callable[..., Dataset]) -> None:
    dataset = read(SMALL)
    words = [set(str(title).lower().split()) for title in dataset.items.titles()]
    steps = READER.process(SyntheticOptions(items=60, users=80, events=6)).alike
    for item in range(len(words)):
        shared = {
            int(other): len(words[item] & words[other]) for other in range(len(words)) if other != item and words[item] & words[other]
        }
        total = sum(4.0**n for n in shared.values())
        reached = {
            int(other): float(chance) for other, chance in zip(steps.item_IM[item], steps.chance_IM[item], strict=True) if chance > 0
        }
        assert reached == pytest.approx({other: 4.0**n / total for other, n in shared.items()})


shares = st.tuples(*[st.floats(0.0, 1.0)] * 4).filter(lambda parts: sum(parts) > 0.1)


@settings(max_examples=25)
@given(
    parts=shares,
    items=st.integers(50, 90),
    events=st.integers(3, 7),
    branching=st.integers(1, 6),
    tastes=st.integers(1, 6),
    cold=st.floats(0.0, 0.5),
    seed=st.integers(0, 99),
)
def test_whatever_the_knobs_probabilities_sum_to_one_and_the_data_are_possible(
    parts: tuple[float, ...], items: int, events: int, branching: int, tastes: int, cold: float, seed: int
) -> None:
    two_step, taste, text = (part / sum(parts) for part in parts[1:])
    options = SyntheticOptions(
        items=items, users=20, events=events, branching=branching, tastes=tastes,
        two_step=two_step, taste=taste, text=text, cold=cold, seed=seed,
    )  # fmt: skip
    # User k of this copy has taste k.
    process = replace(READER.process(options), taste_U=np.arange(tastes, dtype=np.int32))
    item_UT = READER.events({}, options, SilentProgress()).item.reshape(20, events)
    by_brute_force_UK = np.full((20, tastes), 1 / tastes)
    for n_known in range(events):
        histories = Histories(item_UT[:, :n_known].ravel(), np.arange(21, dtype=np.int64) * n_known)
        chance_KUI = np.stack([process.given_user(histories, np.full(20, taste, dtype=np.int32)) for taste in range(tastes)])
        chance_UI = process.given_history(histories)
        assert chance_UI.min() >= 0
        np.testing.assert_allclose(chance_UI.sum(axis=1), 1.0)
        np.testing.assert_allclose(process.tastes_given(histories), by_brute_force_UK, atol=1e-9)
        np.testing.assert_allclose(chance_UI, np.einsum("uk,kui->ui", by_brute_force_UK, chance_KUI), atol=1e-9)
        by_brute_force_UK *= chance_KUI[:, np.arange(20), item_UT[:, n_known]].T
        assert (by_brute_force_UK.max(axis=1) > 0).all()
        by_brute_force_UK /= by_brute_force_UK.sum(axis=1, keepdims=True)
