"""By what an entity sees others: hidden members of ``me``, and the lines of a kernel's text that
fill them (``codegen`` has the rest)."""

from __future__ import annotations

from typing import Any, Final

from numba import types

from corec.entities.meeting import Meeting
from corec.entities.processor import Processor
from corec.graph.links import H_STARTS, H_WEIGHT, H_WHO, HEAD_WORDS
from corec.kernels.plane import AHEAD


def members(meeting: Meeting) -> list[tuple[str, Any]]:
    """(name, Numba type) of the hidden members."""
    word, pointer = types.int64, types.voidptr
    found = [("_pub", pointer), ("_origin", word)]
    if meeting.graph is not None:
        found += [("_links", pointer), ("_lo", word), ("_hi", word)]
        found += [("_weights", pointer)] if meeting.graph.weights else []
    if meeting.plane is not None:
        found += [("_near", word), ("_place", word)]
        found += [(f"_count{k}", word) for k in range(len(meeting.plane.shown))]
    if meeting.grid is not None:
        found += [("_near", pointer), ("_cell", word), ("_x", word), ("_rows", word)]
    if meeting.everyone is not None:
        found.append(("_everyone", word))
    return found


def met(meeting: Meeting | None, cell: str, x: str) -> dict[str, str]:
    """The hidden members of ``me`` that let it see others, by name: ``cell`` in the stretch,
    ``x``."""
    if meeting is None:
        return {}
    found = {"_pub": "w", "_origin": "origin"}
    if meeting.graph is not None:
        found |= {"_links": "links", "_lo": "get_i8(starts, 8 * (base + i))"}
        found["_hi"] = "get_i8(starts, 8 * (base + i) + 8)"
        found |= {"_weights": "weights"} if meeting.graph.weights else {}
    if meeting.plane is not None:
        found |= {"_near": "near", "_place": "base + i"}
        found |= {f"_count{k}": "-1" for k in range(len(meeting.plane.shown))}
    if meeting.grid is not None:
        found |= {"_near": "q", "_cell": cell, "_x": x, "_rows": "there"}
    return found | ({"_everyone": "everyone"} if meeting.everyone is not None else {})


def meet(meeting: Meeting | None) -> list[str]:
    """Where others are seen, before the first entity."""
    if meeting is None:
        return []
    lines = ["    w = pointer(pub)"]
    if meeting.grid is not None:
        lines.append("    q = pointer(near)")
    elif meeting.spatial:
        lines.append("    base = first_id - origin")
    if meeting.graph is not None:
        lines.append(f"    head = i8_at(near, {HEAD_WORDS})")
        for name, word in (("starts", H_STARTS), ("links", H_WHO), ("weights", H_WEIGHT)):
            lines.append(f"    {name} = pointer(near + head[{word}])")
    return lines


def held(meeting: Meeting | None) -> tuple[dict[str, str], list[str]]:
    """Of a plane: what is stored into the fields of the position, and what must hold for that."""
    if meeting is None or meeting.plane is None:
        return {}, []
    hold = "wrapped" if meeting.plane.wrap else "held"
    names = meeting.plane.position
    stored = {
        name: f"{hold}(me.{name}, float32({size!r}))"
        for name, size in zip(names, meeting.plane.size, strict=True)
    }
    return stored, [f"((me.{name} - me.{name}) == float32(0.0))" for name in names]


IMPORTS: Final = "from corec.kernels.plane import anywhere, held, wrapped"
"""Of a kernel's text, on a plane."""


def anywhere(processor: Processor, meeting: Meeting | None) -> list[tuple[str, str]]:
    """Where on a plane an entity begins that says nothing of it, neither in an ``init`` nor by an
    initial value: the fields of the position and the numbers in them."""
    if meeting is None or meeting.plane is None or processor.init is not None:
        return []
    names, stored = meeting.plane.position, held(meeting)[0]
    if any(field.default for field in processor.state if field.name in names):
        return []
    drawn = [f"anywhere(first_id + i, {axis}, seed, float32({size!r}))"
             for axis, size in enumerate(meeting.plane.size)]  # fmt: skip
    held_there = zip(names, drawn, strict=True)
    return [(name, stored[name].replace(f"me.{name}", one)) for name, one in held_there]


def bring(processor: Processor, meeting: Meeting | None) -> list[str]:
    """Of a plane: ask for what the entities that come next will read, where they live."""
    if meeting is None or meeting.plane is None:
        return []
    ask = f"near_rows(w, near, base + i, {meeting.entidades})"
    if not processor.mortal:
        return [ask]
    return [f"if running[min(k + {AHEAD}, count - 1)] != 0:", f"    {ask}"]


def see(meeting: Meeting | None, first: str, take: str, indent: str) -> list[str]:
    """Bring the cells about ``take`` cells of a row, from entity ``first`` of the block on."""
    if meeting is None or meeting.grid is None:
        return []
    return [
        f"{indent}cell = first_id + {first} - origin",
        f"{indent}x0 = cell % {meeting.grid.sides[0]}",
        *([f"{indent}take = {take}"] if take != "1" else []),
        f"{indent}there = near_rows(near, pub, cell, x0, {'take' if take != '1' else '1'})",
    ]
