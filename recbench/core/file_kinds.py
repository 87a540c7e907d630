"""Whether a file of a stranger is what its name says, seen before anything else reads it."""

import json
import re
import struct
from pathlib import Path

from recbench.core.byte_sizes import size_text

_MOST_TEXT_BYTES, _MOST_HEADER_BYTES = 64 << 20, 16 << 20
"""Of a text, and of the header of a file of tensors: both are read as a whole, and JSON takes many times its length."""
_COLUMNS_OF_A_CURVE = re.compile(r"[A-Za-z0-9_@.,+-]{1,2000}")


def fault_of_kind(path: Path, suffix: str) -> str:
    """Why a file is not of the kind that its ending names, such as `no JSON`; empty for one that is."""
    size = path.stat().st_size
    if suffix == ".safetensors":
        return _fault_of_tensors(path, size)
    if suffix == ".npy":
        return _fault_of_array(path)
    if suffix == ".parquet":
        with path.open("rb") as stream:
            head = stream.read(4)
            stream.seek(max(0, size - 4))
            return "" if size >= 12 and head == stream.read(4) == b"PAR1" else "no parquet file"
    if size > _MOST_TEXT_BYTES:
        return f"{size_text(size)} of text, at most {size_text(_MOST_TEXT_BYTES)} are read"
    try:
        text = path.read_bytes().decode("utf-8")
        if suffix == ".json":
            json.loads(text)
    except UnicodeDecodeError:
        return "no text in UTF-8"
    except (ValueError, RecursionError):
        return "no JSON"
    return ""


def fault_of_curve(path: Path) -> str:
    """Why a csv file is no training curve; empty for one that is: names of columns, then numbers and empty fields."""
    size = path.stat().st_size
    if size > _MOST_TEXT_BYTES:
        return f"{size_text(size)} of text, at most {size_text(_MOST_TEXT_BYTES)} are read"
    try:
        header, *lines = path.read_bytes().decode("ascii").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        return "this is no training curve: it holds more than names and numbers"
    if not _COLUMNS_OF_A_CURVE.fullmatch(header):
        return "this is no training curve: its first line names no columns"
    n_columns = header.count(",")
    wrong = next((number for number, line in enumerate(lines, start=2) if line.count(",") != n_columns or not _are_numbers(line)), None)
    return f"this is no training curve: line {wrong} is no row of {n_columns + 1} numbers" if wrong is not None else ""


def _are_numbers(line: str) -> bool:
    try:
        for field in filter(None, line.split(",")):
            float(field)
    except ValueError:
        return False
    return True


def _fault_of_tensors(path: Path, size: int) -> str:
    """Whether a file begins with a header of safetensors: its length, and JSON that says where each tensor lies."""
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < length <= min(size - 8, _MOST_HEADER_BYTES):
            return "no safetensors file"
        try:
            header = json.loads(stream.read(length).decode("utf-8"))
        except (ValueError, RecursionError):
            return "no safetensors file"
    return "" if isinstance(header, dict) else "no safetensors file"


def _fault_of_array(path: Path) -> str:
    """Whether a file holds an array of numbers; one of Python objects is a pickle."""
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError) as error:
        return f"no array of numbers: {error}"
    return "" if array.dtype.kind in "biufU" else f"an array of {array.dtype}"
