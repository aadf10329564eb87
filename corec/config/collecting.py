"""``collect``, of a bloque or of several: which statistics of its blocks go into the database,
which of its columns into files, and how often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator

from corec.config.faults import Fault
from corec.config.keys import EVERY_MAX, Section, key
from corec.config.measures import ALLOWED, Expression, parse_expression

STATS_MAX: Final = 32
COLUMNS_MAX: Final = 64
KEEP_MAX: Final = 1_000_000


class Collect(Section):
    """Some statistics of each block, or columns of all entities, told together."""

    every: int = key(
        f"an integer from 1 to {EVERY_MAX}",
        "After each tick that is a multiple of it.",
        strict=True,
        ge=1,
        le=EVERY_MAX,
    )
    stats: tuple[str, ...] = key(
        f"a list of up to {STATS_MAX} of: {ALLOWED}",
        "What is told of each block: numbers of the columns that a frame of the swarm has.",
        (),
        max_length=STATS_MAX,
    )
    columns: tuple[str, ...] = key(
        f"a list of up to {COLUMNS_MAX} columns that a frame of the swarm has, no histories",
        "What of each entity becomes a Parquet file in state_dir, of which stats tell the means.",
        (),
        max_length=COLUMNS_MAX,
    )
    keep: int | None = key(
        f"null (all) or an integer from 1 to {KEEP_MAX}",
        "How many of the bloque's files of columns stay: the last ones.",
        None,
        strict=True,
        ge=1,
        le=KEEP_MAX,
    )

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """``stats``, understood, and the means of ``columns``. Raises ValueError."""
        texts = [*self.stats, *(f"mean({name})" for name in self.columns)]
        return tuple(parse_expression(text) for text in dict.fromkeys(texts))


class CollectOf(Collect):
    """The same of one bloque, or of all."""

    swarm: str | None = key(
        "null (all bloques) or the id of a bloque",
        "Whose blocks.",
        None,
    )


def listed(written: Any) -> Any:
    """A single object as a list of one."""
    return [written] if isinstance(written, Mapping | BaseModel) else written


CollectKey = Annotated[
    tuple[Collect, ...],
    BeforeValidator(listed, json_schema_input_type=tuple[Collect, ...] | Collect),
]
CollectOfKey = Annotated[
    tuple[CollectOf, ...],
    BeforeValidator(listed, json_schema_input_type=tuple[CollectOf, ...] | CollectOf),
]


def with_lists(raw: dict[str, Any]) -> dict[str, Any]:
    """``raw`` with each ``collect`` as a list, so that a fault in it has one path."""
    kept = dict(raw)
    if "collect" in kept:
        kept["collect"] = listed(kept["collect"])
    if isinstance(kept.get("bloques"), list):
        kept["bloques"] = [
            {**one, "collect": listed(one["collect"])}
            if isinstance(one, dict) and "collect" in one
            else one
            for one in kept["bloques"]
        ]
    return kept


def swarm_faults(collect: object, bloques: object) -> Iterator[Fault]:
    """Names in ``collect`` that no bloque has, both as they are written."""
    if not isinstance(collect, list | tuple) or not isinstance(bloques, list | tuple):
        return
    known = [one["id"] for one in bloques if isinstance(one, Mapping) and "id" in one]
    for index, one in enumerate(collect):
        name = one.get("swarm") if isinstance(one, Mapping) else None
        if isinstance(name, str) and name not in known:
            allowed = f"null or one of {', '.join(map(str, known))}"
            yield Fault(f"collect[{index}].swarm", f'"{name}"', allowed)


def collect_faults(
    collect: Iterable[Collect], columns: list[str], where: str, of: str = ""
) -> Iterator[Fault]:
    """What of ``collect`` at ``where`` makes no sense for a bloque whose entities have
    ``columns``."""
    for k, one in enumerate(collect):
        if isinstance(one, CollectOf) and one.swarm not in (None, of):
            continue
        if not one.stats and not one.columns:
            yield Fault(f"{where}[{k}]", "neither stats nor columns", "one of both at least")
        those = f"columns of {of}:" if of else "columns"
        allowed = f"one of the {those} {', '.join(columns)}"
        for j, name in enumerate(one.columns):
            if name not in columns or name in one.columns[:j]:
                found = f'"{name}" twice' if name in columns else f'"{name}"'
                yield Fault(f"{where}[{k}].columns[{j}]", found, f"{allowed}, each once")
        for j, text in enumerate(one.stats):
            place = f"{where}[{k}].stats[{j}]"
            try:
                expression = parse_expression(text)
            except ValueError as error:
                found, _, wanted = str(error).removeprefix("found ").partition(", expected ")
                yield Fault(place, found, wanted)
                continue
            if expression.column not in columns:
                yield Fault(place, repr(text), allowed)
