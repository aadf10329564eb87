"""Drawn worlds as the switch was set, and then with each of some mutants switched on.

    python -m tests.oracle.turning --worlds N | --whole N --only NAMES --seed S [NUMBER ...]

Runs in a copy that ``judging`` made. What is compiled is loaded by one process; each mutant has a
child of it, so none finds what another one left. A line of JSON for each: its number (first that
which the environment says), what disagreed, in which world.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any, Final

from tests.oracle.drawn import EVERYBODY
from tests.oracle.jobs import CHUNK, in_one_process

SECONDS_MAX: Final = 1800
"""For the worlds of one mutant, and for the first ones, for which all is compiled."""


def main() -> int:
    """Exit code 1 when the first ones disagree: nothing is said of mutants then."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--worlds", type=int, default=0)
    parser.add_argument("--whole", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("numbers", type=int, nargs="*")
    given = parser.parse_args()
    switch = importlib.import_module("shm.switch")
    if _told(switch.which(), given):
        return 1
    for number in given.numbers:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _as_a_child(switch, number, given)
        _, status = os.waitpid(child, 0)
        if status:
            code = os.waitstatus_to_exitcode(status)
            print(json.dumps({"number": number, "ended": code}), flush=True)
    return 0


def _as_a_child(switch: Any, number: int, given: argparse.Namespace) -> None:
    """Worlds with this mutant; does not return."""
    try:
        switch.turn(number)
        _told(number, given)
        os._exit(0)
    except BaseException:  # noqa: BLE001  # a child goes on nowhere else
        traceback.print_exc()
    finally:
        os._exit(2)


def _told(number: int, given: argparse.Namespace) -> str:
    """What disagrees, which is printed, too; the process ends when it takes too long."""
    signal.alarm(SECONDS_MAX)
    only = tuple(name for name in EVERYBODY if name.rpartition(":")[2] in given.only.split(","))
    left, done, said, chunk = given.whole or given.worlds, 0, "", 0
    while left > 0 and not said:
        many = min(left, CHUNK)
        count, said, _ = in_one_process(
            chunk, given.seed, False, only, bool(given.whole), False, many
        )
        left, done, chunk = left - many, done + count, chunk + 1
    signal.alarm(0)
    print(json.dumps({"number": number, "said": said, "world": done}), flush=True)
    return said


if __name__ == "__main__":
    sys.exit(main())
