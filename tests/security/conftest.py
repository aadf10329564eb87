"""Fixtures of whole instances, shared with the end-to-end tests."""

from __future__ import annotations

from tests.e2e.conftest import compiled, make_embedded

__all__ = ["compiled", "make_embedded"]
