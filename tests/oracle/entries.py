"""What is written to the in-streams of an instance for drawn readings, and what it can't
understand: the forms that docs/streams.md names."""

from __future__ import annotations

import json
import random
import struct
from itertools import takewhile
from typing import Any, Final

from corec.lab.oracle.block import Reading
from tests.oracle.drawn import EVERYBODY, Drawn

MESSAGE: Final = struct.Struct("!Ibf?")
NOBODY: Final = 2**32 - 1


class Entries:
    """Of one drawn world, in forms that ``dice`` choose."""

    def __init__(self, drawn: Drawn, dice: random.Random) -> None:
        self._drawn, self._dice = drawn, dice

    def of(self, readings: list[Reading]) -> list[tuple[int, Any]]:
        """(canal, fields) of entries with these readings, those of a canal in their order."""
        found: list[tuple[int, Any]] = []
        for canal, mine in self._by_canal(readings).items():
            while mine:
                part = self._alike(mine[: self._dice.choice([1, 1, 7, len(mine)])])
                mine = mine[len(part) :]
                found.append((canal, self._fields(canal, part)))
        return found

    def letter(self, identity: int, what: str) -> tuple[int, Any]:
        """Canal and fields of an entry that makes no sense."""
        canal = self._drawn.canal_of(identity)
        if what == "nobody":
            return canal, {"m": MESSAGE.pack(NOBODY, canal, 0.5, True)}
        if what == "length":
            return canal, {"m": MESSAGE.pack(identity, canal, 0.5, True)[:-1], "x": "y"}
        if what == "both":
            return canal, {"m": MESSAGE.pack(identity, canal, 0.5, False), "datos": "0.5"}
        if what == "text":
            return canal, {"id": str(identity), "datos": "tepid"}
        return canal, {"m": MESSAGE.pack(identity, canal, float(what), True)}

    def _by_canal(self, readings: list[Reading]) -> dict[int, list[Reading]]:
        found: dict[int, list[Reading]] = {}
        for reading in readings:
            found.setdefault(self._drawn.canal_of(reading[0]), []).append(reading)
        return found

    def _names(self, identity: int) -> tuple[str, ...]:
        return EVERYBODY[self._drawn.swarm_of(identity)["procesador"]].values

    def _alike(self, part: list[Reading]) -> list[Reading]:
        """The first of them that fit one entry."""

        def form(reading: Reading) -> tuple[int, bool]:
            names = self._names(reading[0])
            return len(names) if reading[2] else 0, bool(names)

        return list(takewhile(lambda reading: form(reading) == form(part[0]), part))

    def _fields(self, canal: int, part: list[Reading]) -> Any:
        """One entry: packed messages, or for a Celu entity an id with its datum."""
        identity, valor, activo = part[0]
        names = self._names(identity)
        if names and activo:
            full = [self._drawn.full(reading) for reading in part]
            if len(part) > 1 or self._dice.random() < 0.5:
                return {"v": b"".join(struct.pack(f"!I{len(v)}f", i, *v) for i, v, _ in full)}
            datos = dict(zip(names, full[0][1], strict=True))
            return {"id": str(identity), "datos": json.dumps(datos)}
        if len(part) > 1 or not activo or self._drawn.kind_of(identity) != "celu":
            return {"m": b"".join(MESSAGE.pack(i, canal, v, a) for i, v, a in part)}
        forms = [
            repr(valor), json.dumps({"valor": valor}), json.dumps({"value": valor, "x": [1]}),
            struct.pack("!f", valor), struct.pack("!d", valor),
        ]  # fmt: skip
        return {"id": str(identity), "datos": self._dice.choice(forms)}
