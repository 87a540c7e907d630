"""Arrays and strings on disk: .npy files and JSON, memory-mapped on opening, nothing pickled."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.core.errors import BadData
from recbench.core.interactions import StringArray
from recbench.data.reader import string_array

_NULL = -1


def save_array(folder: Path, name: str, values: NDArray[Any]) -> None:
    """Write one array as `NAME.npy`."""
    np.save(folder / f"{name}.npy", values, allow_pickle=False)


def open_array(folder: Path, name: str) -> NDArray[Any]:
    """The array written by `save_array`, memory-mapped; one that is missing or cut off is a `BadData`."""
    path = folder / f"{name}.npy"
    try:
        mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        return _load_empty(path, error)
    return mapped


def _load_empty(path: Path, error: Exception) -> NDArray[Any]:
    """An empty array cannot be mapped but can be read; anything else that cannot be mapped is damaged."""
    try:
        values: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        values = np.empty(1)
    if values.size:
        raise BadData(f"{path} cannot be read: {error}. Delete the folder {path.parent}; it is built again.") from None
    return values


def save_strings(folder: Path, name: str, values: StringArray) -> None:
    """Write strings (None allowed) as UTF-8 bytes and the length of each, -1 for None."""
    encoded = [None if value is None else str(value).encode() for value in values]
    lengths = np.fromiter((_NULL if value is None else len(value) for value in encoded), dtype=np.int32, count=len(encoded))
    save_array(folder, f"{name}.lengths", lengths)
    save_array(folder, f"{name}.utf8", np.frombuffer(b"".join(value for value in encoded if value), dtype=np.uint8))


def open_strings(folder: Path, name: str) -> StringArray:
    """The strings written by `save_strings`, (n,) of str or None."""
    lengths = np.asarray(open_array(folder, f"{name}.lengths"), dtype=np.int64)
    text = open_array(folder, f"{name}.utf8").tobytes()
    ends = np.cumsum(np.maximum(lengths, 0))
    if len(text) != (ends[-1] if len(ends) else 0):
        raise BadData(f"{folder / name}: {len(text)} bytes of text, {ends[-1]} expected. Delete the folder; it is built again.")
    spans = zip((ends - np.maximum(lengths, 0)).tolist(), ends.tolist(), lengths.tolist(), strict=True)
    return string_array(None if length == _NULL else text[start:end].decode() for start, end, length in spans)


def save_json(folder: Path, name: str, value: Any) -> None:
    """Write a JSON value as `NAME.json`."""
    (folder / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def open_json(folder: Path, name: str) -> Any:
    """The value written by `save_json`."""
    path = folder / f"{name}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read: {error}. Delete the folder {folder}; it is built again.") from None
