"""What the guides hold: blocks of code, commands, links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer

from recbench.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "models").glob("*/README.md")),
)


@dataclass(frozen=True)
class Block:
    """A block of code: on which page, from which line, in which language (empty: none is named), and its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def blocks() -> tuple[Block, ...]:
    """All blocks of all pages, fenced or indented."""
    return tuple(block for page in PAGES for block in _blocks_of(page))


def _blocks_of(page: Path) -> list[Block]:
    name, found = page.relative_to(ROOT).as_posix(), []
    fence: str | None = None
    start, held = 0, list[str]()
    for number, line in enumerate([*page.read_text("utf-8").splitlines(), ""], 1):
        is_fence = line.lstrip().startswith("```")
        is_indented = fence is None and line.startswith("    ")
        if not is_fence and (fence is not None or is_indented):
            start = start or number
            held.append(line.removeprefix("    ") if is_indented else line)
            continue
        if held:
            found.append(Block(name, start, fence or "", "\n".join(held)))
            start, held = 0, []
        if is_fence:
            fence = None if fence is not None else line.strip().removeprefix("```")
    return found


@cache
def commands() -> dict[str, str]:
    """Every command of recbench, in blocks and within sentences, without comments: where it stands first and the command itself."""
    found: dict[str, str] = {}
    for place, text in _lines():
        words = shlex.split(text.removeprefix("$ "), comments=True) if "..." not in text else []
        command = shlex.join(word for word in words if not re.fullmatch(r"\[.*\]", word))
        if len(words) > 1 and command not in found.values():
            found[f"{place} {command}"] = command
    return found


def _lines() -> Iterator[tuple[str, str]]:
    for block in blocks():
        # A line that ends in a backslash goes on.
        for line in block.text.replace("\\\n", " ").splitlines():
            if re.match(r"\s*(\$ )?recbench ", line):
                yield block.place, line.strip()
    for page in PAGES:
        for span in re.findall(r"(?<!`)`(recbench [^`\n]+)`", page.read_text("utf-8")):
            yield page.relative_to(ROOT).as_posix(), span


def understood(words: list[str]) -> dict[str, Any]:
    """Options of a command as the command line reads them; raises what it would refuse. A command that is only named has none."""
    command: Any = typer.main.get_command(app)
    context = None
    rest = ["1" if word == "N" else word for word in words[1:]]
    while hasattr(command, "resolve_command"):
        context = command.make_context(command.name, list(rest), parent=context)
        name, command, rest = command.resolve_command(context, rest)
        assert command is not None, name
        if not rest:
            return {}
    values: dict[str, Any] = command.make_context(command.name, list(rest), parent=context).params
    return values
