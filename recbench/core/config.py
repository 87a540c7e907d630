"""Typed settings of a plugin, and how presets, files and `--set` are laid over each other."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from recbench.core.errors import BadConfig, nearest


class PlainValues(BaseModel):
    """Base of what people write in TOML: a value is taken as the kind that it is, or refused."""

    @model_validator(mode="wrap")
    @classmethod
    def _takes_values_as_they_are(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        made = handler(values)
        # Left alone, pydantic reads the text "2", and even true, as a number, and "yes" as true.
        for key, given in values.items() if isinstance(values, Mapping) else ():
            if key in cls.model_fields and not _is_same_kind(given, taken := getattr(made, key)):
                shown = list(taken) if isinstance(taken, tuple) else taken
                raise ValueError(f"{key}={given!r} would be taken as {shown!r}. Write it so if that is meant")
        return made


class PluginConfig(PlainValues):
    """Base of every plugin's settings: frozen, unknown keys forbidden, the docstring under a field is its help."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False)

    def named_files(self) -> tuple[Path, ...]:
        """Files and folders that the settings name and whose content shapes the result: the content is part of every key."""
        return ()

    def named_revisions(self) -> Mapping[str, str]:
        """Settings that leave open which revision of a thing elsewhere is read, each with the value that says it, such as
        `hf:OWNER/NAME@COMMIT`: part of every key. What does not lie here yet is fetched; no revision is known before that."""
        return {}


def _is_same_kind(given: Any, taken: Any) -> bool:
    """Whether a value was taken as what it is: a number as a number, a truth value as a truth value."""
    if isinstance(given, list | tuple) and isinstance(taken, list | tuple):
        return all(map(_is_same_kind, given, taken))
    if isinstance(given, bool) or isinstance(taken, bool):
        return isinstance(given, bool) and isinstance(taken, bool)
    return not (isinstance(given, str) and isinstance(taken, int | float))


def explain(error: ValidationError, known: Sequence[str], where: str) -> BadConfig:
    """A sentence per fault of a pydantic error, with the nearest known key for a misspelt one."""
    faults = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            faults.append(f"{where} has no key {key!r}.{nearest(str(fault['loc'][-1]), known)} Known: {', '.join(sorted(known))}.")
        elif fault["type"] == "missing":
            faults.append(f"{where} lacks the key {key!r}.")
        else:
            message = " ".join(fault["msg"].removeprefix("Value error, ").split())  # it may quote a value that spans lines
            named = f"{key}={fault['input']!r}: " if key else ""
            faults.append(f"{where}: {named}{message}. Change that value.")
    return BadConfig(" ".join(faults))


def parse_assignment(text: str) -> tuple[str, Any]:
    """`key=value` of a `--set` option; the value is read as a TOML value and, failing that, as a string."""
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise BadConfig(f"--set {text!r} is not of the form key=value. Write for example: --set width=128")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw
    return key.strip(), value


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file; a missing or malformed one is a `BadConfig`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadConfig(f"{path}: there is no such file. Check the path.") from None
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror or error}. Check the path and its permissions.") from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits and thousands of brackets among them
        raise BadConfig(f"{path} is not valid TOML: {error}. Correct that line.") from None


def flatten_preset(presets: Mapping[str, Mapping[str, Any]], name: str, owner: str) -> dict[str, Any]:
    """Values of a preset with those it `extends` underneath; an unknown name or a circle is a `BadConfig`."""
    chain: list[Mapping[str, Any]] = []
    seen: list[str] = []
    current: str | None = name
    while current is not None:
        if current in seen:
            raise BadConfig(f"The presets of {owner} extend each other in a circle: {' -> '.join([*seen, current])}. Break it.")
        if current not in presets:
            known = ", ".join(sorted(presets)) or "none"
            raise BadConfig(f"{owner} has no preset {current!r}.{nearest(current, presets)} Known: {known}.")
        seen.append(current)
        chain.append(presets[current])
        current = presets[current].get("extends")
    values: dict[str, Any] = {}
    for layer in reversed(chain):
        values |= {key: value for key, value in layer.items() if key != "extends"}
    return values


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces. What is hashed goes through here."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
