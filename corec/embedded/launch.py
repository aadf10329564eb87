"""Becomes a server process: drops root if told to, ties itself to its parent, then execs.

Run as a script (`python -I -S launch.py SPEC`), never imported by CoreC, so it uses the standard
library only. A launcher rather than a preexec_fn: nothing but exec happens between the fork of a
large supervisor and the server, whatever locks or threads the supervisor holds.

The order matters, and so does who may see what:

1. Signals: an inherited mask or ignored signal would make the server deaf to its stop signal.
2. Drop to `user`. PostgreSQL refuses to run as root, but its wheel and its data may lie below a
   directory that only root can enter (0700: a clone from mktemp, a venv under root's home). Each
   way of dropping is tried in a forked probe that does what the server will do, least first:
   without any capability; with CAP_DAC_READ_SEARCH (enter and read every directory); with
   CAP_DAC_OVERRIDE (containers commonly have that one alone); with both. The capability must be
   *ambient* to survive the exec, and permitted must not exceed ambient or the kernel treats the
   exec as privileged and forgets step 3. PostgreSQL looks at its own program with access(2), which
   ignores an ordinary user's capabilities unless the secure bit NO_SETUID_FIXUP is set.
3. PR_SET_PDEATHSIG, after the last change of credentials, which clears it. A parent that died
   before this line is seen by getppid().
4. exec. The pid stays the same, so the server is the direct child of whoever started us.

A kill between any two steps leaves nothing: no file is written here.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import stat
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
_WAYS_TO_DROP: tuple[tuple[int, ...], ...] = (
    (),
    (CAP_DAC_READ_SEARCH,),
    (CAP_DAC_OVERRIDE,),
    (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE),
)
_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
EXIT_CANNOT_LAUNCH = 71

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def prctl(option: int, *args: int) -> None:
    """prctl(2); raises OSError."""
    padded = (*args, 0, 0, 0, 0)[:4]
    _check(_libc.prctl(option, *(ctypes.c_ulong(a) for a in padded)), f"prctl({option})")


def _keep_only(capabilities: Sequence[int]) -> None:
    """Make permitted = effective = inheritable = ambient = `capabilities`."""
    mask = sum(1 << c for c in capabilities)
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    _check(_libc.capset(header, data), "capset")
    for capability in capabilities:
        prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def become(user: dict[str, Any], capabilities: Sequence[int]) -> None:
    """Turn this process into `user` {name, uid, gid} for good, keeping `capabilities`."""
    if capabilities:
        prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)  # setuid keeps them; we take them below
    os.initgroups(user["name"], user["gid"])
    os.setresgid(user["gid"], user["gid"], user["gid"])
    os.setresuid(user["uid"], user["uid"], user["uid"])
    if capabilities:
        _keep_only(capabilities)


def _probe(spec: dict[str, Any], capabilities: Sequence[int]) -> bool:
    """Can the server's user, so equipped, reach what it needs and run its program?"""
    pid = os.fork()
    if pid == 0:
        try:
            become(spec["user"], capabilities)
            for path in spec["needs"]:
                if os.path.isdir(path):
                    os.stat(os.path.join(path, "."))  # needs leave to enter, not to list
                else:
                    os.close(os.open(path, os.O_RDONLY))
            if not os.access(spec["argv"][0], os.R_OK | os.X_OK):
                os._exit(1)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            os.execv(spec["argv"][0], [spec["argv"][0], "--version"])
        except OSError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _first_closed_directory(spec: dict[str, Any]) -> str | None:
    for path in (os.path.dirname(spec["argv"][0]), *spec["needs"]):
        parts = os.path.realpath(path).split(os.sep)
        for end in range(2, len(parts) + 1):
            directory = os.sep.join(parts[:end])
            found = os.stat(directory)
            if found.st_uid != spec["user"]["uid"] and not found.st_mode & stat.S_IXOTH:
                return directory
    return None


def _drop(spec: dict[str, Any]) -> None:
    user = spec["user"]
    for capabilities in _WAYS_TO_DROP:
        if _probe(spec, capabilities):
            become(user, capabilities)
            return
    raise OSError(
        errno.EACCES,
        f"this server does not run as root, and user {user['name']} cannot reach its files; the "
        f"first closed directory is {_first_closed_directory(spec)}: give others leave to enter "
        "it (chmod o+x), or start CoreC as an ordinary user",
    )


def main(spec: dict[str, Any]) -> NoReturn:
    """`spec`: parent (pid), death_signal, user ({name, uid, gid} or null), argv, and needs:
    directories to enter and files to read."""
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                pass  # a number the kernel or the C library keeps for itself
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o077)
    if spec["user"] is not None:
        _drop(spec)
    prctl(_PR_SET_PDEATHSIG, spec["death_signal"])
    if os.getppid() != spec["parent"]:
        sys.exit(0)
    os.execv(spec["argv"][0], spec["argv"])


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except OSError as error:
        print(f"cannot start the server: {error.strerror}", file=sys.stderr, flush=True)
        sys.exit(EXIT_CANNOT_LAUNCH)
