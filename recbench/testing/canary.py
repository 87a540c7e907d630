"""The leak canary: what nobody may know before the end is changed, and nothing that was learnt may change with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recbench.core import Plugin
from recbench.core.digests import file_sha256
from recbench.core.ranking import Rankings
from recbench.running.run.training import TIMES_FILE
from recbench.running.stages.store import MANIFEST
from recbench.testing.small import read_split, write_source
from recbench.testing.training import train

_K = 20
_NOT_COMPARED = {TIMES_FILE}
"""Seconds and memory; differ between any two trainings."""


def assert_no_leak(plugin: Plugin, folder: Path, *, preset: str | None = None, overrides: Mapping[str, Any] | None = None) -> None:
    """Nothing, if the plugin learns the same from two sources that differ in the last item of every user alone.

    Both are trained from a fresh cache with one seed. The caches must then hold the same stages under the same keys with the
    same bytes in every file, and the two models must give the same answers to the same test queries.

    Args:
        plugin: any.
        folder: an empty one; sources and caches go below it, laid out as in a user's cache.
        preset: as in `train`; must bound training by steps.
        overrides: settings laid over it.

    Raises:
        AssertionError: names the first stage or file that differs, or says that the answers do.
    """
    stages: list[dict[str, str]] = []
    answers: list[Rankings] = []
    splits = []
    for name, change_last in (("as-it-is", False), ("last-changed", True)):
        home = folder / name
        split = read_split(write_source(home / "datasets" / "canary", change_last=change_last), home)
        trained = train(plugin, split, home, preset=preset, overrides=overrides)
        stages.append(_files(home / "stages"))
        answers.append(trained.recommender.generate(split.test.queries(split.user_ids), _K))
        splits.append(split.fingerprints)
    before, after = splits
    if (before.train, before.valid, before.item_text) != (after.train, after.valid, after.item_text) or before.test == after.test:
        raise AssertionError("The two sources must differ in their test targets and in nothing else. This test itself is broken.")
    for file in sorted(stages[0].keys() | stages[1].keys()):
        if stages[0].get(file) != stages[1].get(file):
            fate = "has other content" if file in stages[0] and file in stages[1] else "is there only once"
            raise AssertionError(
                f"{plugin.card.name} leaks: after a change of test targets alone, {file} {fate}. "
                "Where two trainings with one seed differ, that is the reason: mend it first."
            )
    if not (np.array_equal(answers[0].items, answers[1].items) and np.array_equal(answers[0].scores, answers[1].scores)):
        raise AssertionError(f"{plugin.card.name} leaks: after a change of test targets alone, it answers the same queries differently.")


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
