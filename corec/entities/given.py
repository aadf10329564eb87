"""The numbers a processor is given by the configuration, checked against what it declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corec.entities.declaring import FLOAT32_MAX
from corec.entities.errors import ProcessorError


def given_params(
    owner: str, params: Sequence[tuple[str, float]], given: Mapping[str, Any]
) -> list[float]:
    """The parameters in declaration order, ``given`` over the defaults.

    Raises:
        ProcessorError: naming each unknown key or value that is not a finite number.
    """
    faults = []
    for key, value in given.items():
        if key not in dict(params):
            known = ", ".join(name for name, _ in params) or "none"
            faults.append(f"{key}: not a parameter of {owner} (it has: {known})")
        elif (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not abs(value) <= FLOAT32_MAX
        ):
            faults.append(f"{key}: found {value!r}, allowed a finite number")
    if faults:
        raise ProcessorError("; ".join(faults))
    return [float(given.get(name, default)) for name, default in params]


def given_globals(
    owner: str, names: Sequence[str], given: Mapping[str, float]
) -> list[float]:
    """Those of the named numbers ``given`` that are read, in the order of ``names``.

    Raises:
        ProcessorError: one is read that is not given.
    """
    for name in names:
        if name not in given:
            known = ", ".join(given) or "none"
            raise ProcessorError(f"{owner} reads me.globals.{name}, the globals are: {known}")
    return [float(given[name]) for name in names]
