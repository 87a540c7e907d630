"""Product metadata as text: HTML entities decoded, white space squeezed, lists joined."""

import html
import re
from typing import Any

_PRICE = re.compile(r"\$?\d[\d,]*(\.\d+)?")


def plain(value: Any) -> str | None:
    """A text without entities and line breaks; lists are joined by blanks; None where nothing is left.

    Half of a surrogate pair, which JSON can write and which is no character, becomes U+FFFD.
    """
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return plain(" ".join(str(part) for part in value if part))
    text = html.unescape(str(value))
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join(text.split()) or None


def joined(values: Any) -> str | None:
    """Category names joined by commas, each once, in the order of their first appearance; nested lists are paths, a text is one name."""
    names: dict[str, None] = {}
    for value in values if isinstance(values, list | tuple) else (values,):
        for part in value if isinstance(value, list | tuple) else (value,):
            name = plain(part)
            if name:
                names[name] = None
    return ", ".join(names) or None


def price(value: Any) -> str | None:
    """A price as it is written; what is no price (crawled style sheets, for one) is None."""
    text = plain(value)
    return text if text is not None and _PRICE.fullmatch(text) else None
