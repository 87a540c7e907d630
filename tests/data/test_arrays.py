"""Arrays in files: read back as they were, and refused in a sentence where they are damaged."""

from pathlib import Path

import numpy as np
import pytest

from recbench.core import BadData
from recbench.data.arrays import open_array, save_array


@pytest.mark.parametrize("values", [np.arange(5), np.zeros((3, 2), np.float32), np.zeros(0, np.int64)])
def test_arrays_are_read_back(tmp_path: Path, values: np.ndarray) -> None:
    save_array(tmp_path, "values", values)
    found = open_array(tmp_path, "values")
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("content", [b"", b"\x93NUM", b"\x93NUMPY\x01\x00v\x00{'descr'", b"something else", None])
def test_damaged_arrays_are_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "values.npy").write_bytes(content)
    with pytest.raises(BadData, match=r"values\.npy cannot be read: .* Delete the folder"):
        open_array(tmp_path, "values")
