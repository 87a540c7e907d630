import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from recbench.core.temporary import own_folder


@pytest.fixture(scope="module")
def ended() -> int:
    """The number of a process that is no more."""
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    return child.pid


def leftover(parent: Path, pid: int) -> Path:
    mine = own_folder(parent, ".writing-run")
    other = mine.with_name(mine.name.removesuffix(str(os.getpid())) + str(pid))
    mine.rename(other)
    (other / "half").write_text("half")
    return other


def test_folders_of_processes_that_are_gone_are_removed(tmp_path: Path, ended: int) -> None:
    dead = leftover(tmp_path, ended)
    mine = own_folder(tmp_path, ".writing-run")
    assert list(tmp_path.iterdir()) == [mine]
    assert not dead.exists()


def test_a_folder_of_a_living_process_stays(tmp_path: Path) -> None:
    living = leftover(tmp_path, os.getppid())
    mine = own_folder(tmp_path, ".writing-run")
    assert set(tmp_path.iterdir()) == {living, mine}


def test_a_living_process_with_the_number_of_a_killed_one_keeps_nothing(tmp_path: Path) -> None:
    old = leftover(tmp_path, os.getppid())
    before = psutil.Process(os.getppid()).create_time() - 60
    os.utime(old, (before, before))
    mine = own_folder(tmp_path, ".writing-run")
    assert list(tmp_path.iterdir()) == [mine]


def test_folders_of_other_machines_and_names_stay(tmp_path: Path) -> None:
    others = {tmp_path / ".writing-run-elsewhere-1", tmp_path / ".writing-other-1", tmp_path / "run-1"}
    for other in others:
        other.mkdir()
    mine = own_folder(tmp_path, ".writing-run")
    assert set(tmp_path.iterdir()) == {*others, mine}
    assert time.time() - mine.stat().st_mtime < 60
