"""Which text columns of a data set a model reads."""

import logging

from recbench.core.errors import BadConfig, BadRequest, nearest
from recbench.core.interactions import ItemTable
from recbench.nn.text.settings import TextFields


def held_fields(items: ItemTable, settings: TextFields, log: logging.Logger, *, part: str = "text") -> tuple[str, ...]:
    """The columns of `fields` that the data set has, in their order; those that are optional and lacking are named in the log.

    Args:
        items: the catalogue.
        settings: which columns are wanted.
        log: of the run.
        part: name of `settings` within the model's, for messages.

    Raises:
        BadRequest: no item has a value in any of the columns.
        BadConfig: a column is lacking, or empty for every item, and not optional.
    """
    fields = settings.fields
    with_text = [name for name, column in items.columns.items() if any(column)]
    held = tuple(name for name in fields if name in with_text)
    if not held:
        raise BadRequest(
            f"Item text is read from {', '.join(fields)}, and no item of this data set has a value in any of them. "
            f"Choose other columns with --set {part}.fields=[...], or a model that needs no text."
        )
    lacking = [name for name in fields if name not in held]
    refused = [name for name in lacking if name not in settings.optional_fields]
    if refused:
        name = refused[0]
        reason = "is empty for every item of this data set" if name in items.columns else "is no column of this data set"
        hint = "" if name in items.columns else nearest(name, with_text)
        raise BadConfig(
            f"{part}.fields names {name!r}, which {reason}.{hint} Columns with text: {', '.join(with_text)}. Choose among them with "
            f"--set {part}.fields=[...], or leave out what is lacking with --set '{part}.optional_fields={_toml(lacking)}'."
        )
    if lacking:
        log.info("item text: the data set has no %s; %s is read", ", ".join(lacking), ", ".join(held))
    return held


def _toml(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
