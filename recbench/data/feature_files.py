"""Files of item vectors, which say themselves whose vector each row is.

`NAME.parquet` has the columns item_id and vector (a list of numbers). `NAME.npy` holds a matrix, and `NAME.ids.txt` beside it one item id
per line.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recbench.core.errors import BadData
from recbench.data.reader import Files, RawFeatures
from recbench.data.unpacking import refuse_damage

ROLE = "features:"
"""Start of the role of a file of vectors; the rest is their name."""
IDS_ROLE = "feature_ids:"
"""Start of the role of the file with its ids."""
_ADVICE = "Write a parquet file with the columns item_id and vector, or a matrix with one item id per line in NAME.ids.txt beside it."


def read_features(files: Files) -> dict[str, RawFeatures]:
    """The vectors of every role that begins with `features:`, by name."""
    names = [role.removeprefix(ROLE) for role in files if role.startswith(ROLE)]
    return {name: _read(files[ROLE + name], files.get(IDS_ROLE + name)) for name in names}


def _read(path: Path, ids: Path | None) -> RawFeatures:
    with refuse_damage(path, "no file of vectors", _ADVICE):
        if path.suffix == ".parquet":
            return _from_parquet(path)
        if ids is None:
            raise BadData(f"{path.name} does not say whose vectors it holds. {_ADVICE}")
        matrix = np.load(path, allow_pickle=False)
        item_ids = ids.read_text(encoding="utf-8").split("\n")
        item_ids = item_ids[:-1] if item_ids and not item_ids[-1] else item_ids
        return RawFeatures(item_ids, _checked(matrix, len(item_ids), path))


def _from_parquet(path: Path) -> RawFeatures:
    table = pq.read_table(path)
    if not {"item_id", "vector"} <= set(table.column_names):
        raise BadData(f"{path.name} has the columns {', '.join(table.column_names)}. {_ADVICE}")
    vector = table.column("vector").combine_chunks()
    if not (pa.types.is_list(vector.type) or pa.types.is_large_list(vector.type) or pa.types.is_fixed_size_list(vector.type)):
        raise BadData(f"{path.name}: the column 'vector' holds {vector.type}, not lists of numbers. {_ADVICE}")
    if vector.null_count:
        raise BadData(f"{path.name}: {vector.null_count} items have no vector. Leave their rows out.")
    item_ids = table.column("item_id").cast(pa.large_string()).to_pylist()
    flat = vector.flatten().to_numpy(zero_copy_only=False)
    if not len(item_ids) or len(flat) % len(item_ids) or (pa.types.is_list(vector.type) and len(set(np.diff(vector.offsets))) > 1):
        raise BadData(f"{path.name}: vectors of unequal length. {_ADVICE}")
    return RawFeatures(item_ids, _checked(flat.reshape(len(item_ids), -1), len(item_ids), path))


def _checked(matrix: NDArray[np.generic], n_items: int, path: Path) -> NDArray[np.float32]:
    if matrix.ndim != 2 or matrix.shape[0] != n_items or not matrix.shape[1] or matrix.dtype.kind not in "fiu":
        raise BadData(
            f"{path.name} holds {matrix.dtype} of shape {matrix.shape} for {n_items} ids; a row of numbers per id was expected. {_ADVICE}"
        )
    return matrix.astype(np.float32)
