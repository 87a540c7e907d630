"""What stands in a JSON value, whatever its shape."""

from collections.abc import Iterator, Mapping
from typing import Any


def scalars(value: Any) -> Iterator[str | int | float]:
    """All texts, numbers and truth values in a JSON value, keys included."""
    if isinstance(value, str | int | float):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield key
            yield from scalars(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from scalars(part)
