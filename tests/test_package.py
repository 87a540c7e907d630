"""The package as a whole: what is importable, what is listed, what an installation brings along."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from recbench.about import DISTRIBUTION, VERSION

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PUBLIC = ("recbench", *(f"recbench.{name}" for name in ("core", "data", "evaluation", "reporting", "testing")))


def python(code: str, **options: Any) -> str:
    """stdout of a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, **options).stdout


def test_listed_packages_are_the_folders_there_are() -> None:
    found = {".".join(init.parent.relative_to(ROOT).parts) for init in (ROOT / "recbench").rglob("__init__.py")}
    found |= {"recbench_models." + init.parent.name for init in (ROOT / "models").glob("*/__init__.py")}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found | {"recbench_datasets"}


def test_one_version_stands_everywhere() -> None:
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "recbench.about.VERSION"}
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_name_on_the_index_is_the_one_that_the_sources_know() -> None:
    assert PROJECT["project"]["name"] == DISTRIBUTION
    example = tomllib.loads((ROOT / "docs" / "example-plugin" / "pyproject.toml").read_text(encoding="utf-8"))
    assert [Requirement(text).name for text in example["project"]["dependencies"]] == [DISTRIBUTION]


def test_the_extra_all_has_every_other_but_those_for_work_on_recbench() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (every,) = (Requirement(text) for text in extras["all"])
    assert every.name == DISTRIBUTION
    assert every.extras == set(extras) - {"all", "test", "dev"}


def test_every_model_folder_has_an_entry_point_and_a_card() -> None:
    entries = set(PROJECT["project"]["entry-points"]["recbench.models"].values())
    for folder in sorted(init.parent for init in (ROOT / "models").glob("*/__init__.py")):
        assert f"recbench_models.{folder.name}:PLUGIN" in entries
        assert (folder / "card.toml").is_file()
        assert (folder / "README.md").is_file()


def test_models_and_datasets_are_no_packages() -> None:
    assert not (ROOT / "models" / "__init__.py").exists()
    assert not list((ROOT / "datasets").glob("*.py"))
    assert not (ROOT / "conftest.py").exists()


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_surface_is_there(module: str) -> None:
    surface = importlib.import_module(module)
    names = surface.__all__
    assert len(names) == len(set(names)) > 0
    assert [name for name in names if not hasattr(surface, name)] == []


def test_importing_plugins_or_core_imports_nothing_heavy() -> None:
    modules = [value.partition(":")[0] for value in PROJECT["project"]["entry-points"]["recbench.models"].values()]
    heavy = {"torch", "transformers", "pandas", "pyarrow", "scipy", "sklearn", "faiss"}
    code = (
        "import importlib, json, sys\n"
        f"for name in {['recbench.core', *modules]!r}:\n"
        "    importlib.import_module(name)\n"
        f"print(json.dumps(sorted({heavy!r} & set(sys.modules))))"
    )
    assert json.loads(python(code)) == []


def test_in_a_checkout_the_name_datasets_is_not_ours(tmp_path: Path) -> None:
    """`python -m` puts the current folder first on the path; a plugin looks from inside."""
    spy = tmp_path / "spy"
    spy.mkdir()
    (spy / "__init__.py").write_text(
        "import importlib.util\nspec = importlib.util.find_spec('datasets')\n"
        "raise RuntimeError(f'seen: {None if spec is None else spec.submodule_search_locations}')\n"
    )
    command = [sys.executable, "-m", "recbench", "list", "models", "--json", "--plugin", str(spy)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    broken = next(row["broken"] for row in json.loads(done.stdout) if row["name"] == "spy")
    assert "seen: " in broken
    assert str(ROOT / "datasets") not in broken


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout of git, so nothing says which files belong to it")
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True, timeout=60).stdout
    return [ROOT / name.decode() for name in listed.split(b"\0") if name]


def test_no_tracked_file_holds_a_path_of_somebodys_machine() -> None:
    pattern = re.compile(rb"(?<![\w.])/(?:home|Users|root|work|mnt)/\w")
    faults = []
    for file in tracked_files():
        if file.is_file() and file.suffix not in {".parquet", ".png"}:
            faults += [f"{file.relative_to(ROOT)}: {found[0].decode()}" for found in pattern.finditer(file.read_bytes())]
    assert not faults, "\n".join(faults)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment that holds the wheel of this source and, of all else, what is installed here."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("recbench", "models", "datasets"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(work), str(source)]
    subprocess.run(build, check=True, timeout=300, cwd=work)
    shutil.rmtree(source)
    venv.create(work / "venv", with_pip=False)
    bin_folder = work / "venv" / ("Scripts" if os.name == "nt" else "bin")
    wheel = next(work.glob("genrecbench-*.whl"))
    install = [*pip, "--python", str(bin_folder / "python"), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, timeout=300, cwd=work)
    # Libraries come from here. Files named .pth in a folder added this way are not read, so an editable recbench stays hidden.
    site = Path(python_path_of(bin_folder / "python"))
    (site / "libraries.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")) + "\n")
    return bin_folder


def python_path_of(executable: Path) -> str:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return subprocess.run([executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.mark.slow
def test_the_wheel_runs_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "RECBENCH_DATA"}}
    environment["RECBENCH_HOME"] = str(tmp_path / "home")

    def answer(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr
        return done.stdout

    executable = str(installed / "python")
    origin = Path(answer(executable, "-c", "import recbench; print(recbench.__file__)").strip())
    assert origin.is_relative_to(installed.parent)
    package = origin.parent
    names = PROJECT["project"]["entry-points"]["recbench.models"]
    assert (package / "py.typed").is_file()
    for file in ROOT.glob("datasets/*.toml"):
        assert (package.parent / "recbench_datasets" / file.name).is_file()
    for file in ROOT.glob("models/*/card.toml"):
        assert (package.parent / "recbench_models" / file.parent.name / "card.toml").is_file()
    for file in (ROOT / "recbench").rglob("*"):
        if file.suffix in {".jinja", ".css", ".js"}:
            assert (package / file.relative_to(ROOT / "recbench")).is_file()

    listed = json.loads(answer(str(installed / "recbench"), "list", "models", "--json"))
    assert {row["name"] for row in listed} == set(names)
    assert [row["broken"] for row in listed if row["broken"]] == []
    assert answer(str(installed / "recbench"), "--version") == f"recbench {VERSION}\n"
    outcome = json.loads(answer(str(installed / "recbench"), "run", "-m", "popularity", "-d", "demo", "--json"))
    assert outcome["record"]["metrics"]["keep"]["ndcg@10"]["value"] > 0
    assert outcome["record"]["model"]["distribution"] == DISTRIBUTION
    assert Path(tmp_path / outcome["folder"] / "record.json").is_file()


@pytest.mark.slow
def test_the_example_plugin_finds_what_it_asks_for_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    source = shutil.copytree(ROOT / "docs" / "example-plugin", tmp_path / "plugin", ignore=shutil.ignore_patterns("*.egg-info", "build"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(installed / "python"), "install", "--dry-run"]
    resolve = [*pip, "--no-index", "--no-build-isolation", "--report", str(tmp_path / "report.json"), str(source)]
    done = subprocess.run(resolve, capture_output=True, text=True, timeout=200, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    missing = json.loads((tmp_path / "report.json").read_text())["install"]
    assert [package["metadata"]["name"] for package in missing] == ["recbench-ials"]
