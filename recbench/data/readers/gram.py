"""The text files GRAM's authors published: a line per user with all their items, and a line of `key: value` fields per item."""

import re
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from recbench.core.config import PluginConfig
from recbench.core.errors import BadData
from recbench.core.progress import Progress
from recbench.data.lines import lines
from recbench.data.reader import Files, RawEvents, RawItems, Vocabulary

_COLUMN_OF = {"name": "title"}
"""Keys that the files of some data sets have in place of a column's name."""
_KEYS = ("title", "name", "brand", "categories", "description", "price", "salesrank")
_MISSING = "na"
_CORRECT = "Correct the line or get the file again."
_SHOWN = 60
"""Characters of a line in an error."""


class GramOptions(PluginConfig):
    """Which fields an item may have."""

    more_keys: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Keys besides title, name, brand, categories, description, price, salesrank; what is none of these belongs to the value before."""


class GramReader:
    """Roles `sequences` (`user_sequence.txt`) and `items` (`item_plain_text.txt`). The card says `time = "position"`."""

    options = GramOptions
    needs = ("sequences",)
    has_complete_items = True

    def events(self, files: Files, options: GramOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """The events user by user; the time of each is its place in the user's line, from 0."""
        path = files["sequences"]
        users, items = Vocabulary(), Vocabulary()
        user_of, item_of, time_of = array("i"), array("i"), array("q")
        for number, user, rest in _lines(path, progress, users):
            sequence = rest.split(" ")
            for place, item in enumerate(sequence):
                if not item or item.split() != [item]:
                    what = f"item {place + 1} of user {user!r} is {item!r}, no id"
                    raise BadData(f"{path}, line {number}: {what}. One blank stands between two. {_CORRECT}")
                item_of.append(items.number(item))
            user_of.extend([users.number(user)] * len(sequence))
            time_of.extend(range(len(sequence)))
        return RawEvents(
            np.array(user_of, dtype=np.int32),
            np.array(item_of, dtype=np.int32),
            users.ids(),
            items.ids(),
            np.array(time_of, dtype=np.int64),
        )

    def items(
        self,
        files: Files,
        options: GramOptions,
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,
    ) -> RawItems | None:
        """The fields of every item of the table that are columns asked for; the word `na` is null.

        Values may hold `; ` and `: ` themselves: a value ends only where a known key follows that the item has not had yet.
        """
        if "items" not in files:
            return None
        path = files["items"]
        keys = "|".join(re.escape(key) for key in (*_KEYS, *options.more_keys))
        field = re.compile(rf"(?:^|; )({keys}):(?: |$)")
        ids = Vocabulary()
        texts: dict[str, list[str | None]] = {name: [] for name in columns}
        for number, item, rest in _lines(path, progress, ids):
            values = _fields(rest, field)
            if not values:
                raise BadData(
                    f"{path}, line {number}: the text of item {item!r} begins with {rest[:_SHOWN]!r}, not with a key such as 'title: '. "
                    "Correct the line, or name the key under more_keys in [options] of the card."
                )
            for name, column in texts.items():
                column.append(values.get(name))
        return RawItems(ids.ids().tolist(), texts)


def _lines(path: Path, progress: Progress, ids: Vocabulary) -> Iterator[tuple[int, str, str]]:
    """Numbers of the lines, the ids they begin with, each once, and what follows behind one blank; the ids go into `ids`."""
    line_of: dict[str, int] = {}
    for number, data in lines(path, progress):
        try:
            line = data.decode("utf-8").rstrip()
        except UnicodeDecodeError as error:
            raise BadData(f"{path}, line {number}: byte {data[error.start]:#04x} is not UTF-8. Get the file again.") from None
        name, _, rest = line.partition(" ")
        if not rest or name.split() != [name]:
            raise BadData(f"{path}, line {number}: {line[:_SHOWN]!r} is not an id, one blank and what belongs to it. {_CORRECT}")
        first = line_of.setdefault(name, number)
        if first != number:
            raise BadData(f"{path}, line {number}: {name!r} has a line already, line {first}. Keep one of them.")
        ids.number(name)
        yield number, name, rest


def _fields(text: str, field: re.Pattern[str]) -> dict[str, str | None]:
    """The values by column; nothing where the text does not begin with a known key."""
    if not field.match(text):
        return {}
    fields: dict[str, re.Match[str]] = {}
    for match in field.finditer(text):
        # What the item has already is no second field but words of a value.
        fields.setdefault(_COLUMN_OF.get(match[1], match[1]), match)
    ends = [*(match.start() for match in list(fields.values())[1:]), len(text)]
    values = (text[match.end() : end].strip() for match, end in zip(fields.values(), ends, strict=True))
    return {name: None if value in ("", _MISSING) else value for name, value in zip(fields, values, strict=True)}


READER = GramReader()
