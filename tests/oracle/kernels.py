"""Drawn worlds in the kernels: every block of a world as ``corec.testing.Block``, tick by tick."""

from __future__ import annotations

from itertools import chain
from typing import Any, Final

import numpy as np
from pydantic import TypeAdapter

from corec import layout as L
from corec.config.umbral import UmbralKey
from corec.entities.processor import Processor
from corec.entities.registry import BUILT_IN, resolve
from corec.lab.oracle.block import Block as Wanted
from corec.lab.oracle.block import Reading
from corec.lab.oracle.compare import lists, same
from corec.lab.oracle.rows import Message
from corec.testing import Block as Found
from tests.oracle.drawn import KINDS, MODULES, Drawn

PROCESSORS: Final[dict[str, Processor]] = {
    **{name: resolve(name) for name in BUILT_IN},
    **{name: getattr(MODULES[module], short) for name in KINDS
       for module, _, short in [name.partition(":")] if short},
}  # fmt: skip
UMBRAL: Final = TypeAdapter[Any](UmbralKey)
LANE_BYTES: Final = 1 << 24
NS: Final = 1_000_000_000


def check(
    drawn: Drawn, look_every: int = 1, before: int = 0, left_out: range | None = None
) -> None:
    """Run ``drawn`` in the kernels and in the oracle; entities are looked at every so many ticks,
    messages, rows and repairs always. ``before``: so many ticks have passed, of which nothing is
    left. ``left_out``: these ticks come in neither, but are counted.

    Raises:
        Disagreement: they differ.
    """
    world = drawn.oracle()
    pairs = [(_made(drawn, wanted), wanted) for wanted in world.blocks]
    world.tick = before
    for found, wanted in pairs:
        _age(found, wanted, before)
        _same_state(found, wanted)
    skipped = left_out or range(before + 1, before + 1)
    ticks = range(before + 1, skipped.start), range(skipped.stop, before + drawn.ticks + 1)
    for tick in chain(*ticks):
        if left_out and tick == left_out.stop:
            world.tick = tick - 1
            for found, wanted in pairs:
                _age(found, wanted, tick - 1, rows=False)
        rows = len(world.rows)
        drawn.step(world)
        for number, (found, wanted) in enumerate(pairs):
            found.carga = world.carga
            first = wanted.settings.first_id
            mine = [r for r in drawn.readings.get(tick, ()) if 0 <= r[0] - first < wanted.n]
            found.tick([_given(found, drawn.full(r)) for r in mine])
            if tick % look_every == 0:
                _same_state(found, wanted)
            row = world.rows[rows + number] if len(world.rows) > rows else None
            _same_frames(found, wanted, row, tick)


def _age(found: Found, wanted: Wanted, tick: int, *, rows: bool = True) -> None:
    """Have both stand behind ``tick``, as they are; ``rows``: and their last row with them."""
    wanted.tick = tick
    words, offset = found.memory.view(np.uint64), int(found.plan.blocks["offset"][0])
    word = found.view.word
    copy = (offset + L.OFF_DYN[word & 1]) // 8
    words[copy + L.D_TICK] = tick
    if rows:
        wanted.row_tick = words[copy + L.D_ROW_TICK] = tick
    words[(offset + L.OFF_COMMIT) // 8] = tick << 16 | word & 0xFFFF


def _given(found: Found, reading: Reading) -> Reading:
    """Who is switched off needs no values, and ``Block`` wants as many as there are."""
    names = found.processor.values
    identity, valor, activo = reading
    return identity, dict.fromkeys(names, valor) if names and not activo else valor, activo


def _made(drawn: Drawn, wanted: Wanted) -> Found:
    settings = wanted.settings
    bloque = next(b for b in drawn.config["bloques"] if b["id"] == settings.name.partition(":")[0])
    return Found(
        PROCESSORS[bloque.get("procesador", "sensor")],
        entities=wanted.n,
        params=bloque.get("parametros"),
        globals=drawn.config.get("globals"),
        seed=drawn.config["seed"],
        canal=settings.canal,
        every_ticks=drawn.config["persist"]["every_ticks"],
        max_errores=settings.max_errores,
        umbral=UMBRAL.validate_python(bloque.get("umbral", {})),
        first_id=settings.first_id,
        cap=bloque["entidades_por_bloque"],
        lane_bytes=LANE_BYTES,
        keep=True,
    )


def _same_state(found: Found, wanted: Wanted) -> None:
    view, kind = found.view, wanted.settings.kind
    at = f"{wanted.settings.name} tick {wanted.tick}"
    same(f"{at} tick", view.tick, wanted.tick)
    for name in ("valor", *kind.state):
        column = np.asarray(view.column(name))
        expected = np.array([e.state[name] for e in wanted.entities], column.dtype)
        if column.tobytes() != expected.tobytes():
            lists(f"{at} {name}", column.tolist(), expected.tolist())
    for name, length in kind.history.items():
        values, held = view.history(name)
        for place, entity in enumerate(wanted.entities):
            kept = values[place][length - int(held[place]) :].tolist()
            lists(f"{at} {name} of {entity.id}", kept, [float(v) for v in entity.state[name]])
    lists(f"{at} activo", view.activo.tolist(), [e.activo for e in wanted.entities])
    lists(f"{at} fallos", view.fallos.tolist(), [e.fallos for e in wanted.entities])
    figures = {
        "umbral": (view.number(L.D_UMBRAL), float(wanted.umbral)),
        "fitness": (view.number(L.D_FITNESS), wanted.fitness),
        "media": (view.number(L.D_MEDIA), wanted.media),
        "desviacion": (view.number(L.D_DESVIACION), wanted.desviacion),
        "errores": (int(view.dyn[L.D_ERRORES]), wanted.errores),
        "activas": (int(view.dyn[L.D_ACTIVAS]), wanted.activas),
    }
    for name, (mine, its) in figures.items():
        same(f"{at} {name}", mine, its)
    for number, name in enumerate(kind.means):
        mean = np.float32(view.number(L.D_MEAN0 + number))
        same(f"{at} mean_{name}", mean, wanted.means[f"mean_{name}"])


def _same_frames(found: Found, wanted: Wanted, row: Any, tick: int) -> None:
    at = f"{wanted.settings.name} tick {tick}"
    frames = found.messages()
    sent = [
        (frame.tick, int(m["id"]), int(m["canal"]), float(m["valor"]), bool(m["activo"]))
        for frame in frames
        for m in frame.messages
    ]
    lists(f"{at} messages", sent, [_sent(m) for m in wanted.done.messages])
    named = [
        tuple((name, float(values[k])) for name, values in frame.fields.items())
        for frame in frames
        for k in range(len(frame.messages))
    ]
    lists(f"{at} alert fields", named, [m.named for m in wanted.done.messages])
    frames_of_rows = found.row_frames()
    repairs = [
        (int(r["id"]), int(r["donor"]), {L.REPAIR_INHERIT: "inherit", L.REPAIR_RESET: "reset"}[
            int(r["how"])])
        for frame in frames_of_rows for r in frame.repairs
    ]  # fmt: skip
    expected = [(r.id, r.donor, r.how) for r in wanted.done.repairs]
    lists(f"{at} repairs", repairs, expected)
    for frame in frames_of_rows:
        same(f"{at} time of a frame", (frame.tick, frame.unix_ns), (tick, tick * NS))
    rows = [frame for frame in frames_of_rows if frame.row is not None]
    same(f"{at} rows", len(rows), int(row is not None))
    if row is not None:
        _same_row(f"{at} row", rows[0], wanted, row)


def _sent(message: Message) -> tuple[int, int, int, float, bool]:
    return message.tick, message.id, message.canal, float(message.valor), True


def _same_row(at: str, frame: Any, wanted: Wanted, row: Any) -> None:
    mine = {name: frame.row[name][0] for name in L.ROW.names or ()}
    same(f"{at}.tick", frame.tick, row.tick)
    same(f"{at}.unix_ns", int(mine["unix_ns"]), row.tick * NS)
    for name in ("canal", "num_entidades", "activas", "errores", "reparadas", "mensajes",
                 "desde", "omitidos"):  # fmt: skip
        same(f"{at}.{name}", int(mine[name]), getattr(row, name))
    for name in ("carga", "umbral", "fitness", "media", "desviacion"):
        same(f"{at}.{name}", float(mine[name]), float(getattr(row, name)))
    same(f"{at}.low", float(mine["hist_min"]), float(row.histogram.low))
    same(f"{at}.high", float(mine["hist_max"]), float(row.histogram.high))
    lists(f"{at}.histograma", mine["histograma"].tolist(), list(row.histogram.counts))
    first = wanted.settings.first_id
    log = [(first + int(e["local"]), int(e["tick"]), float(e["valor"])) for e in frame.log]
    lists(f"{at}.log", log, [(m.id, m.tick, float(m.valor)) for m in row.messages])
