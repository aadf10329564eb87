"""Loads what CoreC is measured against: each module of ``rivals`` imports its own package."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Final

INSTALL: Final = "pip install 'corec[bench]'"

ENVIRONMENT: Final = {
    "POLARS_MAX_THREADS": "1",  # one core for everybody
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # one machine: loopback addresses only
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_LOG_TO_DRIVER": "0",
    "RAY_AUTH_MODE": "disabled",
}
"""What the rivals read when they are imported."""


class Absent(Exception):
    """A rival's package is not installed, or does not work here; the text says which."""


def load(module: str) -> ModuleType:
    """``corec.lab.bench.rivals.<module>``.

    Raises:
        Absent: what it needs is missing.
    """
    os.environ |= ENVIRONMENT
    try:
        return importlib.import_module(f"corec.lab.bench.rivals.{module}")
    except ImportError as error:
        name = error.name or str(error)
        raise Absent(f"{name} is not installed ({INSTALL})") from None
