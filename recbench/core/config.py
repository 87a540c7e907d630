"""Typed settings of a plugin, and how presets, files and `--set` are laid over each other."""

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from recbench.core.digests import sha256_of
from recbench.core.errors import BadConfig, nearest

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class PlainValues(BaseModel):
    """Base of what people write in TOML: a value is taken as the kind that it is, or refused."""

    # A command meets many such classes and validates few.
    model_config = ConfigDict(defer_build=True)

    @model_validator(mode="wrap")
    @classmethod
    def _takes_values_as_they_are(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        made = handler(values)
        # Left alone, pydantic reads the text "2", and even true, as a number, and "yes" as true.
        for key, given in values.items() if isinstance(values, Mapping) else ():
            if key in cls.model_fields and not _is_same_kind(given, taken := getattr(made, key)):
                shown = list(taken) if isinstance(taken, tuple) else taken
                raise ValueError(f"{key}={given!r} would be read as {shown!r}. Write {key}={shown!r} if that is meant")
        return made


class PluginConfig(PlainValues):
    """Base of every plugin's settings: frozen, unknown keys forbidden; the docstring under a field says what it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _groups_are_laid_over_their_defaults(cls, values: Any) -> Any:
        # Else one value given for a group would put the group's own defaults in the place of those that this class states for it.
        if not isinstance(values, Mapping):
            return values
        defaults = {name: field.default for name, field in cls.model_fields.items() if isinstance(field.default, PluginConfig)}
        return dict(values) | {
            name: nested(by_dotted_name(group.model_dump(), type(group)) | by_dotted_name(values[name], type(group)))
            for name, group in defaults.items()
            if isinstance(values.get(name), Mapping)
        }

    @property
    def parts(self) -> "dict[str, PluginConfig]":
        """Groups of settings among the fields, by name."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, PluginConfig)}

    def named_files(self) -> tuple[Path, ...]:
        """Files and folders that the settings name and whose content shapes the result: the content is part of every key."""
        return tuple(file for part in self.parts.values() for file in part.named_files())

    def named_revisions(self) -> Mapping[str, str]:
        """Settings that leave open which revision of a thing elsewhere is read, each with the value that says it, such as
        `hf:OWNER/NAME@COMMIT`: part of every key. What does not lie here yet is fetched; no revision is known before that."""
        return {f"{name}.{key}": value for name, part in self.parts.items() for key, value in part.named_revisions().items()}


def _is_same_kind(given: Any, taken: Any) -> bool:
    """Whether a value was taken as what it is: a number as a number, a truth value as a truth value."""
    if isinstance(given, list | tuple) and isinstance(taken, list | tuple):
        return all(map(_is_same_kind, given, taken))
    if isinstance(given, bool) or isinstance(taken, bool):
        return isinstance(given, bool) and isinstance(taken, bool)
    return not (isinstance(given, str) and isinstance(taken, int | float))


def explain(error: ValidationError, known: Sequence[str], where: str, moved: Mapping[str, str] | None = None) -> BadConfig:
    """A sentence per fault of a pydantic error, with the nearest known key for a misspelt one, or what `moved` says of it."""
    faults = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            hint = f" Did you mean {moved[key]!r}?" if moved and key in moved else nearest_setting(key, known)
            faults.append(f"{where} has no key {key!r}.{hint} Known: {', '.join(_beside(key, known)) or 'none'}.")
        elif fault["type"] == "missing":
            faults.append(f"{where} lacks the key {key!r}.")
        else:
            message = " ".join(fault["msg"].removeprefix("Value error, ").split())  # it may quote a value that spans lines
            value = "" if isinstance(fault["input"], Mapping) else f"={fault['input']!r}"  # a group is named, not written out
            named = f"{key}{value}: " if key else ""
            faults.append(f"{where}: {named}{message}. Change that value.")
    return BadConfig(" ".join(faults))


def _beside(key: str, known: Sequence[str]) -> list[str]:
    """The settings and groups that stand where a key was written."""
    group = key[: key.rfind(".") + 1]
    return sorted({f"{group}{name[len(group) :].partition('.')[0]}" for name in known if name.startswith(group)})


def nearest_setting(name: str, known: Sequence[str]) -> str:
    """As `nearest`, by the last parts of dotted names where the name has no dot or no whole name is near it."""
    whole = nearest(name, known)
    if whole and "." in name:
        return whole
    by_last = {full.rpartition(".")[2]: full for full in sorted(known, key=lambda full: full.count("."), reverse=True)}
    close = difflib.get_close_matches(name.rpartition(".")[2], by_last, n=1)
    return f" Did you mean {by_last[close[0]]!r}?" if close else whole


def parse_assignment(text: str) -> tuple[str, Any]:
    """`key=value` of a `--set` option."""
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise BadConfig(f"--set {text!r} is not of the form key=value. Write for example: --set training.learning_rate=0.001")
    return key.strip(), plain_value(raw)


def plain_value(text: str) -> Any:
    """A value as the command line has it: read as a TOML value and, failing that, as a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # numbers of thousands of digits and thousands of brackets among them
        return text


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file; a missing or malformed one is a `BadConfig`."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadConfig(f"{path}: there is no such file. Check the path.") from None
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror or error}. Check the path and its permissions.") from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits and thousands of brackets among them
        raise BadConfig(f"{path} is not valid TOML: {error}. Correct that line.") from None
    if (place := _null_character(content)) is not None:
        # TOML allows it, no path does, and nothing else here has a use for it.
        raise BadConfig(f"{path}: {place} holds a null character. Take it out.")
    return content


def _null_character(content: Any, place: str = "") -> str | None:
    """Dotted name of the first text, key or value, that holds one; None where there is none."""
    parts = content.items() if isinstance(content, Mapping) else enumerate(content) if isinstance(content, list) else ()
    for key, value in parts:
        name = f"{place}.{key}" if place else str(key)
        if "\0" in name or (isinstance(value, str) and "\0" in value):
            return repr(name)
        if (inner := _null_character(value, name)) is not None:
            return inner
    return None


def flatten_preset(
    presets: Mapping[str, Mapping[str, Any]], name: str, owner: str, config: type[PluginConfig] | None = None
) -> dict[str, Any]:
    """Values of a preset by dotted name, with those it `extends` underneath; an unknown name or a circle is a `BadConfig`.

    Args:
        presets: all presets of a card.
        name: of the preset.
        owner: of the presets, as an error names it.
        config: see `by_dotted_name`.
    """
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
        values |= by_dotted_name({key: value for key, value in layer.items() if key != "extends"}, config)
    return values


def part_of(config: type[PluginConfig], name: str) -> type[PluginConfig] | None:
    """The class of a group of settings; None where the name is that of a single setting, or of none."""
    field = config.model_fields.get(name)
    kind = None if field is None else field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, PluginConfig) else None


def setting_names(config: type[PluginConfig]) -> list[str]:
    """Dotted names of all settings of a class, such as `training.learning_rate`, in the order of its fields."""
    names: list[str] = []
    for name in config.model_fields:
        part = part_of(config, name)
        names += [name] if part is None else [f"{name}.{inner}" for inner in setting_names(part)]
    return names


def by_dotted_name(values: Mapping[str, Any], config: type[PluginConfig] | None = None) -> dict[str, Any]:
    """Nested settings as one level of dotted names. Keys of `values` may be dotted themselves, as those of `--set` are.

    Args:
        values: settings, in groups, by dotted name or both.
        config: their class. A mapping that is a single setting is one value then, and a group without settings says nothing; without a
            class a mapping is taken apart like a group, but for an empty one.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        head, _, rest = key.partition(".")
        part = None if config is None else part_of(config, head)
        if rest and (config is None or part is not None):
            flat |= {f"{head}.{inner}": found for inner, found in by_dotted_name({rest: value}, part).items()}
        elif isinstance(value, Mapping) and (value if config is None else part is not None):
            flat |= {f"{key}.{inner}": found for inner, found in by_dotted_name(value, part).items()}
        else:
            flat[key] = value
    return flat


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name as groups in groups; the opposite of `by_dotted_name`."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *groups, last = name.split(".")
        place = tree
        for group in groups:
            inner = place.get(group)
            place[group] = dict(inner) if isinstance(inner, Mapping) else {}
            place = place[group]
        place[last] = value
    return tree


def moved_settings(flat: Mapping[str, Any], moved: Mapping[str, str]) -> dict[str, Any]:
    """Settings of a record before schema 4, nested as the plugin has them now.

    Args:
        flat: settings by the names that they had when all stood on one level.
        moved: `[moved]` of the card: such a name and the dotted one of today. The name of a mapping stands for all of its entries
            but those that have a name of their own there. Settings that are not in it kept theirs.
    """
    return nested({_renamed(name, moved): value for name, value in by_dotted_name(flat).items()})


def flat_settings(values: Mapping[str, Any], moved: Mapping[str, str]) -> dict[str, Any]:
    """Nested settings by the names of records before schema 4; the opposite of `moved_settings`."""
    return moved_settings(values, {new: old for old, new in moved.items()})


def with_added(values: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings of a record with those that the model has gained since; `added` is that of its card."""
    flat = by_dotted_name(values)
    return nested(flat | {name: value for name, value in added.items() if name not in flat})


def hashed_settings(values: Mapping[str, Any], moved: Mapping[str, str], added: Mapping[str, Any]) -> dict[str, Any]:
    """What the hash of settings is made of: the same before and after settings were nested or gained.

    Args:
        values: nested settings of today.
        moved: of the model's card.
        added: of the model's card.
    """
    flat = by_dotted_name(values)
    return flat_settings({name: value for name, value in flat.items() if name not in added or value != added[name]}, moved)


def _renamed(name: str, names: Mapping[str, str]) -> str:
    found = max((known for known in names if name == known or name.startswith(f"{known}.")), key=len, default="")
    return names[found] + name.removeprefix(found) if found else name


def toml_text(values: Mapping[str, Any]) -> str:
    """Settings as TOML, groups as tables behind what stands outside of them; None is left out, as TOML has no word for it."""
    return "\n".join(_toml_lines(values, "")) + "\n"


def _toml_lines(values: Mapping[str, Any], within: str) -> list[str]:
    single = {key: value for key, value in values.items() if not isinstance(value, Mapping) and value is not None}
    lines = [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in single.items()]
    for key, value in values.items():
        if isinstance(value, Mapping):
            name = f"{within}{_toml_key(key)}"
            lines += ["", f"[{name}]", *_toml_lines(value, f"{name}.")]
    return lines


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # the one character that JSON leaves bare and TOML does not


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces. What is hashed goes through here."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def hash_value(value: Any) -> str:
    """sha256 of a JSON value; equal values have equal hashes whatever the order of their keys."""
    return sha256_of(canonical_json(value).encode())


def config_hash(model: str, settings: Mapping[str, Any], budget: str | None, moved: Mapping[str, str], added: Mapping[str, Any]) -> str:
    """Hash that is equal for runs which differ only in their seed, including those from before settings were nested or gained.

    Args:
        model: name of the model.
        settings: nested settings of today, as JSON values.
        budget: of the run; None: none.
        moved: of the model's card.
        added: of the model's card.
    """
    return hash_value({"model": model, "config": hashed_settings(settings, moved, added), "budget": budget})
