"""What can be read of any world from Python: ``corec.World`` and ``corec.attach`` share it."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, Self, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from corec.plan import Plan, Swarm
from corec.process.events import DIVISION, FUSION, LINEAGE
from corec.view.frame import Frame, table_html
from corec.world.ancestry import Remembered, Told, ancestors
from corec.world.columns import column_names
from corec.world.edits import checked_ids, find_swarm, parts_of
from corec.world.evolved import evolution
from corec.world.inspect import blocks as all_blocks
from corec.world.inspect import entity as one_entity

Words = NDArray[np.uint64]
Columns = tuple[int, dict[str, NDArray[Any]]]
"""The tick, and values by name."""
ANCESTORS: Final = 10_000
"""So many does ``lineage`` give if it is not told how many."""
SECONDS_MAX: Final = 1e8
"""More than three years: nobody waits for longer, and sockets take no time that is."""


class Digest(str):
    """A digest, 32 hex digits, with the ``tick`` that it is of."""

    tick: int

    def __new__(cls, digits: str, tick: int) -> Digest:
        """``digits`` of ``tick``."""
        made = super().__new__(cls, digits)
        made.tick = tick
        return made

    def __getnewargs__(self) -> tuple[str, int]:  # type: ignore[override]  # str has one argument
        """So that it can be pickled."""
        return str(self), self.tick


class Replaced(Exception):
    """The world's memory was made anew, with another plan perhaps, since that was looked at."""


class Part(NamedTuple):
    """What of one part of a bloque is read."""

    swarm: Swarm
    names: list[str]
    blocks: NDArray[np.int64]
    """Those numbers, ascending, of the part's blocks."""
    ids: NDArray[np.int64] | None
    """Of these entities, in this order; None: of all."""

    @classmethod
    def of(cls, part: Swarm, names: list[str], chosen: NDArray[np.int64] | None) -> Self:
        """``names`` of those of ``chosen``, or of all, that are in ``part``."""
        blocks = np.arange(part.blocks)
        if chosen is None:
            return cls(part, names, blocks, None)
        mine = chosen[(chosen >= part.first_id) & (chosen < part.end_id)]
        touched = np.unique((mine - part.first_id) // part.cap)
        return cls(part, names, touched if touched.size else blocks[:1], mine)  # a tick at least


class Readable(ABC):
    """A world whose blocks lie in this process's memory, or are mapped into it."""

    @abstractmethod
    def _world(self) -> tuple[Plan, Words]:
        """The plan and the world's memory as u64."""

    @abstractmethod
    def _read(self, plan: Plan, parts: Sequence[Part]) -> list[Columns]:
        """``corec.world.columns.read_columns`` of each of ``parts``, which are of ``plan``, all at
        one tick. Raises Replaced: the world is another plan's by now."""

    @property
    def swarms(self) -> list[str]:
        """The names of the swarms, in the order of their ids."""
        return list(dict.fromkeys(swarm.id for swarm in self._world()[0].swarms))

    def frame(
        self, swarm: str | None = None, columns: Sequence[str] | str | None = None,
        ids: Iterable[int] | None = None,
    ) -> Frame:  # fmt: skip
        """All entities of a swarm, or those of ``ids``, at one tick.

        Args:
            swarm: its name; may be left out where there is only one.
            columns: of ``id``, ``valor``, ``activo``, ``fallos``, the state fields and the
                histories, one of them or a list; all but the histories if left out. A history is
                f4[n, length], oldest first, NaN where there is no value yet.
            ids: entity ids of this swarm, in any order.

        Raises:
            ValueError: there is no such swarm, column or id.
        """
        given = None if columns is None else listed(columns)
        while True:
            plan, _ = self._world()
            one = find_swarm(plan, swarm)
            plain, histories = column_names(one)
            wanted = ["id", *plain] if given is None else given
            unknown = [name for name in wanted if name not in ("id", *plain, *histories)]
            if unknown:
                have = ", ".join(["id", *plain, *histories])
                raise ValueError(f"columns: found {unknown[0]!r:.80}, expected some of: {have}")
            swarms = parts_of(plan, one.id)
            ids = chosen = None if ids is None else checked_ids(swarms, ids)
            names = [name for name in wanted if name != "id"] or ["activo"]
            parts = [Part.of(part, names, chosen) for part in swarms]
            try:
                found = self._read(plan, parts)
            except Replaced:
                continue
            frames = [_frame(a, *f, wanted) for a, f in zip(parts, found, strict=True)]
            return frames[0] if len(frames) == 1 else joined(frames, chosen)

    def means(
        self, swarm: str | None = None, columns: Sequence[str] | str | None = None
    ) -> dict[str, float]:
        """Means of numbers of a swarm over its active entities whose number is finite; NaN where
        there is none.

        Args:
            swarm: its name; may be left out where there is only one.
            columns: one, or a list; ``valor`` and all state fields if left out.

        Raises:
            ValueError: there is no such swarm or column.
        """
        plan, _ = self._world()
        one = find_swarm(plan, swarm)
        if columns is None:
            columns = ["valor", *(field.name for field in one.processor.state)]
        columns = listed(columns)
        frame = self.frame(one.id, [*columns, "activo"])
        active = frame["activo"]
        found = {}
        for name in columns:
            values = frame[name][active]
            values = values[np.isfinite(values)]
            found[name] = float(values.mean(dtype=np.float64)) if values.size else float("nan")
        return found

    def evolution(self) -> list[dict[str, Any]]:
        """How swarms with genes evolve, as ``corec-ctl evolution``."""
        return evolution(*self._world())

    def lineage(self, entity: int, *, limit: int = ANCESTORS) -> list[dict[str, Any]]:
        """The entity's birth, its mother's, and so on, as far as they are known: dicts with hijo,
        madre, padre, generacion, how, genes, tick. Births are told of with ``evolucion.linaje``;
        that a block took over another's entities (``how``: fusion, division), always; of ``spawn``
        nothing is told, so where entities are born and die it is what their places took over.

        Args:
            entity: its id.
            limit: so many at most.

        Raises:
            LookupError: there is no entity with this id. AskFailed: an instance's database can't
            be reached, or what it answered.
        """
        plan, _ = self._world()
        entity = whole("id", entity)
        if plan.block_of(entity) is None:
            last = plan.entidades - 1
            raise LookupError(f"entity {entity}: there is none; ids go from 0 to {last}")
        most = whole("limit", limit, least=0)
        with self._ancestry() as told:
            return ancestors(told, entity, plan, most)

    @contextmanager
    def _ancestry(self) -> Iterator[Told]:
        """What is known here of births."""
        births, *takeovers = (self._told(tipo) for tipo in (LINEAGE, FUSION, DIVISION))
        yield Remembered(births, [event for some in takeovers for event in some])

    def _told(self, tipo: str) -> list[dict[str, Any]]:
        """Every event of a kind that is known here."""
        return []

    def blocks(self) -> list[dict[str, Any]]:
        """Every block: id, canal, umbral, fitness, media, desviacion, errores, mensajes, tick …"""
        plan, words = self._world()
        return all_blocks(plan, words)

    def entity(self, entity_id: SupportsIndex) -> dict[str, Any]:
        """One entity with its state and its histories, as ``corec-ctl entity ID --json`` shows it.

        Raises:
            LookupError: there is no entity with this id.
        """
        plan, words = self._world()
        return one_entity(plan, words, whole("id", entity_id))

    @property
    @abstractmethod
    def _plan_shown(self) -> Plan | None:
        """The plan as it is known, without looking anew; None after ``close``."""

    def _repr_html_(self) -> str:
        plan = self._plan_shown
        rows = [
            [one.id, str(one.canal), f"{one.entidades:,}", f"{one.blocks:,}", one.processor.name]
            for one in (plan.swarms if plan is not None else ())
        ]
        return table_html(
            ["swarm", "canal", "entidades", "bloques", "procesador"], rows, repr(self)
        )


def whole(name: str, given: SupportsIndex, least: int | None = None) -> int:
    """``given`` as a whole number, not below ``least``. Raises ValueError."""
    try:
        if isinstance(given, bool):  # an index to Python, and a slip of who wrote it
            raise TypeError
        found = operator.index(given)
    except TypeError:
        raise ValueError(f"{name}: found {given!r:.80}, expected a whole number") from None
    if least is not None and found < least:
        raise ValueError(f"{name}: found {found}, expected a whole number, {least} or more")
    return found


def seconds_of(name: str, given: Any) -> float:
    """``given`` as a time to wait. Raises ValueError."""
    with suppress(TypeError):  # an array of several has a method for it, too
        number = isinstance(given, SupportsFloat) and not isinstance(given, bool | np.bool_)
        if number and 0.0 <= (found := float(given)) <= SECONDS_MAX:
            return found
    raise ValueError(f"{name}: found {given!r:.80}, expected seconds, from 0 to {SECONDS_MAX:g}")


def _frame(
    read: Part, tick: int, found: dict[str, NDArray[Any]], wanted: list[str]
) -> Frame:  # fmt: skip
    """The frame of one part, ``found`` what was read of it at ``tick``."""
    part, ids = read.swarm, read.ids
    numbers: NDArray[np.uint32] | range = range(part.first_id, part.first_id + part.entidades)
    if ids is not None:
        # a block in front of the part's last is full, so its place among those read says where
        place = np.searchsorted(read.blocks, (ids - part.first_id) // part.cap) * part.cap
        place += (ids - part.first_id) % part.cap
        found = {name: values[place] for name, values in found.items()}
        numbers = ids.astype(np.uint32)
    if "activo" in found:
        found["activo"] = found["activo"].astype(np.bool_)
    frame = Frame(part.id, tick, numbers, {})
    if "id" in wanted:
        found["id"] = frame.ids
    frame.put({name: found[name] for name in wanted})
    return frame


def listed(columns: Iterable[str] | str) -> list[str]:
    """Names of columns; a single one may stand for itself. Raises ValueError."""
    if not isinstance(columns, Iterable):
        raise ValueError(f"columns: found {columns!r:.80}, expected a list of names")
    return [columns] if isinstance(columns, str) else list(columns)


def joined(frames: list[Frame], order: NDArray[np.int64] | None = None) -> Frame:
    """The frames of a bloque's parts as one; in ``order``, ids, if that is given."""
    numbers = np.concatenate([frame.ids for frame in frames])
    places: Any = slice(None)
    if order is not None:
        by_id = np.argsort(numbers, kind="stable")
        places = by_id[np.searchsorted(numbers[by_id], order)]
    whole = Frame(frames[0].swarm, frames[0].tick, numbers[places], {})
    whole.put({
        name: np.concatenate([frame[name] for frame in frames])[places]
        for name in frames[0].columns
    })  # fmt: skip
    return whole
