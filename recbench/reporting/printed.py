"""Which records a page names, with the hash it prints for each."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_RECORD = {
    ".md": re.compile(r"\]\((records/[^)/]+/record\.json)\) \| `([0-9a-f]+)`"),
    ".html": re.compile(r'"(records/[^"/]+/record\.json)","([0-9a-f]+)"'),
}
"""A record and its hash as a page prints them, by the page's kind."""


@dataclass(frozen=True)
class PrintedRecord:
    """A record in a line of "How each row was made", or of a row of the HTML page.

    Attributes:
        page, line: where it stands, lines from 1.
        path: of the record, below the folder of the boards.
        sha256: first digits of the record's hash.
    """

    page: Path
    line: int
    path: str
    sha256: str


def records_on_pages(pages: Iterable[Path]) -> list[PrintedRecord]:
    """All records that the pages name."""
    return [
        PrintedRecord(page, number, match[1], match[2])
        for page in pages
        for number, line in enumerate(page.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
        for match in _RECORD[page.suffix].finditer(line)
    ]
