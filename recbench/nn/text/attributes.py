"""Attributes of the items: values of text columns, numbered."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from recbench.core.errors import BadData, BadRequest, refuse_exhaustion
from recbench.core.interactions import ItemTable
from recbench.core.ragged import Ragged
from recbench.nn.text.fields import held_fields
from recbench.nn.text.settings import TextFields

SEPARATOR = ", "
_FILE = "attributes.parquet"


class AttributeFields(TextFields):
    """Which columns of the item table hold attributes."""

    fields: tuple[str, ...] = Field(default=("categories", "brand"), min_length=1)
    """Columns of the item table; an item's empty ones are skipped. A column that the data set lacks, or that is empty for every item, is an
    error unless `optional_fields` names it."""
    optional_fields: tuple[str, ...] = ("categories", "brand")
    """Columns of `fields` that are left out where the data set lacks them; others are of no effect."""
    lists: tuple[str, ...] = ("categories",)
    """Columns of `fields` that hold several attributes, with a comma and a space between two; the value of any other is one attribute."""

    @model_validator(mode="after")
    def _lists_are_fields(self) -> Self:
        # The default may stay where other fields are read.
        unread = [name for name in self.lists if name not in (*self.fields, *type(self).model_fields["lists"].default)]
        if unread:
            raise ValueError(f"lists names {unread[0]!r}, which is none of the fields {', '.join(self.fields)}")
        return self


@dataclass(frozen=True, eq=False)
class ItemAttributes:
    """Attributes of N items in F fields. Equal values have one number, whatever fields they stand in.

    Attributes:
        fields: (F,) names.
        values: what each attribute number stands for, in the order of first occurrence: item by item, within an item field by field.
        lists: (F,) for each field the attribute numbers of every item, distinct, N lists; an item may have none.
    """

    fields: tuple[str, ...]
    values: tuple[str, ...]
    lists: tuple[Ragged, ...]

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[Sequence[str]]]) -> Self:
        """Number the attributes: for each field one list of values per item, of which repeats are dropped."""
        numbers: dict[str, int] = {}
        lists: tuple[list[list[int]], ...] = tuple([] for _ in columns)
        for of_item in zip(*columns.values(), strict=True):
            for filled, values in zip(lists, of_item, strict=True):
                filled.append([numbers.setdefault(value, len(numbers)) for value in dict.fromkeys(values)])
        return cls(tuple(columns), tuple(numbers), tuple(Ragged.from_lists(filled) for filled in lists))

    def __len__(self) -> int:
        return len(self.lists[0])

    def joined(self) -> Ragged:
        """The attribute numbers of every item in all fields together, distinct and ascending, N lists."""
        n_values = max(len(self.values), 1)
        pairs = np.unique(np.concatenate([part.row_of_entry() * n_values + part.item for part in self.lists]))
        row, number = np.divmod(pairs, n_values)
        offsets = np.searchsorted(row, np.arange(len(self) + 1)).astype(np.int64)
        return Ragged(number.astype(np.int32), offsets)

    def save(self, folder: Path) -> None:
        """Write `attributes.parquet`: a column of lists of values per field, a row per item."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        value = pa.array(self.values, pa.string())
        columns = {
            name: pa.ListArray.from_arrays(pa.array(part.offsets.astype(np.int32)), value.take(pa.array(part.item)))
            for name, part in zip(self.fields, self.lists, strict=True)
        }
        pq.write_table(pa.table(columns), folder / _FILE, compression="zstd")

    @classmethod
    def load(cls, folder: Path, n_items: int) -> Self:
        """Read the file that `save` wrote for so many items; a file that is something else is a `BadData` that names it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path, again = folder / _FILE, "Restore it, or make the run again."
        try:
            table = pq.read_table(path)
            columns = {name: table.column(name).cast(pa.list_(pa.string())).to_pylist() for name in table.column_names}
            if not columns or len(table) != n_items or any(part is None for column in columns.values() for part in column):
                raise ValueError(f"{len(table)} rows with {len(columns)} columns, for {n_items} items")
            return cls.of(columns)
        except (OSError, ValueError, pa.ArrowException) as error:
            refuse_exhaustion(error, path)
            raise BadData(f"{path} holds no attributes of these items: {error}. {again}") from None


def item_attributes(items: ItemTable, settings: AttributeFields, log: logging.Logger, *, part: str = "attributes") -> ItemAttributes:
    """The attributes of the catalogue, without those that say nothing: what all lists of a column share, such as the root of categories.

    Args:
        items: the catalogue.
        settings: which columns are read.
        log: of the run, told what was found.
        part: name of `settings` within the model's, for messages.

    Raises:
        BadRequest: no item has an attribute in any of the columns.
        BadConfig: a column is lacking, or empty for every item, and not optional.
    """
    columns: dict[str, list[list[str]]] = {}
    for name in held_fields(items, settings, log, part=part):
        if name not in settings.lists:
            columns[name] = [[value.strip()] if value and value.strip() else [] for value in items.columns[name]]
            continue
        lists = [[one for one in map(str.strip, (value or "").split(SEPARATOR)) if one] for value in items.columns[name]]
        filled = [set(values) for values in lists if values]
        common = set.intersection(*filled) if filled else set()
        if common:
            log.info("attributes: all %s have %s, which is left out", name, SEPARATOR.join(sorted(common)))
        columns[name] = [[value for value in values if value not in common] for values in lists]
    attributes = ItemAttributes.of(columns)
    if not attributes.values:
        raise BadRequest(
            f"Attributes are read from {', '.join(columns)}, and no item of this data set has one there that others lack. Choose other "
            f"columns with --set {part}.fields=[...], or a model that reads no attributes."
        )
    n_pairs = len(attributes.joined().item)
    log.info("attributes: %d, %.1f per item, from %s", len(attributes.values), n_pairs / len(items), ", ".join(columns))
    return attributes
