"""The leak canary: what nobody may know before the end is changed, and nothing that was learnt may change with it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbench.core import Plugin
from recbench.core.digests import file_sha256
from recbench.core.ranking import Rankings
from recbench.data import Split
from recbench.running.run.training import TIMES_FILE, TrainedModel
from recbench.running.stages.store import MANIFEST
from recbench.tasks import find_task
from recbench.testing.small import read_split, small_source
from recbench.testing.training import train

_K = 20
_NOT_COMPARED = {TIMES_FILE}
"""Seconds and memory; differ between any two trainings."""


@dataclass(frozen=True)
class Learnt:
    """A model trained in a cache of its own, and what that left to be compared.

    Attributes:
        split: what it was trained on.
        trained: the model.
        files: sha256 of every file of every finished stage, by path below the folder of stages.
        answers: its lists for the test queries, asked for right after the training.
    """

    split: Split
    trained: TrainedModel
    files: dict[str, str]
    answers: Rankings

    @classmethod
    def of(cls, split: Split, trained: TrainedModel, home: Path) -> "Learnt":
        """What the training that has just ended left in a cache where nothing else was done."""
        return cls(split, trained, _files(home / "stages"), trained.recommender.generate(split.test.queries(split.user_ids), _K))

    def learnt_from_the_same(self, other: "Learnt") -> bool:
        """Whether both splits have the same train part, validation part and texts: the test parts may differ."""
        ours, theirs = self.split.fingerprints, other.split.fingerprints
        return (ours.train, ours.valid, ours.item_text) == (theirs.train, theirs.valid, theirs.item_text)

    def difference(self, other: "Learnt") -> str:
        """The first stage or file that differs, or that the answers do, as the end of a sentence; empty where nothing does."""
        for file in sorted(self.files.keys() | other.files.keys()):
            if self.files.get(file) != other.files.get(file):
                return f"{file} {'has other content' if file in self.files and file in other.files else 'is there only once'}"
        ours, theirs = self.answers, other.answers
        if not (np.array_equal(ours.items, theirs.items) and np.array_equal(ours.scores, theirs.scores)):
            return "it answers the same queries differently"
        return ""


def learn(
    plugin: Plugin, home: Path, *, change_last: bool = False, preset: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Learnt:
    """The plugin trained on the small data set, or on the one whose last items are others.

    Args:
        plugin: any.
        home: an empty folder; source and cache go below it, laid out as in a user's cache.
        change_last: as in `small_source`.
        preset: as in `train`; must bound training by steps.
        overrides: settings laid over it.
    """
    columns, task = plugin.card.needs_columns, find_task(plugin.card.tasks[0])
    split = read_split(small_source(home / "datasets" / "small", task, change_last=change_last, columns=columns), home, columns=columns)
    return Learnt.of(split, train(plugin, split, home, preset=preset, overrides=overrides), home)


def assert_no_leak(plugin: Plugin, folder: Path, *, preset: str | None = None, overrides: Mapping[str, Any] | None = None) -> None:
    """Nothing, if the plugin learns the same from two sources that differ in the last item of every user alone.

    Both are trained from a fresh cache with one seed; see `assert_equally_blind` for what must then be equal.

    Args:
        plugin: any.
        folder: an empty one; sources and caches go below it.
        preset: as in `learn`.
        overrides: settings laid over it.

    Raises:
        AssertionError: names the first stage or file that differs, or says that the answers do.
    """
    before = learn(plugin, folder / "as-it-is", preset=preset, overrides=overrides)
    assert_equally_blind(plugin, before, learn(plugin, folder / "last-changed", change_last=True, preset=preset, overrides=overrides))


def assert_equally_blind(plugin: Plugin, before: Learnt, after: Learnt) -> None:
    """Nothing, if two trainings with one seed on sources that differ in test targets alone learnt the same.

    The caches must hold the same stages under the same keys with the same bytes in every file, and the two models must give the same
    answers to the same test queries.

    Raises:
        AssertionError: names the first stage or file that differs, or says that the answers do.
    """
    if not before.learnt_from_the_same(after) or before.split.fingerprints.test == after.split.fingerprints.test:
        raise AssertionError("The two sources must differ in their test targets and in nothing else. This test itself is broken.")
    difference = before.difference(after)
    if difference:
        raise AssertionError(
            f"{plugin.card.name} leaks: after a change of test targets alone, {difference}. "
            "Where two trainings with one seed differ, that is the reason: mend it first."
        )


def _files(root: Path) -> dict[str, str]:
    """sha256 of every file of every finished stage, by path below `root`."""
    digests = {}
    for manifest in sorted(root.glob(f"*/{MANIFEST}")):
        digests[manifest.parent.name] = "a stage"
        for name in json.loads(manifest.read_text(encoding="utf-8"))["files"]:
            if Path(name).name not in _NOT_COMPARED:
                digests[f"{manifest.parent.name}/{name}"] = file_sha256(manifest.parent / name)
    if not digests:
        raise AssertionError(f"{root} holds no stage: training wrote nothing that could be compared.")
    return digests
