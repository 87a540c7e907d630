"""Checks of what `fit` returns: every field of a `FitReport` has the type and range that records need."""

import re
from collections.abc import Mapping
from dataclasses import fields
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from recbench.core.errors import PluginFailed
from recbench.core.plugin import CurvePoint, FitReport, Parameters
from recbench.core.records import MOST_COUNT
from recbench.core.visible import is_printable, short_repr

_ARTEFACT_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{,99}"
_ARTEFACT_ENDING = r"(\.[A-Za-z0-9_-]{,20})?"
_LONGEST_WORD, _LONGEST_NAME, _LONGEST_TEXT = 40, 100, 1_000


def checked_report(report: object, model: str) -> FitReport:
    """Copy the report of `fit` with plain numbers and texts in every field: nothing of it runs code of the plugin later.

    Args:
        report: return value of `fit`.
        model: the plugin's name, for sentences.

    Raises:
        PluginFailed: it is no `FitReport`, or a field has another type, is negative, not finite, or nothing that a record can keep, such as
            a number beyond 64 bits or a text that cannot be printed; the sentence names the field.
    """
    checks = _Checks(model)
    if not isinstance(report, FitReport):
        what = "None" if report is None else f"a {type(report).__name__}"
        raise PluginFailed(f"Model {model!r}: fit returned {what}, not a FitReport. End fit with `return FitReport(...)`.")
    if not isinstance(report.parameters, Parameters):
        raise checks.refused("parameters", report.parameters, "Parameters(total=..., trainable=...)")
    curve = report.curve
    points = list(curve) if isinstance(curve, list | tuple) else [None]
    if not all(isinstance(point, CurvePoint) for point in points):
        raise checks.refused("curve", curve, "a list of CurvePoint")
    parameters = _checked_parameters(report.parameters, checks)
    # Without them nobody could say whether the model saw its examples once.
    if parameters.trainable and report.steps and not report.examples_possible:
        raise checks.refused("examples_possible", 0, "for a model with trainable parameters the number of examples of one pass")
    return FitReport(
        steps=checks.count("steps", report.steps),
        epochs=checks.number("epochs", report.epochs, least=0.0),
        examples_seen=checks.count("examples_seen", report.examples_seen),
        examples_possible=checks.count("examples_possible", report.examples_possible),
        parameters=parameters,
        curve=[_checked_point(point, f"curve[{number}]", checks) for number, point in enumerate(points)],
        chosen=checks.values("chosen", report.chosen),
        stopped_by=checks.word("stopped_by", report.stopped_by, "a word such as `done`, `patience` or `budget`"),
        resumed_at=None if report.resumed_at is None else checks.count("resumed_at", report.resumed_at),
        artefacts=_checked_artefacts(report.artefacts, checks),
    )


def _checked_parameters(parameters: Parameters, checks: "_Checks") -> Parameters:
    names = [field.name for field in fields(Parameters)]
    return Parameters(**{name: checks.count(f"parameters.{name}", getattr(parameters, name)) for name in names})


def _checked_point(point: CurvePoint, name: str, checks: "_Checks") -> CurvePoint:
    loss, rate, validation, training = point.loss, point.learning_rate, point.validation, point.training
    return CurvePoint(
        step=checks.count(f"{name}.step", point.step),
        epoch=checks.number(f"{name}.epoch", point.epoch, least=0.0),
        seconds=checks.number(f"{name}.seconds", point.seconds, least=0.0),
        loss=None if loss is None else checks.number(f"{name}.loss", loss),
        learning_rate=None if rate is None else checks.number(f"{name}.learning_rate", rate, least=0.0),
        validation=None if validation is None else checks.numbers(f"{name}.validation", validation),
        training=checks.word(f"{name}.training", training, "a short name of the training") if training != "" else "",
    )


def _checked_artefacts(artefacts: object, checks: "_Checks") -> dict[str, Path]:
    if not isinstance(artefacts, Mapping):
        raise checks.refused("artefacts", artefacts, "a mapping from names to paths")
    checked = {}
    for name, path in artefacts.items():
        if not isinstance(name, str) or re.fullmatch(_ARTEFACT_NAME, name) is None:
            raise checks.refused("artefacts", name, "names of letters, digits, - and _")
        if not isinstance(path, Path):
            raise checks.refused(f"artefacts[{name!r}]", path, "a Path")
        checked[str.__str__(name)] = Path(path)
        if re.fullmatch(_ARTEFACT_ENDING, Path(path).suffix) is None:
            raise checks.refused(f"artefacts[{name!r}]", path, "a file whose ending has letters, digits, - and _")
    return checked


class _Checks:
    """Checks of single values of one report; each returns a plain copy."""

    def __init__(self, model: str) -> None:
        self._model = model

    def refused(self, name: str, value: object, wanted: str) -> PluginFailed:
        """The error for a field."""
        return PluginFailed(f"Model {self._model!r}: the report of fit has {name} = {short_repr(value)}; {wanted} is needed.")

    def count(self, name: str, value: Any) -> int:
        """A whole number from 0 on."""
        number = int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else -1
        if not 0 <= number <= MOST_COUNT:
            raise self.refused(name, value, "a whole number from 0 to 2^63 - 1")
        return number

    def number(self, name: str, value: Any, least: float = float("-inf")) -> float:
        """A finite number."""
        is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        is_number = is_number and not (isinstance(value, int) and abs(value) > MOST_COUNT)
        number = float(value) if is_number else nan
        if not isfinite(number) or number < least:
            raise self.refused(name, value, "a finite number" if least < 0 else "a finite number from 0 on")
        return number

    def numbers(self, name: str, values: Any) -> dict[str, float]:
        """Finite numbers by name."""
        return {
            key: self.number(f"{name}[{key!r}]", value) for key, value in self._entries(name, values, "a mapping from names to numbers")
        }

    def values(self, name: str, values: Any) -> dict[str, float | int | str]:
        """Finite numbers and texts by name."""
        entries = self._entries(name, values, "a mapping from names to numbers or texts")
        return {key: self._plain(f"{name}[{key!r}]", value) for key, value in entries}

    def word(self, name: str, value: Any, wanted: str) -> str:
        """A short text of printable characters."""
        if not isinstance(value, str) or not is_printable(value, _LONGEST_WORD) or not value:
            raise self.refused(name, value, wanted)
        return str.__str__(value)

    def _entries(self, name: str, values: Any, wanted: str) -> list[tuple[str, Any]]:
        """The entries of a mapping, which is read once, with plain keys."""
        entries = list(values.items()) if isinstance(values, Mapping) else [(None, None)]
        if not all(isinstance(key, str) for key, _ in entries):
            raise self.refused(name, values, wanted)
        plain = [(str.__str__(key), value) for key, value in entries]
        odd = next((key for key, _ in plain if not is_printable(key, _LONGEST_NAME)), None)
        if odd is not None:
            raise self.refused(name, values, f"a mapping whose names are printable and have at most {_LONGEST_NAME} characters")
        return plain

    def _plain(self, name: str, value: Any) -> float | int | str:
        if isinstance(value, str):
            if not is_printable(value, _LONGEST_TEXT):
                raise self.refused(name, value, f"a printable text of at most {_LONGEST_TEXT} characters")
            return str.__str__(value)
        if not isinstance(value, int | np.integer):
            return self.number(name, value)
        if abs(int(value)) > MOST_COUNT:
            raise self.refused(name, value, "a number below 2^63")
        return int(value)
