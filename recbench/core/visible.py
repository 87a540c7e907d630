"""Text from data made safe to show: what would steer a terminal, or cannot be encoded, is spelt out."""

import logging
import re
import reprlib
from collections.abc import Iterable

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, separators of lines and paragraphs, changes of the direction of writing, and halves of
characters, such as the bytes of a file's name that are no UTF-8."""

_SHOWN_BITS = 64


def visible(text: str, *, one_line: bool = False) -> str:
    r"""The text with each character that steers a terminal spelt out as in Python, such as `\x1b`; with `one_line` line feeds too."""
    shown = _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
    return shown.replace("\n", r"\n") if one_line else shown


def listed(names: Iterable[str]) -> str:
    """Names from data in one line of a sentence, separated by commas; `none` where there are none. Blanks around a name show by quotes."""
    shown = (visible(name, one_line=True) for name in names)
    return ", ".join(name if name == name.strip() and name else repr(name) for name in shown) or "none"


def visible_json(text: str) -> str:
    """A JSON document of the same content, in which these characters stand as escapes."""
    # Outside of strings JSON has none of them, and inside of strings an escape means the character.
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def is_printable(text: str, longest: int) -> bool:
    """Whether a text has no control character, none that cannot be encoded, and no more characters than this.

    Its plain content is looked at: a subclass of str may answer otherwise.
    """
    plain = str.__str__(text)
    return plain.isprintable() and len(plain) <= longest


class _Short(reprlib.Repr):
    """`reprlib` with large whole numbers: Python refuses to write out those of more than 4,300 digits."""

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() <= _SHOWN_BITS else f"a number of {x.bit_length()} bits"


short_repr = _Short().repr
"""`repr` of bounded length, whatever the value."""


class LineFormatter(logging.Formatter):
    """Log lines in which no text from data can steer the terminal or pretend to be a line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        return visible(super().formatMessage(record).rstrip("\n"), one_line=True)

    def formatException(self, ei: object) -> str:  # noqa: N802 (logging's name)
        return visible(super().formatException(ei))  # type: ignore[arg-type]
