"""Damage and strange content, drawn at random: for bytes, for tables as lists of rows, and for trees of JSON or TOML."""

import copy
import random
from collections.abc import Callable
from typing import Any

Tree = Any
"""Dictionaries, lists and plain values."""
Row = list[Any]

STRANGE_TEXTS = (
    "",
    " ",
    "../../../etc/passwd",
    "/",
    "C:\\con",
    "\x1b[31mred\x1b[0m",
    "a\x00b",
    "line\nbreak",
    "tab\tinside",
    "ünïcødé ☃",
    "ﬀ\u202eabc",
    "NaN",
    "-1",
    "1e400",
    '"',
    "x" * 5000,
    "{}",
    "$(touch pwned)",
    "__import__('os').system('true')",
)
STRANGE_NUMBERS = (0, -1, 1, 2**31, -(2**31), 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"))


def strange(rng: random.Random) -> Tree:
    """Some value that nobody expects where it stands."""
    return rng.choice((None, True, [], {}, [[]], {"a": {"b": [1, None]}}, rng.choice(STRANGE_TEXTS), rng.choice(STRANGE_NUMBERS)))


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes with one fault of a disk or of a transfer; where there are none, some appear."""
    if not data:
        return rng.randbytes(rng.randint(1, 20))
    at = rng.randrange(len(data))
    end = min(len(data), at + rng.choice((1, 1, 2, 8, 64)))
    change: Callable[[], bytes] = rng.choice(
        (
            lambda: data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :],
            lambda: data[:at],
            lambda: data[:at] + data[end:],
            lambda: data[:end] + data[at:],
            lambda: data[:at] + rng.randbytes(rng.choice((1, 4, 32))) + data[at:],
            lambda: data + data,
            lambda: b"",
            lambda: data[:at] + b"\x00" * (end - at) + data[end:],
        )
    )
    return change()


def reworded(data: bytes, rng: random.Random) -> bytes:
    """A text file as another editor or another system would have written it, or with a slip in it."""
    text = data.decode("utf-8", errors="surrogateescape")
    lines = text.split("\n")
    at = rng.randrange(len(lines))

    def changed_line(line: str) -> str:
        return "\n".join([*lines[:at], line, *lines[at + 1 :]])

    place = rng.randint(0, len(lines[at]))
    changed = rng.choice(
        (
            lambda: "\ufeff" + text,
            lambda: text.replace("\n", "\r\n"),
            lambda: text.replace("\n", "\r"),
            lambda: text.rstrip("\n"),
            lambda: text + "\n\n",
            lambda: "\n".join([*lines[:at], "", *lines[at:]]),
            lambda: "\n".join([*lines[:at], lines[at], *lines[at:]]),
            lambda: "\n".join([*lines[:at], *lines[at + 1 :]]),
            lambda: changed_line(lines[at] + ","),
            lambda: changed_line(lines[at].replace(",", ";")),
            lambda: changed_line(lines[at][:place] + '"' + lines[at][place:]),
            lambda: changed_line('"' + lines[at].replace(",", '","') + '"'),
            lambda: changed_line(lines[at][:place] + rng.choice(STRANGE_TEXTS) + lines[at][place:]),
            lambda: changed_line(" " + lines[at].replace(",", ", ")),
            lambda: changed_line(lines[at].upper()),
            lambda: text.replace(",", "\t"),
            lambda: text.replace("timestamp", rng.choice(("time", "Timestamp", "timestamp:float", "timestamp "))),
        )
    )()
    encoding = rng.choice(("utf-8",) * 9 + ("utf-16", "latin-1", "utf-8-sig"))
    return changed.encode(encoding, errors="surrogateescape" if encoding.startswith("utf-8") else "replace")


def mixed(header: list[str], rows: list[Row], rng: random.Random) -> tuple[list[str], list[Row]]:
    """A table with columns or rows exchanged, doubled, left out, renamed, or with strange cells."""
    header, rows = list(header), [list(row) for row in rows]
    row, column = rng.randrange(len(rows)), rng.randrange(len(header))
    other = rng.randrange(len(header))

    def swap_names() -> None:
        header[column], header[other] = header[other], header[column]

    def swap_columns() -> None:
        for line in [header, *rows]:
            line[column], line[other] = line[other], line[column]

    def drop_column() -> None:
        if len(header) > 1:
            for line in [header, *rows]:
                del line[column]

    def double_column() -> None:
        for line in [header, *rows]:
            line.append(line[column])

    def add_column() -> None:
        header.append(rng.choice(("rating", "position", "extra", "item_id_list", "view", "User_ID")))
        for number, line in enumerate(rows):
            line.append(rng.choice((number, float(number % 5), str(number))))

    def fill_column() -> None:
        make: Callable[[int], Any] = rng.choice(
            (
                lambda number: number,
                lambda number: f"{number:04}",
                lambda number: number + 0.25,
                lambda number: 20140101 + number,
                lambda number: 1_600_000_000_000 + number,
                lambda number: 1_600_000_000 + number // 7,
                lambda number: f"2014-01-{1 + number % 28:02}",
                lambda _: None,
                lambda number: number % 3 == 0,
                lambda _: "same",
            )
        )
        for number, line in enumerate(rows):
            line[column] = make(number)

    def double_row() -> None:
        rows.insert(rng.randrange(len(rows)), list(rows[row]))

    def strange_cell() -> None:
        rows[row][column] = rng.choice((None, rng.choice(STRANGE_TEXTS), rng.choice(STRANGE_NUMBERS)))

    def like_another() -> None:
        rows[row][column] = rows[rng.randrange(len(rows))][column]

    changes = (
        swap_names,
        swap_columns,
        drop_column,
        double_column,
        add_column,
        fill_column,
        double_row,
        strange_cell,
        like_another,
        lambda: rng.shuffle(rows),
        lambda: rows.reverse(),
        rows.clear,
        lambda: rows.extend([list(line) for line in rows]),
    )
    rng.choice(changes)()
    return header, rows


def bent(tree: Tree, rng: random.Random) -> Tree:
    """A tree with one key renamed, removed, added, doubled under another name or retyped, or one value made strange."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    if not places:
        return strange(rng)
    holder, key = rng.choice(places)
    if isinstance(holder, dict):
        change = rng.randrange(6)
        if change == 0:
            holder[rng.choice((str(key) + "x", str(key)[:-1], str(key).upper(), "unknown"))] = holder.pop(key)
        elif change == 1:
            del holder[key]
        elif change == 2:
            holder[rng.choice(("unknown", "__class__", "", "a b", "../x"))] = strange(rng)
        elif change == 3:
            holder[key] = {"value": holder[key]}
        else:
            holder[key] = _retyped(holder[key], rng)
    elif rng.random() < 0.3:
        holder.insert(key, copy.deepcopy(holder[key]))
    elif rng.random() < 0.3:
        del holder[key]
    else:
        holder[key] = _retyped(holder[key], rng)
    return tree


def _retyped(value: Tree, rng: random.Random) -> Tree:
    near: list[Tree] = [strange(rng), strange(rng), [value], str(value)]
    if isinstance(value, bool):
        near += [int(value), not value]
    elif isinstance(value, int | float):
        near += [value + 1, -value, float(value), value * 10**12, value + 1e-9]
    elif isinstance(value, str):
        near += [value + " ", value[:-1], value.upper(), value + "/../x", rng.choice(STRANGE_TEXTS)]
    return rng.choice(near)


def _places(tree: Tree) -> Any:
    """Every place in a tree that holds a value: (the dictionary or list, the key)."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield tree, key
            yield from _places(value)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield tree, index
            yield from _places(value)
