"""How long a function and a file may be: a reader keeps one in mind."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [*sorted((ROOT / "recbench").rglob("*.py")), *sorted((ROOT / "models").rglob("*.py"))]
MOST_LINES_OF_A_FUNCTION, MOST_LINES_OF_A_FILE = 60, 500


VERBS = ROOT / "recbench" / "api.py"
"""Functions like the commands, with the same options."""


def functions(source: str, *, are_verbs: bool = False) -> Iterator[tuple[str, int]]:
    """Name and lines of each function; of a command, whose parameters are its options, the lines below those."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            is_command = are_verbs or any(isinstance(decorator, ast.Name) and decorator.id == "verb" for decorator in node.decorator_list)
            assert node.end_lineno is not None
            yield node.name, node.end_lineno + 1 - (node.body[0].lineno if is_command else node.lineno)


def test_lines_of_a_command_are_counted_without_its_options() -> None:
    source = "@verb\ndef command(\n    a=1,\n    b=2,\n):\n    'It says.'\n    return a\n\ndef plain(\n    a,\n):\n    return a\n"
    assert list(functions(source)) == [("command", 2), ("plain", 4)]


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {name} has {lines} lines"
        for path in SOURCES
        for name, lines in functions(path.read_text(encoding="utf-8"), are_verbs=path == VERBS)
        if lines > MOST_LINES_OF_A_FUNCTION
    ]
    assert not long


def test_no_file_is_longer_than_a_sitting() -> None:
    long = {
        path.relative_to(ROOT): n for path in SOURCES if (n := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES_OF_A_FILE
    }
    assert not long
