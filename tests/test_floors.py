"""Who may import whom (style.md and CONTRIBUTING.md say why), read off the source with `ast`."""

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]

FLOORS: dict[str, set[str]] = {
    "core": {"core"},
    "data": {"core", "data"},
    "evaluation": {"core", "evaluation"},
    "nn": {"core", "nn"},
    "tasks": {"core", "data", "evaluation", "tasks"},
    "registry": {"core", "registry"},
    "running": {"core", "data", "evaluation", "tasks", "nn", "registry", "running"},
    "reporting": {"core", "evaluation", "tasks", "reporting"},
    "api": {"core", "evaluation", "registry", "running", "reporting"},
    "frames": {"core", "data", "evaluation", "registry", "running", "reporting", "api", "frames"},
    "cli": {"core", "data", "evaluation", "tasks", "registry", "running", "reporting", "api", "cli"},
    "testing": {"core", "data", "evaluation", "tasks", "nn", "registry", "running", "reporting", "testing"},
    "models": {"core", "nn"},
}
"""Floor -> floors it may import, at the top of a file or inside a function."""

TORCH = {"torch", "transformers", "safetensors", "sentence_transformers"}
FRAMES = {"pandas", "pyarrow"}
NEVER: dict[str, set[str]] = {
    "core": TORCH | FRAMES | {"scipy", "sklearn", "faiss", "typer", "click"},
    "data": TORCH | {"sklearn", "faiss", "typer", "click"},
    "evaluation": TORCH | {"sklearn", "faiss", "typer", "click"},
    "nn": {"pandas", "typer", "click"},
    "tasks": TORCH | {"sklearn", "faiss", "typer", "click"},
    "registry": TORCH | FRAMES | {"typer", "click"},
    "running": {"transformers", "typer", "click"},
    "reporting": TORCH | {"sklearn", "faiss", "typer", "click"},
    "api": TORCH | {"pyarrow", "scipy", "sklearn", "faiss", "typer", "click"},
    "frames": TORCH | {"pyarrow", "scipy", "sklearn", "faiss", "typer", "click"},
    "cli": TORCH | FRAMES | {"numpy", "pydantic", "click", "scipy", "faiss", "sklearn"},
    "testing": {"typer", "click"},
    "models": {"pandas", "typer", "click"},
}
"""Floor -> libraries it never imports."""

ON_CALL: dict[str, set[str]] = {"recbench/core/tabular.py": {"pandas"}}
"""File -> libraries that its functions alone import all the same: whoever asks for a frame wants pandas."""

NOT_AT_THE_TOP: dict[str, set[str]] = {
    "running": {"torch"},  # which device there is; all else about torch is asked of recbench.nn
    "api": {"pandas"},
    "frames": {"pandas"},
    "cli": {"rich", "recbench.api", "recbench.core", "recbench.data", "recbench.running", "recbench.reporting", "recbench.registry"},
}
"""Floor -> modules that only functions may import, for the sake of start-up."""


@dataclass(frozen=True)
class Import:
    """One imported module, with the place of the statement."""

    module: str
    file: Path
    line: int
    is_lazy: bool
    is_typing: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


@cache
def parsed(source: str) -> ast.Module:
    """Most tests here read most files: each is parsed once."""
    return ast.parse(source)


def tree_of(file: Path) -> ast.Module:
    """The file's syntax tree, which nobody may change."""
    return parsed(file.read_text(encoding="utf-8"))


def imports_of(file: Path) -> Iterator[Import]:
    """All imports of a file, those in functions and under TYPE_CHECKING too; relative ones resolved."""
    package = file.relative_to(ROOT).with_suffix("").parts[:-1]

    def walk(node: ast.AST, lazy: bool, typing: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            modules: list[str] = []
            if isinstance(child, ast.Import):
                modules = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                base = list(package[: len(package) - child.level + 1]) if child.level else []
                stem = ".".join([*base, *([child.module] if child.module else [])])
                modules = [stem, *(f"{stem}.{alias.name}" for alias in child.names)] if stem in {"recbench", "recbench_models"} else [stem]
            yield from (Import(module, file, child.lineno, lazy, typing) for module in modules)
            in_function = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            in_typing = typing or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            yield from walk(child, in_function, in_typing)

    return walk(tree_of(file), False, False)


def sources() -> list[tuple[str, Path]]:
    """(floor, file) of every Python file of the harness and of the models."""
    found = []
    for file in sorted((ROOT / "recbench").rglob("*.py")):
        parts = file.relative_to(ROOT / "recbench").parts
        found.append((Path(parts[0]).stem, file))
    found += [("models", file) for file in sorted((ROOT / "models").rglob("*.py"))]
    return [(floor, file) for floor, file in found if floor not in {"__init__", "__main__", "about"}]


def floor_of(module: str) -> str | None:
    """The floor of recbench that a module lies on, or None."""
    parts = module.split(".")
    if parts[0] == "recbench_models":
        return "models"
    return parts[1] if parts[0] == "recbench" and len(parts) > 1 else None


def is_within(module: str, root: str) -> bool:
    return module == root or module.startswith(root + ".")


@pytest.mark.parametrize("floor", sorted(FLOORS))
def test_a_floor_imports_only_what_lies_below(floor: str) -> None:
    faults = []
    for owner, file in sources():
        if owner != floor:
            continue
        own_model = file.relative_to(ROOT / "models").parts[0] if owner == "models" else ""
        for found in imports_of(file):
            target = floor_of(found.module)
            if target == "models" and owner == "models":
                ok = found.module == "recbench_models" or found.module.split(".")[1] == own_model
            else:
                ok = target in {None, "about"} or target in FLOORS[owner]
            if not ok:
                faults.append(str(found))
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("floor", sorted(NEVER))
def test_a_floor_stays_free_of_libraries_that_are_not_its_own(floor: str) -> None:
    imports = [found for owner, file in sources() if owner == floor for found in imports_of(file) if not found.is_typing]
    faults = [
        str(found)
        for found in imports
        if any(is_within(found.module, library) for library in NEVER[floor])
        and not (found.is_lazy and found.module in ON_CALL.get(found.file.relative_to(ROOT).as_posix(), ()))
    ]
    early = [
        f"{found} at the top of the file"
        for found in imports
        if not found.is_lazy and any(is_within(found.module, module) for module in NOT_AT_THE_TOP.get(floor, ()))
    ]
    assert not faults + early, "\n".join(faults + early)


def module_of(file: Path) -> str:
    """Dotted name of a source file."""
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    parts[0] = {"models": "recbench_models"}.get(parts[0], parts[0])
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def arrows() -> dict[str, set[str]]:
    """Module -> modules of ours that it imports, inside functions and for types too."""
    files = [*sorted((ROOT / "recbench").rglob("*.py")), *sorted((ROOT / "models").rglob("*.py"))]
    modules = {module_of(file): file for file in files}
    found: dict[str, set[str]] = {module: set() for module in modules}
    for module, file in modules.items():
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Import):
                found[module] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}:{node.lineno} imports by a relative name"
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                # A name of a package that is no module of its own comes from the package's __init__.
                found[module] |= names & modules.keys()
                found[module] |= {str(node.module)} if names - modules.keys() else set()
    return {module: imported & modules.keys() for module, imported in found.items()}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other (Tarjan's strongly connected components of more than one member)."""
    sorter = {module: sorted(graph[module]) for module in sorted(graph)}
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for other in sorter[module]:
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            place = stack.index(module)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorter:
        if module not in number:
            visit(module)
    return found


WINGS: dict[str, tuple[set[str], ...]] = {
    "nn": ({"compute"}, {"ranking", "text", "training"}, {"codes"}, {"blocks"}),
    "running": ({"host", "requests", "tracking"}, {"stages"}, {"run"}, {"after", "foreign", "many", "upkeep"}),
}
"""Wings and single files of a package, from the ground up: each imports itself and what lies on lower floors."""


@pytest.mark.parametrize("package", sorted(WINGS))
def test_wings_import_only_what_lies_below(package: str) -> None:
    floor = {wing: number for number, wings in enumerate(WINGS[package]) for wing in wings}
    within = f"recbench.{package}."
    faults = []
    for module, imported in arrows().items():
        for other in imported:
            if module.startswith(within) and other.startswith(within):
                own, theirs = module.split(".")[2], other.split(".")[2]
                faults += [f"{module} imports {other}"] if own != theirs and floor[theirs] >= floor[own] else []
    assert not faults, "\n".join(faults)
    parts = (ROOT / "recbench" / package).iterdir()
    # A folder that was moved away may leave its compiled files behind.
    there = {part.stem for part in parts if not part.name.startswith("__") and (part.is_file() or (part / "__init__.py").is_file())}
    assert there == set(floor)


def faces() -> dict[str, ModuleType]:
    """Wings of `recbench.nn` by name."""
    names = [file.parent.name for file in sorted((ROOT / "recbench" / "nn").glob("*/__init__.py"))]
    return {name: import_module(f"recbench.nn.{name}") for name in names}


def test_models_take_from_nn_what_its_faces_offer() -> None:
    """What stands in no face may change without notice."""
    offered = {f"recbench.nn.{wing}": set(face.__all__) for wing, face in faces().items()}
    faults = []
    for file in [*sorted((ROOT / "models").rglob("*.py")), *sorted((ROOT / "docs").rglob("*.py"))]:
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.ImportFrom) and is_within(str(node.module), "recbench.nn"):
                missing = {alias.name for alias in node.names} - offered.get(str(node.module), set())
                faults += [f"{file.relative_to(ROOT)}:{node.lineno} imports {name} of {node.module}" for name in sorted(missing)]
            elif isinstance(node, ast.Import):
                faults += [f"{file}:{node.lineno} imports {alias.name}" for alias in node.names if is_within(alias.name, "recbench.nn")]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("wing", sorted(faces()))
def test_a_face_loads_what_it_offers_on_first_use(wing: str) -> None:
    face, folder = faces()[wing], ROOT / "recbench" / "nn" / wing
    found = list(imports_of(folder / "__init__.py"))
    assert [str(one) for one in found if not one.is_typing and one.module not in {"typing", "recbench.core.on_demand"}] == []
    lines = [node for node in ast.walk(ast.parse(inspect.getsource(face))) if isinstance(node, ast.ImportFrom)]
    offered = [alias.name for line in lines if is_within(str(line.module), face.__name__) for alias in line.names]
    assert sorted(offered) == sorted(face.__all__)
    # Once a module is loaded, its name in the package is the module.
    assert set(offered).isdisjoint(part.stem for part in folder.iterdir())
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        face.nonsense  # noqa: B018


def test_the_guide_lists_what_the_faces_offer() -> None:
    guide = (ROOT / "docs" / "add-a-model.md").read_text(encoding="utf-8").partition("## What `recbench.nn` offers\n")[2]
    wings = re.findall(r"^`recbench\.nn\.(\w+)`: .+\n\n\| name \| what it is \|\n\| --- \| --- \|\n((?:\|.*\n)+)", guide, re.MULTILINE)
    listed = {wing: re.findall(r"^\| `(\w+)` \| \S.* \|$", rows, re.MULTILINE) for wing, rows in wings}
    assert {wing: sorted(names) for wing, names in listed.items()} == {wing: sorted(face.__all__) for wing, face in faces().items()}


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(arrows()) == []


def test_a_circle_would_be_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_every_folder_is_a_known_floor() -> None:
    assert {floor for floor, _ in sources()} == set(FLOORS)


def test_the_tables_catch_what_they_forbid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above on a small tree with one fault of each kind."""
    package = tmp_path / "recbench" / "data"
    package.mkdir(parents=True)
    (package / "bad.py").write_text("def f():\n    from recbench import running\n    import torch.nn\nfrom ..evaluation import x\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    found = {item.module for item in imports_of(package / "bad.py")}
    assert {"recbench.running", "torch.nn", "recbench.evaluation"} <= found
    assert floor_of("recbench.running") not in FLOORS["data"]
    assert any(is_within("torch.nn", library) for library in NEVER["data"])


def plugin_names() -> tuple[set[str], set[str]]:
    """Names of our models and of our data sets."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set(project["entry-points"]["recbench.models"]), {card.stem for card in (ROOT / "datasets").glob("*.toml")}


def literals(file: Path) -> Iterator[tuple[int, str]]:
    """String constants of a file that are no docstrings."""
    tree = tree_of(file)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


OTHER_MEANING = {
    "recbench/cli/tune.py": {"random"},
    "recbench/core/tuning.py": {"random"},
    "recbench/data/folders.py": {"random"},
    "recbench/data/rules.py": {"random"},
}
"""Words that are a name too, where the harness means something else: a way to search settings or to divide sets."""


def test_the_harness_names_no_model_and_no_data_set() -> None:
    models, datasets = plugin_names()
    # Everyday words are only a name where they are the whole string; the others nowhere.
    unmistakable = {name for name in models | datasets if "-" in name or any(letter.isdigit() for letter in name)} | {"sasrec"}
    pattern = re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, sorted(unmistakable))) + r")(?![\w-])")
    faults = []
    for floor, file in sources():
        # A reader is named after the format it reads; contract tests need some data set to run on.
        if floor in {"models", "testing"} or file.parent.name == "readers":
            continue
        faults += [
            f"{file.relative_to(ROOT)}:{line} names {text!r}"
            for line, text in literals(file)
            if (text in models | datasets or pattern.search(text)) and text not in OTHER_MEANING.get(file.relative_to(ROOT).as_posix(), ())
        ]
    assert not faults, "\n".join(faults)


def test_nothing_prints_or_unpickles() -> None:
    forbidden = {"print", "eval", "exec"}
    faults = []
    for _, file in sources():
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in forbidden:
                faults.append(f"{file.relative_to(ROOT)}:{node.lineno} calls {node.func.id}")
        faults += [str(found) for found in imports_of(file) if found.module.split(".")[0] in {"pickle", "dill", "cloudpickle", "joblib"}]
    assert not faults, "\n".join(faults)
