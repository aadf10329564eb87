"""Fixtures every test may use; each is explained where it is defined."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.support.processes import PATIENCE, umask_now

# before NumPy is imported anywhere: its BLAS would start threads, and CoreC forks
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

# A machine that is busy with other things is no fault of what is tested. Each run tries the same
# examples: new ones are what `python -m tests.oracle` looks for, by seeds that it tells.
settings.register_profile(
    "busy", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")

pytest_plugins = ["tests.support.servers", "tests.support.leaks", "tests.support.proxied"]


def pytest_configure(config: pytest.Config) -> None:
    """Compile once, before several processes would each compile the same.

    Half of what the tests' own processes compute is compiling, too.
    """
    from corec.proc import look_less_for_garbage

    look_less_for_garbage()
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        from corec.cli.warm import warm  # not before BLAS was told how many threads it has

        warm(Path(__file__).parent.parent / "configs" / "corec_config.json")
        _compile_the_rest()


def _compile_the_rest() -> None:
    """What only worlds with births or genes, and an upgrade's check, would compile: where that
    takes minutes, no deadline of a test has to allow for it."""
    programs = [
        f"import corec.cache; corec.cache.prepare(); import {name}"
        for name in ("corec.kernels.evolution", "corec.kernels.settlement")
    ]
    started = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
    for process in started:
        process.wait()


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """A test's own time is as patient as what it waits for (``wait_until``)."""
    for mark in item.iter_markers("timeout"):
        item.add_marker(pytest.mark.timeout(PATIENCE * mark.args[0]), append=False)
        return


def pytest_sessionstart(session: pytest.Session) -> None:
    """Of several processes each imports another part of the tests before it collects all of them.

    Nobody has rewritten their assertions yet in a new checkout, which takes as long as to collect
    them: all would do it for the same files at once. What one has written the others read.
    """
    given = getattr(session.config, "workerinput", None)
    if given is None or [Path(name).name for name in session.config.args] != ["tests"]:
        return
    root = Path(__file__).parent
    paths = sorted(root.rglob("test_*.py"), key=lambda path: (-path.stat().st_size, path))
    for path in paths[int(given["workerid"].removeprefix("gw")) :: given["workercount"]]:
        name = path.relative_to(root.parent).with_suffix("").as_posix().replace("/", ".")
        with suppress(Exception, pytest.skip.Exception):  # its collection says why
            importlib.import_module(name)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, the long files begin; alone, everything runs in the order of its names."""
    if hasattr(config, "workerinput"):
        from tests.support.order import longest_first

        longest_first(items)


@pytest.fixture(autouse=True)
def _projects_of_its_own(request: pytest.FixtureRequest) -> Iterator[None]:
    """A module of a project that a test made is none of the next test's: a process has one of a
    name, and which tests share one depends on how they are shared out."""
    if "tmp_path" not in request.fixturenames:
        yield
        return
    home = f"{request.getfixturevalue('tmp_path')}{os.sep}"
    yield
    made = [folder for folder in sys.path if f"{folder}{os.sep}".startswith(home)]
    if not made:
        return
    sys.path[:] = [folder for folder in sys.path if folder not in made]
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(home):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def _process_as_found() -> Iterator[None]:
    """A test leaves this process' umask and folder to those after it as it found them: which tests
    share a process depends on how they are shared out."""
    before = umask_now(), os.getcwd()
    yield
    after = umask_now(), os.getcwd()
    os.umask(before[0])
    os.chdir(before[1])
    assert after == before, f"umask and folder were {before} before this test, {after} after it"


@pytest.fixture(autouse=True)
def _logging_as_found() -> Iterator[None]:
    """A test that sets logging up leaves no sink or level for those after it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)
