"""A name for the folder of compiled code that changes with every source it may contain.

Numba's cache on disk compares the file of the cached function only.  What that function inlined
from *other* files may have changed since, and stale offsets in compiled code corrupt memory.  So
the cache lives in a folder named after all the sources: ``NUMBA_CACHE_DIR=<folder>/<cache_name>``,
set before Numba is imported (this module does not import it).  Numba itself tells its own versions
and processors apart.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


def cache_name(*packages: Path) -> str:
    """16 hexadecimal digits over the names and bytes of every ``*.py`` below ``packages``.

    ``packages`` are the folders whose functions compiled code may inline.  Raises OSError when a
    source cannot be read.
    """
    digest = hashlib.blake2b(digest_size=8)
    for package in packages:
        for source in sorted(package.rglob("*.py")):
            digest.update(str(source.relative_to(package)).encode() + b"\0")
            content = source.read_bytes()
            digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()
