"""Origin of a record: code, libraries and command."""

import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from recbench.about import FOLDER, VERSION
from recbench.core.records import CodePart

_LIBRARIES = ("torch", "transformers", "numpy", "pandas", "pyarrow", "scipy", "scikit-learn", "faiss-cpu", "pydantic", "safetensors")


@cache
def code() -> CodePart:
    """Version of recbench and, in a checkout, its commit and whether sources were changed since."""
    folder = FOLDER.parent
    commit = _git(folder, "rev-parse", "HEAD") if (folder / ".git").exists() else None
    # Boards and documents do not shape a result.
    changed = _git(folder, "status", "--porcelain", "--", "recbench", "models", "datasets", "pyproject.toml") if commit else None
    return CodePart(version=VERSION, commit=commit, is_dirty=None if changed is None else bool(changed))


def libraries() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a number."""
    found = {"python": sys.version.split()[0]}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
