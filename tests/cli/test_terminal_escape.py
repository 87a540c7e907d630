"""Hostile text in data: shown on the terminal, never obeyed; exact in JSON. Results alone on stdout."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pytest
import typer

from recbench.cli.terminal import close_results, print_json, print_line, stderr, stdout, verb

CLEAR = "\x1b[2J\x1b]0;pwned\x07"
TITLE = f"{CLEAR}[bold]over[/] \x9b31m\u202e[/]"


@pytest.fixture
def hostile(recbench: Any) -> Any:
    """A shop whose titles and ids try everything, and a run on it."""
    folder = recbench.folder / "shop"
    folder.mkdir()
    with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp"])
        for user in range(8):
            writer.writerows([f"u{user}", f"i{(user + step) % 8}{CLEAR}[/]", 1_600_000_000 + step] for step in range(5))
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["item_id", "title"])
        writer.writerows([f"i{item}{CLEAR}[/]", TITLE] for item in range(8))
    done = recbench("run", "-m", "popularity", "-d", "./shop")
    assert done.code == 0, done.stderr
    return recbench


def is_plain(text: str) -> bool:
    return not any(
        (ord(character) < 32 and character not in "\n\t") or 127 <= ord(character) < 160 or character == "\u202e" for character in text
    )


def test_titles_and_ids_are_spelt_out(hostile: Any) -> None:
    done = hostile("recommend", "last", "--item", f"i1{CLEAR}[/]", "--k", "2")
    assert done.code == 0, done.stderr
    assert is_plain(done.stdout + done.stderr)
    assert r"\x1b[2J\x1b]0;pwned\x07[bold]over[/] \x9b31m\u202e[/]" in done.stdout


def test_json_holds_the_exact_text(hostile: Any) -> None:
    done = hostile("recommend", "last", "--item", f"i1{CLEAR}[/]", "--k", "2", "--json")
    assert is_plain(done.stdout)
    assert {line["title"] for line in done.json} == {TITLE}
    assert all(line["item_id"].endswith(f"{CLEAR}[/]") for line in done.json)


def test_errors_and_lists_are_spelt_out(hostile: Any) -> None:
    done = hostile("recommend", "last", "--item", f"x{CLEAR}\x9b")
    done.refuses("has no item")
    assert is_plain(done.stderr)
    failed = hostile.folder / "runs" / f"failed{CLEAR}[bold]"
    failed.mkdir()
    (failed / "failure.json").write_text(json.dumps({"error": "x", "message": f"{TITLE}[/b]"}))
    for words in (("list", "runs"), ("show", "last"), ("leaderboard", "publish"), ("cache", "ls")):
        done = hostile(*words)
        assert done.code == 0, done.stderr
        assert is_plain(done.stdout + done.stderr)


def test_a_name_that_is_no_utf_8_is_a_sentence(recbench: Any) -> None:
    done = recbench("recommend", "last", "--history", "a\udc80")
    done.refuses("There is no run")
    done = recbench("show", "run\udc80")
    done.refuses(r"run\udc80")


def test_a_terminal_gets_rich_escapes_and_none_from_data(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    from recbench.core.console import VisibleConsole

    table = Table("[bold]title[/]", title=CLEAR)
    table.add_row(CLEAR)
    table.add_row(Text(CLEAR, style="red"))
    console = VisibleConsole(file=sys.stdout, force_terminal=True, color_system="standard", width=80)
    console.print(table, CLEAR, highlight=False)
    shown = capsys.readouterr().out
    assert "\x1b[31m" in shown
    assert "\x1b[2J" not in shown
    assert "\x1b]0" not in shown
    assert shown.count(r"\x1b[2J\x1b]0;pwned") == 4
    widths = {len(line) for line in Text.from_ansi(shown).plain.splitlines() if "│" in line or "┃" in line}
    assert len(widths) == 1


@contextmanager
def streams(out: Path, err: Path) -> Iterator[TextIO]:
    """Stdout and stderr of this process are these files for a while; gives the former."""
    with (
        out.open("w", encoding="utf-8") as stdout_file,
        err.open("w", encoding="utf-8") as stderr_file,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "stdout", stdout_file)
        patch.setattr(sys, "stderr", stderr_file)
        yield stdout_file


def test_prints_of_plugins_and_of_libraries_go_to_stderr(tmp_path: Path) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    with streams(out, err) as stream:

        @verb
        def command(debug: bool = False) -> None:
            print("from python")  # noqa: T201 (as a plugin does)
            os.write(stream.fileno(), b"from C\n")
            print_json({"a": 1})
            stdout().print("a table")
            print_line("a line")
            stderr().print("a note")

        stream.write("before\n")
        command(debug=False)
        stream.write("after\n")
    assert out.read_text() == 'before\n{\n "a": 1\n}\na table\na line\nafter\n'
    assert sorted(err.read_text().splitlines()) == ["a note", "from C", "from python"]


def test_what_is_printed_at_exit_is_no_result(tmp_path: Path) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    with streams(out, err) as stream:
        stream.write("a result\n")
        close_results()
        print("at exit", flush=True)  # noqa: T201 (as a plugin does)
        os.write(stream.fileno(), b"from C\n")
    assert out.read_text() == "a result\n"
    assert err.read_text() == "at exit\nfrom C\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_result_that_cannot_be_written_is_not_sent_to_stderr(tmp_path: Path) -> None:
    stream = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 (closing it raises)
    with (tmp_path / "err").open("w") as err, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", err)
        stream.write("a result\n")
        close_results()
        with pytest.raises(OSError, match="No space left"):
            stream.close()
    assert (tmp_path / "err").read_text() == ""


def test_stdout_is_given_back_after_an_error(tmp_path: Path) -> None:
    out, err = tmp_path / "out", tmp_path / "err"

    @verb
    def command(debug: bool = False) -> None:
        print_line("partial")
        raise RuntimeError("no")

    with streams(out, err) as stream:
        with pytest.raises(typer.Exit):
            command(debug=False)
        os.write(stream.fileno(), b"after\n")
    assert out.read_text() == "partial\nafter\n"
    assert "RuntimeError: no" in err.read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_result_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    @verb
    def command(debug: bool = False) -> None:
        print_line("a result")

    with streams(Path("/dev/full"), tmp_path / "err"), pytest.raises(typer.Exit) as exit_code:
        command(debug=False)
    assert exit_code.value.exit_code == 1
    assert "the disk is full" in (tmp_path / "err").read_text()


def test_a_closed_stdout_sends_no_result_to_stderr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    @verb
    def command(debug: bool = False) -> None:
        print_line("a result")
        stdout().print("a table")

    monkeypatch.setattr(sys, "stdout", None)
    command(debug=False)
    monkeypatch.undo()
    assert capsys.readouterr() == ("", "")


def test_json_is_alone_on_stdout_whatever_a_plugin_prints(recbench: Any, write_plugin: Callable[..., Path]) -> None:
    folder = write_plugin("loud", spoil="print('generate'); import sys; sys.stdout.write('more')", save="print('save')")
    done = recbench("run", "-m", "loud", "-d", "demo", "--plugin", folder, "--json")
    assert done.json["is_new"] is True
    done = recbench("recommend", "last", "--item", "i0000", "--plugin", folder, "--json")
    if done.code == 0:
        assert isinstance(done.json, list)
    else:
        done.refuses("has no item")
