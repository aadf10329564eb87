"""The minor versions of PostgreSQL that were out when this CoreC was: an older one is behind.

Each fixes what could lose or give away data, so ``corec-ctl doctor`` says when a server lacks them.
A newer one, or a major that is not here, is not judged.
"""

from __future__ import annotations

from typing import Final

POSTGRES_MINORS: Final = {14: 23, 15: 20, 16: 14, 17: 10, 18: 6}
"""Major → a minor that was out by November 2026 (there may have been a later one)."""


def postgres_text(version: int) -> str:
    """``18.6`` of the number that libpq gives (180006)."""
    return f"{version // 10_000}.{version % 10_000}"


def postgres_behind(version: int) -> str | None:
    """What is out and newer in the same major, such as ``15.20``; None: nothing that is known."""
    major, minor = divmod(version, 10_000)
    latest = POSTGRES_MINORS.get(major, 0)
    return f"{major}.{latest}" if minor < latest else None
