"""A world as checkpoint records: tables for the kernels, chunks of blocks, the shape in a file.

A checkpoint says itself what its columns are (``shape_of``), so it can be read and its digest
recomputed without the processors it was made with, and a world of another shape is refused.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.entities.fields import BY_TIME, HistoryField, StateField
from corec.entities.genes import Gene
from corec.entities.post import children_at, moves_at, post_bytes, record_bytes
from corec.entities.processor import Processor
from corec.kernels import snapshot as kernel
from corec.placing import place_block
from corec.plan import BLOCK_ROW, Part, Plan, Swarm

CHUNK_BYTES: Final = 16 * L.MIB


class Packing:
    """The kernels' tables over one mapped world: int64 rows as in ``corec.kernels.snapshot``.

    ``world`` is u8[plan.world_bytes]; the addresses are good as long as this object lives.
    """

    def __init__(self, plan: Plan, world: NDArray[np.uint8]) -> None:
        self.plan, self.world = plan, world
        self.swarms = np.zeros((len(plan.swarms), kernel.Z_COLUMNS), np.int64)
        for row, swarm in zip(self.swarms, plan.swarms, strict=True):
            _swarm_row(row, swarm)
        rings = self.swarms[plan.blocks["swarm"], kernel.Z_RINGS]
        counters = rings * plan.blocks["entidades"]
        base = int(world.ctypes.data) + plan.blocks["offset"]
        self.blocks = np.zeros((plan.n_blocks, kernel.BLOCK_COLUMNS), np.int64)
        self.blocks[:, kernel.BLOCK_BASE] = base
        self.blocks[:, kernel.BLOCK_N] = plan.blocks["entidades"]
        self.blocks[:, kernel.BLOCK_HOT] = base + plan.blocks["hot"]
        self.blocks[:, kernel.BLOCK_LOG] = base + plan.blocks["log"]
        self.blocks[:, kernel.BLOCK_LOG_CAP] = plan.blocks["log_cap"]
        self.blocks[:, kernel.BLOCK_HIST] = base + plan.blocks["hist"]
        self.blocks[:, kernel.BLOCK_SWARM] = plan.blocks["swarm"]
        self.blocks[:, kernel.BLOCK_SEEN] = np.cumsum(counters) - counters
        self.counters = int(counters.sum())
        """Entities times rings: the counters that history rounds keep."""


def _swarm_row(row: NDArray[np.int64], swarm: Swarm) -> None:
    processor, cap = swarm.processor, swarm.cap
    offsets = processor.field_offsets(cap)
    sizes = [4] + [field.itemsize for field in processor.fields]
    row[kernel.Z_CAP] = cap
    row[kernel.Z_COPY] = processor.copy_bytes(cap)
    row[kernel.Z_FIELDS] = len(sizes)
    row[kernel.Z_OFFSET : kernel.Z_OFFSET + len(sizes)] = list(offsets.values())
    row[kernel.Z_SIZE : kernel.Z_SIZE + len(sizes)] = sizes
    row[kernel.Z_GENES] = len(processor.genes)
    row[kernel.Z_GENES_BYTES] = processor.gene_bytes(cap)
    row[kernel.Z_POST_BYTES] = post_bytes(processor, cap)
    row[kernel.Z_RECORD] = record_bytes(processor)
    row[kernel.Z_CHILDREN] = children_at(processor, cap)
    row[kernel.Z_MOVES] = moves_at(processor, cap)
    row[kernel.Z_RINGS] = len(processor.history)
    places = processor.history_offsets(cap)
    for k, ring in enumerate(processor.history):
        row[kernel.Z_RING_HIST + k] = places[ring.name]
        row[kernel.Z_RING_LENGTH + k] = ring.length
        row[kernel.Z_RING_SLOTS + k] = ring.slots
        row[kernel.Z_RING_COUNT + k] = offsets[ring.count_field]
        row[kernel.Z_RING_NEXT + k], row[kernel.Z_RING_STEP + k] = ring.strides(cap)


def history_bytes_max(plan: Plan, index: int) -> int:
    """The longest history record of block ``index``."""
    n = int(plan.blocks["entidades"][index])
    rings = plan.swarms[int(plan.blocks["swarm"][index])].processor.history
    return sum(32 + 12 * n + 4 * n * ring.length for ring in rings)


def chunks(plan: Plan) -> list[tuple[int, int]]:
    """Ranges (lo, hi) of blocks whose records together are about CHUNK_BYTES at most."""
    found: list[tuple[int, int]] = []
    lo = size = 0
    for index in range(plan.n_blocks):
        swarm = plan.swarms[int(plan.blocks["swarm"][index])]
        more = history_bytes_max(plan, index) + swarm.processor.copy_bytes(swarm.cap) + 65_536
        if size and size + more > CHUNK_BYTES:
            found.append((lo, index))
            lo, size = index, 0
        size += more
    found.append((lo, plan.n_blocks))
    return found


def shape_of(plan: Plan) -> list[dict[str, Any]]:
    """What the blocks of ``plan`` hold, swarm by swarm, as JSON data."""
    return [
        {
            "id": s.id,
            "canal": s.canal,
            "entidades": s.entidades,
            "cap": s.cap,
            "block_bytes": s.block_bytes,
            "procesador": s.processor.name,
            "kind": s.processor.kind,
            "state": [list(column) for column in s.processor.columns],
            "history": [[h.name, h.length] for h in s.processor.history],
            "means": list(s.processor.means),
        }
        | ({"genes": _genes(s), "fitness": s.processor.fitness} if s.processor.genes else {})
        | ({"public": list(s.processor.public), "space": _space(s)} if s.meeting else {})
        | ({"mortal": True} if s.processor.mortal else {})
        | ({"sends": s.processor.sends} if s.processor.sends else {})
        | ({BY_TIME: by_time} if (by_time := _by_time(s)) else {})
        for s in plan.swarms
    ]


def parts_of(shape: list[dict[str, Any]]) -> tuple[Part, ...]:
    """The parts of a world of ``shape``, for ``make_plan``. Raises KeyError, TypeError, ValueError:
    it makes no sense."""
    return tuple(Part(str(s["id"]), int(s["entidades"]), int(s["cap"])) for s in shape)


def columns_in(shape: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``shape`` without what decides no column: what older versions wrote, and how histories lie in
    memory."""
    return [
        {name: one[name] for name in one if name not in ("parametros", BY_TIME)} for one in shape
    ]


def _by_time(s: Swarm) -> list[str]:
    return [ring.name for ring in s.processor.history if ring.by_time]


def _space(s: Swarm) -> dict[str, Any] | None:
    if s.space is None:
        return None
    mark = {"mark": s.source.mark} if s.source is not None else {}
    return {**s.space.model_dump(mode="json", exclude_defaults=True), **mark}


def _genes(s: Swarm) -> list[list[Any]]:
    return [[g.name, g.low, g.high, g.sigma] for g in s.processor.genes]


def _no_function(*_: Any) -> None:
    """Stands for a processor's function where only its columns matter."""


def plan_of(shape: list[dict[str, Any]]) -> Plan:
    """A plan for a world of ``shape``, good for reading it, not for ticking it.

    Raises:
        KeyError, TypeError, ValueError: ``shape`` makes no sense.
    """
    swarms: list[Swarm] = []
    rows: list[tuple[int, ...]] = []
    first_id = first_block = offset = 0
    for index, s in enumerate(shape):
        state = tuple(StateField(str(name), str(dtype)) for name, dtype in s["state"])
        by_time = s.get(BY_TIME, ())
        rings = tuple(
            HistoryField(str(name), int(length), name in by_time) for name, length in s["history"]
        )
        processor = Processor(
            str(s["procesador"]), s["kind"], _no_function, None, state, rings, (), (), False, "",
            genes=tuple(Gene(str(name), *map(float, of)) for name, *of in s.get("genes", [])),
            fitness=str(s.get("fitness", "valor")), mortal=bool(s.get("mortal", False)),
            sends=int(s.get("sends", 0)),
        )  # fmt: skip
        cap, size, n = int(s["cap"]), int(s["block_bytes"]), int(s["entidades"])
        count = -(-n // cap)
        canal = int(s["canal"])
        same = [one for one in swarms if one.id == str(s["id"])]
        bloque = same[0].bloque if same else len({one.bloque for one in swarms})
        swarms.append(
            Swarm(index, str(s["id"]), canal, n, cap, size, first_block, count, first_id,
                  processor, (), 0.0, 0.0, bloque=bloque,
                  first_number=sum(one.blocks for one in same))
        )  # fmt: skip
        for number in range(count):
            place = place_block(processor, cap, size)
            if place is None:
                raise ValueError(f"{s['id']}: {cap} entities do not fit into {size} bytes")
            held = min(cap, n - number * cap)
            rows.append(
                (index, canal, first_id + number * cap, held, offset, place.hot, place.log,
                 place.log_cap, place.model, place.model_bytes, place.hist)
            )  # fmt: skip
            offset += size
        first_id += n
        first_block += count
    return Plan(tuple(swarms), np.array(rows, BLOCK_ROW), offset)


def part_of_plan(plan: Plan, lo: int, hi: int) -> Plan:
    """The blocks ``lo … hi−1`` of ``plan`` alone, in a world of their own that starts at 0."""
    rows = plan.blocks[lo:hi].copy()
    start = int(rows["offset"][0])
    last = rows[-1]
    end = int(last["offset"]) + plan.swarms[int(last["swarm"])].block_bytes
    rows["offset"] -= start
    return Plan(plan.swarms, rows, end - start)
