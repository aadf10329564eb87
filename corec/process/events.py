"""Events: which kinds there are, and the JSON of one.

Each process that tells of events has a lane of its own (``events-<role>.lane``); the persister
makes rows of ``eventos`` of them (``persister.encode.parse_event``). Repairs travel with the rows
of their block instead and become events there. A plugin's module may emit kinds of its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import orjson

from corec import layout as L

REPAIR: Final = "repair"
GENERATION: Final = "generation"
LINEAGE: Final = "lineage"
FUSION: Final = "fusion"
DIVISION: Final = "division"
STATISTICS: Final = "statistics"
WRITTEN: Final = "written"
OF_PHASES: Final = (GENERATION, FUSION, DIVISION, STATISTICS)
"""What a phase tells of a block: one of a kind and tick at most."""
ROWS_LOST: Final = "filas_perdidas"
PARTITION_KEPT: Final = "partition_kept"
PARTITIONS_NOT_MADE: Final = "partitions_not_made"
REASON: Final = "reason"
"""Of ``detalle``: why, whatever was refused, lost or not made."""

REPAIR_HOW: Final[Mapping[int, str]] = {L.REPAIR_INHERIT: "inherit", L.REPAIR_RESET: "reset"}
"""What ``how`` of a repair says, by what its record does."""

KINDS: Final[Mapping[str, str]] = {
    REPAIR: "a failed entity was repaired: `how` it was, `donor` (its own id: reset)",
    GENERATION: "a block evolved after this tick: `generacion`, `mejor`, `media`, `peor`, "
    "`diversidad`, `activas`, `hijos`, `mejor_id` with its `genes`; the view `generaciones`",
    LINEAGE: "a child of an evolution: `madre`, `padre` (null: one parent), `how`, `generacion`, "
    "`genes`; the view `linaje`",
    FUSION: "a weak block took over the state of a strong one of its kind: `donor`, `fitness`, "
    "`donor_fitness`",
    DIVISION: "a weak block took over half of a strong one of its swarm: `donor`, `fitness`, "
    "`donor_fitness`, `places` (`even`, `odd`)",
    STATISTICS: "what a bloque's `collect` asks for of a block, as this tick left it: `entidades`, "
    "`values` by expression (`means`: beside each `std`; `lost`: why its columns are in no file); "
    "the views `estadisticas` and `estadisticas_enjambre`",
    "columns_lost": "columns that `collect` asks for behind this tick are in no file: `swarm`, "
    "`reason`",
    "processor_error": "what a processor raised: `error`, `text`, `file`, `line`, `function`, "
    "`failures_per_second`",
    "setting_changed": "`corec-ctl set`, or (`by`) the configuration's `schedule` or the module "
    "`ejecucion`: `path`, `value`, `before` (null: a parameter's default), `after_tick`; `by` "
    "`refused`: taken back, `reason` says why",
    WRITTEN: "state was written from outside (`write` of `corec.attach`): `swarm`, `fields`, "
    "`entidades` (how many), `after_tick`",
    "recarga": "a reload: `aceptada`, or `reason`; what changed. Also a world that can not "
    "grow again where its journal says so: `reason`",
    "actualizacion": "an upgrade: `aceptada`, and in `campos` what became of fields that changed; "
    "or `reason`",
    "trabajadores": "another number of workers: `antes`, `ahora`, `reason` if it was refused",
    "workers_evened": "blocks moved between workers, one of which computed longer than the others: "
    "of each worker how many blocks it had `before`, has `now`, its share `busy` of the CPU time; "
    "`gain`: how much longer the busiest took than it will",
    "reinicio": "a process died and is started again: `proceso`, `salida`",
    "aparcado": "a process died too often and is left alone: `proceso`, `salida`",
    "frozen": "a process gives no sign of life: `role`, `index`",
    "servidor": "an embedded server died and was started again: `servidor`",
    "sink_down": "a server can't be reached: `sink`, `reason`",
    "sink_up": "it can be reached again: `sink`",
    "swarm_registered": "a swarm is there, or (`again`) there is somebody in it again: `swarm`, "
    "`canal`, `entidades`, `bloques`",
    "swarm_grown": "a swarm has more entities than `before`: as above",
    "swarm_retired": "nobody in a swarm is active any more: as above",
    "weak_block": "a block is weak, and no strong one can give to it: `fitness`, `min_fitness`; "
    "`more`: so many were not told",
    "anomaly": "a block is unlike itself: `method` (`mad`, `forest`), `column`, `value`, `median`, "
    "`sigma`, `score`; `more`: so many were not told",
    "evolution_stalled": "no better best for a hundred generations: `swarm`, `generacion`, "
    "`since`, `mejor`, `diversidad`",
    "overload": "ticks came late: `late_ticks`, `late_ticks_total`",
    "module_failed": "a module raised and is started again: `module`, `error`",
    "checkpoint_fallido": "a checkpoint could not be written: `reason`",
    ROWS_LOST: "rows were dropped or damaged: `lane`, `desde`, `hasta`, `filas`, `eventos`, "
    "`bytes`, `exacto`, `reason`",
    PARTITIONS_NOT_MADE: "partitions cannot be made ahead: `partition`, `reason`",
    PARTITION_KEPT: "an old partition cannot be dropped: `partition`, `reason`",
    "mensajes_perdidos": "messages were dropped, or lost by Redis: `lane`, `mensajes`, `desde`, "
    "`hasta`, `reason`",
    "input_lost": "input was trimmed or lost before it was read",
    "input_rewound": "an in-stream came back with older entries",
    "input_repeated": "input that waits, or came twice, after a restore",
    "replay_differs": "a tick that ran again, as the journal says, found less input in the streams "
    "than the first time: `readings`, `expected`, `canales`, `reason`",
    "journal_cut": "the oldest part of the journal had to go: `reason`",
}
"""Kind -> what it tells and what ``detalle`` holds; ``docs/sql.md`` has the same table."""


def encode(
    tipo: str, detalle: Mapping[str, Any], *, tick: int, unix_ns: int | None = None,
    bloque: str | None = None, entidad: int | None = None,
) -> bytes:  # fmt: skip
    """The JSON of one event, of now unless ``unix_ns`` says when.

    Raises:
        TypeError: ``detalle`` holds what JSON can't.
    """
    return orjson.dumps({
        "unix_ns": time.time_ns() if unix_ns is None else unix_ns, "tick": max(0, tick),
        "tipo": tipo, "bloque": bloque, "entidad": entidad, "detalle": detalle,
    })  # fmt: skip
