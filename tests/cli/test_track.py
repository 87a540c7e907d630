"""`--track`: what each library was told, read back with its own means; trackers that fail, runs that are stopped and go on."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from recbench.core.budget import Budget
from recbench.core.elapsed import Elapsed
from recbench.core.records import read_record

CPU = ("--device", "cpu", "--threads", "1")
RUN = ("run", "-m", "odd", "-d", "demo", *CPU)
TWO_POINTS = """
import numpy as np
from recbench.core import CurvePoint, FitReport, Plugin, PluginConfig, Rankings

class Config(PluginConfig):
    width: int = 4
    '''Is told to trackers.'''

class Model:
    def __init__(self, config, catalogue):
        self.n_items = catalogue.n_items
    def fit(self, context):
        first = CurvePoint(10, 0.5, 1.0, loss=5.5, learning_rate=0.25, training="training")
        second = CurvePoint(20, 1.0, 2.0, loss=4.5, training="training")
        context.note(first, examples=100, validations=0)
        context.note(second, examples=200, validations=0)
        second.validation = {"ndcg@10": 0.125}
        context.note(second, examples=200, validations=1)
        {end}
        return FitReport(steps=20, epochs=1.0, curve=[first, second], chosen={"ndcg@10": 0.125})
    def generate(self, queries, k):
        items = np.empty((len(queries.views), len(queries), k), dtype=np.int32)
        for row in range(len(queries)):
            history = queries.histories[row]
            for v, view in enumerate(queries.views):
                items[v, row] = [i for i in range(self.n_items) if view == "keep" or i not in history][:k]
        return Rankings(queries.views, items, -items.astype(np.float32))
    def save(self, folder):
        (folder / "model.json").write_text("0")
    def load(self, folder):
        pass

PLUGIN = Plugin.from_folder(__file__, Config, Model)
"""
STRANGER = """
from pathlib import Path

def fail(where):
    if {here!r} == where:
        raise {error}

class Tracker:
    def __init__(self, run):
        self.path = Path("told.txt")
        self.tell("open", run.run_id, run.settings["width"], run.folder)
    def tell(self, where, *what):
        with self.path.open("a") as stream:
            print(where, *what, file=stream)
        fail(where)
    def log(self, series, step, values):
        self.tell("log", series, step, sorted(values.items()))
    def finish(self, figures, state):
        self.tell("finish", len(figures) > 20, state)
"""


def needs(*modules: str) -> Any:
    missing = [module for module in modules if find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}: pip install 'genrecbench[track]'")


needs_tensorboard, needs_mlflow = needs("tensorboard"), needs("mlflow", "sqlalchemy", "alembic")
needs_trackio, needs_wandb = needs("trackio"), needs("wandb")


@pytest.fixture
def odd(write_plugin: Callable[..., Path], demo_home: Path) -> Sequence[str | Path]:
    """Options for a model that tells two points of its curve; what any run on `demo` needs is in the cache."""
    return (*RUN, "--plugin", write_plugin("odd", init=TWO_POINTS.replace("{end}", "")))


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs somebody's tracker `theirs` that raises in one place."""

    def install(here: str = "", error: str = "ValueError('no\\nluck')", more: str = "") -> None:
        site = tmp_path / "site"
        about = site / "theirs-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("[recbench.trackers]\ntheirs = their_tracker:Tracker\n")
        (site / "their_tracker.py").write_text(STRANGER.format(here=here, error=error) + more)
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, "their_tracker", raising=False)

    return install


def answer(done: Any) -> Any:
    """What a command that went well printed as JSON."""
    assert done.code == 0, done.stderr
    assert "left out" not in done.stderr
    return done.json


def record_of(done: Any) -> Any:
    """The record of a run that went well."""
    return answer(done)["record"]


def scalars(folder: Path) -> Mapping[str, list[tuple[int, float]]]:
    """Steps and values by tag, of all event files of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def text(folder: Path, tag: str) -> list[str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.tensor_proto.string_val[0].decode() for event in events.Tensors(f"{tag}/text_summary")]


def mlflow_runs(folder: Path) -> tuple[Any, list[Any]]:
    """A client of the database in a folder, and the runs in it."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("recbench")
        return client, list(client.search_runs([experiment.experiment_id]))


@needs_tensorboard
def test_tensorboard_shows_curve_settings_and_figures(recbench: Any, odd: Sequence[str | Path]) -> None:
    record = record_of(recbench(*odd, "--set", "width=7", "--track", "tensorboard", "--json"))
    folder = recbench.folder / "runs" / "tensorboard" / record["run_id"]
    told = scalars(folder)
    assert told["training/loss"] == [(10, 5.5), (20, 4.5)]
    assert told["training/learning_rate"] == [(10, 0.25)]
    assert set(told["training/examples"]) == {(10, 100.0), (20, 200.0)}
    assert told["training/validation/ndcg@10"] == [(20, 0.125)]
    for view in ("keep", "unseen"):
        assert told[f"run/{view}/ndcg@10"] == [(0, pytest.approx(record["metrics"][view]["ndcg@10"]["value"]))]
    seconds = {stage["name"]: stage["seconds"] for stage in record["stages"]}
    for name, took in seconds.items():
        assert told[f"run/stages/{name}/seconds"] == [(0, pytest.approx(took))]
    assert "| width | 7 |" in text(folder, "settings")[0]
    assert text(folder, "state") == ["done"]


@needs_tensorboard
def test_a_training_from_the_cache_is_told_too(recbench: Any, odd: Sequence[str | Path]) -> None:
    answer(recbench(*odd, "--json"))
    record = record_of(recbench(*odd, "--again", "--track", "tensorboard=logs", "--json"))
    told = scalars(recbench.folder / "logs" / record["run_id"])
    assert told["training/loss"] == [(10, 5.5), (20, 4.5)]
    assert told["training/validation/ndcg@10"] == [(20, 0.125)]


@needs_mlflow
def test_mlflow_has_a_run_of_its_own_in_a_database(recbench: Any, odd: Sequence[str | Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    record = record_of(recbench(*odd, "--set", "width=7", "--track", "mlflow=logs", "--json"))
    client, (run,) = mlflow_runs(recbench.folder / "logs")
    assert (run.info.run_name, run.info.status) == (record["run_id"], "FINISHED")
    assert run.data.params["width"] == "7"
    assert run.data.tags["recbench.model"] == "odd"
    assert [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "training/loss")] == [(10, 5.5), (20, 4.5)]
    assert run.data.metrics["run/unseen/ndcg_at_10"] == record["metrics"]["unseen"]["ndcg@10"]["value"]
    from mlflow.telemetry import utils

    # Its makers are told nothing; in tests and on CI they never are.
    monkeypatch.setattr(utils, "_IS_IN_CI_ENV_OR_TESTING", False)
    assert utils.is_telemetry_disabled()


IN_A_PROCESS = """
import json, sys
import recbench
record = recbench.run("odd", "demo", overrides={"width": 7}, threads=1, plugins=[sys.argv[1]], track=["trackio"]).record
import trackio
from trackio.sqlite_storage import SQLiteStorage
(run,) = trackio.Api().runs("recbench")
logs = SQLiteStorage.get_logs("recbench", run.name)
print(json.dumps([record.run_id, record.metrics["unseen"]["ndcg@10"].value, run.name, run.config["width"], logs]))
"""


@needs_trackio
def test_trackio_keeps_all_where_the_user_says(recbench: Any, odd: Sequence[str | Path], monkeypatch: pytest.MonkeyPatch) -> None:
    # It reads where that is when it is imported.
    monkeypatch.setenv("TRACKIO_DIR", str(recbench.folder / "trackio"))
    command = [sys.executable, "-P", "-c", IN_A_PROCESS, str(odd[-1])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    run_id, ndcg, name, width, logs = json.loads(done.stdout)
    assert (name, width) == (run_id, 7)
    assert [(log["step"], log["training/loss"]) for log in logs if "training/loss" in log] == [(10, 5.5), (20, 4.5)]
    assert (logs[-1]["run/unseen/ndcg@10"], logs[-1]["run/state"]) == (ndcg, "done")


@needs_wandb
def test_wandb_is_offline_by_default(recbench: Any, odd: Sequence[str | Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_API_KEY", "WANDB_ERROR_REPORTING"):
        monkeypatch.delenv(name, raising=False)
    record = record_of(recbench(*odd, "--set", "width=7", "--track", "wandb=logs", "--json"))
    (folder,) = (recbench.folder / "logs" / "wandb").glob("offline-run-*")
    assert folder.name.endswith(record["run_id"])
    (file,) = folder.glob("*.wandb")
    content = file.read_bytes()
    for word in (b"training/loss", b"5.5", b"training/validation/ndcg@10", b"run/unseen/ndcg@10", b"width"):
        assert word in content, word
    assert str(record["metrics"]["unseen"]["ndcg@10"]["value"]).encode() in content
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"


def test_somebody_s_tracker_hears_what_happens(recbench: Any, odd: Sequence[str | Path], stranger: Callable[..., None]) -> None:
    stranger()
    record = record_of(recbench(*odd, "--track", "theirs=somewhere", "--json"))
    assert Path("told.txt").read_text().splitlines() == [
        f"open {record['run_id']} 4 somewhere",
        "log training 10 [('epoch', 0.5), ('examples', 100), ('learning_rate', 0.25), ('loss', 5.5), ('seconds', 1.0)]",
        "log training 20 [('epoch', 1.0), ('examples', 200), ('loss', 4.5), ('seconds', 2.0)]",
        "log training 20 [('epoch', 1.0), ('examples', 200), ('seconds', 2.0), ('validation/ndcg@10', 0.125)]",
        "finish True done",
    ]


@pytest.mark.parametrize("error", ["ValueError('no\\nluck')", "SystemExit('no luck')"])
@pytest.mark.parametrize("here", ["open", "log", "finish"])
def test_a_tracker_that_fails_is_heard_of_once_and_harms_nothing(
    recbench: Any, odd: Sequence[str | Path], stranger: Callable[..., None], here: str, error: str
) -> None:
    stranger(here, error)
    done = recbench(*odd, "--track", "theirs", "--json")
    assert done.code == 0, done.stderr
    assert done.json["record"]["metrics"]["unseen"]["ndcg@10"]["value"] >= 0
    words = " ".join(done.stderr.split())
    assert words.count("left out") == 1
    assert "tracker theirs failed" in words
    assert "no luck" in words
    # Once it failed it is asked nothing more.
    assert Path("told.txt").read_text().splitlines()[-1].startswith(here)


BREAK, CTRL_C = "raise ValueError('no more')", "import signal, time; signal.raise_signal(signal.SIGINT); time.sleep(9)"


@pytest.mark.parametrize(("end", "code", "state"), [(BREAK, 1, "failed"), (CTRL_C, 130, "stopped")])
@pytest.mark.usefixtures("demo_home")
def test_trackers_are_told_how_a_run_ended(
    recbench: Any, write_plugin: Callable[..., Path], stranger: Callable[..., None], end: str, code: int, state: str
) -> None:
    stranger()
    plugin = write_plugin("odd", init=TWO_POINTS.replace("{end}", end))
    assert recbench(*RUN, "--plugin", plugin, "--track", "theirs").code == code
    assert Path("told.txt").read_text().splitlines()[-1] == f"finish False {state}"


REFUSES = "    @staticmethod\n    def check(folder):\n        from recbench.core import BadRequest\n        raise BadRequest('not here')\n"


@pytest.mark.parametrize("verb", ["run", "compare", "tune"])
def test_what_cannot_be_tracked_is_refused_before_any_work(recbench: Any, stranger: Callable[..., None], verb: str) -> None:
    stranger(more=REFUSES)
    words = {"run": ("run", "-m", "item-knn", "-d", "demo"), "compare": ("compare", "-m", "item-knn", "-d", "demo")}
    command = words.get(verb, ("tune", "item-knn", "demo"))
    recbench(*command, "--track", "tensorbord").refuses("'tensorbord'", "Did you mean 'tensorboard'?")
    recbench(*command, "--track", "theirs").refuses("not here")
    recbench(*command, "--track", "trackio=logs").refuses("trackio takes no folder", "TRACKIO_DIR")
    recbench(*command, "--track", "tensorboard=").refuses("NAME=FOLDER")
    assert not recbench.listing()


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "trackio", "wandb"])
def test_a_library_that_is_not_installed_is_named(recbench: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    recbench("run", "-m", "item-knn", "-d", "demo", "--track", name).refuses(
        f"--track {name} needs {name}", "pip install 'genrecbench[track]'"
    )


def test_each_run_of_compare_and_each_trial_of_tune_is_followed(
    recbench: Any, odd: Sequence[str | Path], stranger: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger()
    # The processes of compare and tune find it as this one does.
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    plugin = odd[-1]
    with (Path(plugin) / "card.toml").open("a") as card:
        card.write('[tune]\npreset = "default"\n[tune.space]\nwidth = { integers = [1, 1000] }\n')
    answer(recbench("compare", "-m", "odd", "-d", "demo", "--seeds", "2", *CPU, "--plugin", plugin, "--track", "theirs", "--json"))
    found = answer(recbench("tune", "odd", "demo", "--trials", "2", *CPU, "--plugin", plugin, "--track", "theirs", "--json"))
    opened = [line.split()[1] for line in Path("told.txt").read_text().splitlines() if line.startswith("open")]
    runs = {path.parent.name for path in Path("runs").glob("*/record.json")}
    assert set(opened[:2]) == {run for run in runs if "odd" in run}
    assert [name.rpartition("-trial-")[2] for name in opened[2:]] == ["0", "1"]
    assert found["trials"][0]["score"] == 0.125
    assert Path("told.txt").read_text().count("finish False done") == 2


def test_opening_a_tracker_takes_nothing_off_a_budget_of_processor_time() -> None:
    processor, clock = Budget.parse("10cpu-s"), Budget.parse("10s")
    before = processor.ledger.charged_s, clock.ledger.charged_s
    for budget in (processor, clock):
        budget.excuse(Elapsed(seconds=3.0, cpu_seconds=2.0))
    assert (processor.ledger.charged_s, clock.ledger.charged_s) == (before[0] - 2.0, before[1])


LONG = ("training.max_steps=120", "training.max_epochs=200", "training.checkpoint_every_s=0.1", "training.validate_every_epochs=5")


@pytest.mark.slow
@needs_tensorboard
@needs_mlflow
def test_a_run_that_was_killed_goes_on_in_the_same_tracker_run(recbench: Any, demo_home: Path) -> None:
    command = [sys.executable, "-P", "-m", "recbench", "run", "-m", "sasrec", "-d", "demo", "--preset", "smoke", *CPU]
    command += [word for assignment in LONG for word in ("--set", assignment)]
    command += ["--track", "tensorboard=logs", "--track", "mlflow=logs"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(demo_home.glob("stages/partial/*/*/0*/manifest.json")):
        assert first.poll() is None, first.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.kill()
    first.communicate(timeout=60)
    again = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    resumed = re.search(r"resumed at step (\d+)", again.stderr)
    assert resumed is not None, again.stderr
    (path,) = recbench.folder.glob("runs/*/record.json")
    record = read_record(path)
    curve = (path.parent / "curve.csv").read_text().splitlines()[1:]
    steps = {int(line.partition(",")[0]) for line in curve}
    told = scalars(recbench.folder / "logs" / record.run_id)
    assert {step for step, _ in told["training/examples"]} == steps
    assert {step for step, _ in told["training/loss"]} == steps
    client, (run,) = mlflow_runs(recbench.folder / "logs")
    assert (run.info.run_name, run.info.status) == (record.run_id, "FINISHED")
    assert {point.step for point in client.get_metric_history(run.info.run_id, "training/loss")} == steps
