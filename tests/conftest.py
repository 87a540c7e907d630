"""What all tests share: a cache of their own, no network for model weights, and no real-data test that quietly does not run."""

import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from recbench.core.records import RunRecord

sys.path.insert(0, str(Path(__file__).parent))

from preloaded import preloaded_processes

# Two test processes share two cores: how long one example takes says nothing.
settings.register_profile("recbench", deadline=None)
settings.load_profile("recbench")


# A runner that was started in the background hands down an ignored SIGINT, and children of the tests would not hear Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _preloaded() -> Iterator[None]:
    with preloaded_processes():
        yield


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that all tests of one process share."""
    return tmp_path_factory.mktemp("recbench-home")


@pytest.fixture(autouse=True)
def _own_environment(session_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache, or fetches weights."""
    monkeypatch.setenv("RECBENCH_HOME", str(session_home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("RECBENCH_RUNS", "RECBENCH_BOARDS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def reseal() -> Callable[[str], str]:
    """Gives the edited text of a `record.json` the sum of its new content, as somebody would who edits it on purpose."""

    def sealed(text: str) -> str:
        raw = json.loads(text)
        raw.pop("sha256", None)
        return RunRecord.model_validate(raw).to_json()

    return sealed


@pytest.fixture(autouse=True)
def _threads_of_torch() -> Iterator[None]:
    """A run sets the number of threads for its process; the next test's last bits must not depend on that."""
    torch = sys.modules.get("torch")
    n_threads = torch.get_num_threads() if torch else 0
    yield
    if torch and torch.get_num_threads() != n_threads:
        torch.set_num_threads(n_threads)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test of real data is a failure where RECBENCH_DATA says that the data are there."""
    report = yield
    if report.skipped and item.get_closest_marker("real_data") is not None and os.environ.get("RECBENCH_DATA"):
        report.outcome = "failed"
        report.longrepr = f"RECBENCH_DATA is set, but this test of real data was skipped: {report.longrepr}"
    return report
