"""What arguments a user's function takes, whatever its annotations name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of ``function``. From Python 3.14 on, annotations are evaluated when somebody
    asks for them (PEP 649), and a name that only a type checker knows would raise NameError: they
    are asked for as they are written."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.STRING)
    return inspect.signature(function)
