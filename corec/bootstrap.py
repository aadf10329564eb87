"""Makes the virtual environment beside the checkout, then becomes CoreC inside it.

Run by run.sh with any Python ≥ 3.11 (`python -I bootstrap.py ARGS`), never imported by CoreC, so
it uses the standard library only. All it prints goes to stderr: stdout belongs to the program.

`.venv` is described by a stamp, a file in it that names the checkout, the Python version and the
hashes of what was installed. The stamp is removed before anything in the environment changes and
written, in one step, after everything is done. So a kill at any instant leaves either a stamp
that tells the truth or none, and without a stamp the environment is made from nothing. A lock on
`.venv.lock` lets one run.sh work at a time; the others wait and then find the work done.

Where `.venv` is another user's, or the checkout cannot be written or is mounted noexec, the
environment goes to the user's cache directory, or failing that to a private one in the temporary
folder.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

_RUN_LOCK = "requirements.lock"
_DEV_LOCK = "requirements-dev.lock"
_STAMP = "corec-stamp.json"
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_ANSWER_SECONDS = 60.0
_PASSES = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_DEV_VERBS = ("test", "tool")
_TEST_PROCESSES_MAX = 4  # each has a PostgreSQL and a Valkey of its own


def say(text: str) -> None:
    """One line of progress, on stderr."""
    print(f"CoreC: {text}", file=sys.stderr, flush=True)


def wanted_stamp(root: Path, *, dev: bool, python: str) -> dict[str, str]:
    """What the stamp of an up-to-date environment says."""
    files = [_RUN_LOCK, "pyproject.toml", *([_DEV_LOCK] if dev else [])]
    hashes = {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in files}
    return {"root": str(root), "python": python, **hashes}


def read_stamp(venv: Path) -> dict[str, str]:
    """The environment's stamp; empty when it has none or cannot be read."""
    try:
        found = json.loads((venv / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def refuse(reason: str) -> NoReturn:
    """Exit with why no program can be run."""
    say(f"no program can be run now: {reason}; see the limits on processes and memory (ulimit "
        "-u, -v, pids.max); nothing was changed")  # fmt: skip
    sys.exit(1)


def python_version(venv: Path) -> str | None:
    """`major.minor` of the environment's Python, None when we cannot run it. Exits when it does not
    answer, or nothing can be run now: that says nothing of the environment."""
    code = "import sys; print('%d.%d' % sys.version_info[:2], sys.prefix)"
    try:
        answer = subprocess.run(
            [venv / "bin" / "python", "-I", "-c", code],
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            check=True,
        ).stdout.split(maxsplit=1)
    except subprocess.TimeoutExpired as error:
        say(f"{venv}/bin/python does not answer within {error.timeout:g} s; nothing was changed")
        sys.exit(1)
    except OSError as error:
        if error.errno in _PASSES:
            refuse(error.strerror or str(error))
        return None
    except subprocess.SubprocessError:
        return None
    return answer[0] if Path(answer[1].strip()).resolve() == venv.resolve() else None


def is_ready(venv: Path, root: Path, *, dev: bool) -> bool:
    """Is everything installed there, and can we run it?"""
    stamp = read_stamp(venv)
    if not stamp:
        return False
    wanted = wanted_stamp(root, dev=dev, python=stamp.get("python", ""))
    return wanted.items() <= stamp.items() and python_version(venv) == stamp["python"]


def private_dir(path: Path) -> Path | None:
    """`path`, made if missing, if it is ours and closed to others; else None."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return None
        path.chmod(0o700)
    except OSError:
        return None
    return path


def is_noexec(folder: Path) -> bool:
    """Does its file system run no programs and load no libraries?"""
    return bool(os.statvfs(folder).f_flag & os.ST_NOEXEC)


def cache_dir() -> Path | None:
    """A directory of this user's for things that can be made again."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    temporary = Path(tempfile.gettempdir()) / f"corec-cache-{os.geteuid()}"
    for place in (Path(base) / "corec", temporary):
        found = private_dir(place) if place.is_absolute() else None
        if found is not None and not is_noexec(found):
            return found
    return None


def may_make(venv: Path) -> bool:
    """May we make or change this environment?"""
    if not venv.exists():
        return os.access(venv.parent, os.W_OK | os.X_OK)
    return os.access(venv.parent, os.W_OK) and os.access(venv, os.W_OK | os.X_OK)


def choose_venv(root: Path, *, dev: bool) -> Path:
    """Where this user's environment is, or is to be made. Exits when there is no such place."""
    beside = root / ".venv"
    closed = is_noexec(root)
    if not closed and (is_ready(beside, root, dev=dev) or may_make(beside)):
        return beside
    cache = cache_dir()
    if cache is None:
        why = "lies on a file system mounted noexec" if closed else "is not this user's to make"
        say(f"{beside} {why}, and no cache directory (XDG_CACHE_HOME) can be used instead")
        sys.exit(1)
    return cache / f"venv-{hashlib.sha256(os.fsencode(root)).hexdigest()[:12]}"


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Hold `lock` (made if missing); waits for its holder and says so."""
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run.sh is installing; waiting for it")
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def installer_environment() -> dict[str, str]:
    """What venv and pip see: the user's settings, less what would lead them astray."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment |= {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_USER": "0",
    }
    home = os.path.expanduser("~")
    if not os.access(home, os.W_OK) or Path(home).stat().st_uid != os.geteuid():
        environment["PIP_NO_CACHE_DIR"] = "1"
    return environment


def can_run() -> str | None:
    """Why no program can be run here now; None: it can. An environment that does not run then is
    none the worse for it, and must not be made anew."""
    try:
        subprocess.run(
            [sys.executable, "-I", "-c", ""],
            stdin=subprocess.DEVNULL,
            timeout=_ANSWER_SECONDS,
            check=True,
        )
    except OSError as error:
        return error.strerror or str(error)
    except subprocess.SubprocessError as error:
        return str(error)
    return None


def run_installer(*command: str | Path) -> None:
    """Run one installing command, its output on stderr. Raises CalledProcessError."""
    subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        env=installer_environment(),
        check=True,
    )


def install(venv: Path, root: Path, *, dev: bool) -> None:
    """Bring the environment up to date. Called with its lock held."""
    stamp = read_stamp(venv)
    python = stamp.get("python", "")
    usable = stamp.get("root") == str(root) and python_version(venv) == python
    if (reason := can_run()) is not None:
        refuse(reason)
    (venv / _STAMP).unlink(missing_ok=True)
    if not stamp or not usable:
        say(f"making {venv} and installing the locked dependencies, once; about a minute")
        if venv.is_symlink() or venv.is_file():
            venv.unlink()
        elif venv.exists():
            shutil.rmtree(venv)
        run_installer(sys.executable, "-I", "-m", "venv", venv)
        python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    else:
        say(f"bringing {venv} up to date")
    pip = (venv / "bin" / "python", "-I", "-m", "pip", "install")
    locked = root / (_DEV_LOCK if dev else _RUN_LOCK)
    run_installer(*pip, "--only-binary", ":all:", "--require-hashes", "-r", locked)
    run_installer(*pip, "--quiet", "--no-build-isolation", "--no-deps", "-e", root)
    fresh = venv / f"{_STAMP}.new"
    fresh.write_text(json.dumps(wanted_stamp(root, dev=dev, python=python)), encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(venv / _STAMP)


def ensure_venv(root: Path, *, dev: bool) -> Path:
    """The environment, ready for use. Exits with a message when it cannot be made."""
    venv = choose_venv(root, dev=dev)
    if is_ready(venv, root, dev=dev):
        return venv
    try:
        with held(venv.with_name(f"{venv.name}.lock")):
            if not is_ready(venv, root, dev=dev):
                install(venv, root, dev=dev)
    except subprocess.CalledProcessError as error:
        say(f"installing failed (exit code {error.returncode}): see the lines above")
        sys.exit(1)
    except OSError as error:
        say(f"cannot make {venv}: {error}")
        sys.exit(1)
    return venv


def _side_by_side(arguments: list[str]) -> list[str]:
    """The options with which pytest runs several files at once; none where the user says how."""
    if any(a.startswith(("-n", "--numprocesses", "--dist", "--pdb")) for a in arguments):
        return []
    # two more than there are cores: half of the tests wait for other processes most of the time
    processes = min(len(os.sched_getaffinity(0)) + 2, _TEST_PROCESSES_MAX)
    # files in the order of tests/support/order.py, not by how many tests they have
    return ["-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder"]


def command_for(venv: Path, root: Path, arguments: list[str]) -> list[str]:
    """The command line that run.sh's arguments stand for."""
    python = str(venv / "bin" / "python")
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if verb == "test":
        # pytest would warn, and a warning is an error, where it cannot keep its cache
        no_cache = [] if os.access(root, os.W_OK) else ["-p", "no:cacheprovider"]
        return [python, "-m", "pytest", *no_cache, *_side_by_side(rest), *rest]
    if verb == "tool":
        if not rest:
            say("run.sh tool needs the name of a tool: ruff, mypy, flake8, lint-imports, …")
            sys.exit(2)
        return [str(venv / "bin" / rest[0]), *rest[1:]]
    if verb == "ctl":
        return [python, str(venv / "bin" / "corec-ctl"), *rest]
    if verb == "--version":
        return [python, str(venv / "bin" / "corec"), *arguments]
    if not verb or verb.startswith("-"):
        return [python, str(venv / "bin" / "corec"), "run", *arguments]
    return [python, str(venv / "bin" / "corec"), *arguments]


def main(arguments: list[str]) -> NoReturn:
    """Become what `arguments` ask for; the pid, the terminal and the signals stay the same."""
    root = Path(__file__).resolve().parent.parent
    # what is installed is never closed to us (umask 0777), nor open for others to write (umask 0)
    os.umask((os.umask(0o022) | 0o022) & 0o077)
    dev = arguments[:1] in ([verb] for verb in _DEV_VERBS)
    try:
        venv = ensure_venv(root, dev=dev)
    except KeyboardInterrupt:
        say("interrupted; the next run.sh begins the installation anew")
        sys.exit(130)
    unwanted = {"PYTHONHOME"}
    if dev:
        os.chdir(root)
        # the tests start hundreds of programs, each of which would compile our sources again
        unwanted.add("PYTHONDONTWRITEBYTECODE")
    environment = {k: v for k, v in os.environ.items() if k not in unwanted}
    environment |= dict.fromkeys(_THREADS, "1")
    environment["COREC_CHECKOUT"] = str(root)
    environment["VIRTUAL_ENV"] = str(venv)
    command = command_for(venv, root, arguments)
    try:
        os.execve(command[0], command, environment)
    except OSError as error:
        say(f"cannot run {command[0]}: {error.strerror}")
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
