"""Stages that models share, and work alone within a group."""

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import shared_stages
from shared_stages import plugin_of

from recbench.core import BadRequest, FitContext, PluginFailed, World
from recbench.core.records import StagePart
from recbench.data import Split
from recbench.running.stages.store import StageStore
from recbench.testing import small_split

SOURCE = """
from pathlib import Path

def build(folder: Path) -> None:
    with (folder / "made.txt").open("w") as stream:
        stream.write("made")
    with Path({counter!r}).open("a") as stream:
        stream.write("x")
"""


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return small_split(tmp_path_factory.mktemp("split"))


class Workshop:
    """A module that holds a `build`, and models that use it."""

    def __init__(self, folder: Path, split: Split) -> None:
        self.folder, self.split = folder, split
        self.counter = folder / "counter"
        self.file = folder / "workshop.py"
        self.file.write_text(SOURCE.format(counter=str(self.counter)))

    def module(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location("workshop", self.file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["workshop"] = module
        spec.loader.exec_module(module)
        return module

    def lineage(self, name: str, fit: Callable[[FitContext], object], seed: int = 0, rerun: tuple[str, ...] = ()) -> list[StagePart]:
        def fitted(context: FitContext) -> np.ndarray:
            fit(context)
            return np.zeros((1, 1), np.float32)

        store = StageStore(self.folder / "stages", rerun=rerun)
        model = plugin_of(name, fitted, self.folder / name)
        return list(shared_stages.trained(model, self.split, store, World(), {}, seed).lineage)

    def n_builds(self) -> int:
        return len(self.counter.read_text()) if self.counter.exists() else 0


@pytest.fixture
def workshop(tmp_path: Path, split: Split, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setitem(sys.modules, "workshop", ModuleType("workshop"))
    return Workshop(tmp_path, split)


def asks(build: Callable[[Path], None], config: dict[str, object]) -> Callable[[FitContext], object]:
    return lambda context: context.common_stage("made", build, config=config)


def test_models_and_seeds_share_a_common_stage_and_settings_do_not(workshop: Workshop) -> None:
    build = workshop.module().build
    first = workshop.lineage("one", asks(build, {"k": 1}))
    second = workshop.lineage("two", asks(build, {"k": 1}), seed=5)
    assert workshop.n_builds() == 1
    assert [part.name for part in first] == ["made", "training-one"]
    assert [part.name for part in second] == ["made", "training-two"]
    assert (first[0].reused, second[0].reused) == (False, True)
    assert second[0].seconds == first[0].seconds > 0
    assert second[0].key == first[0].key
    workshop.lineage("three", asks(build, {"k": 2}))
    assert workshop.n_builds() == 2


@pytest.mark.parametrize("kind", ["stage", "common_stage"])
@pytest.mark.parametrize("name", ["../made", "a/b", "a\nb", "\ud800", "a" * 200])
def test_a_stage_whose_name_is_no_folder_s_is_refused(kind: str, name: str, workshop: Workshop) -> None:
    build = workshop.module().build
    with pytest.raises(PluginFailed, match=r"^Model 'one' calls a stage .*, which cannot be a folder's name"):
        workshop.lineage("one", lambda context: getattr(context, kind)(name, build, config={}))
    assert workshop.n_builds() == 0


def test_another_source_of_the_building_module_is_another_stage(workshop: Workshop) -> None:
    before = workshop.lineage("one", asks(workshop.module().build, {}))
    workshop.file.write_text(workshop.file.read_text() + "# better\n")
    after = workshop.lineage("two", asks(workshop.module().build, {}))
    assert before[0].key != after[0].key
    assert workshop.n_builds() == 2


def test_a_folder_given_as_input_counts_by_its_content_and_a_stage_not_by_what_it_cost(workshop: Workshop) -> None:
    build = workshop.module().build
    given = workshop.folder / "given"
    given.mkdir()
    keys = []

    def fit(context: FitContext) -> None:
        # The stage below is computed anew each time, in another time, with the same result.
        below = context.common_stage("below", build, config={"n": 0})
        context.common_stage("made", build, config={}, inputs=[given, below])

    for number, text in enumerate(["a", "a", "b"]):
        (given / "file").write_text(text)
        keys.append({part.name: part.key for part in workshop.lineage(f"model{number}", fit, rerun=("below",))}["made"])
    assert keys[0] == keys[1] != keys[2]


def test_a_stage_within_training_is_paid_for_once(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, slept = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock() + slept[0])

    def slow(folder: Path) -> None:
        slept[0] += 1000
        (folder / "made.txt").write_text("slow")

    def fit(context: FitContext) -> None:
        for _ in range(2):
            context.common_stage("slow", slow, config={})

    first, second = workshop.lineage("one", fit), workshop.lineage("two", fit)
    for lineage in (first, second):
        assert [part.name for part in lineage][:-1] == ["slow"]
        assert lineage[0].seconds >= 1000
        assert lineage[1].seconds < 500


def test_what_a_common_stage_is_built_with_depends_on_nothing_of_the_run(workshop: Workshop) -> None:
    found = []

    def fit(context: FitContext) -> None:
        for config in ({}, {"seed": 9}):

            def build(folder: Path) -> None:
                alone = context.alone()
                found.append((alone.seed, alone.budget.unit, alone.world.size, alone.checkpoints))
                (alone.checkpoints / "half").write_text("x")
                (folder / "made.txt").touch()

            context.common_stage("made", build, config=config)
        found.append((context.alone().seed, context.checkpoints))

    workshop.lineage("one", fit, seed=7)
    assert [part[0] for part in found] == [0, 9, 7]
    folders = [part[-1] for part in found]
    assert len(set(folders)) == 3
    # Half-done work goes with the stage it was for.
    assert not any(folder.exists() for folder in folders)


def test_the_content_of_a_file_that_settings_name_is_part_of_the_training_s_key(tmp_path: Path, split: Split) -> None:
    named = tmp_path / "encoder"
    named.mkdir()
    model = plugin_of("reader", lambda context: np.zeros((1, 1), np.float32), tmp_path / "model")
    config = shared_stages.NamesAFile(path=str(named))
    store = StageStore(tmp_path / "stages")
    reused = []
    for text in ("a", "a", "b"):
        (named / "weights").write_text(text)
        reused.append(shared_stages.trained(model, split, store, World(), {}, config=config).stage.reused)
    assert reused == [False, True, False]
    missing = shared_stages.NamesAFile(path=str(tmp_path / "nowhere"))
    with pytest.raises(BadRequest, match="no such file or folder"):
        shared_stages.trained(model, split, store, World(), {}, config=missing)


@pytest.mark.slow
def test_in_a_group_one_process_works_alone_while_the_other_waits(tmp_path: Path) -> None:
    for code, log in shared_stages.in_a_group(str(tmp_path)):
        assert code == 0, log
    facts = [json.loads((tmp_path / f"facts-{rank}.json").read_text()) for rank in range(2)]
    assert [path.name for path in tmp_path.glob("built-by-*")] == ["built-by-0"]
    for fact in facts:
        assert fact["seen alone"] == [*range(8), *range(8)]
        assert fact["lineage"] == ["line", "training-first"]
        assert fact["vectors"] == [1.0]
        assert fact["size"] == 2
    assert facts[0]["size alone"] == 1
    assert facts[1]["size alone"] is None
    lists, counters, ranked = zip(*(fact["lists"] for fact in facts), strict=True)
    users = ranked[0] + ranked[1]
    assert abs(len(ranked[0]) - len(ranked[1])) <= 1, "the ranks share the test users"
    assert lists[0] == lists[1]
    n_items = len(Split.open(tmp_path / "split").items)
    assert lists[0] == [[[(user + place) % n_items for place in range(3)] for user in users]]
    assert counters == ({"sequences": len(users)},) * 2
    assert users == Split.open(tmp_path / "split").test.user.tolist()
    assert [fact["seen together"] for fact in facts] == [[0, 2, 4, 6, 0, 2, 4, 6], [1, 3, 5, 7, 1, 3, 5, 7]]
