"""Servers and secrets from the environment, which beats the file.

Each name is looked for as the variable itself, then as a file named by ``<NAME>_FILE``, then as
a file ``<NAME>`` or ``<name>`` in systemd's ``$CREDENTIALS_DIRECTORY``. An empty variable counts
as not set. No fault ever repeats a value: a password pasted into the wrong variable stays secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from corec.config.faults import Fault
from corec.config.reading import content_of
from corec.config.servers import (
    DB_SCHEMES,
    DB_URL_ALLOWED,
    REDIS_SCHEMES,
    REDIS_URL_ALLOWED,
    known_url,
)

DB_URL = "COREC_DB_URL"
REDIS_URL = "COREC_REDIS_URL"
DB_PASSWORD = "POSTGRES_PASSWORD"
REDIS_PASSWORD = "REDIS_PASSWORD"
CREDENTIALS = "CREDENTIALS_DIRECTORY"
SECRET_NAMES = (DB_URL, REDIS_URL, DB_PASSWORD, REDIS_PASSWORD)

_SECRET_BYTES_MAX = 65_536


def read_secrets(environ: Mapping[str, str], faults: list[Fault]) -> dict[str, str]:
    """Those of ``SECRET_NAMES`` that are set, by name; what cannot be used goes to ``faults``."""
    secrets: dict[str, str] = {}
    for name in SECRET_NAMES:
        value = _secret(name, environ, faults)
        if value is not None:
            secrets[name] = value
    for name, schemes, allowed in (
        (DB_URL, DB_SCHEMES, DB_URL_ALLOWED),
        (REDIS_URL, REDIS_SCHEMES, REDIS_URL_ALLOWED),
    ):
        if name in secrets and not known_url(secrets[name], schemes):
            faults.append(Fault(name, "a value that is no such URL (not shown)", allowed))
            del secrets[name]
    return secrets


def _secret(name: str, environ: Mapping[str, str], faults: list[Fault]) -> str | None:
    if environ.get(name):
        return _usable(name, environ[name], faults)
    variable = f"{name}_FILE"
    if environ.get(variable):
        return _content(variable, Path(environ[variable]), faults)
    folder = environ.get(CREDENTIALS)
    for file_name in (name, name.lower()) if folder else ():
        where = f"{CREDENTIALS}/{file_name}"
        value = _content(where, Path(folder or "", file_name), faults, needed=False)
        if value is not None:
            return value
    return None


def _content(where: str, path: Path, faults: list[Fault], *, needed: bool = True) -> str | None:
    try:
        content = content_of(path, _SECRET_BYTES_MAX)
        text = content.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not needed:
            return None
        reason = error.strerror or type(error).__name__
        faults.append(Fault(where, f"a file that cannot be read ({reason})", "a readable file"))
        return None
    except ValueError:
        faults.append(Fault(where, "a file that is not text", "a file of UTF-8 text"))
        return None
    return _usable(where, text.rstrip("\r\n"), faults)


def _usable(where: str, value: str, faults: list[Fault]) -> str | None:
    if not value or len(value) > _SECRET_BYTES_MAX or any(char in value for char in "\0\r\n"):
        found = "an empty value" if not value else "more than one line, a NUL or too many bytes"
        faults.append(Fault(where, found, "one line of text"))
        return None
    if any("\ud800" <= char <= "\udfff" for char in value):  # as Python has a byte that is none
        faults.append(Fault(where, "bytes that are not text", "one line of UTF-8 text"))
        return None
    return value
