"""Checkpoints of a training: safetensors and JSON in numbered folders, each complete or not there.

FOLDER/000007/NAME.safetensors   tensors
FOLDER/000007/state.json         everything else
FOLDER/000007/manifest.json      sha256 of the files above
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recbench.core.digests import file_sha256
from recbench.core.errors import StageFailed, refuse_shortage

log = logging.getLogger(__name__)
_MANIFEST = "manifest.json"
_STATE = "state.json"
_KEEP = 2
"""The newest, and the one before it in case the newest turns out damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint, written at one moment.

    Attributes:
        state: JSON values.
        tensors: groups of tensors on the CPU, by the name of their file.
    """

    state: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]


class CheckpointFolder:
    """The last checkpoints of one training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, state: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Add a checkpoint and drop all but the last two; a kill at any moment leaves the earlier ones as they are.

        Raises:
            StageFailed: the folder cannot be written, such as on a full disk.
        """
        names = self._names()
        number = int(names[-1]) + 1 if names else 1
        temporary = self.folder / f".writing-{number:06d}"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            for name, group in tensors.items():
                save_file(dict(group), temporary / f"{name}.safetensors")
            (temporary / _STATE).write_text(json.dumps(state), encoding="utf-8")
            sums = {file.name: file_sha256(file) for file in sorted(temporary.iterdir())}
            (temporary / _MANIFEST).write_text(json.dumps(sums, indent=1), encoding="utf-8")
            temporary.rename(self.folder / f"{number:06d}")
        except (OSError, SafetensorError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise StageFailed(
                f"A checkpoint could not be written to {self.folder}: {error}. Make room there, then repeat the command; it goes on "
                "from the checkpoint before."
            ) from error
        for name in [*names, f"{number:06d}"][:-_KEEP]:
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def newest(self) -> str | None:
        """Name of the newest checkpoint whose files are what was written, or None; damaged ones are dropped and the log says so."""
        for name in reversed(self._names()):
            fault = self._damage(name)
            if fault is None:
                return name
            log.warning("checkpoint %s is damaged (%s); it is dropped for the one before", name, fault)
            shutil.rmtree(self.folder / name, ignore_errors=True)
        return None

    def read(self, name: str) -> Checkpoint:
        """The content of a checkpoint that `newest` named."""
        folder = self.folder / name
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        return Checkpoint(state, {file.stem: load_file(file) for file in sorted(folder.glob("*.safetensors"))})

    def _names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in self.folder.iterdir() if entry.is_dir() and entry.name.isdecimal())

    def _damage(self, name: str) -> str | None:
        folder = self.folder / name
        try:
            sums = dict(json.loads((folder / _MANIFEST).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            refuse_shortage(error)
            return f"{_MANIFEST} is missing or unreadable"
        for file, expected in {_STATE: None, **sums}.items():
            if not (folder / file).is_file():
                return f"{file} is missing"
            if file_sha256(folder / file) != expected:
                return f"{file} has other content than when it was written"
        return None
