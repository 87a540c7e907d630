"""Places that cannot be used, full disks, too few handles, a torchrun that is not one: a sentence each."""

import errno
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from recbench.cli.faults import explain
from recbench.cli.terminal import verb
from recbench.core import StageFailed
from recbench.core.matrix import new_matrix
from recbench.core.records import read_record
from recbench.data.arrays import open_array, save_array
from recbench.data.unpacking import refuse_damage
from recbench.nn.compute.weights import load_weights


@pytest.mark.parametrize(
    "error",
    [
        OSError("6799 requested and 3040 written"),
        OSError(errno.ENOSPC, "No space left on device", "x.npy"),
        OSError(errno.EDQUOT, "Disk quota exceeded", "x.npy"),
        OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
        RuntimeError('Error while serializing: I/O error: Os { code: 28, kind: StorageFull, message: "No space left on device" }'),
        RuntimeError("database or disk is full"),
    ],
)
def test_a_full_disk_is_recognised_whoever_wrote(error: Exception) -> None:
    outer = StageFailed("The stage could not be written.")
    outer.__cause__ = error
    for found in (error, outer):
        sentence, code = explain(found)
        assert "the disk is full" in sentence
        assert "recbench cache ls" in sentence
        assert code == 1


@pytest.mark.parametrize("text", ["3 requested and 4 given", "the 12 requested and 3 written files differ", "unexpected position"])
def test_other_errors_are_no_full_disk(text: str) -> None:
    assert "the disk is full" not in explain(RuntimeError(text))[0]


class Unreadable(Exception):
    def __str__(self) -> str:
        raise SystemExit(0)


def test_a_cause_whose_text_cannot_be_read_hides_nothing() -> None:
    outer = StageFailed("The stage broke.")
    outer.__cause__ = Unreadable()
    assert explain(outer) == ("Error: The stage broke.", 1)


def test_a_command_that_somebody_ends_with_sys_exit_has_failed(capsys: pytest.CaptureFixture[str]) -> None:
    @verb
    def command(debug: bool = False) -> None:
        sys.exit(0)

    with pytest.raises(typer.Exit) as end:
        command(debug=False)
    assert end.value.exit_code == 1
    assert capsys.readouterr().err.startswith("Error: something called sys.exit(0). This is a fault")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_too_few_file_handles_are_a_sentence(number: int) -> None:
    error = StageFailed("x")
    error.__cause__ = OSError(number, os.strerror(number), "a.parquet")
    sentence, code = explain(error)
    assert "too many files are open" in sentence
    assert "ulimit -n" in sentence
    assert code == 1


def test_a_shortage_is_not_blamed_on_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_array(tmp_path, "history", np.arange(3))
    (tmp_path / "record.json").write_text("{}")
    (tmp_path / "events.csv").write_text("a")
    short = OSError(errno.EMFILE, "Too many open files", "some.file")

    def refuse(*_: Any, **__: Any) -> None:
        raise short

    monkeypatch.setattr(np, "load", refuse)
    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(Path, "open", refuse)

    def damage() -> None:
        with refuse_damage(tmp_path / "events.csv", "this is damaged", "Get it again."):
            raise short

    reading: list[Callable[[], object]] = [
        lambda: open_array(tmp_path, "history"),
        lambda: read_record(tmp_path / "record.json"),
        lambda: load_weights({}, tmp_path / "events.csv"),
        damage,
    ]
    for read in reading:
        with pytest.raises(Exception) as caught:
            read()
        sentence, code = explain(caught.value)
        assert "too many files are open at a time ([Errno 24] Too many open files: 'some.file')" in sentence
        assert code == 1


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EFBIG, "File too large"),
        OSError("[Errno 27] Error writing bytes to file. Detail: [errno 27] File too large"),
        OSError("6799 requested and 3040 written"),
    ],
)
def test_a_limit_on_files_is_told_from_a_full_disk(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (6_144, resource.RLIM_INFINITY))
    sentence, code = explain(error)
    assert "larger than this process may write" in sentence
    assert "ulimit -f" in sentence
    assert code == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/x/runs"), 2),
        (OSError(errno.EROFS, "Read-only file system", "/x/runs"), 2),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/x/runs"), 2),
        (IsADirectoryError(errno.EISDIR, "Is a directory", b"/x/runs"), 2),
        (OSError(errno.EIO, "Input/output error", "/x/runs"), 1),
    ],
)
def test_a_place_that_cannot_be_used_is_named(error: OSError, code: int) -> None:
    sentence, found = explain(error)
    assert "/x/runs" in sentence
    assert "fault of recbench" not in sentence
    assert found == code


def test_a_file_in_the_place_of_a_folder(recbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (recbench.folder / "taken").write_text("")
    run = ("run", "-m", "popularity", "-d", "demo")
    for variable, deeper in (("RECBENCH_HOME", ""), ("RECBENCH_HOME", "/deeper"), ("RECBENCH_RUNS", ""), ("RECBENCH_RUNS", "/deeper")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(recbench.folder / "taken") + deeper)
            recbench(*run).refuses("taken", "cannot be used")
    with monkeypatch.context() as patch:
        patch.setenv("RECBENCH_BOARDS", str(recbench.folder / "taken"))
        recbench("leaderboard", "publish").refuses("taken")
    assert recbench.half_written() == []


@pytest.mark.parametrize("words", [("verify",), ("leaderboard", "remeasure"), ("leaderboard", "export", "beauty")])
def test_leaderboards_that_are_not_there_are_refused(recbench: Any, words: tuple[str, ...]) -> None:
    recbench(*words, "--boards", "nowhere").refuses("nowhere", "leaderboard publish")
    assert not (recbench.folder / "nowhere").exists()


def test_there_is_nothing_to_measure_again(recbench: Any) -> None:
    recbench("leaderboard", "remeasure").refuses("leaderboards", "leaderboard publish")


def test_an_output_that_cannot_be_written_is_refused_at_once(recbench: Any) -> None:
    boards = recbench.folder / "leaderboards"
    boards.mkdir()
    recbench("leaderboard", "export", "beauty", "--output", "no/x.csv").refuses("there is no folder no")
    recbench("leaderboard", "export", "beauty", "--output", str(boards)).refuses("this is a folder")
    recbench("leaderboard", "export", "beauty", "--format", "cvs").refuses("cvs", "csv")
    recbench("recommend", "last", "--export", str(boards)).refuses("this is a folder")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORLD_SIZE": "2"}, "RANK is not"),
        ({"RANK": "0"}, "WORLD_SIZE is not"),
        ({"LOCAL_RANK": "0"}, "is not"),
        ({"RANK": "one", "WORLD_SIZE": "2"}, "RANK='one'"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK='-1'"),
        ({"RANK": "0", "WORLD_SIZE": ""}, "WORLD_SIZE=''"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "count from 0"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "count from 0"),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "x"}, "LOCAL_RANK='x'"),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "3"}, "LOCAL_RANK=3"),
        ({"RANK": "9" * 5_000, "WORLD_SIZE": "2"}, "RANK='9999"),
        ({"LOCAL_WORLD_SIZE": "9" * 5_000}, "LOCAL_WORLD_SIZE='9999"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "abc"}, "MASTER_PORT='abc'"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "65536"}, "MASTER_PORT=65536 is no port"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}, "MASTER_PORT=0 is no port"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "", "MASTER_PORT": "29500"}, "MASTER_ADDR=''"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a" * 70, "MASTER_PORT": "29500"}, "is no machine that is known here"),
        ({"LOCAL_WORLD_SIZE": "0"}, "LOCAL_WORLD_SIZE='0'"),
        ({"LOCAL_WORLD_SIZE": "two"}, "LOCAL_WORLD_SIZE='two'"),
    ],
)
def test_a_torchrun_that_is_not_one(recbench: Any, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    recbench("run", "-m", "popularity", "-d", "demo").refuses(words, "torchrun")
    assert not (recbench.folder / "runs").exists()


def test_a_matrix_takes_its_space_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = new_matrix(tmp_path / "m.npy", np.float32, (3, 5))
    matrix[2, 4] = 7
    matrix.flush()
    assert np.load(tmp_path / "m.npy").sum() == 7
    assert (tmp_path / "m.npy").stat().st_blocks * 512 >= 60

    def full(number: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space"):
        new_matrix(tmp_path / "n.npy", np.float32, (3, 5))
