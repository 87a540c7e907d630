"""The command line as a user has it: a folder to work in, a cache, and nothing in either of them."""

import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from recbench.cli.app import app


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    def refuses(self, *words: str, code: int = 2) -> None:
        """A sentence with these words on stderr, no traceback, nothing on stdout, this exit code."""
        assert self.code == code, self.stderr + self.stdout
        assert "Traceback" not in self.stderr
        assert self.stdout == ""
        for word in words:
            assert word in self.stderr, self.stderr
        *_, sentence = self.stderr.strip().splitlines()
        assert sentence.startswith("Error: ")


@dataclass(frozen=True)
class Desk:
    """A working folder and a cache of its own."""

    folder: Path
    home: Path

    def __call__(self, *arguments: str | Path) -> Answer:
        """Give a command, in this process."""
        done = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="recbench")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Answer(done.exit_code, done.stdout, done.stderr)

    def listing(self) -> dict[str, bytes]:
        """Every file below the working folder and the cache with its content; lock files, which stay for ever, left out."""
        roots = {"work": self.folder, "home": self.home}
        return {
            f"{name}/{file.relative_to(root).as_posix()}": file.read_bytes()
            for name, root in roots.items()
            for file in sorted(root.rglob("*"))
            if file.is_file() and file.suffix != ".lock"
        }

    def half_written(self) -> list[str]:
        """Names of temporary files and folders that somebody left behind."""
        found = [path.name for root in (self.folder, self.home) for path in root.rglob(".*")]
        return [name for name in found if name.startswith((".writing", ".building", ".part", ".source"))]


@pytest.fixture
def recbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Gives commands in an empty folder, with an empty cache and without the real data."""
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    home.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RECBENCH_HOME", str(home))
    monkeypatch.delenv("RECBENCH_DATA", raising=False)
    return Desk(folder, home)


CARD = """
name = "{name}"
title = "A plugin of the tests"
summary = "Made by a test"
family = "scoring"
[presets.default]
[default]
cpu = "default"
cuda = "default"
"""

INIT = """
import os
from pathlib import Path
import numpy as np
from recbench.core import FitReport, Plugin, PluginConfig, Rankings

class Config(PluginConfig):
    width: int = 4
    '''Nothing depends on it.'''

class Model:
    def __init__(self, config, catalogue):
        self.n_items = catalogue.n_items
    def fit(self, context):
        return FitReport()
    def generate(self, queries, k):
        shape = (len(queries.views), len(queries), k)
        items = np.full(shape, -1, dtype=np.int32)
        for row in range(len(queries)):
            history = set(queries.histories[row].tolist())
            for v, view in enumerate(queries.views):
                best = [i for i in range(self.n_items) if view == 'keep' or i not in history][:k]
                items[v, row, :len(best)] = best
        scores = np.where(items < 0, -np.inf, -items).astype(np.float32)
        {spoil}
        return Rankings(queries.views, items, scores)
    def save(self, folder):
        {save}
    def load(self, folder):
        pass

PLUGIN = Plugin.from_folder(__file__, Config, Model)
"""


@pytest.fixture
def write_plugin(tmp_path: Path) -> Callable[..., Path]:
    """Writes the folder of a working plugin.

    `spoil` is a statement run on `items` and `scores`, `init` replaces all of the code; `card_part` is added to the card.
    """

    def write(name: str = "strange", *, spoil: str = "pass", save: str = "pass", init: str | None = None, card_part: str = "") -> Path:
        folder = tmp_path / "plugins" / name
        folder.mkdir(parents=True)
        (folder / "card.toml").write_text(CARD.format(name=name) + card_part)
        text = INIT.replace("{spoil}", spoil).replace("{save}", save) if init is None else textwrap.dedent(init)
        (folder / "__init__.py").write_text(text)
        return folder

    return write
