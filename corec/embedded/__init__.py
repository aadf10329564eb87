"""A real PostgreSQL and a real Valkey, run from pip wheels as children of the calling process."""

from __future__ import annotations

from corec.embedded.errors import EmbeddedServerError
from corec.embedded.postgres import EmbeddedPostgres
from corec.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedPostgres", "EmbeddedServerError", "EmbeddedValkey"]
