"""A bloque's ``evolucion``: how its entities' genes are selected, crossed and mutated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from pydantic import PlainValidator, WithJsonSchema

from corec.config.faults import Fault, found_text
from corec.config.keys import EVERY_MAX, Section, key

TOURNAMENT_MAX: Final = 64
MIGRANTS_MAX: Final = 64
BEST_MAX: Final = 1_000_000_000
TOPOLOGIES: Final = {"ring": "anillo", "full": "completa", "random": "azar", "aleatoria": "azar"}
"""Other names of a topology."""
_CROSSINGS: Final = ("uniforme", "mezcla", "un_punto", "ninguno")
_TAMANO: Final = {
    "torneo": f"null (2) or an integer from 1 to {TOURNAMENT_MAX}: entities in a tournament",
    "truncamiento": "null (0.5), a number above 0 up to 1.0 (share of the best who are parents) or"
    f" an integer from 1 to {BEST_MAX} (so many of the best are)",
    "ruleta": "any number, which is ignored",
}


class Migracion(Section):
    """How islands, the blocks of a swarm, exchange their best."""

    cada: int = key(
        f"an integer from 1 to {EVERY_MAX}",
        "Every so many generations.",
        strict=True,
        ge=1,
        le=EVERY_MAX,
    )
    cuantos: int = key(
        f"an integer from 1 to {MIGRANTS_MAX}",
        "So many come to each block.",
        1,
        strict=True,
        ge=1,
        le=MIGRANTS_MAX,
    )
    topologia: Literal["anillo", "ring", "completa", "full", "azar", "random", "aleatoria"] = key(
        '"anillo" or "ring" (from the block before), "completa" or "full" (one from each other'
        ' block in turn), "azar", "random" or "aleatoria" (from one block, drawn anew each time)',
        "Where they come from.",
        "anillo",
    )

    @property
    def topology(self) -> str:
        """``topologia``, its first name."""
        return TOPOLOGIES.get(self.topologia, self.topologia)


def _number(value: object) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise ValueError("not a number")


def _elite(value: object) -> int | float:
    found = _number(value)
    if 0 <= found <= 65_535 if isinstance(found, int) else 0.0 < found < 1.0:
        return found
    raise ValueError("no number and no share of the best")


def _crossing(value: object) -> str | float:
    if isinstance(value, str) and value in _CROSSINGS:
        return value
    if isinstance(value, str) or not 0.0 <= (found := _number(value)) <= 1.0:
        raise ValueError("no way to cross and no share of the children")
    return float(found)


_NUMBER: Final = WithJsonSchema({"type": "number"})
Size = Annotated[int | float, PlainValidator(_number), _NUMBER]
Crossing = Annotated[
    str | float,
    PlainValidator(_crossing),
    WithJsonSchema({"anyOf": [{"enum": list(_CROSSINGS)},
                              {"type": "number", "minimum": 0, "maximum": 1}]}),
]  # fmt: skip
Elite = Annotated[int | float, PlainValidator(_elite), _NUMBER]


class Evolucion(Section):
    """Every ``cada`` ticks the worse entities are replaced by children of the better ones."""

    cada: int = key(
        f"an integer from 1 to {EVERY_MAX}",
        "A generation takes so many ticks.",
        strict=True,
        ge=1,
        le=EVERY_MAX,
    )
    metodo: Literal["torneo", "truncamiento", "ruleta"] = key(
        '"torneo" (tournament: the best of tamano drawn ones), "truncamiento" (truncation: one of'
        ' the best tamano) or "ruleta" (wheel: in proportion to fitness above the worst)',
        "How a parent is chosen.",
        "torneo",
    )
    tamano: Size | None = key(
        "; ".join(f"{name}: {text}" for name, text in _TAMANO.items()),
        "Size of the tournament, or how many of the best.",
        None,
    )
    elite: Elite = key(
        "an integer from 0 to 65535 (so many) or a number between 0 and 1 (that share)",
        "The best who stay as they are; everybody else active is replaced.",
        1,
    )
    cruce: Crossing = key(
        '"uniforme" (each gene of either parent), "mezcla" (blend: between the parents and half'
        ' their distance beyond), "un_punto" (one point: the first genes of the mother, the others'
        ' of the father), "ninguno" (the mother\'s) or a number from 0 to 1 (uniforme, with that'
        " prob_cruce)",
        "How the genes of two parents become a child's.",
        "uniforme",
    )
    prob_cruce: float = key(
        "a number from 0 to 1",
        "Share of the children that are crossed; the others have their mother's genes.",
        1.0,
        strict=True,
        ge=0.0,
        le=1.0,
    )
    mutacion: float = key(
        "a number from 0 to 1",
        "Probability that a gene of a child changes, by a normal number of the gene's sigma.",
        0.1,
        strict=True,
        ge=0.0,
        le=1.0,
    )
    alcance: Literal["bloque", "enjambre"] = key(
        '"bloque" (each block is an island) or "enjambre" (the whole swarm is one)',
        "Among whom parents are chosen.",
        "bloque",
    )
    migracion: Migracion | None = key(
        'null (none) or an object; beside "alcance": "bloque"',
        "How islands exchange their best.",
        None,
    )
    estado: Literal["inicial", "heredado"] = key(
        '"inicial" (as at the start, by the processor\'s init) or "heredado" (the mother\'s)',
        "The state of a child.",
        "inicial",
    )

    generaciones: int = key(
        f"an integer from 0 to {EVERY_MAX}",
        "Of the first generation of each block and of every so many a row of figures is written;"
        " 0: of none.",
        1,
        strict=True,
        ge=0,
        le=EVERY_MAX,
    )
    linaje: float = key(
        "a number from 0 to 1",
        "Share of the children, drawn by chance, whose mother, father and genes are written.",
        0.0,
        strict=True,
        ge=0.0,
        le=1.0,
    )

    @property
    def size(self) -> int | float:
        """``tamano`` as it holds: 2 in a tournament, a half of the best, 0 of a wheel."""
        default = {"torneo": 2, "truncamiento": 0.5, "ruleta": 0}[self.metodo]
        return default if self.tamano is None or self.metodo == "ruleta" else self.tamano

    @property
    def crossing(self) -> str:
        """``cruce``, by its name."""
        return self.cruce if isinstance(self.cruce, str) else "uniforme"

    @property
    def crossed(self) -> float:
        """Share of the children that are crossed."""
        return self.prob_cruce if isinstance(self.cruce, str) else self.cruce


def evolucion_faults(evolucion: object, at: tuple[str | int, ...], where: str) -> Iterator[Fault]:
    """What does not go together in an ``evolucion``, which need not be valid otherwise."""
    if not isinstance(evolucion, Mapping):
        return
    method, size = evolucion.get("metodo", "torneo"), evolucion.get("tamano")
    if isinstance(size, int | float) and not isinstance(size, bool) and method in _TAMANO:
        whole = isinstance(size, int) and 1 <= size <= TOURNAMENT_MAX
        best = 1 <= size <= BEST_MAX if isinstance(size, int) else 0.0 < size <= 1.0
        if not {"torneo": whole, "truncamiento": best, "ruleta": True}[str(method)]:
            found = found_text(size, (*at, "tamano"))
            yield Fault(f"{where}.tamano", found, f"with {method} {_TAMANO[str(method)]}")
    named = isinstance(evolucion.get("cruce", ""), str)
    if not named and evolucion.get("prob_cruce", 1.0) != 1.0:
        yield Fault(f"{where}.cruce", "a number, beside prob_cruce", "one of the two")
    if evolucion.get("alcance") == "enjambre" and evolucion.get("migracion") is not None:
        yield Fault(f"{where}.migracion", "a migration in a swarm that is one island",
                    'no migracion, or "alcance": "bloque"')  # fmt: skip
