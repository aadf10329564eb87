"""What goes wrong at the database: which reason the slot shows, and a text without secrets."""

from __future__ import annotations

import errno
import os

import psycopg
from psycopg.conninfo import conninfo_to_dict

from corec import layout as L

# logins, rights, and tables that are not what they were (42): none of it passes by itself
_REFUSED_STATES = ("28", "3D", "42", "53300")
_UNREACHABLE_STATES = ("08", "57P")
_FULL_STATES = ("53",)
_BUSY_WORDS = ("starting up", "shutting down", "recovery", "not yet accepting")


class ForeignSchema(RuntimeError):
    """A table of CoreC's name exists and is not CoreC's; only the operator can say what to do."""


def reason_of(error: BaseException) -> int:
    """The ``L.REASON_*`` of an error, by its SQLSTATE where the server gave one."""
    if isinstance(error, ForeignSchema):
        return L.REASON_REFUSED
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        if state.startswith(_REFUSED_STATES):
            return L.REASON_REFUSED
        if state.startswith(_FULL_STATES):
            return L.REASON_FULL
        if state.startswith(_UNREACHABLE_STATES):
            return L.REASON_UNREACHABLE
        return L.REASON_SERVER_ERROR
    if isinstance(error, psycopg.OperationalError):
        # psycopg has no SQLSTATE for a connection that was never made, only libpq's text.
        text = str(error)
        if os.strerror(errno.ENOSPC) in text:
            return L.REASON_FULL
        answered = "FATAL:" in text and not any(word in text for word in _BUSY_WORDS)
        return L.REASON_REFUSED if answered else L.REASON_UNREACHABLE
    if isinstance(error, OSError):
        return L.REASON_UNREACHABLE
    return L.REASON_SERVER_ERROR


def text_of(error: BaseException, conninfo: str) -> str:
    """One line about ``error`` for the log, with the connection string's password masked."""
    try:
        password = conninfo_to_dict(conninfo).get("password")
    except psycopg.ProgrammingError:
        # libpq quotes the part it does not understand, and that may be the password.
        return "the database's connection string cannot be understood"
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, psycopg.errors.LockNotAvailable):
        text += "; somebody holds a lock on CoreC's tables: pg_locks says who"
    return text.replace(str(password), "***") if password else text
