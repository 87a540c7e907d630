"""Names -> plugins: those of installed distributions (entry points) and folders named on the command line.

Nothing is imported before it is asked for: a plugin that cannot be imported breaks no other.
"""

import hashlib
import importlib.util
import reprlib
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from recbench.core.config import PluginConfig
from recbench.core.containment import contained, described
from recbench.core.errors import BadRequest, PluginFailed, RecbenchError, UnknownPlugin, nearest
from recbench.core.model_card import ModelCard, load_card
from recbench.core.plugin import Plugin

T = TypeVar("T")


@dataclass(frozen=True)
class Claim:
    """A distribution or folder that offers a plugin under some name."""

    name: str
    distribution: str
    """Its name, or the path of a folder that is not installed."""
    load: Callable[[], Any]
    fault: str | None = None
    """Why a folder that was named on the command line cannot be imported."""


@dataclass(frozen=True)
class Row(Generic[T]):
    """One line of `recbench list`: a plugin, or the reason why there is none."""

    name: str
    distribution: str
    plugin: T | None
    broken: str | None
    """Why it cannot be used; None for one that can."""


class Registry(Generic[T]):
    """Names of one kind of plugin; each is imported on first use."""

    def __init__(self, kind: str, claims: Iterable[Claim], check: Callable[[str, Any], T]) -> None:
        """`kind` stands in messages; `check` returns the plugin if it is one, under the name claimed, and raises otherwise."""
        self.kind = kind
        self._check = check
        self._claims: dict[str, list[Claim]] = {}
        for claim in claims:
            self._claims.setdefault(claim.name, []).append(claim)

    def names(self) -> list[str]:
        """All names claimed, sorted, broken ones included."""
        return sorted(self._claims)

    def __contains__(self, name: object) -> bool:
        return name in self._claims

    def distribution(self, name: str) -> str:
        """The distribution (or folder) that a name comes from, as records keep it."""
        return self._claim(name).distribution

    def load(self, name: str) -> T:
        """The plugin of that name.

        Raises:
            UnknownPlugin: nobody offers it, and no folder named on the command line failed to say what it offers.
            BadRequest: two distributions do.
            PluginFailed: it cannot be imported, or is not what its name promises.
        """
        claim = self._claim(name)
        who = f"{self.kind} {name!r} of {claim.distribution}"
        try:
            with contained(who, "import"):
                return self._check(name, claim.load())
        except RecbenchError as error:
            subject = f"{self.kind.capitalize()} {name!r} of {claim.distribution}"
            if error.__cause__ is None:
                raise PluginFailed(f"{subject} is broken: {error}") from error
            fault = _fault_of(error.__cause__)
            raise PluginFailed(f"{subject} raises on import: {fault}. Repair it or uninstall {claim.distribution}.") from error

    def describe(self) -> list[Row[T]]:
        """A row per name; importing each, so that what is broken shows."""
        rows = []
        for name in self.names():
            distribution = " and ".join(claim.distribution for claim in self._claims[name])
            try:
                rows.append(Row(name, distribution, self.load(name), None))
            except RecbenchError as error:
                rows.append(Row[T](name, distribution, None, str(error)))
        return rows

    def _claim(self, name: str) -> Claim:
        if name not in self._claims:
            broken = [claim for claims in self._claims.values() for claim in claims if claim.fault is not None]
            if broken:
                raise PluginFailed(f"--plugin {broken[0].distribution} cannot be imported: {broken[0].fault}. Repair it.")
            known = ", ".join(self.names()) or "none"
            elsewhere = " One that is not installed is named by its folder: --plugin FOLDER." if self.kind == "model" else ""
            raise UnknownPlugin(f"No {self.kind} is called {name!r}.{nearest(name, self._claims)} Known: {known}.{elsewhere}")
        first, *others = self._claims[name]
        if others:
            claimants = " and ".join(claim.distribution for claim in (first, *others))
            raise BadRequest(f"Two distributions claim the {self.kind} {name!r}: {claimants}. Uninstall one of them or leave out --plugin.")
        return first


def models(folders: Sequence[Path] = ()) -> Registry[Plugin]:
    """The models of all installed distributions, and those in some folders (`--plugin`).

    Raises:
        BadRequest: a folder is missing, or holds no `__init__.py`.
    """
    return Registry("model", [*_installed("recbench.models"), *(_folder(path) for path in folders)], _model)


def readers() -> Registry[Any]:
    """The readers of all installed distributions."""
    return Registry("reader", _installed("recbench.readers"), lambda _name, reader: reader)


def card_folders() -> Registry[Any]:
    """The packages of data set cards of all installed distributions; each value is a module whose `__path__` holds cards."""
    return Registry("folder of cards", _installed("recbench.datasets"), lambda _name, module: module)


def executors() -> Registry[Callable[..., Any]]:
    """The executors of all installed distributions; each value opens one."""
    return Registry("executor", _installed("recbench.executors"), _opener)


def trackers() -> Registry[Callable[..., Any]]:
    """The trackers of all installed distributions; each value opens one for a run."""
    return Registry("tracker", _installed("recbench.trackers"), _opener)


def _installed(group: str) -> list[Claim]:
    # A distribution may be found twice (an editable install beside its build folder); that is one claim.
    found = {(entry.name, _distribution_of(entry), entry.value): entry for entry in entry_points(group=group)}
    return [Claim(name, distribution, entry.load) for (name, distribution, _), entry in found.items()]


def _distribution_of(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


def _opener(name: str, opener: Any) -> Callable[..., Any]:
    if not callable(opener):
        raise PluginFailed(f"{name!r} is of type {type(opener).__name__}. Name a class or a function that opens one.")
    found: Callable[..., Any] = opener
    return found


def _model(name: str, plugin: Any) -> Plugin:
    if not isinstance(plugin, Plugin):
        raise PluginFailed(f"PLUGIN is a {type(plugin).__name__}, not a recbench.core.Plugin. Correct its __init__.py.")
    is_right: dict[str, Callable[[Any], bool]] = {
        "card": lambda card: isinstance(card, ModelCard),
        "config": lambda config: isinstance(config, type) and issubclass(config, PluginConfig),
        "build": callable,
        "folder": lambda folder: isinstance(folder, Path),
    }
    parts = {}
    for part, test in is_right.items():
        value = getattr(plugin, part)
        parts[part] = value
        if not test(value):
            shown = reprlib.repr(value)
            raise PluginFailed(f"PLUGIN has {part} = {shown}. Make it with Plugin.from_folder(__file__, CONFIG_CLASS, BUILD_FUNCTION).")
    # A subclass could run code whenever a part of it is read.
    checked = plugin if type(plugin) is Plugin else Plugin(**parts)
    if checked.card.name != name:
        raise PluginFailed(f"its card says name = {checked.card.name!r}. Give card and entry point one name.")
    return checked


def _folder(path: Path) -> Claim:
    """The claim of a folder that is not installed. Its card's name is only known once it is imported."""
    folder = path.expanduser().resolve()
    init = folder / "__init__.py"
    if not init.is_file():
        lacks = "there is no such folder" if not folder.is_dir() else "the folder holds no __init__.py"
        raise BadRequest(f"--plugin {path}: {lacks}. Give the folder of a plugin, whose __init__.py defines PLUGIN.")

    def load() -> Any:
        return _import_folder(folder).PLUGIN

    fault = None
    try:
        with contained(f"the plugin in {path}", "import"):
            name = str(load().card.name)
    except RecbenchError as error:
        fault = _fault_of(error.__cause__ or error)
        name = _name_on_card(folder)
        sys.modules.pop(_module_name(folder), None)  # whoever loads it meets the fault again
    return Claim(name, str(path), load, fault)


def _name_on_card(folder: Path) -> str:
    """The name of a plugin that cannot be imported: its card's, or its folder's where the card cannot be read either."""
    try:
        return load_card(folder / "card.toml").name
    except (RecbenchError, OSError):
        return folder.name


def _fault_of(error: BaseException) -> str:
    """The error with the last place in somebody's sources that it came through: file and line."""
    if isinstance(error, RecbenchError):
        return str(error).rstrip(".")
    if isinstance(error, SyntaxError) and error.filename:
        return f"{described(error)}, {error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if frame.filename != __file__ and not frame.filename.startswith("<")]
    return described(error) + (f", {theirs[-1].filename}, line {theirs[-1].lineno}" if theirs else "")


def _module_name(folder: Path) -> str:
    return f"_recbench_plugin_{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"


def _import_folder(folder: Path) -> Any:
    """The package in a folder, under a module name that no other package can have; relative imports work inside it."""
    name = _module_name(folder)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} cannot be imported as a package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
