"""MovieLens 100K and 1M, out of the zip files of GroupLens."""

import re
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from recbench.core.config import PluginConfig
from recbench.core.errors import BadData
from recbench.core.progress import Progress
from recbench.data.reader import Files, RawEvents, RawItems, Vocabulary
from recbench.data.unpacking import refuse_damage, refuse_swollen_member

_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
# Members by the name under which either archive keeps them.
_RATINGS = {"u.data": "\t", "ratings.dat": "::"}
_FILMS = {"u.item": "|", "movies.dat": "::"}
_GENRE_FLAGS_FROM = 5
_ENCODING = "latin-1"


class MovieLensOptions(PluginConfig):
    """How titles are written."""

    keep_year: bool = True
    """Leave the year of release at the end of the title."""


class MovieLensReader:
    """Role `archive`: `ml-100k.zip` or `ml-1m.zip`, read in place, never unpacked."""

    options = MovieLensOptions
    needs = ("archive",)
    has_complete_items = True

    def events(self, files: Files, options: MovieLensOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """One event per rating, in the order of the file."""
        name, rows = _rows(files["archive"], _RATINGS)
        users, items = Vocabulary(), Vocabulary()
        try:
            user = np.fromiter((users.number(row[0]) for row in rows), dtype=np.int32, count=len(rows))
            item = np.fromiter((items.number(row[1]) for row in rows), dtype=np.int32, count=len(rows))
            rating = np.array([row[2] for row in rows], dtype=np.float64)
            timestamp = np.array([row[3] for row in rows], dtype=np.int64)
        except (IndexError, ValueError, OverflowError) as error:
            raise BadData(f"{files['archive'].name}: {name} is not user, item, rating, time: {error}. Get the archive again.") from None
        return RawEvents(user, item, users.ids(), items.ids(), timestamp, rating)

    def items(
        self,
        files: Files,
        options: MovieLensOptions,
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> RawItems:
        """Title and genres of every film of the archive."""
        archive = files["archive"]
        name, rows = _rows(archive, _FILMS)
        try:
            if name.endswith("u.item"):
                genres_of = _genres_by_flag(archive)
                genres = [
                    ", ".join(genre for genre, flag in zip(genres_of, row[_GENRE_FLAGS_FROM:], strict=True) if flag == "1") for row in rows
                ]
            else:
                genres = [", ".join(row[2].split("|")) for row in rows]
            titles = [row[1] if options.keep_year else _YEAR.sub("", row[1]) for row in rows]
        except (IndexError, ValueError) as error:
            raise BadData(f"{archive.name}: {name} is not id, title, genres: {error}. Get the archive again.") from None
        texts = {"title": titles, "categories": genres}
        return RawItems([row[0] for row in rows], {column: texts[column] for column in columns if column in texts})


def _genres_by_flag(archive: Path) -> list[str]:
    """Names of the flags of `u.item`, in their order."""
    _, rows = _rows(archive, {"u.genre": "|"})
    return [row[0] for row in sorted(rows, key=lambda row: int(row[1]))]


def _rows(archive: Path, members: dict[str, str]) -> tuple[str, list[list[str]]]:
    """Name of the first member of one of these names, and its rows of values."""
    with (
        refuse_damage(archive, "not a whole zip file", "It was cut off or altered; get it again."),
        zipfile.ZipFile(archive) as package,
    ):
        for member in package.infolist():
            separator = members.get(member.filename.rsplit("/", 1)[-1])
            if separator is not None:
                refuse_swollen_member(archive, member)
                text = package.read(member).decode(_ENCODING)
                # Not splitlines: a title may hold what Latin-1 calls a next line.
                rows = (line.removesuffix("\r") for line in text.split("\n"))
                return member.filename, [row.split(separator) for row in rows if row]
    raise BadData(f"{archive.name} holds none of {', '.join(members)}. It is not a MovieLens 100K or 1M archive.")


READER = MovieLensReader()
