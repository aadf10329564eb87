"""The plan of a world: which blocks, where in the segment, what in each. Pure arithmetic.

What a plan is, is in ``corec.swarm``; this module makes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.config import BloqueConfig, Config, ConfigError, Fault
from corec.config.collecting import collect_faults
from corec.entities.fitting import misfits
from corec.entities.numbers import number_faults, numbers
from corec.entities.planning import planned
from corec.entities.post import post_bytes
from corec.entities.processor import Processor, ProcessorError
from corec.entities.registry import BUILT_IN, resolve
from corec.graph.source import source_of
from corec.placing import most_entities, place_block
from corec.plan_live import schedule_faults, symbiosis_of
from corec.project import check_project
from corec.sight import sight_faults, with_everyone, with_sight
from corec.suiting import suiting_faults
from corec.swarm import Part as Part
from corec.swarm import Plan as Plan
from corec.swarm import Swarm as Swarm
from shm.layout import layout_hash

BLOCKS_MAX = 1 << 23
"""More blocks than any machine holds today; it bounds what a refusal costs."""


def columns_of(processor: Processor) -> list[str]:
    """What can be read of each entity, but for histories."""
    names = ["valor", "activo", "fallos", *(field.name for field in processor.state)]
    return names + [gene.name for gene in processor.genes]


BLOCK_ROW = np.dtype(
    [
        ("swarm", "<i4"),
        ("canal", "<i4"),
        ("first_id", "<i8"),
        ("entidades", "<i8"),
        ("offset", "<i8"),
        ("hot", "<i8"),
        ("log", "<i8"),
        ("log_cap", "<i8"),
        ("model", "<i8"),
        ("model_bytes", "<i8"),
        ("hist", "<i8"),
    ]
)


def make_plan(
    config: Config, processors: Mapping[str, Processor] | None = None,
    parts: Sequence[Part] = (), *, grow: bool = True,
) -> Plan:  # fmt: skip
    """The plan for ``config``, processors resolved and their parameters checked.

    ``processors``: of these names, instead of what can be imported. ``parts``: those of a world
    that is there; they stay where they are, and what ``config`` has more comes after all of them
    (not at all without ``grow``).

    Raises:
        ConfigError: a processor is missing, its parameters or its size are impossible.
    """
    faults: list[Fault] = []
    swarms: list[Swarm] = []
    rows: list[NDArray[Any]] = []
    kinds = {}
    alike: dict[str, Processor] = {}
    for index, bloque in enumerate(config.bloques):
        try:
            kinds[bloque.id] = index, _processor(config, index, processors or {}, alike)
        except ConfigError as error:
            faults += error.faults
    first_id = first_block = offset = 0
    numbered: dict[int, int] = {}  # blocks of each bloque so far
    for part in _with_more(config, parts, kinds, faults) if grow else parts:
        if part.bloque not in kinds:
            continue  # it has its faults already
        index, processor = kinds[part.bloque]
        bloque = config.bloques[index]
        if (fault := _misfit(processor, bloque, index, part.cap)) is not None:
            faults.append(fault)
            continue
        count = -(-part.entidades // part.cap)
        swarm = Swarm(
            len(swarms), bloque.id, bloque.canal, part.entidades, part.cap,
            bloque.max_size_mb * L.MIB, first_block, count, first_id, processor,
            numbers(config, processor, index), bloque.repair.max_errores,
            bloque.repair.min_fitness, bloque.umbral.limits, bloque.space, bloque.evolucion,
            source_of(
                bloque.space, part.entidades, config.seed, config.base_dir, f"bloques[{index}]"
            ),
            first_living=part.entidades * bloque.entidades // bloque.places,
            symbiosis=symbiosis_of(config, index), bloque=index, collect=config.collected(index),
            first_number=numbered.get(index, 0),
        )  # fmt: skip
        numbered[index] = swarm.first_number + count
        faults += [*sight_faults(swarm, bloque.procesador), *suiting_faults(swarm)]
        if not swarm.first_number:
            columns = columns_of(processor)
            faults += collect_faults(bloque.collect, columns, f"bloques[{index}].collect")
            faults += collect_faults(config.collect, columns, "collect", bloque.id)
        if first_block + count > BLOCKS_MAX:
            text = f"{first_block + count} blocks up to {bloque.id}"
            faults.append(Fault("bloques", text, f"at most {BLOCKS_MAX}"))
            break
        rows.append(_block_rows(swarm, offset))
        offset += count * swarm.block_bytes
        first_id += part.entidades
        first_block += count
        swarms.append(swarm)
    if not faults:
        swarms = with_everyone(with_sight(swarms, faults))
    if faults:
        raise ConfigError(faults)
    plan = Plan(tuple(swarms), np.concatenate(rows), offset)
    faults += schedule_faults(config, plan)
    if faults:
        raise ConfigError(faults)
    return with_public(plan)


def _processor(
    config: Config, index: int, processors: Mapping[str, Processor], alike: dict[str, Processor]
) -> Processor:
    """What a bloque's entities run, checked against the bloque. ``alike``: what those without a
    space run, by name: its code is looked through once, however many they are. Raises ConfigError.
    """
    bloque, where = config.bloques[index], f"bloques[{index}]"
    name = bloque.procesador
    try:
        if bloque.space is None and name in alike:
            processor = alike[name]
        else:
            processor = processors.get(name) or _found(name, config)
            processor = planned(processor, bloque.space)
        if bloque.space is None:
            alike[name] = processor
    except ProcessorError as error:
        found, _, allowed = str(error).removeprefix("found ").partition(", allowed ")
        allowed = allowed or "a processor that can be imported"
        raise ConfigError([Fault(f"{where}.procesador", found, allowed)]) from None
    faults = [*number_faults(config, processor, index)] or [*misfits(bloque, processor, where)]
    if faults:
        raise ConfigError(faults)
    return processor


def _found(name: str, config: Config) -> Processor:
    """The processor that is called so in the configuration's project. Raises ProcessorError."""
    found = resolve(name, config.plugin_folders)
    try:
        check_project(BUILT_IN.get(name, name).partition(":")[0], config.plugin_folders)
    except ImportError as error:
        raise ProcessorError(f"found {name!r}: {error}") from None
    return found


def _misfit(processor: Processor, bloque: BloqueConfig, index: int, cap: int) -> Fault | None:
    block_bytes = bloque.max_size_mb * L.MIB
    if place_block(processor, cap, block_bytes) is not None:
        return None
    return Fault(
        f"bloques[{index}].entidades_por_bloque",
        f"{cap} entities of {bloque.procesador} in {bloque.max_size_mb} MB",
        f"at most {most_entities(processor, block_bytes)}",
    )


def stays_one(processor: Processor, space: object) -> bool:
    """Whether entities of a bloque meet, evolve or are born: all of it is one part for good."""
    return bool(processor.public or processor.genes or processor.mortal or space is not None)


def _with_more(
    config: Config, parts: Sequence[Part], kinds: Mapping[str, tuple[int, Processor]],
    faults: list[Fault],
) -> list[Part]:  # fmt: skip
    """``parts`` and behind them what ``config`` has more, in its order. The last part itself grows
    where its bloque is to stay one, and its last block is full: ids and blocks go on in a row."""
    found, apart = list(parts), list[Part]()
    for index, bloque in enumerate(config.bloques):
        mine = [part for part in parts if part.bloque == bloque.id]
        added = bloque.places - sum(part.entidades for part in mine)
        if added <= 0:
            continue
        cap = bloque.per_block
        if mine and bloque.id in kinds and stays_one(kinds[bloque.id][1], bloque.space):
            last = found[-1]
            if (last.bloque, last.cap) != (bloque.id, cap) or last.entidades % cap:
                place = f"bloques[{index}].entidades"
                faults.append(Fault(place, f"{added} more", "them as the last, behind full blocks"))
                continue
            found[-1] = last._replace(entidades=last.entidades + added)
            continue
        full = mine and mine[0].cap == cap  # its blocks are compiled already
        apart.append(Part(bloque.id, added, cap if full else min(cap, added)))
    return [*found, *apart]


def with_public(plan: Plan) -> Plan:
    """``plan`` with room for the swarms' public columns behind its blocks."""
    swarms, at = [], plan.world_bytes
    for swarm in plan.swarms:
        if swarm.meeting is not None:
            swarms.append(replace(swarm, public_off=at))
            at += 2 * swarm.meeting.copy_bytes
        else:
            swarms.append(swarm)
    return replace(plan, swarms=tuple(swarms), world_bytes=at)


def _block_rows(swarm: Swarm, offset: int) -> NDArray[Any]:
    """BLOCK_ROW[swarm.blocks], the swarm's world bytes starting at ``offset``."""
    number = np.arange(swarm.blocks)
    rows = np.zeros(swarm.blocks, BLOCK_ROW)
    rows["swarm"], rows["canal"] = swarm.index, swarm.canal
    rows["first_id"] = swarm.first_id + number * swarm.cap
    rows["entidades"] = np.minimum(swarm.cap, swarm.entidades - number * swarm.cap)
    rows["offset"] = offset + number * swarm.block_bytes
    place = place_block(swarm.processor, swarm.cap, swarm.block_bytes)
    assert place is not None
    for name in ("hot", "log", "log_cap", "model", "model_bytes", "hist"):
        rows[name] = getattr(place, name)
    return rows


def block_layout_hash(swarm: Swarm) -> int:
    """What the columns of a swarm's blocks are, as 64 bits for their headers."""
    p = swarm.processor
    text = f"{L.BLOCK_LAYOUT} {swarm.cap} {swarm.block_bytes} {p.columns} {p.history}"
    text += f" {p.genes}" if p.genes else ""
    post = post_bytes(p, swarm.cap)
    return layout_hash(text + (f" post {p.sends} {post}" if post else ""))


def split_blocks(plan: Plan, workers: int) -> list[tuple[int, int]]:
    """``workers`` ranges (lo, hi) of block indices; some are empty when blocks are few."""
    ends = np.cumsum(plan.blocks["entidades"])
    total = int(ends[-1])
    cuts = [0]
    for k in range(1, workers):
        cut = int(np.searchsorted(ends, total * k / workers, side="left")) + 1
        cuts.append(min(max(cut, cuts[-1]), plan.n_blocks))
    cuts.append(plan.n_blocks)
    return list(pairwise(cuts))
