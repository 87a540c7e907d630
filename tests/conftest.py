"""What all tests share: a cache of their own, no network for model weights, and no real-data test that quietly does not run."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import pytest
from hypothesis import settings

from recbench.core.records import RunRecord

sys.path.insert(0, str(Path(__file__).parent))

from preloaded import join_preloaded_processes, preloaded_processes

# A thread of OpenMP that waits for others sleeps: two test processes share two cores. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Dozens of processes import the same modules: each module is compiled once, also where the environment keeps Python from writing that down.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Two test processes share two cores: how long one example takes says nothing.
# The same draws at every run, so that a suite which passed passes again; pytest --hypothesis-profile=explore looks further.
settings.register_profile("recbench", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1_000)
settings.load_profile("recbench")


# A runner that was started in the background hands down an ignored SIGINT, and children of the tests would not hear Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """The process that starts the test processes starts one server for all of them; they find it in the environment."""
    if hasattr(config, "workerinput"):
        join_preloaded_processes()
        return
    server = ExitStack()
    server.enter_context(preloaded_processes())
    config.add_cleanup(server.close)


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that all tests of one process share."""
    return tmp_path_factory.mktemp("recbench-home")


@pytest.fixture(scope="session")
def demo_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which `demo` was read and split, and `random` and the references of every run were trained and ranked."""
    from recbench.running.host.workplace import Workplace
    from recbench.running.requests import RunRequest
    from recbench.running.run.execute import run_request

    root = tmp_path_factory.mktemp("demo")
    workplace = Workplace(root / "home", None, root / "runs", root / "leaderboards")
    run_request(RunRequest("random", "demo", threads=1), workplace)
    return workplace.home


@pytest.fixture
def demo_home(tmp_path: Path, demo_cache: Path) -> Path:
    """A cache of the test's own at `tmp_path / "home"`, which holds what every run on `demo` needs and no test of a run is about."""
    home: Path = shutil.copytree(demo_cache, tmp_path / "home", dirs_exist_ok=True)
    return home


@pytest.fixture(autouse=True)
def _own_environment(session_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache, or fetches weights."""
    monkeypatch.setenv("RECBENCH_HOME", str(session_home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("RECBENCH_RUNS", "RECBENCH_BOARDS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """What a test draws without a seed of its own is the same every time: its verdict must not hang on luck."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def reseal() -> Callable[[str], str]:
    """Gives the edited text of a `record.json` the sum of its new content, as somebody would who edits it on purpose."""

    def sealed(text: str) -> str:
        raw = json.loads(text)
        raw.pop("sha256", None)
        return RunRecord.model_validate(raw).to_json()

    return sealed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Lines are counted for coverage where that says something: counting makes a test a quarter to a half longer.

    Slow and uncounted tests train what fast ones go through in a few steps, and those of real data do not run everywhere.
    """
    _restore_threads()
    with nullcontext() if _is_counted(item) else _uncounted():
        return (yield)


def _is_counted(item: pytest.Item) -> bool:
    return not any(item.get_closest_marker(name) for name in ("slow", "real_data", "uncounted"))


@contextmanager
def _uncounted() -> Iterator[None]:
    """No line counts for coverage, in this process and in those that it starts."""
    coverage = sys.modules.get("coverage")
    counter = coverage.Coverage.current() if coverage else None
    if counter is None:
        yield
        return
    for_children = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("COVERAGE_PROCESS")}
    counter.stop()
    try:
        yield
    finally:
        counter.start()
        os.environ.update(for_children)


_threads_at_start: int | None = None
"""How many threads torch had before the first test."""


def _restore_threads() -> None:
    """Let torch have as many threads as before the first test: the last bits of what it computes depend on that."""
    global _threads_at_start
    # Imported before any fixture: after one that trains it would be the fixture's number that is found first.
    import torch

    if _threads_at_start is None:
        _threads_at_start = torch.get_num_threads()
    elif torch.get_num_threads() != _threads_at_start:
        torch.set_num_threads(_threads_at_start)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
    """A run sets the number of threads for its process; what a module's fixture ran must not set it for the tests of the module."""
    try:
        return (yield)
    finally:
        if fixturedef.scope != "function":
            _restore_threads()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests of real data are left out where nobody says that the data are there."""
    if item.get_closest_marker("real_data") is not None and not os.environ.get("RECBENCH_DATA"):
        pytest.skip("RECBENCH_DATA is not set; this needs a folder of the real data sets: NAME/interactions.parquet and NAME/items.parquet")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test of real data is a failure where RECBENCH_DATA says that the data are there."""
    report = yield
    if report.skipped and item.get_closest_marker("real_data") is not None and os.environ.get("RECBENCH_DATA"):
        report.outcome = "failed"
        report.longrepr = f"RECBENCH_DATA is set, but this test of real data was skipped: {report.longrepr}"
    return report
