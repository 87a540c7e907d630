"""What shells get: a script to load, and words that complete a command line."""

import re
from typing import Any

import pytest
from typer.testing import CliRunner

from recbench.cli.app import app


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script_that_asks_recbench(monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    # Which shell calls cannot be seen from a test.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = CliRunner().invoke(app, ["--show-completion", shell], prog_name="recbench")
    assert done.exit_code == 0
    assert re.search(rf"_RECBENCH_COMPLETE=complete_{shell}\b", done.stdout)


ASKED = {
    "bash": lambda line: {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))},
    "zsh": lambda line: {"_TYPER_COMPLETE_ARGS": line},
    "fish": lambda line: {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


@pytest.mark.parametrize("shell", ASKED)
@pytest.mark.parametrize(
    ("line", "word"), [("recbench leader", "leaderboard"), ("recbench run --mod", "--model"), ("recbench list mo", "models")]
)
def test_commands_groups_and_options_are_completed(shell: str, line: str, word: str) -> None:
    environment: dict[str, Any] = {"_RECBENCH_COMPLETE": f"complete_{shell}", **ASKED[shell](line)}
    done = CliRunner().invoke(app, [], prog_name="recbench", env=environment)
    assert word in re.findall(r"[\w-]+", done.stdout)
