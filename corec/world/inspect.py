"""What an operator may ask about the living world: one entity, one block, all of it in numbers."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.kernels.whole import TRIES_MAX
from corec.plan import Plan, Swarm
from corec.process.runtime import Runtime
from corec.world.counts import BY_WORKER, worker_of
from corec.world.evolved import evolution
from corec.world.read import BlockView, dynamic_words


def entity(plan: Plan, words: NDArray[np.uint64], entity_id: int) -> dict[str, Any]:
    """id, canal, valor, activo, fallos, bloque, tick and, under ``estado``, the state fields.

    Raises:
        LookupError: there is no entity with this id.
        RuntimeError: its block could not be read between two commits.
    """
    index = plan.block_of(entity_id)
    if index is None:
        last = plan.entidades - 1
        raise LookupError(f"entity {entity_id}: there is none; ids go from 0 to {last}")
    for _ in range(TRIES_MAX):
        view = BlockView(plan, words, index)
        i = entity_id - view.first_id
        processor = view.swarm.processor
        state: dict[str, Any] = {f.name: view.column(f.name)[i].item() for f in processor.state}
        for ring in processor.history:
            values, held = view.history(ring.name)
            state[ring.name] = [float(v) for v in values[i][ring.length - int(held[i]) :]]
        found = {
            "id": entity_id,
            "canal": view.swarm.canal,
            "valor": float(view.column("valor")[i]),
            "activo": bool(view.activo[i]),
            "fallos": int(view.fallos[i]),
            "bloque": plan.block_id(index),
            "tick": view.tick,
            "procesador": processor.name,
            "estado": state,
        }
        if processor.genes:
            found["genes"] = {g.name: view.column(g.name)[i].item() for g in processor.genes}
        if view.commit_word() == view.word:
            return found
    raise RuntimeError(f"entity {entity_id}: its block never held still")


def block(rt: Runtime, index: int, now: Plan | None = None) -> dict[str, Any]:
    """One block: what it is, how it fares, where it lies; its ``parametros`` as ``now`` has them.

    Raises:
        LookupError: there is no such block.
    """
    if not 0 <= index < rt.plan.n_blocks:
        raise LookupError(f"block {index}: there are {rt.plan.n_blocks}")
    view = BlockView(rt.plan, rt.world.words, index)
    place = rt.plan.blocks[index]
    values = (now or rt.plan).swarms[view.swarm.index].params
    return {
        **block_row(rt.plan, index, view.dyn),
        "tick": view.tick,
        "procesador": view.swarm.processor.name,
        # the globals that it uses come behind them
        "parametros": dict(
            zip((k for k, _ in view.swarm.processor.params), values, strict=False)
        ),
        "max_size_mb": view.swarm.block_bytes // L.MIB,
        "model_bytes": int(place["model_bytes"]),
        "worker": worker_of(rt, index),
    }


def block_row(plan: Plan, index: int, dyn: NDArray[np.uint64]) -> dict[str, Any]:
    """The figures of one block out of its dynamic words."""
    place = plan.blocks[index]
    numbers = dyn.view(np.float64)
    return {
        "id": plan.block_id(index),
        "index": index,
        "canal": int(place["canal"]),
        "entidades": int(place["entidades"]),
        "first_id": int(place["first_id"]),
        "activas": int(dyn[L.D_ACTIVAS]),
        "umbral": float(numbers[L.D_UMBRAL]),
        "fitness": float(numbers[L.D_FITNESS]),
        "media": float(numbers[L.D_MEDIA]),
        "desviacion": float(numbers[L.D_DESVIACION]),
        "errores": int(dyn[L.D_ERRORES]),
        "failures": int(dyn[L.D_FAILURES]),
        "repairs": int(dyn[L.D_REPAIRS]),
        "mensajes": int(dyn[L.D_MESSAGES]),
        "readings": int(dyn[L.D_INPUTS]),
        **met(plan.swarms[int(place["swarm"])], dyn),
    }


_LIVES: Final = {
    "births": L.D_BIRTHS, "deaths": L.D_DEATHS, "no_room": L.D_NO_ROOM, "moves": L.D_MOVES,
}  # fmt: skip
_POST: Final = {"sent": L.D_SENDS, "undelivered": L.D_UNDELIVERED}


def met(swarm: Swarm, dyn: NDArray[np.uint64]) -> dict[str, int]:
    """Counts since tick 0 of ``dyn`` (u8[…, DYN_WORDS]), added up: births, deaths and moves of
    mortals; of those who send or take what is sent, how much they sent and how much of what was
    for them, or beyond what they may send, did not arrive."""
    processor = swarm.processor
    mails = processor.sends > 0 or processor.reads_inbox or dyn[..., L.D_UNDELIVERED].any()
    words = (_LIVES if processor.mortal else {}) | (_POST if mails else {})
    return {name: int(dyn[..., word].sum()) for name, word in words.items()}


def blocks(plan: Plan, words: NDArray[np.uint64]) -> list[dict[str, Any]]:
    """``block_row`` and the tick of every block."""
    dyn = dynamic_words(plan, words)
    ticks = dyn[:, L.D_TICK].tolist()
    return [{**block_row(plan, k, dyn[k]), "tick": ticks[k]} for k in range(plan.n_blocks)]


_COUNTS = {**BY_WORKER, "messages": L.D_MESSAGES, "rows": L.D_ROWS, "readings": L.D_INPUTS}


def totals(rt: Runtime) -> dict[str, Any]:
    """Counts since tick 0 over all blocks, and the means per swarm."""
    dyn = dynamic_words(rt.plan, rt.world.words)
    numbers = dyn.view(np.float64)
    bloque = np.array([s.bloque for s in rt.plan.swarms])[rt.plan.blocks["swarm"]]
    swarms = []
    for s in rt.plan.swarms:
        if s.first_number:
            continue  # what a bloque has grown by counts with it
        mine = bloque == s.bloque
        swarms.append(
            {
                "id": s.id,
                "canal": s.canal,
                "entidades": int(rt.plan.blocks["entidades"][mine].sum()),
                "bloques": int(mine.sum()),
                "activas": int(dyn[mine, L.D_ACTIVAS].sum()),
                "fitness": float(numbers[mine, L.D_FITNESS].mean()),
                "umbral": float(numbers[mine, L.D_UMBRAL].mean()),
                "failures": int(dyn[mine, L.D_FAILURES].sum()),
                **met(s, dyn[mine]),
            }
        )
    evolved = evolution(rt.plan, rt.world.words, dyn)
    counts = {name: int(dyn[:, word].sum()) for name, word in _COUNTS.items()}
    return {**counts, "swarms": swarms, "evolution": evolved}
