"""Ctrl-C and SIGTERM, as a command in a process of its own has them: the system's handlers before it, its own while it runs."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
import typer

from recbench.cli.faults import explain
from recbench.cli.terminal import verb
from recbench.core import Interrupted


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Those of a fresh process, in which `main` has left Ctrl-C to the system."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def exit_code_of(*numbers: signal.Signals) -> int:
    @verb
    def struck(debug: bool = False) -> None:
        for number in numbers:
            os.kill(os.getpid(), number)

    with pytest.raises(typer.Exit) as caught:
        struck(debug=False)
    return caught.value.exit_code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_with_a_sentence(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(number) == 130
    assert "The same command goes on" in capsys.readouterr().err
    assert signal.getsignal(number) is signal.SIG_DFL


def test_one_more_ctrl_c_while_the_sentence_is_printed_changes_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = typer.echo

    def slowly(*words: object, **options: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        echo(*words, **options)

    monkeypatch.setattr(typer, "echo", slowly)
    assert exit_code_of(signal.SIGINT) == 130
    assert "The same command goes on" in capsys.readouterr().err


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    @verb
    def runs_on(debug: bool = False) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return "done"

    assert runs_on(debug=False) == "done"


def test_a_training_that_was_stopped_is_no_error() -> None:
    assert explain(Interrupted("training was stopped by SIGTERM.")) == ("Interrupted: training was stopped by SIGTERM.", 130)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_destructor_is_neither_lost_nor_shown(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    class Last:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)
            # Handlers run between two steps of Python: here, where nothing can be raised.
            sum(range(1000))

    @verb
    def struck(debug: bool = False) -> None:
        last = Last()
        del last
        time.sleep(10)

    with pytest.raises(typer.Exit) as caught:
        struck(debug=False)
    assert caught.value.exit_code == 130
    shown = capsys.readouterr().err
    assert "The same command goes on" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_a_library_turns_into_its_own_error_is_one(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    @verb
    def struck(debug: bool = False) -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        except KeyboardInterrupt as error:
            raise ValueError("no validator could be built: KeyboardInterrupt") from error

    with pytest.raises(typer.Exit) as caught:
        struck(debug=False)
    assert caught.value.exit_code == 130
    assert "The same command goes on" in capsys.readouterr().err
