"""An IsolationForest (Liu, Ting and Zhou 2008) in a process of its own, opt-in: ``bosque``.

The process learns from the rows that it is sent and says how easily each new one is isolated:
between 0 and 1, near 1 for what is unlike everything else. scikit-learn takes 100 MB and holds the
interpreter for as long as it learns, so neither is the nucleus'. Over its standard streams::

    to it      <II: rows to learn from, rows to score; f4[rows, 4] of both
    from it    f4[rows to score]

It ends when its input does, so with the nucleus, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import struct
import sys
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec.modules.anomalies import COLUMNS
from corec.proc import die_with

HEAD: Final = struct.Struct("<II")
TREES: Final = 100
LEARN_MAX: Final = 4096
"""Rows to learn from; a tree sees 256 of them."""
ISOLATED: Final = 0.7
"""What scores more is an anomaly: "very close to 1" of the paper, where 0.5 is ordinary."""
MISSING: Final = "scikit-learn is not installed: pip install 'corec[bosque]'"
ANSWER_SECONDS: Final = 60.0
LINE_BYTES_MAX: Final = 1 << 26
Rows = NDArray[np.float32]


def available() -> bool:
    """Whether scikit-learn is installed."""
    return find_spec("sklearn") is not None


class ForestFailed(Exception):
    """The process has ended, or does not answer; the text says why."""


class Forest:
    """The process, from outside."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def scores(self, learn: Rows, new: Rows) -> Rows:
        """f4[new] of f4[rows, 4]. Raises ForestFailed; the next call starts another process."""
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", __name__, str(os.getpid()),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                limit=LINE_BYTES_MAX,
            )  # fmt: skip
        process = self._process
        assert process.stdin is not None  # asked for
        assert process.stdout is not None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                process.stdin.write(HEAD.pack(len(learn), len(new)))
                process.stdin.write(learn.astype("<f4").tobytes() + new.astype("<f4").tobytes())
                await process.stdin.drain()
                answer = await process.stdout.readexactly(4 * len(new))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            await self.close()
            why = f"exit code {process.returncode}" if process.returncode else repr(error)
            raise ForestFailed(MISSING if not available() else why) from None
        return np.frombuffer(answer, "<f4")

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _serve() -> int:
    try:
        ensemble = importlib.import_module("sklearn.ensemble")
    except ImportError:
        return 3
    source, answers = sys.stdin.buffer, sys.stdout.buffer
    while len(head := source.read(HEAD.size)) == HEAD.size:
        learn, new = (_rows(source, count) for count in HEAD.unpack(head))
        forest = ensemble.IsolationForest(n_estimators=TREES, random_state=0)
        found = -forest.fit(learn).score_samples(new)
        answers.write(np.asarray(found, "<f4").tobytes())
        answers.flush()
    return 0


def _rows(source: Any, count: int) -> Rows:
    data = source.read(4 * count * len(COLUMNS))
    return np.frombuffer(data, "<f4").reshape(count, len(COLUMNS))


if __name__ == "__main__":
    sys.exit(_serve() if die_with(int(sys.argv[1])) else 1)
