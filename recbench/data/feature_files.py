"""Files of item vectors, which say themselves whose vector each row is.

`NAME.parquet` has the columns item_id and vector (a list of numbers). `NAME.npy` holds a matrix, and `NAME.ids.txt` beside it one item id
per line.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recbench.core.errors import BadConfig, BadData
from recbench.core.file_names import is_plain_name
from recbench.core.visible import listed
from recbench.data.columns import items_from_table
from recbench.data.folders import FEATURE_IDS_ROLE, FEATURE_ROLE
from recbench.data.reader import Files, RawFeatures
from recbench.data.unpacking import refuse_damage

_ADVICE = "Write a parquet file with the columns item_id and vector, or a matrix with one item id per line in NAME.ids.txt beside it."


def read_features(files: Files, numbered: Sequence[str] | None = None) -> dict[str, RawFeatures]:
    """The vectors of every role that begins with `features:`, by name.

    Args:
        files: by role.
        numbered: ids of the rows of matrices without a file of ids, of sources whose items are numbered; None: such a matrix is refused.

    Raises:
        BadData: a file does not say whose vectors it holds, or they are no vectors.
        BadConfig: a card gives them a name that no file could have.
    """
    names = [role.removeprefix(FEATURE_ROLE) for role in files if role.startswith(FEATURE_ROLE)]
    for name in names:
        if not is_plain_name(name):  # they are saved under it
            raise BadConfig(f"{name!r} is no name of vectors. Correct the role of {files[FEATURE_ROLE + name].name} in the card.")
    return {name: _read(files[FEATURE_ROLE + name], files.get(FEATURE_IDS_ROLE + name), numbered) for name in names}


def _read(path: Path, ids: Path | None, numbered: Sequence[str] | None) -> RawFeatures:
    with refuse_damage(path, "no file of vectors", _ADVICE):
        if path.suffix == ".parquet":
            return _from_parquet(path)
        item_ids = numbered if ids is None else _lines(ids)
        if item_ids is None:
            raise BadData(f"{path.name} does not say whose vectors it holds. {_ADVICE}")
        return RawFeatures(item_ids, _checked(np.load(path, allow_pickle=False), len(item_ids), path))


def _lines(path: Path) -> list[str]:
    """Each line as it stands; the last may end without a line break."""
    found = path.read_text(encoding="utf-8-sig").split("\n")
    return found[:-1] if not found[-1] else found


def _from_parquet(path: Path) -> RawFeatures:
    table = pq.read_table(path)
    if not {"item_id", "vector"} <= set(table.column_names):
        raise BadData(f"{path.name} has the columns {listed(table.column_names)}. {_ADVICE}")
    vector = table.column("vector").combine_chunks()
    if not (pa.types.is_list(vector.type) or pa.types.is_large_list(vector.type) or pa.types.is_fixed_size_list(vector.type)):
        raise BadData(f"{path.name}: the column 'vector' holds {vector.type}, not lists of numbers. {_ADVICE}")
    if vector.null_count:
        raise BadData(f"{path.name}: {vector.null_count} items have no vector. Leave their rows out.")
    item_ids = items_from_table(table, path.name, ()).item_ids
    lengths = pc.unique(pc.list_value_length(vector)).to_pylist()
    if len(lengths) != 1:
        raise BadData(f"{path.name}: vectors of {len(lengths)} lengths; one was expected. {_ADVICE}")
    flat = vector.flatten().to_numpy(zero_copy_only=False)
    return RawFeatures(item_ids, _checked(flat.reshape(len(item_ids), lengths[0]), len(item_ids), path))


def _checked(matrix: NDArray[np.generic], n_items: int, path: Path) -> NDArray[np.float32]:
    if matrix.ndim != 2 or matrix.shape[0] != n_items or not matrix.shape[1] or matrix.dtype.kind not in "fiu":
        raise BadData(
            f"{path.name} holds {matrix.dtype} of shape {matrix.shape} for {n_items} ids; a row of numbers per id was expected. {_ADVICE}"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused where an item has it
        return matrix.astype(np.float32)
