"""A program that starts embedded servers and waits:
`python -m tests.support.server_owner DIR [postgres|valkey]…` from the checkout's root.

Prints one JSON line {name: {pid, address}} when they run. Stops them when its input ends. Tests
kill it to see what becomes of the servers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from corec.embedded import EmbeddedPostgres, EmbeddedServerError, EmbeddedValkey


def main(directory: Path, names: list[str]) -> int:
    """Run until standard input ends; exit code 1 with the error's text when a start fails."""
    postgres = EmbeddedPostgres(directory / "postgres", directory / "run")
    valkey = EmbeddedValkey(directory / "valkey", directory / "run")
    started: dict[str, dict[str, object]] = {}
    try:
        if "postgres" in names:
            postgres.start()
            started["postgres"] = {"pid": postgres.pid, "address": postgres.dsn}
        if "valkey" in names:
            valkey.start()
            started["valkey"] = {"pid": valkey.pid, "address": valkey.url}
        print(json.dumps(started), flush=True)
        sys.stdin.read()
    except EmbeddedServerError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        valkey.stop()
        postgres.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
