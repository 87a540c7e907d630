"""Memory that runs out while a file is read is not the file's fault, whichever reader meets it."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recbench.cli.faults import explain
from recbench.core.errors import BadData, OutOfMemory
from recbench.core.progress import SilentProgress
from recbench.data.readers.amazon_2014 import READER, Amazon2014Options
from recbench.data.tables import read_csv, read_parquet
from recbench.evaluation import read_ranks
from recbench.evaluation.code_statistics import read_codes
from recbench.nn.codes import ItemCodes
from recbench.running.run.catalogue import read_catalogue

READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "csv": ("pyarrow.csv.read_csv", lambda path: read_csv(path, None)),
    "parquet": ("pyarrow.parquet.ParquetFile", read_parquet),
    "ranks": ("pyarrow.parquet.ParquetFile", read_ranks),
    "codes of a record": ("pyarrow.parquet.read_table", read_codes),
    "codes of a stage": ("pyarrow.parquet.read_table", lambda path: ItemCodes.load(path.parent)),
    "catalogue": ("pyarrow.parquet.read_table", lambda path: read_catalogue(path, 1)),
}


@pytest.mark.parametrize(
    "error", [MemoryError(), pa.ArrowMemoryError("malloc of size 64 failed"), OSError(errno.ENOMEM, "no room")], ids=repr
)
@pytest.mark.parametrize("reader", READERS)
def test_a_lack_of_memory_is_no_damage(reader: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "codes.parquet"
    function, read = READERS[reader]
    if reader == "csv":
        path.write_text("a,b\n1,2\n")
    else:
        pq.write_table(pa.table({"a": [1]}), path)

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise error

    monkeypatch.setattr(function, fail)
    with pytest.raises((OutOfMemory, MemoryError)) as caught:
        read(path)
    sentence, code = explain(caught.value)
    assert code == 1
    assert "emory ran out" in sentence
    assert "damaged" not in sentence.replace("a small file that asks for so much is damaged", "")


def test_a_line_that_is_nested_too_deep_is_damage(tmp_path: Path) -> None:
    """Python's parser has a MemoryError for it, too."""
    path = tmp_path / "metadata.json"
    path.write_bytes(b"(" * 5000 + b")" * 5000 + b"\n")
    with pytest.raises(BadData, match="line 1 is not a Python literal") as caught:
        READER.items({"metadata": path}, Amazon2014Options(), (), (), SilentProgress())
    assert explain(caught.value)[1] == 2
