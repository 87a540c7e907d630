"""Names of a package that are imported on first use: asking for one of them must not cost what all of them cost.

A command that lists models needs settings and no networks, one that shows a record needs its figures and not what computes them.
"""

import ast
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def on_demand(package: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package that names its parts under `if TYPE_CHECKING`, where type checkers find them."""

    @cache
    def homes() -> dict[str, str]:
        blocks = ast.parse(Path(str(sys.modules[package].__file__)).read_bytes()).body
        for_types = [block for block in blocks if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"]
        lines = [line for block in for_types for line in block.body if isinstance(line, ast.ImportFrom)]
        return {alias.name: str(line.module) for line in lines for alias in line.names}

    def of_package(name: str) -> Any:
        if name not in homes():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes()[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return of_package
