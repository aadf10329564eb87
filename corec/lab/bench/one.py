"""One group in a process of its own: ``python -m corec.lab.bench.one NAME QUICK ROUNDS``.

Progress goes to stderr, the tables as one JSON document to stdout. SIGTERM ends it like an
exception, so that servers are stopped and folders removed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import types


def _leave(_number: int, _frame: types.FrameType | None) -> None:
    raise SystemExit(1)


def main() -> int:
    """Measure; the exit code."""
    name, quick, rounds = sys.argv[1], sys.argv[2] == "1", int(sys.argv[3])
    signal.signal(signal.SIGTERM, _leave)
    # a rival that prints must not end up in the document
    document = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from corec.lab.bench.groups import BY_NAME
    from corec.lab.bench.rounds import Effort

    tables = BY_NAME[name].measure(Effort(quick, rounds))
    json.dump([table.as_json() for table in tables], document)
    document.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
