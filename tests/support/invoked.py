"""A command of ``corec`` in this process, where what it would load is loaded already."""

from __future__ import annotations

import os

from typer.testing import CliRunner, Result

from corec.cli.main import whole_app
from tests.support.processes import umask_now


def invoked(*words: str) -> Result:
    """``corec WORDS``. Its umask, which a command closes for all that it makes, ends with it."""
    umask = umask_now()
    try:
        return CliRunner().invoke(whole_app(), words)
    finally:
        os.umask(umask)
