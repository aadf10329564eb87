"""What does not go together in the ``space`` of a bloque. It runs on the data as it was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from corec.config.faults import Fault, found_text
from corec.config.space import (
    FILES,
    NEIGHBOURS_MAX,
    RADIUS_MAX,
    ROWS_MAX,
    Space,
    is_length,
    neighbours_of,
)

GENERATORS: Final = {
    "erdos_renyi": ("p",), "watts_strogatz": ("k", "p"), "barabasi_albert": ("m",),
    "complete": (), "ring": (), "cycle": (),
}  # fmt: skip
"""Each with its parameters; any of them takes a ``seed``, too, and ``n``, as many as there are."""
EDGES_MAX: Final = 200_000_000
GENERATED_MAX: Final = 100_000_000
"""Entities of a generated graph."""
_SIDES: Final = ("width", "height", "depth")
_KEYS: Final = {
    "grid": (*_SIDES, "wrap", "neighbourhood", "radius"),
    "graph": ("edges", "directed", "weights"),
    "plane": ("position", "size", "wrap", "radius"),
}


def space_faults(
    space: object, entidades: object, where: str, key: str = "entidades"
) -> Iterator[Fault]:
    """What does not go together in the ``space`` of a bloque, which need not be valid otherwise.
    ``key``: which one says how many places there are."""
    kind = space.get("kind") if isinstance(space, Mapping) else None
    if not isinstance(space, Mapping) or not isinstance(kind, str) or kind not in _KEYS:
        return
    for name in space:
        if name not in Space.model_fields or name in ("kind", *_KEYS[kind]):
            continue
        if space[name] is not None and space[name] != Space.model_fields[name].default:
            yield Fault(f"{where}.{name}", f"a key that no {kind} has",
                        f"only kind, {', '.join(_KEYS[kind])}")  # fmt: skip
    if kind == "grid":
        yield from _grid_faults(space, entidades, where, key)
    elif kind == "graph":
        yield from _graph_faults(space, entidades, where, key)
    else:
        yield from _plane_faults(space, where)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _grid_faults(
    space: Mapping[str, Any], entidades: object, where: str, key: str
) -> Iterator[Fault]:
    given: dict[str, Any] = {n: space[n] for n in _SIDES if space.get(n) is not None}
    if not all(map(_whole, given.values())):
        return
    if "width" not in given:
        yield Fault(f"{where}.width", "nothing", "the number of cells of a row")
        return
    if "depth" in given and "height" not in given:
        yield Fault(f"{where}.depth", str(given["depth"]), "a depth beside a height")
        return
    cells = 1
    for side in given.values():
        cells *= side
    text = " · ".join(str(side) for side in given.values())
    if _whole(entidades) and cells != entidades:
        room = f", or capacidad {cells}: the others are empty" if key == "entidades" else ""
        room = room if cells > cast(int, entidades) else ""
        yield Fault(where, f"{text} = {cells} cells", f"as many as {key}, {entidades}{room}")
    radius = space.get("radius", 1)
    if not _whole(radius) or radius > RADIUS_MAX:
        if _number(radius) and radius > 0:
            yield Fault(f"{where}.radius", str(radius), f"an integer from 1 to {RADIUS_MAX}")
        return
    least = 2 * radius + 1 if space.get("wrap", True) is True else radius + 1
    longer = {name: side for name, side in given.items() if side > 1}
    for name, side in (longer or given).items():
        if side < least:
            smaller = ", or a smaller radius" if radius > 1 else ""
            yield Fault(f"{where}.radius", f"{radius} in a {name} of {side}",
                        f"a {name} of at least {least}{smaller}")  # fmt: skip
            return
    rows = (2 * radius + 1) ** (len(longer) - 1)
    fits = rows <= ROWS_MAX  # before all of a large one are listed
    if fits:
        steps = neighbours_of(len(longer), radius, str(space.get("neighbourhood", "moore")))
        fits = len(steps) <= NEIGHBOURS_MAX
    if not fits:
        yield Fault(f"{where}.radius", f"{radius} in {len(longer)} dimensions",
                    f"at most {NEIGHBOURS_MAX} neighbours in {ROWS_MAX} rows")  # fmt: skip


def _graph_faults(
    space: Mapping[str, Any], entidades: object, where: str, key: str
) -> Iterator[Fault]:
    edges = space.get("edges")
    where = f"{where}.edges"
    if edges is None:
        yield Fault(where, "nothing", f"a file ({', '.join(FILES)}) or an object with generator")
    elif isinstance(edges, str) and edges and not edges.lower().endswith(FILES):
        yield Fault(where, found_text(edges, ("edges",)), f"a file ending in {', '.join(FILES)}")
    elif isinstance(edges, Mapping):
        yield from _generator_faults(edges, entidades, where, key, space.get("directed") is True)
        if space.get("weights") is True:
            yield Fault(where, "a generator beside weights", "a file where edges have weights")


def _generator_faults(
    edges: Mapping[str, Any], entidades: object, where: str, key: str, directed: bool
) -> Iterator[Fault]:
    name = edges.get("generator")
    known = ", ".join(GENERATORS)
    if not isinstance(name, str) or name not in GENERATORS:
        yield Fault(f"{where}.generator", _found(edges, "generator"), f"one of {known}")
        return
    wanted = GENERATORS[name]
    yield from _key_faults(edges, ("generator", "n", "seed", *wanted), where)
    if not isinstance(entidades, int) or isinstance(entidades, bool):
        return
    if entidades > GENERATED_MAX:
        yield Fault(where, f"{entidades} entities", f"at most {GENERATED_MAX} of a generator")
        return
    if "n" in edges and (edges["n"] != entidades or not _whole(edges["n"])):
        yield Fault(f"{where}.n", found_text(edges["n"], ("n",)), f"as many as {key}, {entidades}")
    p, k, m = edges.get("p"), edges.get("k"), edges.get("m")
    pairs = entidades * (entidades - 1) / (1 if directed else 2)
    count = pairs if name == "complete" else float(entidades)
    if "p" in wanted and not (_number(p) and 0 <= p <= 1):  # type: ignore[operator]  # a number
        yield Fault(f"{where}.p", _found(edges, "p"), "a number from 0 to 1")
    elif name == "erdos_renyi":
        count = float(p or 0) * pairs
    if "k" in wanted:
        if not _whole(k) or k >= entidades:  # type: ignore[operator]  # a number
            yield Fault(f"{where}.k", _found(edges, "k"), f"an integer from 1 below {entidades}")
        else:
            count = float(entidades) * (k // 2)  # type: ignore[operator]  # likewise
    if "m" in wanted:
        if not _whole(m) or m >= entidades:  # type: ignore[operator]  # a number
            yield Fault(f"{where}.m", _found(edges, "m"), f"an integer from 1 below {entidades}")
        else:
            count = float(entidades) * m  # type: ignore[operator]  # likewise
    if count > EDGES_MAX:
        yield Fault(where, f"about {count:.0f} edges", f"at most {EDGES_MAX}")


def _found(edges: Mapping[str, Any], name: str) -> str:
    return found_text(edges[name], (name,)) if name in edges else "nothing"


def _key_faults(edges: Mapping[str, Any], known: tuple[str, ...], where: str) -> Iterator[Fault]:
    for other in edges:
        if other not in known:
            yield Fault(f"{where}.{other}", "an unknown key", f"only {', '.join(known)}")
    if not isinstance(edges.get("seed", 0), int) or isinstance(edges.get("seed"), bool):
        yield Fault(f"{where}.seed", found_text(edges["seed"], ("seed",)), "an integer")


def _plane_faults(space: Mapping[str, Any], where: str) -> Iterator[Fault]:
    position, size = space.get("position"), space.get("size")
    for name, value, text in (
        ("position", position, "a list of 2 or 3 f4 state fields"),
        ("size", size, "how long its sides are"),
    ):
        if value is None:
            yield Fault(f"{where}.{name}", "nothing", text)
    if not isinstance(position, list | tuple) or size is None:
        return
    if len(set(map(str, position))) < len(position):
        yield Fault(f"{where}.position", "a field more than once", "each once")
    sizes = list(size) if isinstance(size, list | tuple) else [size] * len(position)
    if len(sizes) != len(position):
        yield Fault(f"{where}.size", f"{len(sizes)} sides", f"one, or {len(position)}: as position")
        return
    radius = space.get("radius", 1)
    if not sizes or not all(map(is_length, [*sizes, radius])):
        return
    most = min(sizes) / 2 if space.get("wrap", True) is True else min(sizes)
    if radius > most:
        half = "half of the shortest side" if space.get("wrap", True) is True else "a side"
        yield Fault(f"{where}.radius", f"{radius:g}", f"at most {most:g}, {half}")
