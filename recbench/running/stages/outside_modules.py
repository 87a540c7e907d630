"""Modules that a plugin imports from outside its own folder: which files they are, or which installed version.

Imports are read from the syntax tree, those within functions included, and resolved to the modules that the running interpreter has
loaded or would load. Imports by a computed name are in no syntax tree; `unknown_modules` finds them after the fact.
"""

import ast
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from recbench.about import FOLDER

_MODELS = "recbench_models"
_SITES = {"site-packages", "dist-packages"}
_NO_SOURCES = {"__pycache__", "tests"}
_NO_SOURCE_FILES = {"card.toml", "README.md"}


def shaping_files(folder: Path) -> dict[str, Path]:
    """Every file below a folder of sources that may shape a result, by its path in the folder.

    The card and README.md at the top, folders called `tests`, compiled and hidden files do not count.
    """
    found = {}
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name not in _NO_SOURCES and not name.startswith(".")]
        for name in names:
            file = Path(parent) / name
            if not name.startswith(".") and not name.endswith((".pyc", "~")) and file.is_file():
                found[file.relative_to(folder).as_posix()] = file
    return {name: found[name] for name in sorted(found) if name not in _NO_SOURCE_FILES}


def came_along(folder: Path) -> bool:
    """Tell whether the plugin in this folder is a part of recbench."""
    files = (getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name.startswith(f"{_MODELS}."))
    return any(isinstance(file, str) and Path(file).parent == folder for file in files)


@dataclass(frozen=True)
class Outside:
    """Modules that a plugin imports from outside its folder.

    Attributes:
        files: by top-level module the files that count, by their path in the package; for modules of no installed distribution.
        versions: by top-level module the version of its distribution; None where nobody knows the module.
    """

    files: dict[str, dict[str, Path]] = field(default_factory=dict)
    versions: dict[str, str | None] = field(default_factory=dict)


def imported_from_outside(folder: Path) -> Outside:
    """All modules that the files of a plugin's folder reach through imports, other than its own, the harness and Python's."""
    found = Outside()
    waiting = sorted(_units(shaping_files(folder).values()) | _package_of(folder))
    while waiting:
        name = waiting.pop()
        if name in found.files or name in found.versions or name == "recbench" or name in sys.stdlib_module_names:
            continue
        place = _place_of(name)
        if place == folder.resolve():
            continue
        if place is None or (_is_installed(place) and not name.startswith(_MODELS)):
            found.versions[name] = _version_of(name)
            continue
        files = {place.name: place} if place.is_file() else shaping_files(place)
        found.files[name] = files
        waiting += sorted(_units(files.values()))
    return Outside(dict(sorted(found.files.items())), dict(sorted(found.versions.items())))


def loaded_modules() -> frozenset[str]:
    """Names of all modules that are loaded now."""
    return frozenset(sys.modules)


def unknown_modules(folder: Path, before: frozenset[str]) -> dict[str, Path]:
    """Modules loaded since `before` whose files no key of this plugin knows, by name."""
    known = [folder.resolve(), FOLDER]
    known += [place for name in imported_from_outside(folder).files if (place := _place_of(name)) is not None]
    unknown = {}
    for name in sorted(frozenset(sys.modules) - before):
        origin = getattr(sys.modules.get(name), "__file__", None)
        if not isinstance(origin, str) or name.startswith(f"{_MODELS}."):
            continue
        file = Path(origin).resolve()
        if not _is_installed(file) and not any(file == place or file.is_relative_to(place) for place in known):
            unknown[name] = file
    return unknown


def imports_of(file: Path) -> frozenset[str]:
    """Absolute names that a Python file imports, anywhere in it, such as `a.b.name` of `from a.b import name`.

    None where the file cannot be parsed, and so not be imported either.
    """
    return _imports(file, file.stat().st_mtime_ns)


@cache
def _imports(file: Path, mtime_ns: int) -> frozenset[str]:  # noqa: ARG001 (part of the cache key: an edited file is read again)
    names: set[str] = set()
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return frozenset()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def _units(files: Iterable[Path]) -> set[str]:
    """Units by which the imports of some files are known: top-level modules, and single plugins of recbench."""
    names = {name for file in files if file.suffix == ".py" for name in imports_of(file)}
    return {".".join(name.split(".")[: 2 if name.startswith(f"{_MODELS}.") else 1]) for name in names} - {_MODELS}


def _package_of(folder: Path) -> set[str]:
    """The top-level package that a plugin's folder is a part of, as its relative imports can reach all of it."""
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if "." in name and isinstance(origin, str) and origin.endswith("__init__.py") and Path(origin).resolve().parent == folder.resolve():
            return {name.partition(".")[0]}
    return set()


def _place_of(name: str) -> Path | None:
    """The folder of a top-level package or the file of a module; None where there is none, or it is built in."""
    module = sys.modules.get(name)
    origin = getattr(module, "__file__", None)
    searched = list(getattr(module, "__path__", ()))
    if module is None:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is None:
            return None
        origin, searched = spec.origin, list(spec.submodule_search_locations or ())
    if isinstance(origin, str) and Path(origin).is_file():
        file = Path(origin).resolve()
        return file.parent if file.name == "__init__.py" else file
    folders = [Path(place) for place in searched if Path(place).is_dir()]
    return folders[0].resolve() if folders else None


@cache
def _standard_folders() -> tuple[Path, ...]:
    return tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")})


def _is_installed(place: Path) -> bool:
    return not _SITES.isdisjoint(place.parts) or any(place.is_relative_to(folder) for folder in _standard_folders())


def _version_of(module: str) -> str | None:
    """Version of the distribution that a top-level module belongs to; most are called like their module."""
    try:
        return version(module)
    except PackageNotFoundError:
        names = _distributions().get(module)
        return version(names[0]) if names else None


@cache
def _distributions() -> dict[str, list[str]]:
    return {module: list(names) for module, names in packages_distributions().items()}
