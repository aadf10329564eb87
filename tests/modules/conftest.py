"""The instances of these tests are made as those of ``tests/e2e`` are."""

from tests.e2e.conftest import compiled, make, make_embedded

__all__ = ["compiled", "make", "make_embedded"]
