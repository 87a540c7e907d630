"""The entry point before any command runs."""

import os

import pytest

from recbench.cli import app as entry


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_waiting_threads_give_way_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], spins: str | None
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(entry.signal, "signal", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["recbench", "list", "models"])
    found: list[str | None] = []
    monkeypatch.setattr(entry, "app", lambda: found.append(os.environ.get("GOMP_SPINCOUNT")))
    entry.main()
    assert found == [spins]
