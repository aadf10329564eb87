"""For users' tests: run a processor as in the server, or as plain Python, and compare the two.

``PlainEntity`` is ``me`` for a call in plain Python (a debugger steps through it). ``Block`` is one
block of a world in ordinary memory, ticked by the same compiled code as in a worker, without any
process or server. ``compare`` runs both side by side and says where they differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.config.evolucion import Evolucion
from corec.config.umbral import Umbral
from corec.entities.dense import DRAWS_PER_READING
from corec.entities.fields import VIVO
from corec.entities.meeting import space_of
from corec.entities.plain import PlainEntity
from corec.entities.plain_compare import (
    Difference,
    Plain,
    check_moves,
    letters_of,
    settle_births,
)
from corec.entities.plain_near import Seen
from corec.entities.planning import planned
from corec.entities.processor import Processor, ProcessorError
from corec.entities.silence import HEARD, QUIET
from corec.graph.source import source_of
from corec.kernels import desc as K
from corec.layout.frames import (
    TIME_BYTES,
    Messages,
    Rows,
    alert_columns,
    log_at,
    message_step,
    repairs_at,
    row_entries,
    row_step,
)
from corec.placing import place_block
from corec.plan import BLOCK_ROW, Plan, Swarm, with_public
from corec.sight import alone_fault, with_everyone
from corec.world.create import create_world
from corec.world.lanes import own_lanes
from corec.world.read import BlockView
from corec.world.tables import make_tables
from corec.world.ticker import Ticker

__all__ = ["Block", "Difference", "LaneFull", "Messages", "PlainEntity", "Rows", "compare"]

CAP: Final = 1000  # of a usual block: its machine code is then the server's own, from the cache
READINGS_PER_TICK: Final = 2


class LaneFull(RuntimeError):
    """The frames of this tick did not fit; release some and call ``tick`` again."""


class Block:
    """One block of ``entities`` entities in ordinary memory, at tick 0.

    Args:
        processor: made with ``@corec.micro`` or ``@corec.celu``.
        entities: how many, at most ``cap``.
        params: over the processor's defaults, as ``parametros`` in the config.
        seed, carga, canal: as in the config.
        every_ticks: a row every so many ticks, 0 for none.
        max_errores: share of failures above which the block repairs itself.
        umbral: as in the config, ``corec.config.umbral.Umbral``.
        first_id: id of the first entity.
        lane_bytes: room for frames, a power of two (more, if the largest frame needs it); unless
            ``keep``, those nobody fetched (``messages``, ``row_frames``) go when it is full.
        space: as in the config, for as many entities as it has cells.
        globals, evolucion: as in the config.
        living: of mortals, how many of them live at first, the other places being free.
        memory: u8[Block.bytes_needed(processor)], and room for its public columns, to put the block
            into; fresh memory if left out.

    Raises:
        ProcessorError: the processor can't be compiled, its init fails, or it does not fit.
    """

    def __init__(
        self,
        processor: Processor,
        *,
        entities: int = 100,
        params: Mapping[str, float] | None = None,
        seed: int = 42,
        carga: float = 1.0,
        canal: int = 1,
        every_ticks: int = 0,
        max_errores: float = 0.05,
        umbral: Umbral | None = None,
        first_id: int = 0,
        cap: int = CAP,
        lane_bytes: int = 1 << 20,
        keep: bool = False,
        space: Mapping[str, Any] | None = None,
        globals: Mapping[str, float] | None = None,
        evolucion: Mapping[str, Any] | None = None,
        living: int | None = None,
        memory: NDArray[np.uint8] | None = None,
    ) -> None:
        if not 1 <= entities <= cap:
            raise ValueError(f"entities: found {entities}, allowed 1 to cap, which is {cap}")
        processor = planned(processor, space)
        self.processor, self.n, self.seed, self.carga = processor, entities, seed, carga
        self.first_id, self.keep, self.space = first_id, keep, space
        if fault := alone_fault(processor, space, entities):
            raise ValueError(fault)
        values = processor.param_values(params or {})
        self.params = dict(zip((name for name, _ in processor.params), values, strict=True))
        self.globals = dict(globals or {})
        values += processor.global_values(self.globals)
        size = self.bytes_needed(processor, cap)
        place = place_block(processor, cap, size)
        assert place is not None
        swarm = Swarm(
            0, "block", canal, entities, cap, size, 0, 1, first_id, processor, tuple(values),
            max_errores, 0.2, (umbral or Umbral()).limits, space_of(space),
            Evolucion.model_validate(evolucion) if evolucion is not None else None,
            source_of(space_of(space), entities, seed, Path.cwd(), "block"), (), living,
        )  # fmt: skip
        row = (0, canal, first_id, entities, 0, place.hot, place.log, place.log_cap, place.model,
               place.model_bytes, place.hist)  # fmt: skip
        (swarm,) = with_everyone([swarm])
        self.plan = with_public(Plan((swarm,), np.array([row], BLOCK_ROW), size))
        size = self.plan.world_bytes // 8
        self.memory = np.zeros(size, np.uint64).view(np.uint8) if memory is None else memory
        self.tables = make_tables(self.plan, self.memory)
        create_world(self.plan, self.memory, self.tables, seed, lambda done, total: None)
        self.out, self.rows = own_lanes(self.plan, lane_bytes)
        self.ticker = Ticker(self.plan, self.tables, seed, every_ticks=every_ticks)

    @staticmethod
    def bytes_needed(processor: Processor, cap: int = CAP) -> int:
        """Bytes of a block of ``cap`` entities: the smallest whole number of MiB that holds it."""
        for mib in (1, 2, 4, 8, 16, 32, 64):
            if place_block(processor, cap, mib * L.MIB) is not None:
                return mib * L.MIB
        raise ProcessorError(f"{processor.name}: {cap} entities do not fit into a block of 64 MiB")

    def tick(self, readings: Iterable[tuple[int, Any] | tuple[int, Any, bool]] = ()) -> int:
        """Run one tick; returns its number.

        ``readings``: (entity id, value) or (entity id, value, activo) in order of arrival; of
        several values a mapping of their names or a sequence in their order.

        Raises:
            LaneFull: with ``keep``: nothing of the step at hand was published; fetch frames, then
                call again with the same readings.
        """
        given = [(*reading, True)[:3] for reading in readings]
        ids = np.array([int(r[0]) for r in given], np.int64)
        if ((ids < self.first_id) | (ids >= self.first_id + self.n)).any():
            raise ValueError(f"readings: an id is not one of the {self.n} from {self.first_id} on")
        tick, ticker = self.settle(), self.ticker
        ticker.fargs[K.F_CARGA] = self.carga
        values = np.array([self.processor.reading(r[1]) for r in given], np.float32)
        ticker.arrivals.give(ids, values, np.array([bool(r[2]) for r in given], np.uint8))
        while ticker.run(0, self.out, self.rows) != 1:
            if self.keep:
                raise LaneFull(f"tick {tick}: a lane has no room for its frames")
            self.out.release(self.out.head)
            self.rows.release(self.rows.head)
        return tick

    def settle(self) -> int:
        """What happens before the next tick, evolution and moves, if it has not yet; the number of
        that tick."""
        tick = self.view.tick + 1
        self.ticker.targs[K.T_TICK] = tick
        self.ticker.targs[K.T_UNIX_NS] = tick * 1_000_000_000
        self.ticker.do_phases(self.rows, lambda: self.rows.release(self.rows.head))
        return tick

    @property
    def view(self) -> BlockView:
        """The committed state: ``tick``, ``column(name)``, ``activo``, ``fallos``, ``history``."""
        return BlockView(self.plan, self.memory.view(np.uint64), 0)

    def messages(self) -> list[Messages]:
        """The frames of messages published since the last call."""
        columns, found = self.processor.alert_columns, []
        for f in self.out.frames():
            data = bytes(f.payload)
            one = np.frombuffer(data, L.MESSAGE, f.b), alert_columns(data, f.b, columns)
            found.append(Messages(f.tick, message_step(f.c), *one))
        self.out.release(self.out.head)
        return found

    def row_frames(self) -> list[Rows]:
        """The frames for the persister published since the last call."""
        found = []
        for f in (one for one in self.rows.frames() if one.kind == L.KIND_ROW_FRAME):
            data, has_row = bytes(f.payload), f.flags & L.ROW_HAS_ROW
            row = np.frombuffer(data, L.ROW, 1) if has_row else None
            unix_ns = int.from_bytes(data[:TIME_BYTES], "little")
            repairs = np.frombuffer(data, L.REPAIR, f.b, repairs_at(has_row))
            log = np.frombuffer(data, L.LOG_DTYPE, row_entries(f.c), log_at(has_row, f.b))
            found.append(Rows(f.tick, row_step(f.c), unix_ns, row, repairs, log))
        self.rows.release(self.rows.head)
        return found

    def entity(self, index: int) -> dict[str, Any]:
        """Everything ``PlainEntity`` takes, of entity ``index`` of the block, for the next tick."""
        view = self.view
        state: dict[str, Any] = {
            "id": self.first_id + index, "tick": view.tick + 1, "seed": self.seed,
            "valor": view.column("valor")[index],
        }  # fmt: skip
        state.update(self.params)
        state |= {"globals": self.globals} if self.processor.globals else {}
        names = [f.name for f in self.processor.state] + [g.name for g in self.processor.genes]
        state.update({name: view.column(name)[index] for name in names})
        for k, name in enumerate(self.processor.means):
            state[f"mean_{name}"] = np.float32(view.number(L.D_MEAN0 + k))
        for ring in self.processor.history:
            values, held = view.history(ring.name)
            state[ring.name] = values[index][ring.length - int(held[index]) :]
        if self.plan.swarms[0].meeting is not None:
            names = list(self.processor.public) or ["valor"]
            others: Any = {name: view.column(name).tolist() for name in names}
            if (source := self.plan.swarms[0].source) is not None:
                others = Seen(self.processor, self.space, others, self.first_id, source.links)
            state.update(others=others, space=self.space, origin=self.first_id)
        return state


def compare(
    processor: Processor,
    *,
    ticks: int = 20,
    entities: int = 32,
    seed: int = 42,
    values: Sequence[Any] | None = None,
    params: Mapping[str, float] | None = None,
    rtol: float = 1e-4,
    space: Mapping[str, Any] | None = None,
    globals: Mapping[str, float] | None = None,
    living: int | None = None,
) -> int:
    """Run ``processor`` compiled and as plain Python; returns how many calls were compared.

    Each tick starts both from the compiled block's state, so rounding does not add up. Numbers
    agree when they differ by at most ``rtol · max(1, |a|, |b|)``, integers when they are equal;
    a call that raises or returns a non-finite number must fail in both.

    Args:
        ticks, entities, seed: how long, how many, and of which world.
        values: what arrives, each as ``Block.tick`` takes it: two readings per tick and entity for
            a ``celu`` (normally distributed ones if left out), one for a ``micro`` (none), each
            entity starting at another place.
        params: over the processor's defaults.
        space, globals, living: as of a ``Block``.
        rtol: tolerance; Python's ``math`` computes in float64, the compiled form in float32.

    Raises:
        Difference: which entity, tick and field, and the call that repeats it in a debugger.
        ProcessorError: the processor can't be compiled, or its init fails.
    """
    block = Block(processor, entities=entities, params=params, seed=seed, max_errores=1.0,
                  space=space, globals=globals, living=living)  # fmt: skip
    processor = block.processor
    given = [processor.reading(v) for v in values] if values is not None else []
    if processor.kind == "celu" and not given:
        drawn = np.random.default_rng(seed).normal(0.5, 0.2, (997, processor.width))
        given = [processor.reading(v if processor.values else v[0]) for v in drawn]
    per_tick = (READINGS_PER_TICK if processor.kind == "celu" else 1) if given else 0
    calls = _compare_init(block, rtol)
    letters: list[tuple[int, Any]] = []
    plains: list[Plain] = []
    for tick in range(1, ticks + 1):
        arriving = [
            (i, given[(7 * i + per_tick * (tick - 1) + r) % len(given)])
            for r in range(per_tick)
            for i in range(entities)
        ]
        block.settle()
        before = [block.entity(i) for i in range(entities)]
        check_moves(plains, before, rtol)
        fallos, ids = block.view.fallos.copy(), range(entities)
        block.tick(arriving)
        after = [block.entity(i) for i in range(entities)]
        failed = block.view.fallos - fallos
        plains = []
        for i in range(entities):
            mine = [(n, v) for n, (e, v) in enumerate(letters + arriving) if e == i]
            post: dict[str, Any] = {"ids": ids} if processor.sends else {}
            if processor.reads_inbox:
                post["inbox"] = [v for e, v in letters if e == i]
            plain = Plain(processor, before[i] | post, space)
            if processor.kind == "celu":
                for place, value in mine:
                    plain.hear(tick)
                    plain.run(value, draws=place * DRAWS_PER_READING, place=place)
            else:
                given_now = [v for e, v in arriving if e == i]
                plain.state["valor"] = np.float32([before[i]["valor"], *given_now][-1])
                if plain.state.get(VIVO, 1):
                    plain.run()
            calls += plain.calls
            plains.append(plain)
        letters = letters_of(plains)
        reborn = settle_births(processor, plains, before, space)
        for i, plain in enumerate(plains):
            plain.check(after[i], 0 if i in reborn else int(failed[i]), rtol)
    return calls + (_compare_silence(block, rtol) if processor.silence else 0)


def _compare_silence(block: Block, rtol: float) -> int:
    """A tick in which everybody falls silent."""
    view = block.view
    view.column(HEARD)[:] = view.tick + 1 - block.processor.silence
    view.column(QUIET)[:] = 0
    before = [block.entity(i) for i in range(block.n)]
    fallos = view.fallos.copy()
    block.tick()
    after, failed = [block.entity(i) for i in range(block.n)], block.view.fallos - fallos
    for i in range(block.n):
        plain = Plain(block.processor, before[i], block.space)
        plain.state[QUIET] = 1
        plain.run(function=block.processor.on_silence)
        plain.check(after[i], int(failed[i]), rtol)
    return block.n


def _compare_init(block: Block, rtol: float) -> int:
    if block.processor.init is None:
        return 0
    for i in range(block.n):
        compiled = block.entity(i)
        start = {name: compiled[name] for name in ("id", "seed")} | {"tick": 0} | block.params
        start |= {f.name: f.default for f in block.processor.state}
        start |= {n: compiled[n] for n in ("globals", *(g.name for g in block.processor.genes))
                  if n in compiled}  # fmt: skip
        start |= {"valor": np.float32(0.0)} | {ring.name: [] for ring in block.processor.history}
        plain = Plain(block.processor, start, block.space)
        plain.run(function=block.processor.init)
        plain.state.update({name: compiled[name] for name in (VIVO,) if name in compiled})
        plain.check(compiled, 0, rtol)
    return block.n
