"""The runs of a sweep: which there are, what is measured of each, and the file that keeps them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec.config.measures import ALLOWED, Expression, parse_expression
from corec.durable import sync_file
from corec.entities.compile import code_key
from corec.entities.processor import Processor
from corec.plan import Plan
from corec.version import __version__
from corec.view.reading import whole
from corec.world.columns import column_names
from corec.world.edits import find_swarm


class Run(NamedTuple):
    """One run: its number, its seed, what of the configuration differs."""

    number: int
    seed: int
    changes: dict[str, Any]


class Measure(NamedTuple):
    """A number of a swarm at a tick."""

    swarm: str
    what: Expression

    @property
    def column(self) -> str:
        """What it is of."""
        return self.what.column

    @property
    def name(self) -> str:
        """Of its column in the result."""
        return f"{self.swarm}.{self.what.text}"

    def of(self, values: NDArray[Any]) -> float:
        """``values``: of the column, of all entities."""
        return self.what.of(values)


def runs_of(
    over: Mapping[str, Iterable[Any]] | Sequence[Mapping[str, Any]], seeds: Any
) -> list[Run]:
    """Every combination of values (or each of a list) with every seed. Raises ValueError."""
    if isinstance(over, Mapping):
        values = {path: _listed(path, some) for path, some in over.items()}
        points = [
            dict(zip(values, one, strict=True)) for one in itertools.product(*values.values())
        ]
    elif isinstance(over, list | tuple) and all(isinstance(one, Mapping) for one in over):
        points = [dict(one) for one in over]
        if any(point.keys() != points[0].keys() for point in points):
            raise ValueError("over: found points with different paths, expected the same in all")
    else:
        raise ValueError(f"over: found {over!r:.80}, expected a dict of lists, or a list of dicts")
    if any("seed" in point for point in points):
        raise ValueError("over: found seed, expected it apart, as seeds: how many, or a list")
    if not isinstance(seeds, int | np.integer | list | tuple | range | np.ndarray):
        raise ValueError(f"seeds: found {seeds!r:.80}, expected how many, or a list of them")
    if isinstance(seeds, int | np.integer):
        seeds = range(int(seeds))
    some = [whole("seeds", one) for one in seeds]
    found = itertools.product(points, some)
    return [Run(k, seed, point) for k, (point, seed) in enumerate(found)]


def _listed(path: str, values: Any) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise ValueError(f"over: {path}: found {values!r:.80}, expected a list of values")
    return [one.item() if isinstance(one, np.generic) else one for one in values]


def measures_of(plan: Plan, collect: Mapping[str, Iterable[str]]) -> list[Measure]:
    """What ``collect`` asks for. Raises ValueError."""
    if not isinstance(collect, Mapping):
        raise ValueError(f"collect: found {collect!r:.80}, expected a dict of swarms")
    found = []
    for name, texts in collect.items():
        swarm = find_swarm(plan, name)
        plain, _ = column_names(swarm)
        if not isinstance(texts, Iterable):
            raise ValueError(f"collect: {name}: found {texts!r:.80}, expected {ALLOWED}")
        for text in [texts] if isinstance(texts, str) else texts:
            try:
                what = parse_expression(str(text))
            except ValueError as error:
                raise ValueError(f"collect: {name}: {error}") from None
            if what.column not in plain:
                have = ", ".join(plain)
                raise ValueError(f"collect: {name}: found {text!r:.80}, expected one of {have}")
            found.append(Measure(name, what))
    if not found:
        raise ValueError(f"collect: found nothing, expected swarm → {ALLOWED}")
    return found


class Kept:
    """A file of finished runs, one line of JSON each, the first saying of which sweep.

    Writer: the process of the sweep, alone (flock). A line is written and synced whole before the
    next run of its worker is begun; a kill leaves a line cut short at most, which the next sweep
    cuts off, and its run is done again.
    """

    def __init__(self, path: Path, mark: str) -> None:
        """Raises ValueError when the file is of another sweep, OSError as the system says."""
        self._path = str(path)
        if path.exists() and not path.is_file():  # a pipe or a device has no end
            raise ValueError(f"{path}: found no file, expected one, or a new name")
        self._file: IO[bytes] = open(  # noqa: SIM115 - closed by ``close``
            os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b"
        )
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ValueError(f"{path}: another sweep is writing it") from None
        whole = self._file.read()
        end = whole.rfind(b"\n") + 1
        lines = whole[:end].splitlines()
        # what was cut short is cut off below: of this sweep, then, and not somebody's own file
        if (lines[0] if lines else whole) != _head(mark)[: None if lines else len(whole)]:
            self._file.close()
            raise ValueError(f"{path}: found another sweep's runs, expected this one's; remove it")
        self._file.seek(end)
        self._file.truncate()
        self.done: dict[int, list[list[float]]] = {}
        for line in lines[1:]:
            entry = json.loads(line)
            self.done[entry["run"]] = entry["rows"]
        if not lines:
            self._write(_head(mark) + b"\n")

    def add(self, number: int, rows: list[list[float]]) -> None:
        """A run is done. Raises OSError."""
        self._write(json.dumps({"run": number, "rows": rows}).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line)
            sync_file(self._file)
        except OSError as error:  # the file's name is what a full disk is told by
            raise OSError(error.errno, error.strerror, self._path) from None

    def close(self) -> None:
        """Let go of the file. What it could not take was told when it was to be written."""
        with contextlib.suppress(OSError):
            self._file.close()


def _head(mark: str) -> bytes:
    return json.dumps({"sweep": mark}).encode()


def named(value: Any) -> str:
    """What JSON has no form for, in a sweep's runs: a processor by its name."""
    return value.name if isinstance(value, Processor) else str(value)


def plan_mark(plan: Plan) -> str:
    """What makes two processes run the same world: CoreC, the processors' code, the graphs."""
    return mark_of([plan], None, [])


def mark_of(plans: Iterable[Plan], raw: Any, runs: list[Run], *rest: Any) -> str:
    """What makes a sweep the same: configuration, code, runs, and what else is given. ``plans``:
    of every configuration that is run; each may have other processors, graphs and blocks."""
    swarms = [one for plan in plans for one in plan.swarms]
    code = [code_key(one.processor, one.cap, one.meeting) for one in swarms]
    graphs = [one.source.mark if one.source else None for one in swarms]
    text = json.dumps([__version__, raw, code, graphs, runs, rest], default=named, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
