"""The descriptor tables of one process: plan + compiled processors + where the world is mapped."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.cache import alone
from corec.entities.compile import Kernels, compile_processor
from corec.entities.fields import VIVO
from corec.entities.meeting import Meeting
from corec.entities.silence import HEARD, QUIET
from corec.kernels import desc as K
from corec.placing import cold_bytes
from corec.plan import Plan, Swarm
from corec.world.everyone import fill_everyone
from corec.world.near import Planes, fill_near
from corec.world.own import fill_own


@dataclass
class Tables:
    """int64 rows (``corec.kernels.desc``) and the memory their addresses point to."""

    blocks: NDArray[np.int64]
    swarms: NDArray[np.int64]
    params: NDArray[np.float32]
    scratch: NDArray[np.uint8]
    scratch_offsets: NDArray[np.int64]
    kernels: tuple[Kernels, ...]
    keep: tuple[Any, ...]
    planes: Planes | None = None
    """What is sorted anew before each tick; None: the world has no plane."""

    @property
    def scratch_address(self) -> int:
        """Address of the scratch memory, 64-byte aligned."""
        return int(self.scratch.ctypes.data) + 63 & ~63


def settle(swarms: NDArray[np.int64], params: NDArray[np.float32], plan: Plan) -> None:
    """Write into the swarms' rows what may change between two ticks of a living world."""
    for s in plan.swarms:
        params[s.index, : len(s.params)] = s.params
        numbers = (
            s.max_errores, s.umbral.least, s.umbral.most, s.umbral.first, s.min_fitness,
        )  # fmt: skip
        for column, number in zip(_SETTLED, numbers, strict=True):
            swarms[s.index, column] = np.float64(number).view(np.int64)


_SETTLED: Final = [
    K.W_MAX_ERRORES, K.W_UMBRAL_MIN, K.W_UMBRAL_MAX, K.W_UMBRAL_FIRST, K.W_MIN_FITNESS,
]  # fmt: skip


def settle_like(tables: Tables, other: Tables) -> None:
    """Have ``tables`` say what ``other`` says of what may change."""
    tables.params[:] = other.params
    tables.swarms[:, _SETTLED] = other.swarms[:, _SETTLED]


def _fill_public(
    row: NDArray[np.int64], s: Swarm, meeting: Meeting, base: int, offsets: Mapping[str, int]
) -> None:
    row[K.W_PUBLIC] = base + s.public_off
    row[K.W_PUBLIC_BYTES] = meeting.copy_bytes
    row[K.W_PUBLIC_FIELDS] = len(meeting.fields)
    for k, (name, _) in enumerate(meeting.fields):
        row[K.W_PUBLIC_FROM + k] = offsets[name]
        row[K.W_PUBLIC_TO + k] = meeting.offsets[k]
        row[K.W_PUBLIC_SIZE + k] = meeting.sizes[k]


def _fill_genes(row: NDArray[np.int64], s: Swarm) -> NDArray[np.float32]:
    """Where the genes lie; the table of their limits, which the row points to."""
    table = np.array([(g.low, g.high, g.sigma) for g in s.processor.genes], np.float32)
    row[K.W_GENES] = len(table)
    row[K.W_GENES_OFF] = 2 * s.processor.copy_bytes(s.cap) + cold_bytes(s.cap)
    row[K.W_GENES_BYTES] = s.processor.gene_bytes(s.cap)
    row[K.W_GENES_TABLE] = table.ctypes.data
    return table


def _compile_phases(plan: Plan) -> None:
    """What only some worlds need, before anybody forks."""
    if any(s.settles for s in plan.swarms):
        _compile("settlement")
    if any(s.processor.genes for s in plan.swarms):
        _compile("evolution")


def _compile(name: str) -> None:
    """What is imported is compiled: nobody is waited for then."""
    module = f"corec.kernels.{name}"
    if module not in sys.modules:
        with alone(name):
            import_module(module)


def make_tables(plan: Plan, world: NDArray[np.uint8]) -> Tables:
    """Compile (or load) every processor of ``plan`` and lay out the tables.

    ``world`` is the payload of the world segment, u8[plan.world_bytes], mapped in this process.

    Raises:
        ProcessorError: a processor can't be compiled. ConfigError: the links of a graph can't be
            read, if nobody has done that before.
    """
    swarms = np.zeros((len(plan.swarms), K.W_COLUMNS), np.int64)
    params = np.zeros((len(plan.swarms), L.PARAMS_MAX), np.float32)
    built = []
    built_genes: list[NDArray[np.float32]] = []
    base = int(world.ctypes.data)
    for s in plan.swarms:
        kernels = compile_processor(s.processor, s.cap, s.meeting)
        built.append(kernels)
        row = swarms[s.index]
        row[K.W_KIND] = L.KIND_MICRO if s.processor.kind == "micro" else L.KIND_CELU
        row[K.W_CANAL] = s.canal
        row[K.W_CAP] = s.cap
        row[K.W_COPY_BYTES] = s.processor.copy_bytes(s.cap)
        row[K.W_COLD] = 2 * s.processor.copy_bytes(s.cap)
        row[K.W_UPDATE], row[K.W_ARRIVE] = kernels.update, kernels.arrive
        row[K.W_DENSE], row[K.W_WIDTH] = kernels.dense, s.processor.width
        row[K.W_INIT] = kernels.init
        row[K.W_SILENCE], row[K.W_SILENT] = s.processor.silence, kernels.silent
        row[K.W_PARAMS] = params[s.index].ctypes.data
        offsets = s.processor.field_offsets(s.cap)
        row[K.W_HEARD], row[K.W_QUIET] = offsets.get(HEARD, 0), offsets.get(QUIET, 0)
        row[K.W_MEANS] = len(s.processor.means)
        for k, name in enumerate(s.processor.means):
            row[K.W_MEAN_OFFSET + k] = offsets[name]
        sizes = {"valor": 4} | {f.name: f.itemsize for f in s.processor.fields}
        row[K.W_FIELDS] = len(sizes)
        row[K.W_STATE_FIELDS] = 1 + s.processor.own_state
        for k, (name, size) in enumerate(sizes.items()):
            row[K.W_FIELD_OFFSET + k] = offsets[name]
            row[K.W_FIELD_SIZE + k] = size
        row[K.W_FIRST_ID] = s.first_id
        row[K.W_VIVO], row[K.W_GENERACION] = offsets.get(VIVO, -1), offsets.get("generacion", 0)
        row[K.W_ALERT_FIELDS] = len(s.processor.alert_fields)
        for k, name in enumerate(s.processor.alert_fields):
            row[K.W_ALERT_FROM + k], row[K.W_ALERT_SIZE + k] = offsets[name], sizes[name]
        if s.processor.genes:
            built_genes.append(_fill_genes(row, s))
        if s.meeting is not None:
            _fill_public(row, s, s.meeting, base, offsets)
    _compile_phases(plan)
    settle(swarms, params, plan)
    blocks = np.zeros((plan.n_blocks, K.B_COLUMNS), np.int64)
    start = base + plan.blocks["offset"]
    blocks[:, K.B_BASE] = start
    blocks[:, K.B_N] = plan.blocks["entidades"]
    blocks[:, K.B_FIRST] = plan.blocks["first_id"]
    blocks[:, K.B_HOT] = start + plan.blocks["hot"]
    blocks[:, K.B_LOG] = start + plan.blocks["log"]
    blocks[:, K.B_LOG_CAP] = plan.blocks["log_cap"]
    blocks[:, K.B_HIST] = start + plan.blocks["hist"]
    blocks[:, K.B_SWARM] = plan.blocks["swarm"]
    blocks[:, K.B_INDEX] = np.arange(plan.n_blocks)
    near_bytes = max(s.meeting.bases[-1] if s.meeting else 0 for s in plan.swarms)
    named = max(len(s.processor.alert_fields) for s in plan.swarms)
    width = max(s.processor.width for s in plan.swarms)
    arrays, total = K.scratch_layout(max(s.cap for s in plan.swarms), near_bytes, named, width)
    scratch = np.zeros(total + 64, np.uint8)
    tables = Tables(blocks, swarms, params, scratch, arrays, tuple(built),
                    (world, *built_genes))  # fmt: skip
    for s in plan.swarms:
        tables.keep += fill_own(plan, s, swarms[s.index])
    tables.keep += fill_everyone(plan, swarms)
    swarms[:, K.W_NEAR] = tables.scratch_address + arrays[K.X_NEAR]
    tables.planes = fill_near(plan, swarms)
    return tables
