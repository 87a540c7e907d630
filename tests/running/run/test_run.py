import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recbench.evaluation as evaluation
from recbench.core import BadConfig, BadRequest, Plugin, PluginFailed, UnknownPlugin
from recbench.core.digests import file_sha256
from recbench.core.records import CodePart, FilePart, read_record
from recbench.registry import Registry
from recbench.running.after.reproduce import Reproduction, reproduce
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunOutcome, RunRequest
from recbench.running.run import execute
from recbench.running.run.execute import run_request
from recbench.tasks import NEXT_ITEM


@pytest.fixture
def workplace(tmp_path: Path, demo_home: Path) -> Workplace:
    return Workplace(demo_home, None, tmp_path / "runs", tmp_path / "leaderboards")


def _run(workplace: Workplace, model: str = "popularity", **options: object) -> RunOutcome:
    outcome = run_request(RunRequest(model, "demo", threads=1, **options), workplace)
    assert outcome is not None
    return outcome


def test_a_run_leaves_one_folder_with_all_its_files(workplace: Workplace) -> None:
    outcome = _run(workplace)
    names = {path.name for path in outcome.folder.iterdir()}
    assert {
        "record.json",
        "ranks.parquet",
        "exposure.parquet",
        "curve.csv",
        "config.toml",
        "log.txt",
        "model",
        "catalogue.parquet",
    } <= names
    assert [path.name for path in workplace.runs.iterdir()] == [outcome.folder.name]
    assert outcome.folder.name.startswith("demo-popularity-default-s0-")
    assert outcome.folder.name.endswith("-1")
    assert read_record(outcome.folder / "record.json") == outcome.record


def test_metrics_of_a_record_follow_from_its_files(workplace: Workplace) -> None:
    outcome = _run(workplace)
    folder, record = outcome.folder, outcome.record
    result = evaluation.evaluate(
        evaluation.read_ranks(folder / record.file("ranks").name),
        evaluation.read_targets(folder / record.file("targets").name),
        evaluation.read_exposure(folder / record.file("exposure").name),
        evaluation.read_items(folder / record.file("items").name),
        NEXT_ITEM.measures,
    )
    assert result.metrics == record.metrics
    assert result.slices == record.slices
    assert result.beyond == record.beyond


def test_a_finished_run_is_shown_again_and_again_makes_a_new_one(workplace: Workplace) -> None:
    first, second = _run(workplace), _run(workplace)
    assert (first.is_new, second.is_new) == (True, False)
    assert first.folder == second.folder
    third = _run(workplace, again=True)
    assert third.folder.name.endswith("-2")
    assert all(stage.reused for stage in third.record.stages)
    assert third.record.metrics == first.record.metrics


def test_cost_does_not_depend_on_cache_luck(workplace: Workplace) -> None:
    shutil.rmtree(workplace.home)
    first, again = _run(workplace), _run(workplace, again=True)
    assert again.record.cost == first.record.cost


def test_another_seed_another_setting_another_tie_order_is_another_run(workplace: Workplace) -> None:
    outcomes = [_run(workplace, "random", seed=seed) for seed in (0, 1)] + [_run(workplace, "random", ties="shuffle=3")]
    assert len({outcome.folder.name for outcome in outcomes}) == 3
    assert outcomes[0].record.config_hash == outcomes[1].record.config_hash
    assert outcomes[0].record.fingerprints.test != outcomes[2].record.fingerprints.test


def test_equal_budgets_are_one_run(workplace: Workplace) -> None:
    first, second = _run(workplace, budget="900s"), _run(workplace, budget="15m")
    assert first.record.budget == "15m"
    assert not second.is_new


def _own_data(folder: Path, first_user_s: int) -> Path:
    """Sixty users with the same events in the same order, whenever the first forty had theirs."""
    lines = ["user_id,item_id,timestamp"]
    for user in range(60):
        items = [(user >= 40) * 10 + (user + place) % 10 for place in range(6)]
        start = first_user_s if user < 40 else 1_000_000_000 + 500 * 86_400
        lines += [f"u{user:02d},i{item:02d},{start + place}" for place, item in enumerate(items)]
    folder.mkdir(parents=True)
    (folder / "interactions.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_other_times_are_another_run_of_a_model_that_reads_times(workplace: Workplace, tmp_path: Path) -> None:
    early, late = (_own_data(tmp_path / name / "own", 1_000_000_000 + days * 86_400) for name, days in (("a", 0), ("b", 500)))
    outcomes = {}
    for model in ("recent-popularity", "popularity"):
        requests = [
            RunRequest(model, str(source), threads=1, overrides={"window_days": 1} if model == "recent-popularity" else {})
            for source in (early, late)
        ]
        outcomes[model] = [run_request(request, workplace) for request in requests]
    first, second = outcomes["recent-popularity"]
    assert first is not None
    assert second is not None
    assert first.record.fingerprints == second.record.fingerprints
    assert second.is_new
    assert second.record.metrics["keep"]["ndcg@10"] != first.record.metrics["keep"]["ndcg@10"]
    other = outcomes["popularity"][1]
    assert other is not None
    assert not other.is_new


def test_one_view_only(workplace: Workplace) -> None:
    record = _run(workplace, seen="unseen").record
    assert list(record.metrics) == ["unseen"]


def test_the_temporal_protocol_runs(workplace: Workplace) -> None:
    record = _run(workplace, protocol="temporal:quantile=0.8").record
    assert record.protocol.split == "temporal"
    assert record.protocol.split_options["quantile"] == 0.8
    assert record.targets.n_users > 0


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"model": "popularty"}, UnknownPlugin, "popularity"),
        ({"dataset": "dmeo"}, UnknownPlugin, "demo"),
        ({"preset": "defualt"}, BadConfig, "default"),
        ({"overrides": {"widht": 1}}, BadConfig, "widht"),
        ({"model": "sasrec", "overrides": {"training.learning_rate": float("inf")}}, BadConfig, r"training\.learning_rate=inf"),
        ({"seen": "sen"}, BadRequest, "unseen"),
        ({"budget": "soon"}, BadConfig, "20m"),
        ({"device": "tpu"}, BadRequest, "tpu"),
        ({"device": "cuda:77"}, BadRequest, "cuda:77"),
        ({"precision": "fp8"}, BadRequest, "fp8"),
        ({"ties": "shuffled"}, BadConfig, "shuffled"),
        ({"rerun": ("trainig-popularity",)}, BadRequest, "training-popularity"),
        ({"protocol": "leave-two-out"}, BadConfig, "leave-one-out"),
    ],
)
def test_an_impossible_request_is_a_sentence_and_writes_no_run(
    workplace: Workplace, change: dict[str, object], error: type[Exception], words: str
) -> None:
    request = RunRequest(**{"model": "popularity", "dataset": "demo", "threads": 1, **change})
    with pytest.raises(error, match=words):
        run_request(request, workplace)
    assert not workplace.runs.exists()


_BROKEN = '''
from pathlib import Path
import numpy as np
from recbench.core import Catalogue, FitReport, Plugin, PluginConfig, Rankings
from recbench.tasks import NEXT_ITEM

class Settings(PluginConfig):
    fault: str = "fit"
    """Where it breaks."""

class Broken:
    def __init__(self, settings, catalogue):
        self.fault, self.n_items = settings.fault, catalogue.n_items
    def fit(self, context):
        if self.fault == "fit":
            raise ZeroDivisionError("by design")
        return FitReport()
    def generate(self, queries, k):
        items = np.tile(np.arange(k, dtype=np.int32), (len(queries.views), len(queries), 1))
        scores = np.tile(np.arange(k, 0, -1).astype(np.float32), (len(queries.views), len(queries), 1))
        if self.fault == "stranger":
            items[0, 7, 3] = self.n_items
        if self.fault == "repeat":
            items[0, 7, 3] = items[0, 7, 2]
        if self.fault == "nan":
            scores[0, 7, 3] = np.nan
        if self.fault == "shape":
            items, scores = items[:, :, :-1], scores[:, :, :-1]
        return Rankings(queries.views, items, scores)
    def save(self, folder): (folder / "empty.json").write_text("{}")
    def load(self, folder): pass

PLUGIN = Plugin.from_folder(__file__, Settings, Broken)
'''
_BROKEN_CARD = """
name = "broken"
title = "A model that breaks"
summary = "Breaks."
family = "scoring"
[presets.default]
[default]
cpu = "default"
cuda = "default"
"""


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "__init__.py").write_text(_BROKEN)
    (folder / "card.toml").write_text(_BROKEN_CARD)
    return folder


@pytest.mark.parametrize(("fault", "words"), [("fit", "by design"), ("stranger", "7"), ("repeat", "7"), ("nan", "7"), ("shape", "shape")])
def test_a_plugin_that_breaks_its_contract_fails_the_run_and_leaves_the_reason(
    workplace: Workplace, broken: Path, fault: str, words: str
) -> None:
    with pytest.raises(PluginFailed, match=words):
        _run(workplace, "broken", plugins=(broken,), seen="keep", overrides={"fault": fault})
    (failed,) = workplace.runs.iterdir()
    assert words in json.loads((failed / "failure.json").read_text())["message"]
    assert not (failed / "record.json").exists()
    assert not list((workplace.stages).glob(".building*"))


def test_an_edited_plugin_is_another_run(workplace: Workplace, broken: Path) -> None:
    options = {"plugins": (broken,), "seen": "keep", "overrides": {"fault": "none"}}
    first = _run(workplace, "broken", **options)
    source = broken / "__init__.py"
    source.write_text(source.read_text() + "\n# edited\n")
    second = _run(workplace, "broken", **options)
    assert second.is_new
    assert second.record.model.source_hash != first.record.model.source_hash


def test_rerun_of_a_stage_within_training_computes_that_training_again_too(workplace: Workplace) -> None:
    before = _run(workplace, "text-knn", preset="smoke").record
    after = _run(workplace, "text-knn", preset="smoke", rerun=("text-vectors",)).record
    assert {part.name for part in after.stages if not part.reused} >= {"text-vectors", "training-text-knn"}
    assert after.model == before.model
    assert (after.model.backbone, after.model.text) == ("tfidf-svd", ("title", "brand", "categories"))
    with pytest.raises(BadRequest, match="text-vector'"):
        _run(workplace, "text-knn", preset="smoke", rerun=("text-vector",))


def test_a_column_that_two_settings_name_stands_in_the_record_once(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Registry.load

    def load(self: Registry[Plugin], name: str) -> Plugin:
        plugin = original(self, name)
        update = {"text": ("text.optional_fields", "text.fields")} if name == "text-knn" else {}
        return replace(plugin, card=plugin.card.model_copy(update=update))

    monkeypatch.setattr(Registry, "load", load)
    assert _run(workplace, "text-knn", preset="smoke").record.model.text == ("brand", "categories", "title")


def test_rerun_computes_one_stage_again(workplace: Workplace) -> None:
    _run(workplace)
    record = _run(workplace, rerun=("ranking",)).record
    assert [stage.name for stage in record.stages if not stage.reused] == ["ranking"]


def test_reproduce_runs_again_and_compares_every_rank(workplace: Workplace) -> None:
    outcome = _run(workplace, "random", seed=5)
    again = reproduce(outcome.folder, workplace)
    assert again is not None
    assert again.is_exact
    assert again.outcome.folder != outcome.folder
    assert {d.metric for d in again.differences} == set(outcome.record.metrics["keep"])
    assert all(d.recorded == d.repeated for d in again.differences)


@pytest.mark.parametrize(
    ("then", "source", "phrases"),
    [
        ({}, None, []),
        ({"commit": None, "is_dirty": None}, None, []),
        ({"version": "0.0.9"}, None, ["recbench was 0.0.9 (01234567) and is 1.0 (01234567)"]),
        ({"commit": "f" * 40}, None, ["recbench was 1.0 (ffffffff) and is 1.0 (01234567)"]),
        ({"is_dirty": True}, None, ["recbench was 1.0 (01234567), uncommitted changes and is 1.0 (01234567)"]),
        ({}, "e" * 64, ["the sources of model 'popularity' were eeeeeeeeeeee and are"]),
    ],
)
def test_a_repetition_says_what_of_the_code_differs(
    workplace: Workplace, then: dict[str, Any], source: str | None, phrases: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = CodePart(version="1.0", commit="0123456789abcdef", is_dirty=False)
    monkeypatch.setattr("recbench.running.host.provenance.code", lambda: now)
    outcome = _run(workplace)
    record = outcome.record.model_copy(update={"code": now.model_copy(update=then)})
    if source is not None:
        record = record.model_copy(update={"model": record.model.model_copy(update={"source_hash": source})})
    found = Reproduction(record, outcome, (), 0, 0).code_changes
    assert len(found) == len(phrases)
    assert all(change.startswith(phrase) for change, phrase in zip(found, phrases, strict=True))


def test_reproduce_sees_a_rank_that_moved(workplace: Workplace) -> None:
    outcome = _run(workplace, "random", seed=5)
    path = outcome.folder / "ranks.parquet"
    ranks = evaluation.read_ranks(path)
    moved = np.array(ranks.rank["keep"])
    moved[0] = 3 if moved[0] != 3 else 4
    evaluation.write_ranks(evaluation.RankTable(ranks.user, ranks.target, {**ranks.rank, "keep": moved}, ranks.list_length), path)
    files = [FilePart(name=path.name, sha256=file_sha256(path)) if part.name == path.name else part for part in outcome.record.files]
    (outcome.folder / "record.json").write_text(outcome.record.model_copy(update={"files": files}).to_json())
    again = reproduce(outcome.folder, workplace)
    assert again is not None
    assert again.n_ranks_changed == 1


@pytest.mark.slow
def test_the_same_command_given_twice_at_a_time_makes_two_records(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(workplace)
    command = [sys.executable, "-P", "-m", "recbench", "run", "-m", "popularity", "-d", "demo", "--threads", "1", "--again"]
    environment = {**os.environ, "RECBENCH_HOME": str(workplace.home), "RECBENCH_RUNS": str(workplace.runs)}
    write_run = execute.write_run
    others: list[subprocess.Popen[bytes]] = []

    def write_while_another_runs(*arguments: Any) -> Any:
        others.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
        while len(list(workplace.runs.glob(".writing-*"))) < 2 and others[0].poll() is None:
            time.sleep(0.01)
        with contextlib.suppress(subprocess.TimeoutExpired):
            others[0].wait(2.0)
        return write_run(*arguments)

    monkeypatch.setattr(execute, "write_run", write_while_another_runs)
    outcome = _run(workplace, again=True)
    assert others[0].wait(60) == 0
    assert outcome.folder.name.endswith("-2")
    assert sorted(path.name[-2:] for path in workplace.runs.iterdir()) == ["-1", "-2", "-3"]
