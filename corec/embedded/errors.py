"""The one error the embedded servers raise."""

from __future__ import annotations


class EmbeddedServerError(RuntimeError):
    """An embedded server could not be set up, started or stopped.

    The text says what was found and what to do, and ends with the last lines of the server's own
    log where there are any. It never holds a secret: the servers run without passwords.
    """
