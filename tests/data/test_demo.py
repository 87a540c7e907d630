"""The synthetic data set: fast, the same every time, and with the structure that models can learn."""

import itertools
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from recbench.core import SilentProgress, TimeKind
from recbench.data import Dataset, make_split, stats
from recbench.data.readers.demo import DemoOptions, DemoReader
from recbench.tasks import NEXT_ITEM


def test_demo_is_fast_and_the_same_every_time(read: Callable[..., Dataset]) -> None:
    # Seconds of computing: on a busy machine the clock on the wall tells what else runs there.
    start = time.process_time()
    first = make_split(read("demo"), NEXT_ITEM.protocol())
    assert time.process_time() - start < 1.0
    assert make_split(read("demo"), NEXT_ITEM.protocol()).fingerprints == first.fingerprints


def test_demo_looks_like_data(read: Callable[..., Dataset]) -> None:
    dataset = read("demo")
    figures = stats(dataset, make_split(dataset, NEXT_ITEM.protocol()))
    assert dataset.card.is_synthetic
    assert (figures.users, figures.items) == (500, 300)
    assert dataset.interactions.time is TimeKind.SECONDS
    assert figures.tied_pairs is not None
    assert 0.1 < figures.tied_pairs < 0.3
    assert figures.items_without_events >= 1
    assert figures.text_coverage["title"] == figures.text_coverage["categories"] == 1.0
    assert 0 < figures.test_in_history < 0.2


def test_demo_names_each_item_by_a_phrase_of_its_own(read: Callable[..., Dataset]) -> None:
    items = read("demo").items
    phrases = items.model_columns["idgenrec_text"].tolist()
    assert len(set(phrases)) == len(items) == 300
    assert any(phrase.startswith(f"{other} ") for phrase, other in itertools.permutations(phrases, 2)), "some begin others"
    titles = items.columns["title"].tolist()
    assert all(set(phrase.split()[:2]) <= set(title.lower().split()) for phrase, title in zip(phrases, titles, strict=True))
    many = DemoReader().items({}, DemoOptions(n_items=40_000), ("idgenrec_text",), (), SilentProgress()).columns["idgenrec_text"]
    assert len(set(many)) == 40_000


def test_the_next_item_of_the_demo_can_be_learnt(read: Callable[..., Dataset]) -> None:
    dataset = read("demo")
    split = make_split(dataset, NEXT_ITEM.protocol())
    followers: dict[int, Counter[int]] = {}
    for row in range(len(split.train)):
        items = split.train[row].tolist()
        for before, after in itertools.pairwise(items):
            followers.setdefault(before, Counter())[after] += 1
    popular = [item for item, _ in Counter(split.train.item.tolist()).most_common(10)]
    last = [int(split.test.histories[row][-1]) for row in range(len(split.test))]
    target = split.test.targets.item.tolist()
    by_chain = np.mean(
        [goal in [item for item, _ in followers.get(item, Counter()).most_common(10)] for item, goal in zip(last, target, strict=True)]
    )
    by_popularity = np.mean([goal in popular for goal in target])
    assert by_chain > 2 * by_popularity
    themes = [categories.split(",")[0] for categories in dataset.items.columns["categories"]]
    assert np.mean([themes[item] == themes[goal] for item, goal in zip(last, target, strict=True)]) > 0.7
