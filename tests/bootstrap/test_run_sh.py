"""run.sh, on a small project of the same shape that needs no network: real venvs, real pip."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import children_of, command_of, is_running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]

_ROOT = Path(__file__).parents[2]
_PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
_BACKEND = '''\
"""Builds the wheel of an editable install: two programs and the path of the checkout."""
import os, zipfile

MAIN = "import json, os, sys, time\\n" \\
    "def main(name):\\n" \\
    "    keys = ('COREC_CHECKOUT', 'OPENBLAS_NUM_THREADS')\\n" \\
    "    print(json.dumps([name, sys.argv[1:], os.getcwd(), {k: os.environ[k] for k in keys},\\n" \\
    "                      os.getpid()]), flush=True)\\n" \\
    "    if 'wait' in sys.argv: sys.stdin.read()\\n" \\
    "def corec(): main('corec')\\n" \\
    "def ctl(): main('corec-ctl')\\n"

def build_editable(directory, config_settings=None, metadata_directory=None):
    info = "corec-0.dist-info/"
    files = {
        "tiny_main.py": MAIN,
        info + "METADATA": "Metadata-Version: 2.1\\nName: corec\\nVersion: 0\\n",
        info + "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        info + "entry_points.txt":
            "[console_scripts]\\ncorec = tiny_main:corec\\ncorec-ctl = tiny_main:ctl\\n",
    }
    files[info + "RECORD"] = "".join(f"{n},,\\n" for n in [*files, info + "RECORD"])
    name = "corec-0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
'''


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the small project with its `.venv` made."""
    root = _project(tmp_path_factory.mktemp("built") / "a checkout")
    with _umask(0o000):
        done = _run(root, "--ticks", "1")
    assert done.returncode == 0, done.stderr
    assert "installing the locked dependencies" in done.stderr
    _assert_nobody_else_may_write(root)
    return root


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _assert_nobody_else_may_write(root: Path) -> None:
    """Installed under whatever umask."""
    for path in [root / ".venv", *(root / ".venv").rglob("*")]:
        assert path.is_symlink() or not path.stat().st_mode & 0o002, path


def _project(root: Path) -> Path:
    (root / "corec").mkdir(parents=True)
    shutil.copy(_ROOT / "run.sh", root)
    shutil.copy(_ROOT / "corec" / "bootstrap.py", root / "corec")
    (root / "corec" / "http.py").write_text("raise SystemExit('shadowed the library')\n")
    (root / "pyproject.toml").write_text(_PYPROJECT)
    (root / "backend.py").write_text(_BACKEND)
    (root / "requirements.lock").write_text("# nothing\n")
    (root / "requirements-dev.lock").write_text("# nothing\n")
    return root


def _environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PIP_NO_INDEX": "1", **changes}


def _run(root: Path, *arguments: str, cwd: Path | None = None, **environment: str) -> _Done:
    return subprocess.run(
        ["bash", str(root / "run.sh"), *arguments],
        cwd=cwd or root,
        env=_environment(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


_Done = subprocess.CompletedProcess[str]


@pytest.mark.parametrize(
    ("arguments", "program", "passed"),
    [
        ([], "corec", ["run"]),
        (["--ticks", "60", "--json"], "corec", ["run", "--ticks", "60", "--json"]),
        (["--version"], "corec", ["--version"]),
        (["check", "my file.json"], "corec", ["check", "my file.json"]),
        (["ctl", "status", "--json"], "corec-ctl", ["status", "--json"]),
    ],
)
def test_what_the_arguments_become(
    built: Path, tmp_path: Path, arguments: list[str], program: str, passed: list[str]
) -> None:
    done = _run(built, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    name, argv, cwd, environment, _pid = json.loads(done.stdout)
    assert (name, argv) == (program, passed)
    assert Path(cwd) == tmp_path.resolve(), "relative paths are the user's"
    assert environment == {"COREC_CHECKOUT": str(built), "OPENBLAS_NUM_THREADS": "1"}


def test_signals_reach_the_program(built: Path) -> None:
    process = subprocess.Popen(
        ["bash", str(built / "run.sh"), "wait"],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())[4] == process.pid
    process.terminate()
    process.communicate()
    assert process.returncode == -signal.SIGTERM


def test_a_changed_lock_is_installed_and_a_known_one_is_not(built: Path) -> None:
    lock = built / "requirements.lock"
    lock.write_text("# still nothing\n")
    changed = _run(built, "--json")
    assert "bringing" in changed.stderr
    assert json.loads(changed.stdout)[1] == ["run", "--json"], "stdout is the program's alone"
    assert _run(built).stderr == ""


def test_a_development_tool_runs_in_the_checkout(built: Path, tmp_path: Path) -> None:
    done = _run(built, "tool", "python", "-c", "import os; print(os.getcwd())", cwd=tmp_path)
    assert done.stdout.strip() == str(built)
    assert _run(built, "tool").returncode == 2
    missing = _run(built, "tool", "no-such-tool")
    assert missing.returncode == 1
    assert "cannot run" in missing.stderr


def test_a_failed_installation_says_so_and_is_taken_up_again(built: Path) -> None:
    lock = built / "requirements.lock"
    lock.write_text("no-such-package-anywhere==1 --hash=sha256:" + "0" * 64 + "\n")
    failed = _run(built)
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "installing failed" in failed.stderr
    lock.write_text("# nothing\n")
    with _umask(0o277):  # what we make we may write all the same
        assert _run(built).returncode == 0
    _assert_nobody_else_may_write(built)


def test_a_venv_whose_python_is_gone_is_made_anew(built: Path) -> None:
    python = built / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(built / "nowhere")
    with _umask(0o777):  # and read and enter
        done = _run(built)
    assert done.returncode == 0, done.stderr
    assert "making" in done.stderr
    _assert_nobody_else_may_write(built)


def test_two_at_once_and_one_killed_while_it_installs(tmp_path: Path) -> None:
    root = _project(tmp_path / "checkout")

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(root / "run.sh"), "--json"],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    killed = start()
    wait_until((root / ".venv" / "bin").exists, "the installation is under way")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    both = [start(), start()]
    outputs = [process.communicate() for process in both]
    for process, (out, err) in zip(both, outputs, strict=True):
        assert process.returncode == 0, err
        assert json.loads(out)[1] == ["run", "--json"]
    assert sum("making" in err for _, err in outputs) == 1
    assert sum("waiting" in err for _, err in outputs) <= 1
    assert not [command_of(p) for p in children_of(os.getpid()) if "bootstrap" in command_of(p)]
    assert not is_running(killed.pid)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_checkout_we_may_not_write_gets_its_venv_in_the_cache(tmp_path: Path) -> None:
    root = _project(tmp_path / "checkout")
    root.chmod(0o555)
    try:
        done = _run(root, XDG_CACHE_HOME=str(tmp_path / "cache"))
    finally:
        root.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "cache" / "corec").glob("venv-*"))


def test_without_a_usable_python_it_says_what_it_needs(tmp_path: Path) -> None:
    root = _project(tmp_path / "checkout")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("python3", "python3.11"):
        (tools / name).write_text("#!/bin/sh\nexit 127\n")
        (tools / name).chmod(0o755)
    for name in ("bash", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    script = root / "run.sh"
    script.write_text(script.read_text().replace("/bin/python3", "/bin/no-python3"))
    done = _run(root, PATH=str(tools))
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr


def test_through_a_symbolic_link(built: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "one").symlink_to(built / "run.sh")
    (tmp_path / "bin" / "corec").symlink_to("one")
    done = subprocess.run(
        ["bash", str(tmp_path / "bin" / "corec"), "check"],
        cwd=tmp_path, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[1] == ["check"]


def _may_mount() -> bool:
    tried = ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", "/mnt"]
    try:
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.parametrize("cache_closed", [False, True])
def test_on_a_file_system_without_leave_to_execute(tmp_path: Path, cache_closed: bool) -> None:
    """No library loads from there: the environment goes to the cache, or one line says why not."""
    if not _may_mount():
        pytest.skip("only root, in a namespace of its own, can mount a file system noexec")
    closed, temporary = tmp_path / "closed", tmp_path / "temporary"
    for folder in (closed, temporary):
        folder.mkdir()
    project = _project(tmp_path / "project")
    cache = closed / "cache" if cache_closed else tmp_path / "cache"
    script = (
        'mount -t tmpfs -o noexec tmpfs "$1" && cp -r "$2" "$1/project" && '
        '{ [ "$3" = 0 ] || mount -t tmpfs -o noexec tmpfs "$4"; } && '
        'bash "$1/project/run.sh" check'
    )
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script, "-", str(closed), str(project),
         str(int(cache_closed)), str(temporary)],
        env=_environment(XDG_CACHE_HOME=str(cache), TMPDIR=str(temporary)),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if cache_closed:
        assert done.returncode == 1
        assert "lies on a file system mounted noexec" in done.stderr
        assert done.stderr.count("\n") == 1
        return
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[1] == ["check"]
    assert list((cache / "corec").glob("venv-*"))
