"""What a world is made of, as data: written beside it, held against a configuration.

``world.seg.json`` lies beside the world's segments in memory (the supervisor writes it, whole,
before the control segment makes the world one); a checkpoint has the same in its head. Nothing
depends on it but the words of a refusal: what differs, key by key.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from corec.entities.fields import BY_TIME
from corec.plan import Plan
from corec.world.packing import shape_of
from corec.world.segment import WORLD_FILE

SHAPE_FILE: Final = f"{WORLD_FILE}.json"
DIFFERENCES_MAX: Final = 8

_BESIDE: Final[tuple[str, ...]] = ("value", "alerts", "see", "genes", "fitness", "mortal", BY_TIME)
"""What decides no field, as a processor declares it, and is of one piece with a world in memory."""

Shape = dict[str, Any]


def shape(plan: Plan, seed: int) -> Shape:
    """Seed and swarms of a world, as JSON data."""
    return {
        "seed": seed,
        "swarms": [
            {**one, "value": list(p.values), "alerts": list(p.alert_fields), "see": list(p.see)}
            for one, p in zip(shape_of(plan), (s.processor for s in plan.swarms), strict=True)
        ],
    }


def write_shape(folder: Path, plan: Plan, seed: int, before: Shape | None = None) -> None:
    """Write it into the runtime folder (mode 0600). ``before``: what it was until now, for a world
    that is just about to grow."""
    path = folder / SHAPE_FILE
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(shape(plan, seed) | ({"before": before} if before else {}), file)
    fresh.replace(path)


def read_shape(folder: Path) -> Shape | None:
    """What was written there; None when nothing sound was."""
    try:
        found = json.loads((folder / SHAPE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("swarms"), list) else None


def differences(
    found: Shape, wanted: Shape, *, growing: bool = False, migrating: bool = False
) -> list[str]:
    """What of a world is not as the configuration wants it, in the configuration's words.

    ``growing``: a bloque may have more entities, and there may be more bloques behind the last.
    ``migrating``: a processor of the same name may have other fields (``corec.world.migrate``).
    """
    told = _unequal("", {"seed": found.get("seed")}, {"seed": wanted["seed"]})
    before, after = whole_swarms(found["swarms"]), whole_swarms(wanted["swarms"])
    if len(before) > len(after) or (len(before) != len(after) and not growing):
        names = [", ".join(str(one.get("id")) for one in swarms) for swarms in (before, after)]
        found_text = f"found {len(before)} ({names[0]})"
        told.append(f"bloques: {found_text}, configured {len(after)} ({names[1]})")
    for index, (old, new) in enumerate(zip(before, after, strict=False)):
        path = f"bloques[{index}]"
        was, now = _keys(old), _keys(new)
        if old.get("cap") == old["first"] < int(new["entidades"]):
            # one block at first, that was not full: its cap is what it held
            del was["entidades_por_bloque"], now["entidades_por_bloque"]
        if growing and old.get("id") == new.get("id"):
            _may_grow(found["swarms"][-1], old, new, was, now)
        told += _unequal(f"{path}.", was, now)
        name = new["procesador"]
        if migrating and (old.get("procesador"), old.get("kind")) == (name, new["kind"]):
            continue
        for kind, word in (("state", "state field"), ("history", "history")):
            was, now = dict(old.get(kind, [])), dict(new[kind])
            told += _unequal(f"{path}: {word} of {name}: ", was, now)
        rest = ("kind", "means", "sends")
        told += _unequal(
            f"{path}: {name}: ", {k: old.get(k) for k in rest}, {k: new.get(k) for k in rest}
        )
    more = len(told) - DIFFERENCES_MAX
    return told[:DIFFERENCES_MAX] + ([f"and {more} more"] if more > 0 else [])


def differences_beside(found: Shape, wanted: Shape) -> list[str]:
    """What else keeps the world in memory of ``found``, which has the same fields, from going on
    as ``wanted`` (``Plan.fingerprint``). A checkpoint does without."""
    told = []
    before, after = (whole_swarms(one.get("swarms", [])) for one in (found, wanted))
    for index, (old, new) in enumerate(zip(before, after, strict=False)):
        was, now = ({key: one[key] for key in _BESIDE if key in one} for one in (old, new))
        for key in ("value", "alerts", "see"):
            was.setdefault(key, now[key])  # an older version did not say
        told += _unequal(f"bloques[{index}]: {new['procesador']}: ", was, now)
    return told


def whole_swarms(swarms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One for each bloque: all its parts together, in the columns of the first."""
    found: dict[Any, dict[str, Any]] = {}
    for one in swarms:
        whole = {**one, "entidades": 0, "first": one.get("entidades")}
        first = found.setdefault(one.get("id"), whole)
        first["entidades"] += int(one.get("entidades", 0))
    return list(found.values())


def _may_grow(
    last: dict[str, Any], old: dict[str, Any], new: dict[str, Any], was: dict[str, Any],
    now: dict[str, Any],
) -> None:  # fmt: skip
    """Leave out what differs because of more entities alone. ``last``: the world's last part."""
    more = int(new["entidades"]) - int(old["entidades"])
    if more <= 0:
        return
    name = "entidades"
    if (why := _why_not_more(last, new)) is not None:
        now[name] = f"{now[name]}: they can't become more, for {why}"
        return
    del was[name], now[name]


def _why_not_more(last: dict[str, Any], new: dict[str, Any]) -> str | None:
    """What keeps a bloque from growing (``plan.stays_one``); None: nothing."""
    if not any(key in new for key in ("public", "genes", "mortal")):
        return None
    kind = (new.get("space") or {}).get("kind")
    if kind in ("grid", "graph"):
        one = "cell" if kind == "grid" else "node"
        return f"each is a {one} of their {kind}, which has as many"
    what = "entities that meet, evolve or are born go on in a row"
    if last.get("id") != new["id"]:
        return f"{what}, and those of {last.get('id')} come behind them"
    if last.get("cap") != new["cap"] or int(last["entidades"]) % int(new["cap"]):
        return f"{what}, and their last block is not full ({new['cap']} entidades_por_bloque)"
    return None


def _keys(swarm: dict[str, Any]) -> dict[str, Any]:
    """A swarm's shape under the configuration's keys."""
    return {
        "id": swarm.get("id"), "canal": swarm.get("canal"), "entidades": swarm.get("entidades"),
        "entidades_por_bloque": swarm.get("cap"),
        "max_size_mb": int(swarm.get("block_bytes", 0)) >> 20,
        "procesador": swarm.get("procesador"),
        **{name: swarm[name] for name in ("public", "space") if name in swarm},
    }  # fmt: skip


def _unequal(path: str, found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    return [
        f"{path}{name}: found {found.get(name, 'none')}, configured {wanted.get(name, 'none')}"
        for name in [*found, *(name for name in wanted if name not in found)]
        if found.get(name) != wanted.get(name)
    ]
