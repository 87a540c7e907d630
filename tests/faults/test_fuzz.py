"""A small part of the fuzz campaign, and that the campaign would see a fault."""

import random
import shutil
import signal
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fuzz import Verdict, different, fixtures, judged, set_alarm
from fuzz_kinds import Fixtures, Kind, judge_folder, kinds

from recbench.core.errors import BadData

KINDS = ("csv", "parquet", ".inter and .item", "cards", "configs", "rank files", "records", "page files", "saved models", "cache entries")
_INPUTS, _INPUTS_OF_BOARDS = 25, 5
"""Per kind; what makes all pages anew takes its time."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Fixtures:
    return fixtures(tmp_path_factory.mktemp("sound"))


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    before = set_alarm()
    yield
    signal.signal(signal.SIGALRM, before)


def kind_named(name: str, sound: Fixtures) -> Kind:
    (kind,) = [kind for kind in kinds(sound) if kind.name == name]
    return kind


def test_every_kind_of_the_campaign_has_its_part_here(sound: Fixtures) -> None:
    assert [kind.name for kind in kinds(sound)] == list(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_inputs_are_refused_in_a_sentence_or_give_the_figures_of_the_slow_reader(name: str, sound: Fixtures, tmp_path: Path) -> None:
    kind = kind_named(name, sound)
    for number in range(_INPUTS_OF_BOARDS if kind.expect is None else _INPUTS):
        folder = tmp_path / "input"
        folder.mkdir()
        kind.make(folder, random.Random(f"tests-{name}-{number}"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            verdict = judged(kind, folder)
        assert verdict.outcome in {"refused", "the same"}, f"input {number}: {verdict}"
        shutil.rmtree(folder)


def test_the_shop_as_it_is_gives_the_same_figures(sound: Fixtures, tmp_path: Path) -> None:
    shop = sound.folder / "shop"
    assert judged(kind_named("csv", sound), shop) == Verdict("the same")
    assert len(judge_folder(shop).targets) == 60


def test_a_figure_that_differs_is_seen(sound: Fixtures) -> None:
    right = judge_folder(sound.folder / "shop")
    user = next(iter(right.targets))
    for wrong in (
        replace(right, sizes=(60, 40, 1)),
        replace(right, targets={**right.targets, user: "another"}),
        replace(right, ranks={**right.ranks, user: (49, 49)}),
        replace(right, ndcg=(right.ndcg[0] * (1 + 1e-9), right.ndcg[1])),
        replace(right, texts={"i00": {"title": "another"}}),
    ):
        assert different(right, wrong)
    assert not different(right, right)


def test_a_traceback_and_a_hang_are_seen(sound: Fixtures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz._HANG_S", 0.05)

    def hang(folder: Path) -> None:
        while True:
            pass

    def broken(folder: Path) -> None:
        raise KeyError("column")

    def refused(folder: Path) -> None:
        raise BadData("The file is damaged. Get it again.")

    csv = kind_named("csv", sound)
    assert judged(replace(csv, judge=hang), tmp_path).outcome == "hang"
    assert judged(replace(csv, judge=broken), tmp_path).outcome == "traceback"
    assert judged(replace(csv, judge=refused), tmp_path).outcome == "refused"
    assert judged(replace(csv, judge=lambda folder: True, expect=None), tmp_path).outcome == "silent difference"
