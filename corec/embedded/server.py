"""What both embedded servers have of a life: whose child it is, how it is begun, waited for, ended.

Its folder (``home``), the place of its socket, the process (``child``): ``_beginning`` takes them
in this order, ``stopping`` gives them back in the other. One that has died is begun again with what
it still has of them.
"""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

from corec.embedded.child import Child
from corec.embedded.errors import EmbeddedServerError
from corec.embedded.home import Home, SocketDir
from corec.embedded.waiting import waited_for

Steps = tuple[tuple[signal.Signals, float], ...]
"""Signals that end a server, and how many seconds each has for it."""
_START_SECONDS_MAX: Final = 300.0  # replaying gigabytes of log on a slow disk
_QUIET_SECONDS: Final = 3.0
_AGAIN_SECONDS: Final = 10.0


class EmbeddedServer(ABC):
    """One server; all methods raise EmbeddedServerError."""

    _death: ClassVar[signal.Signals]
    """What the kernel sends it when its parent ends; it ends what a killed one has left, too."""

    def __init__(
        self,
        data_dir: Path,
        socket_dir: Path,
        *,
        port: int | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._data_dir = Path(data_dir)
        self._wanted_socket_dir = Path(socket_dir)
        self._wanted_port = port
        self._progress = progress or (lambda _text: None)
        self._child: Child | None = None
        self._home: Home | None = None
        self._socket_parent: SocketDir | None = None
        self._ready = False  # the running server takes connections
        self._served = False  # one has taken them since begin()

    @property
    def pid(self) -> int | None:
        """Process number of the running server, or None."""
        return self._child.pid if self._child is not None and self.alive() else None

    def alive(self) -> bool:
        """Is the server process there? (It may take no connections: recovery, shutdown.)"""
        return self._child is not None and self._child.exit_code is None

    @abstractmethod
    def starting(self) -> Iterator[None]:
        """Start the server; yields until it takes connections. When it fails, what was begun is
        left to ``stopping``."""

    @abstractmethod
    def stopping(self, fast: bool = True) -> Iterator[None]:
        """Stop and clean up; yields until it is done. `fast`: without waiting for its clients."""

    def begin(self) -> None:
        """Start the first of its processes, and wait for none."""
        with self._whole():
            waited_for(self._beginning())

    def start(self) -> None:
        """``starting``, waited for."""
        with self._whole():
            waited_for(self.starting())

    def stop(self, fast: bool = True) -> None:
        """``stopping``, waited for."""
        waited_for(self.stopping(fast))

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """When it fails inside, nothing is left of it."""
        try:
            yield
        except BaseException:
            self.stop()
            raise

    @abstractmethod
    def _beginning(self) -> Iterator[None]:
        """Start the first of its processes; yields while it ends what a killed one has left."""

    def _take_home(self) -> Home:
        """Its folder, ours from now on; a server in it is not ours yet."""
        if self._home is None:
            home = Home(self._data_dir)
            home.acquire()
            self._home = home
        self._ready = False
        return self._home

    def _ending(self, steps: Steps) -> Iterator[None]:
        self._ready = False
        if self._child is not None:
            yield from self._child.stopping(steps)
            self._child = None
            if self._home is not None:
                yield from self._home.ending_leftovers(self._death)
                yield from self._cleaning(self._home)

    def _cleaning(self, home: Home) -> Iterator[None]:
        """Remove what an ended server leaves outside of its folder: nothing."""
        return iter(())

    def _let_go(self) -> None:
        """Give back the place of the socket, and its folder."""
        if self._socket_parent is not None:
            self._socket_parent.remove()
            self._socket_parent = None
        self._served = False
        if self._home is not None:
            self._home.release()
            self._home = None

    def _until(
        self, ready: Callable[[Child], bool], name: str, late: str, busy: str
    ) -> Iterator[None]:
        """Yields until it is ``ready``. ``late``: what to say of one that never is, ``busy``: of
        one that takes its time."""
        child = self._child
        assert child is not None, "it is begun"
        deadline = time.monotonic() + _START_SECONDS_MAX
        told = time.monotonic() + _QUIET_SECONDS
        while not ready(child):
            if child.exit_code is not None:
                raise EmbeddedServerError(
                    f"{name} did not start in {self._data_dir} "
                    f"(exit code {child.exit_code}){child.log_tail()}"
                )
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"{name} {late} within {_START_SECONDS_MAX:.0f} s in "
                    f"{self._data_dir}{child.log_tail()}"
                )
            if time.monotonic() > told:
                told += _AGAIN_SECONDS
                self._progress(f"{name} is {busy}")
            yield
