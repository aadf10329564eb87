"""One entry of ``bloques``: a swarm, which is cut into blocks of equal size."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import PlainValidator, WithJsonSchema

from corec.config.collecting import CollectKey
from corec.config.evolucion import Evolucion
from corec.config.keys import SAFE_NAME, SAFE_NAME_ALLOWED, Section, key
from corec.config.sections import Autoreparacion
from corec.config.space import Space
from corec.config.umbral import Umbral, UmbralKey

ENTITIES_MAX = 2**32
PER_BLOCK_ALLOWED = (
    "null (1000 for 1 MB, 2000 for 5 MB, in a straight line between and beyond)"
    " or an integer from 1 to 1000000"
)

Parameter = int | float | bool | str


def _parameter(value: object) -> Parameter:
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError("not a parameter")


_Parameter = Annotated[
    Parameter, PlainValidator(_parameter), WithJsonSchema({"type": ["number", "boolean", "string"]})
]


class BloqueConfig(Section):
    """A swarm: entities of one kind on one canal, held in blocks of ``max_size_mb``."""

    id: str = key(
        f"a name of its own: {SAFE_NAME_ALLOWED}",
        "Name of the swarm; its blocks are called <id>:<00000>.",
        pattern=SAFE_NAME,
    )
    canal: int = key(
        "an integer from -128 to 127",
        "Channel of the swarm's messages: it reads …:in:<canal> and writes …:out:<canal>.",
        strict=True,
        ge=-128,
        le=127,
    )
    entidades: int = key(
        f"an integer from 1 to {ENTITIES_MAX}, and no more than that in all bloques together",
        "How many entities the swarm has.",
        strict=True,
        ge=1,
        le=ENTITIES_MAX,
    )
    max_size_mb: int = key(
        "an integer from 1 to 64 (MiB; 1 and 5 are the usual ones): a block is what one core runs"
        " and redoes at once, so a larger swarm has more blocks, not larger ones",
        "Exact size of one block of the swarm in shared memory, in MiB.",
        1,
        strict=True,
        ge=1,
        le=64,
    )
    entidades_por_bloque: int | None = key(
        PER_BLOCK_ALLOWED,
        "How many entities one block holds.",
        None,
        strict=True,
        ge=1,
        le=1_000_000,
    )
    autoreparacion: Autoreparacion | None = key(
        "an object", "Repair settings of this swarm; null takes the common ones.", None
    )
    umbral: UmbralKey = key(
        'a number (fixed), "siempre" (each good value is a message), "nunca" (none is) or an object'
        " with min, max, inicial",
        "Values above it become messages; it moves with carga, deviation and errors.",
        factory=Umbral,
    )
    procesador: str = key(
        "the name of a built-in processor, or package.module:attribute",
        "What each entity of the swarm runs.",
        "sensor",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*((\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_.]*)?$",
        max_length=255,
    )
    parametros: dict[str, _Parameter] = key(
        "an object whose values are finite numbers, true, false or strings",
        "The processor's parameters; those left out have the processor's defaults.",
        item="a finite number, true, false or a string",
        factory=dict,
    )

    space: Space | None = key(
        "null or an object with kind",
        "Where the entities stand, and so which are neighbours of each other.",
        None,
    )

    evolucion: Evolucion | None = key(
        "null or an object with cada, of a processor with genes",
        "How the entities' genes evolve.",
        None,
    )

    collect: CollectKey = key(
        "a list of objects with every and stats or columns, or one of them",
        "Statistics of each block of any of its columns, as events: the view estadisticas; whole"
        " columns as Parquet files.",
        (),
    )

    simbiosis: Literal["fusion", "division", "ninguna"] = key(
        '"fusion" (a strong one of its canal and kind gives its state), "division" (a strong one of'
        ' its swarm gives half of itself, genes too) or "ninguna" (none)',
        "With the module sincronizacion: what becomes of a weak block.",
        "fusion",
    )

    capacidad: int | None = key(
        f"null (entidades) or an integer from entidades to {ENTITIES_MAX}",
        "How many places there are, free ones for births among them; ids are places.",
        None,
        strict=True,
        ge=1,
        le=ENTITIES_MAX,
    )

    @property
    def places(self) -> int:
        """How many ids the swarm has: living entities and free places."""
        return self.entidades if self.capacidad is None else self.capacidad

    @property
    def per_block(self) -> int:
        """Entities in one block: as written, or ``750 + 250 · max_size_mb``."""
        if self.entidades_por_bloque is not None:
            return self.entidades_por_bloque
        return 750 + 250 * self.max_size_mb

    @property
    def block_count(self) -> int:
        """How many blocks the swarm has; the last may be partly filled."""
        return -(-self.places // self.per_block)

    @property
    def repair(self) -> Autoreparacion:
        """The repair settings that hold for this swarm."""
        return self.autoreparacion or Autoreparacion()
