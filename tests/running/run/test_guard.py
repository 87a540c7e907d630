"""Models behind the guard: what they get cannot hurt, what they return is checked, and no call lasts for ever."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from shared_stages import plugin_of

from recbench.core import (
    Budget,
    Catalogue,
    CurvePoint,
    FitReport,
    Histories,
    Parameters,
    Plugin,
    PluginConfig,
    PluginFailed,
    Queries,
    Rankings,
)
from recbench.running.run import guard
from recbench.running.run.fit_reports import checked_report
from recbench.running.run.guard import GuardedModel


class NoSettings(PluginConfig):
    """None."""


class Good:
    """Ranks items 0, 1, 2 for everybody."""

    def fit(self, context: Any) -> Any:
        return FitReport()

    def generate(self, queries: Queries, k: int) -> Any:
        items = np.tile(np.arange(k, dtype=np.int32), (len(queries.views), len(queries), 1))
        return Rankings(queries.views, items, np.zeros(items.shape, np.float32))

    def save(self, folder: Path) -> None:
        pass

    def load(self, folder: Path) -> None:
        pass

    def item_vectors(self) -> Any:
        return np.ones((4, 2))


def guarded(raw: Any, folder: Path, budget: Budget | None = None) -> GuardedModel:
    plugin: Plugin = replace(plugin_of("wild", lambda context: None, folder / "wild"), build=lambda config, catalogue: raw)
    return GuardedModel(plugin, NoSettings(), Catalogue(4, 2), budget)


def with_method(name: str, method: Callable[..., Any]) -> Good:
    model = Good()
    setattr(model, name, method)
    return model


def questions() -> Queries:
    return Queries(Histories.from_lists([[3], [3, 3]]), np.array([0, 1], np.int32), np.array(["a", "b"], object), ("keep", "unseen"))


def _lists() -> tuple[Any, Any]:
    return Good().generate(questions(), 2).items, np.zeros((2, 2, 2), np.float32)


def fail(*_: Any) -> None:
    raise ValueError("no luck")


@pytest.mark.parametrize("method", ["fit", "generate", "save", "load", "to", "item_vectors"])
def test_a_fault_in_any_method_names_model_and_method(method: str, tmp_path: Path) -> None:
    model = guarded(with_method(method, fail), tmp_path)
    calls: dict[str, Callable[[], object]] = {
        "fit": lambda: model.fit(None),  # type: ignore[arg-type]
        "generate": lambda: model.answers(questions(), 2, n_items=4),
        "save": lambda: model.save(tmp_path),
        "load": lambda: model.load(tmp_path),
        "to": lambda: model.to("cpu"),
        "item_vectors": lambda: model.item_vectors("asker"),
    }
    with pytest.raises(PluginFailed, match=rf"^Model 'wild' failed in {method}: ValueError: no luck\. --debug shows where\.$"):
        calls[method]()


class LeavingNumber(int):
    """Ends the process when it is compared or converted."""

    def _leave(self, *_: object) -> Any:
        raise SystemExit(0)

    __lt__ = __le__ = __gt__ = __ge__ = __int__ = __index__ = __float__ = _leave


class LeavingMapping(dict[str, Any]):
    """Ends the process when it is read."""

    def items(self) -> Any:
        raise SystemExit(0)


class LeavingTuple(tuple[str, ...]):
    """Ends the process when it is read."""

    def __iter__(self) -> Any:
        raise SystemExit(0)


class LeavingReport(FitReport):
    """Ends the process when its steps are read."""

    def __getattribute__(self, name: str) -> Any:
        if name == "steps":
            raise SystemExit(0)
        return super().__getattribute__(name)


class LeavingArray(np.ndarray):
    """Ends the process when anything is computed with it."""

    def __array_finalize__(self, obj: object) -> None:
        if obj is not None and type(obj) is LeavingArray:
            raise SystemExit(0)

    @property
    def shape(self) -> Any:
        raise SystemExit(0)


class WithoutLooks(Good):
    """Ends the process when its method `to` is looked up."""

    @property
    def to(self) -> Any:
        raise SystemExit(0)


LEAVING: dict[str, tuple[str, Any]] = {
    "a number of a report": ("fit", FitReport(steps=LeavingNumber(3))),
    "a number of a curve": ("fit", FitReport(curve=[CurvePoint(1, LeavingNumber(1), 0.0)])),
    "a field of a report": ("fit", LeavingReport()),
    "a mapping of a report": ("fit", FitReport(chosen=LeavingMapping())),
    "artefacts": ("fit", FitReport(artefacts=LeavingMapping())),
    "counters": ("generate", Rankings(("keep", "unseen"), *_lists(), LeavingMapping())),
    "views": ("generate", Rankings(LeavingTuple(("keep", "unseen")), *_lists())),  # type: ignore[arg-type]
    "lists": ("generate", Rankings(("keep", "unseen"), _lists()[0].view(LeavingArray), _lists()[1])),
    "vectors": ("item_vectors", np.ones((4, 2)).view(LeavingArray)),
}


@pytest.mark.parametrize("name", LEAVING)
def test_what_a_method_returned_is_read_as_a_part_of_the_call(name: str, tmp_path: Path) -> None:
    method, value = LEAVING[name]
    model = guarded(with_method(method, lambda *_: value), tmp_path)
    ask: Callable[[], object] = {
        "fit": lambda: model.fit(None),  # type: ignore[arg-type]
        "generate": lambda: model.answers(questions(), 2, n_items=4),
        "item_vectors": lambda: model.item_vectors("asker"),
    }[method]
    with pytest.raises(PluginFailed, match=rf"^Model 'wild' called sys\.exit\(\) in {method} "):
        ask()


def test_a_method_is_looked_up_as_a_part_of_the_call(tmp_path: Path) -> None:
    with pytest.raises(PluginFailed, match=r"^Model 'wild' called sys\.exit\(\) in to "):
        guarded(WithoutLooks(), tmp_path).to("cpu")


def test_a_report_holds_nothing_of_a_class_of_the_plugin() -> None:
    class Number(int):
        pass

    class Text(str):
        pass

    class Report(FitReport):
        pass

    found = checked_report(
        Report(steps=Number(3), stopped_by=Text("done"), chosen={Text("a"): Text("b")}, artefacts={Text("codes"): Path("c")}), "wild"
    )
    kinds = [type(value) for value in (found, found.steps, found.stopped_by, *found.chosen, *found.chosen.values(), *found.artefacts)]
    assert kinds == [FitReport, int, str, str, str, str]


@pytest.mark.parametrize("built", [None, 3, Good, type("Half", (), {"fit": fail, "generate": fail, "save": fail, "load": 3})()])
def test_build_must_return_an_object_with_four_methods(built: object, tmp_path: Path) -> None:
    if built is Good:  # a class has them all; it fails when it is called
        guarded(built, tmp_path)
        return
    with pytest.raises(PluginFailed, match=r"build returned a .* without a method"):
        guarded(built, tmp_path)


def test_a_model_that_breaks_the_order_of_ties_is_named(tmp_path: Path) -> None:
    def reversed_lists(queries: Queries, k: int) -> Rankings:
        found = Good().generate(queries, k)
        return replace(found, items=found.items[:, :, ::-1])

    model = guarded(with_method("generate", reversed_lists), tmp_path)
    with pytest.raises(PluginFailed, match=r"^Model 'wild' broke its contract in generate: Query 9 \(user a\)"):
        model.answers(questions(), 2, n_items=4, first_query=9)


@pytest.mark.parametrize("unlocks", [False, True])
def test_queries_are_checked_against_those_that_were_asked(unlocks: bool, tmp_path: Path) -> None:
    """A model empties its histories and lists item 3, which they held, in `unseen`."""

    def meddle(queries: Queries, k: int) -> Rankings:
        if unlocks:
            queries.histories.item.setflags(write=True)
        queries.histories.item[:] = 0
        object.__setattr__(queries, "user_ids", None)
        items = np.full((2, 2, 1), 3, np.int32)
        return Rankings(("keep", "unseen"), items, np.zeros(items.shape, np.float32))

    asked = questions()
    match = "item row 3 stands in the history" if unlocks else "read-only"
    with pytest.raises(PluginFailed, match=match):
        guarded(with_method("generate", meddle), tmp_path).answers(asked, 1, n_items=4)
    assert asked.histories.item.tolist() == [3, 3, 3]
    assert asked.user_ids.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (None, "returned a NoneType"),
        ([[1.0]] * 4, "returned a list"),
        (np.ones((3, 2)), r"shape \(3, 2\)"),
        (np.ones((4, 0)), r"shape \(4, 0\)"),
        (np.ma.masked_array(np.ones((4, 2)), mask=False), "a masked array"),
        (np.ones(4), r"an array \(4,\)"),
        (np.ones((4, 2), np.int64), "of int64"),
        (np.array([[1, 1], [1, np.nan], [1, 1], [1, 1]], float), "not finite in row 1"),
    ],
)
def test_item_vectors_are_finite_floats_with_a_row_per_item(vectors: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(PluginFailed, match=words):
        guarded(with_method("item_vectors", lambda: vectors), tmp_path).item_vectors("asker")


def test_item_vectors_are_finite_in_single_precision_too(tmp_path: Path) -> None:
    vectors = np.ones((4, 2))
    vectors[3, 0] = 1e300
    with pytest.raises(PluginFailed, match="not finite in row 3"):
        guarded(with_method("item_vectors", lambda: vectors), tmp_path).item_vectors("asker")


def test_item_vectors_are_a_copy_in_single_precision(tmp_path: Path) -> None:
    mine = np.ones((4, 2))
    vectors = guarded(with_method("item_vectors", lambda: mine), tmp_path).item_vectors("asker")
    mine[:] = 7
    assert vectors.dtype == np.float32
    assert (vectors == 1).all()


def test_save_may_leave_no_link(tmp_path: Path) -> None:
    model = guarded(with_method("save", lambda folder: (folder / "link").symlink_to("/etc")), tmp_path)
    (tmp_path / "model").mkdir()
    with pytest.raises(PluginFailed, match="save left the link 'link'"):
        model.save(tmp_path / "model")


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "a\x1b[31m", os.fsdecode(b"\xff"), "a\u202eb"])
def test_save_may_leave_no_file_that_a_record_cannot_name(name: str, tmp_path: Path) -> None:
    def save(folder: Path) -> None:
        (folder / "deeper").mkdir()
        (folder / "deeper" / name).write_text("")

    model = guarded(with_method("save", save), tmp_path)
    (tmp_path / "model").mkdir()
    with pytest.raises(PluginFailed, match=r"^Model 'wild': save left a file called 'deeper/a?\S*', which a record cannot name"):
        model.save(tmp_path / "model")


def test_save_may_leave_no_pipe_and_any_usual_name(tmp_path: Path) -> None:
    def save(folder: Path) -> None:
        for name in ("model.safetensors", "ein Ä b", "c:d", ".hidden"):
            (folder / name).write_text("")
        if len(list(folder.parent.glob("*"))) > 2:
            os.mkfifo(folder / "pipe")

    model = guarded(with_method("save", save), tmp_path)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        if name == "first":
            model.save(tmp_path / name)
    with pytest.raises(PluginFailed, match="save left 'pipe', which is no file"):
        model.save(tmp_path / "second")


@pytest.mark.parametrize("mode", ["wb", "w+b", "ab"])
def test_save_may_leave_no_file_open(mode: str, tmp_path: Path) -> None:
    left: list[Any] = []

    def save(folder: Path) -> None:
        (folder / "whole").write_text("")
        left.append((folder / "whole").open("rb"))
        left.append((folder / "late").open(mode))
        left[-1].write(b"x")

    model = guarded(with_method("save", save), tmp_path)
    (tmp_path / "model").mkdir()
    with pytest.raises(PluginFailed, match=r"^Model 'wild': save left 'late' open for writing"):
        model.save(tmp_path / "model")
    for stream in left:
        stream.close()


@pytest.mark.parametrize("name", ["items", "scores"])
def test_masked_lists_are_refused(name: str, tmp_path: Path) -> None:
    def mask(queries: Queries, k: int) -> Rankings:
        found = Good().generate(queries, k)
        return replace(found, **{name: np.ma.masked_array(getattr(found, name), mask=False)})

    with pytest.raises(PluginFailed, match=rf"^Model 'wild' broke its contract in generate: generate returned {name} as a masked array"):
        guarded(with_method("generate", mask), tmp_path).answers(questions(), 2, n_items=4)


TOO_LARGE = (2**63, 10**400, 10**5000)
UNWRITABLE = ("\ud800", "a\nb", "\x1b[2J", "a" * 2_000)


@pytest.mark.parametrize("counters", [*({"sequences": number} for number in TOO_LARGE), *({name: 1} for name in (*UNWRITABLE, ""))])
def test_counters_are_what_a_record_can_keep(counters: dict[str, int], tmp_path: Path) -> None:
    def count(queries: Queries, k: int) -> Rankings:
        return replace(Good().generate(queries, k), counters=counters)

    with pytest.raises(PluginFailed, match=r"^Model 'wild' broke its contract in generate: generate returned the counter .* are needed\.$"):
        guarded(with_method("generate", count), tmp_path).answers(questions(), 2, n_items=4)


WRONG_REPORTS: dict[str, Any] = {
    "steps": (-1, 1.5, "many", True, None, *TOO_LARGE),
    "epochs": (-0.1, float("nan"), float("inf"), "one", *TOO_LARGE),
    "examples_seen": (-1, 2.0),
    "examples_possible": (None,),
    "parameters": (7, None, Parameters(total=-1), Parameters(trainable=1.5)),  # type: ignore[arg-type]
    "curve": (
        [(1, 2)],
        "no",
        [CurvePoint(1, 0.1, 0.1, loss=float("nan"))],
        [CurvePoint(-1, 0.1, 0.1)],
        [CurvePoint(1, 0.1, 0.1, validation={"a": "b"})],
        [CurvePoint(1, 0.1, 0.1, validation={"\ud800": 1.0})],
        [CurvePoint(1, 0.1, 0.1, loss=10**400)],
    ),  # type: ignore[dict-item]
    "chosen": (
        {"a": float("nan")},
        {"a": [1]},
        {1: 1},
        None,
        *({"a": value} for value in (*TOO_LARGE, -(2**64), *UNWRITABLE)),
        *({name: 1} for name in UNWRITABLE),
    ),
    "stopped_by": (None, "", "a\nb"),
    "resumed_at": ("start", -1),
    "artefacts": (
        {"codes": "file"},
        {"../codes": Path("file")},
        {"": Path("file")},
        [Path("file")],
        {"a" * 101: Path("file")},
        {"codes": Path("f.a\nb")},
    ),
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param(field, value, id=f"{field}-{number}")  # by number, as Python refuses to write some of the values
        for field, values in WRONG_REPORTS.items()
        for number, value in enumerate(values)
    ],
)
def test_a_report_with_a_wrong_field_names_it(field: str, value: Any) -> None:
    with pytest.raises(PluginFailed, match=f"^Model 'wild': the report of fit has {field}"):
        checked_report(replace(FitReport(), **{field: value}), "wild")


def test_a_good_report_is_kept_as_plain_numbers() -> None:
    point = CurvePoint(np.int64(2), np.float32(0.5), 1, loss=np.float32(0.25), validation={"ndcg@10": np.float64(0.5)})  # type: ignore[arg-type]
    given = FitReport(steps=np.int64(3), chosen={"step": np.int32(2), "window": "all"}, curve=[point])  # type: ignore[arg-type, dict-item]
    found = checked_report(given, "wild")
    assert found == FitReport(
        steps=3, chosen={"step": 2, "window": "all"}, curve=[CurvePoint(2, 0.5, 1.0, loss=0.25, validation={"ndcg@10": 0.5})]
    )
    assert {type(found.steps), type(found.chosen["step"]), type(found.curve[0].step)} == {int}


@pytest.mark.parametrize("swallows", [False, True])
def test_a_call_that_overruns_the_budget_is_ended(swallows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_LEAST_MARGIN_S", 0.1)

    def hang(context: object) -> FitReport:
        try:
            time.sleep(60)
        except BaseException:
            if not swallows:
                raise
        return FitReport()

    start = time.monotonic()
    with pytest.raises(PluginFailed, match=r"Model 'wild' was still in fit 0 s after the budget of 0\.1 seconds had ended"):
        guarded(with_method("fit", hang), tmp_path, Budget("seconds", 0.1)).fit(None)  # type: ignore[arg-type]
    assert time.monotonic() - start < 5


def test_a_call_after_the_end_of_the_budget_has_the_margin_for_itself(tmp_path: Path) -> None:
    late = Budget("seconds", 1.0, started_at=time.monotonic() - 1000)
    assert guarded(Good(), tmp_path, late).answers(questions(), 2, n_items=4).k == 2


def test_processor_time_bounds_training_and_no_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_LEAST_MARGIN_S", 0.2)

    def busy(*_: object) -> NoReturn:
        while True:
            sum(range(1000))

    def slow(queries: Queries, k: int) -> Rankings:
        end = time.process_time() + 0.6
        while time.process_time() < end:
            sum(range(1000))
        return Good().generate(queries, k)

    with pytest.raises(PluginFailed, match=r"after the budget of 0\.1 processor seconds had ended"):
        guarded(with_method("fit", busy), tmp_path, Budget.parse("0.1cpu-s")).fit(None)  # type: ignore[arg-type]
    assert guarded(with_method("generate", slow), tmp_path, Budget.parse("0.1cpu-s")).answers(questions(), 2, n_items=4).k == 2


def test_a_trained_model_must_say_how_many_examples_a_pass_has() -> None:
    trained = FitReport(steps=1, epochs=1.0, examples_seen=695, parameters=Parameters(total=19_500, trainable=19_500))
    with pytest.raises(PluginFailed, match="examples_possible = 0; for a model with trainable parameters"):
        checked_report(trained, "made up")
    assert checked_report(replace(trained, examples_possible=6_950), "made up").examples_possible == 6_950
    assert checked_report(replace(trained, parameters=Parameters(total=19_500)), "made up").examples_possible == 0
