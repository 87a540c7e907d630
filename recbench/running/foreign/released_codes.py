"""Item codes that others released with their models, read for what they are: nothing in a file is run or evaluated.

JSON         an object: an item's number or id to a list of tokens, such as "12": ["<a_114>", "<b_32>", "<c_79>"] (LETTER, LC-Rec,
             CollisionGenRec, MiniOneRec); tokens are strings or whole numbers
lines        an item, one blank, and each piece of its ID behind a bar: B000142FVW |▁eye|▁shadow (GRAM)
.parquet     the codes.parquet of a run of ours, whose items are rows of the catalogue
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recbench.core.codes_file import ENDED, CodeTable
from recbench.core.errors import BadData, BadRequest, refuse_exhaustion, refuse_shortage
from recbench.core.interactions import StringArray
from recbench.core.ragged import IntArray, Targets
from recbench.core.visible import short_repr
from recbench.evaluation import code_figures, collision_figures, read_codes

_BAR = "|"
_AGAIN = "Get the file again or name another."
_MOST_BYTES = 1 << 27
"""128 MiB: an index of a million items with eight tokens each."""
_LONGEST_CODE = 256
"""Tokens of one code; the longest published ones have 64."""
_MOST_CELLS = 1 << 26
"""Items times tokens of the longest code: what the codes take as a matrix."""


@dataclass(frozen=True, eq=False)
class ReleasedCodes:
    """The codes of a file.

    Attributes:
        file: its name, for messages.
        items: (n,) what the file calls each item, in its order.
        table: codes in that order, tokens numbered.
    """

    file: str
    items: tuple[str, ...]
    table: CodeTable


@dataclass(frozen=True)
class Collisions:
    """Items that share a code; figures about test targets are None where nobody says what those are.

    Attributes:
        items: in the file.
        levels: tokens of the longest code.
        distinct: different codes.
        items_in_groups: items whose code another item has too; `share_in_groups` is that as a share.
        largest_group: most items of one code.
        targets: test targets.
        targets_in_groups: share of them whose code another item has too.
        mean_1_over_g: mean over the targets of 1 / (items of the target's code).
    """

    items: int
    levels: int
    distinct: int
    items_in_groups: int
    share_in_groups: float
    largest_group: int
    targets: int | None = None
    targets_in_groups: float | None = None
    mean_1_over_g: float | None = None


def read_released_codes(path: Path, n_extra: int = 0) -> ReleasedCodes:
    """The codes in a released index.

    Args:
        path: of the file, in one of the forms above.
        n_extra: so many levels at the end only tell items apart and do not count.

    Raises:
        BadData: the file is missing, too large, damaged or of another form.
        BadRequest: no code would be left without those levels.
    """
    if path.suffix == ".parquet":
        table = read_codes(path)
        names = tuple(map(str, range(len(table.code))))
    else:
        codes = _json_codes(path, _json_object(path)) if path.suffix == ".json" else _codes_of_lines(path)
        names, table = tuple(codes), _numbered(path, list(codes.values()))
    if n_extra:
        if n_extra >= table.n_levels:
            raise BadRequest(f"--extra {n_extra}: {path.name} has {table.n_levels} levels; one must be left that says something. Lower it.")
        if (table.lengths != table.n_levels).any():
            raise BadRequest(f"--extra {n_extra}: the codes of {path.name} differ in length, so no level is the last of all. Leave it out.")
        table = replace(table, n_extra=n_extra, is_numbered=None)
    return ReleasedCodes(path.name, names, table)


def read_item_numbers(path: Path) -> dict[str, str]:
    """A data set's item ids by the names that an index gives them; a line is an id, white space and the name."""
    found: dict[str, str] = {}
    for number, line in enumerate(_lines(path), start=1):
        words = line.split()
        if len(words) != 2:
            raise BadData(f"{path}, line {number}: {short_repr(line)} is not an item's id and its number in the index. {_AGAIN}")
        item, name = words
        if name in found:
            raise BadData(f"{path}, line {number}: the number {name!r} was given to {found[name]!r} already. {_AGAIN}")
        found[name] = item
    return found


def read_last_items(path: Path) -> tuple[str, ...]:
    """The test targets of released interactions: the last item of each user in a JSON object of lists, such as LETTER's .inter.json."""
    last = []
    for user, items in _json_object(path).items():
        if not isinstance(items, list) or not items or not all(_is_name(item) for item in items):
            raise BadData(f"{path}: user {short_repr(user)} has {short_repr(items)}, not a list of at least one item. {_AGAIN}")
        last.append(str(items[-1]))
    return tuple(last)


def collisions(codes: ReleasedCodes, targets: tuple[str, ...] | None = None) -> Collisions:
    """How often the codes of an index collide.

    Args:
        codes: of the index.
        targets: test targets by their names in it.

    Raises:
        BadData: the index lacks a target.
    """
    figures = code_figures(codes.table)
    share = figures["codes_colliding_share"]
    found = Collisions(
        items=len(codes.items),
        levels=codes.table.n_levels,
        distinct=int(figures["codes_distinct"]),
        items_in_groups=round(share * len(codes.items)),
        share_in_groups=share,
        largest_group=int(figures["codes_largest_group"]),
    )
    if targets is None:
        return found
    row_of = {name: row for row, name in enumerate(codes.items)}
    missing = sorted({name for name in targets if name not in row_of})
    if missing:
        raise BadData(
            f"{codes.file} has no code for {len(missing):,} of the test targets, {short_repr(missing[0])} for one. Use the index made for "
            "these data."
        )
    rows = np.array([row_of[name] for name in targets], dtype=np.int32)
    shares = collision_figures(codes.table, Targets(rows, np.arange(len(rows) + 1, dtype=np.int64)))
    return replace(
        found,
        targets=len(rows),
        targets_in_groups=shares.get("codes_targets_in_groups"),
        mean_1_over_g=shares.get("codes_mean_1_over_g"),
    )


def targets_of_split(codes: ReleasedCodes, item_ids: StringArray, targets: IntArray, numbers: Mapping[str, str] | None) -> tuple[str, ...]:
    """The test targets of a split by the names that an index gives them.

    Args:
        codes: of the index.
        item_ids: (n_items,) ids of the data set.
        targets: (n,) item rows.
        numbers: ids by those names, where the index does not name items by their ids.

    Raises:
        BadData: the index is not about the items of the data set.
    """
    if numbers is None and codes.items == tuple(map(str, range(len(item_ids)))) and codes.file.endswith(".parquet"):
        return tuple(map(str, targets))
    id_of = {name: name for name in codes.items} if numbers is None else numbers
    name_of = {item: name for name, item in id_of.items()}
    lacking = [item for item in item_ids if item not in name_of]
    if lacking:
        say = "Use the index made for it" + ("" if numbers is not None else ", or say which item each number is: --items FILE")
        raise BadData(
            f"{codes.file} has no code for {len(lacking):,} of the {len(item_ids):,} items of the data set, {lacking[0]!r} for one. {say}."
        )
    return tuple(name_of[item_ids[row]] for row in targets)


def _numbered(path: Path, codes: list[tuple[str, ...]]) -> CodeTable:
    """Tokens as numbers from 0 on, level by level."""
    n_levels = max(map(len, codes))
    if len(codes) * n_levels > _MOST_CELLS:
        raise BadData(f"{path} has {len(codes):,} items and codes of up to {n_levels} tokens, more than can be compared. {_AGAIN}")
    code = np.full((len(codes), n_levels), ENDED, dtype=np.int32)
    sizes = []
    for level in range(n_levels):
        numbers: dict[str, int] = {}
        for row, tokens in enumerate(codes):
            if level < len(tokens):
                code[row, level] = numbers.setdefault(tokens[level], len(numbers))
        sizes.append(len(numbers))
    return CodeTable(code, tuple(sizes))


def _json_codes(path: Path, content: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    codes = {}
    for item, tokens in content.items():
        if not isinstance(tokens, list) or not 0 < len(tokens) <= _LONGEST_CODE or not all(_is_name(token) for token in tokens):
            raise BadData(
                f"{path}: item {short_repr(item)} has {short_repr(tokens)}, not a list of 1 to {_LONGEST_CODE} tokens, strings or whole "
                f"numbers. {_AGAIN}"
            )
        codes[item] = tuple(map(str, tokens))
    return codes


def _codes_of_lines(path: Path) -> dict[str, tuple[str, ...]]:
    codes: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}, line {number}"
        item, blank, written = line.partition(" ")
        pieces = tuple(written.removeprefix(_BAR).split(_BAR))
        if not blank or not written.startswith(_BAR) or "" in pieces or len(pieces) > _LONGEST_CODE:
            raise BadData(f"{where}: {short_repr(line)} is not an item, one blank and a bar before each piece of its ID. {_AGAIN}")
        if item in codes:
            raise BadData(f"{where}: {short_repr(item)} has a line already. {_AGAIN}")
        codes[item] = pieces
    return codes


def _is_name(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, with at least one key, none of them twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
            raise BadData(f"{path}: an object names {short_repr(twice)} twice. {_AGAIN}")
        return found

    try:
        content = json.loads(_text(path), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path} is not JSON: {error}. {_AGAIN}") from None
    if not isinstance(content, dict) or not content:
        raise BadData(f"{path} is not a JSON object with an entry for each item or user. {_AGAIN}")
    return content


def _lines(path: Path) -> list[str]:
    """The lines of a file without white space at their ends and without blank lines at the end of the file; at least one."""
    # Not splitlines: it would also cut at characters that may stand in a piece.
    lines = [line.rstrip(" \t\r") for line in _text(path).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise BadData(f"{path} is empty. {_AGAIN}")
    return lines


def _text(path: Path) -> str:
    """The text of a file of bounded size."""
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise BadData(f"{path} has {size:,} bytes; an index of codes has at most {_MOST_BYTES:,}. Name the index itself.")
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise BadData(f"{path}: there is no such file. Check the path.") from None
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is not UTF-8: {error.reason} at byte {error.start:,}. {_AGAIN}") from None
    except (OSError, MemoryError) as error:
        refuse_exhaustion(error, path)
        refuse_shortage(error)
        raise BadData(f"{path} cannot be read: {getattr(error, 'strerror', error)}. Check the path.") from None
