"""Checks of what `fit` returns: every field of a `FitReport` has the type and range that records need."""

import re
import reprlib
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from recbench.core.errors import PluginFailed
from recbench.core.plugin import CurvePoint, FitReport, Parameters

_ARTEFACT_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"


def checked_report(report: object, model: str) -> FitReport:
    """A copy of what `fit` returned, with plain numbers in every field.

    Args:
        report: what `fit` returned.
        model: the plugin's name, for sentences.

    Raises:
        PluginFailed: it is no `FitReport`, or a field has another type, is negative or not finite; the sentence names the field.
    """
    fields = _Fields(model)
    if not isinstance(report, FitReport):
        what = "None" if report is None else f"a {type(report).__name__}"
        raise PluginFailed(f"Model {model!r}: fit returned {what}, not a FitReport. End fit with `return FitReport(...)`.")
    if not isinstance(report.parameters, Parameters):
        raise fields.refused("parameters", report.parameters, "Parameters(total=..., trainable=...)")
    if not isinstance(report.curve, list | tuple) or not all(isinstance(point, CurvePoint) for point in report.curve):
        raise fields.refused("curve", report.curve, "a list of CurvePoint")
    if not isinstance(report.stopped_by, str) or not report.stopped_by.isprintable() or not 0 < len(report.stopped_by) <= 40:
        raise fields.refused("stopped_by", report.stopped_by, "a word such as `done`, `patience` or `budget`")
    return replace(
        report,
        steps=fields.count("steps", report.steps),
        epochs=fields.number("epochs", report.epochs, least=0.0),
        examples_seen=fields.count("examples_seen", report.examples_seen),
        examples_possible=fields.count("examples_possible", report.examples_possible),
        parameters=Parameters(**{name: fields.count(f"parameters.{name}", value) for name, value in vars(report.parameters).items()}),
        curve=[_checked_point(point, f"curve[{number}]", fields) for number, point in enumerate(report.curve)],
        chosen=fields.values("chosen", report.chosen),
        resumed_at=None if report.resumed_at is None else fields.count("resumed_at", report.resumed_at),
        artefacts=_checked_artefacts(report.artefacts, fields),
    )


def _checked_point(point: CurvePoint, name: str, fields: "_Fields") -> CurvePoint:
    return CurvePoint(
        step=fields.count(f"{name}.step", point.step),
        epoch=fields.number(f"{name}.epoch", point.epoch, least=0.0),
        seconds=fields.number(f"{name}.seconds", point.seconds, least=0.0),
        loss=None if point.loss is None else fields.number(f"{name}.loss", point.loss),
        learning_rate=None if point.learning_rate is None else fields.number(f"{name}.learning_rate", point.learning_rate, least=0.0),
        validation=None if point.validation is None else fields.numbers(f"{name}.validation", point.validation),
    )


def _checked_artefacts(artefacts: object, fields: "_Fields") -> dict[str, Path]:
    if not isinstance(artefacts, Mapping):
        raise fields.refused("artefacts", artefacts, "a mapping from names to paths")
    for name, path in artefacts.items():
        if not isinstance(name, str) or re.fullmatch(_ARTEFACT_NAME, name) is None:
            raise fields.refused("artefacts", name, "names of letters, digits, - and _")
        if not isinstance(path, Path):
            raise fields.refused(f"artefacts[{name!r}]", path, "a Path")
    return dict(artefacts)


class _Fields:
    """Fields of one report."""

    def __init__(self, model: str) -> None:
        self._model = model

    def refused(self, name: str, value: object, wanted: str) -> PluginFailed:
        """The error for a field."""
        return PluginFailed(f"Model {self._model!r}: the report of fit has {name} = {reprlib.repr(value)}; {wanted} is needed.")

    def count(self, name: str, value: Any) -> int:
        """A whole number from 0 on."""
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 0:
            raise self.refused(name, value, "a whole number from 0 on")
        return int(value)

    def number(self, name: str, value: Any, least: float = float("-inf")) -> float:
        """A finite number."""
        is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        if not is_number or not isfinite(value) or value < least:
            raise self.refused(name, value, "a finite number" if least < 0 else "a finite number from 0 on")
        return float(value)

    def numbers(self, name: str, values: Any) -> dict[str, float]:
        """Finite numbers by name."""
        if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
            raise self.refused(name, values, "a mapping from names to numbers")
        return {key: self.number(f"{name}[{key!r}]", value) for key, value in values.items()}

    def values(self, name: str, values: Any) -> dict[str, float | int | str]:
        """Finite numbers and texts by name."""
        if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
            raise self.refused(name, values, "a mapping from names to numbers or texts")
        return {key: value if isinstance(value, str) else self._plain(f"{name}[{key!r}]", value) for key, value in values.items()}

    def _plain(self, name: str, value: Any) -> float | int:
        return int(value) if isinstance(value, int | np.integer) else self.number(name, value)
