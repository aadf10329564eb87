"""What a tick runs with, as the leader writes it down for the journal (``corec.journal.file``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from corec import layout as L
from corec.process.runtime import Runtime, word_to_float
from corec.world import settings
from corec.world.past import in_journal


def written_down(
    rt: Runtime, tick: int, before: int, cut: int, *, whole: bool, asked: bool = False
) -> dict[str, Any]:
    """The record of ``tick``, which takes in what lies in the inbox from ``before`` to ``cut``;
    the leader's words for it are stored. With nothing but ``tick`` if nothing is new; ``whole``:
    all that counts, whether it is new or not; ``asked``: carga, too, since somebody has set
    something, which may be what counts already, and is no longer what it is to come back from."""
    record: dict[str, Any] = {"tick": tick}
    now, last = tick & 3, tick - 1 & 3
    if whole or cut != before:
        positions = _positions(rt, tick, whole=whole)
        if positions:
            record["in"] = positions
            record["readings"] = _readings(rt, before, cut)
    if whole or asked or rt.get(L.C_CUT_CARGA + now) != rt.get(L.C_CUT_CARGA + last):
        record["carga"] = word_to_float(rt.get(L.C_CUT_CARGA + now))
        record["carga_asked"] = word_to_float(rt.get(L.C_CARGA_ASKED))
    revision = rt.get(L.C_CUT_SETTINGS + now)
    if whole or revision != rt.get(L.C_CUT_SETTINGS + last):
        record |= _set(rt, revision)
    if whole:
        record["config"] = in_journal(rt.written, rt.plan, rt.config)
    return record


def set_behind(rt: Runtime, first: int) -> dict[str, Any]:
    """The record of what is set to count from ``first`` on, which has not gone."""
    return {
        "tick": first, "until": first - 1, **_set(rt, rt.get(L.C_SETTINGS)),
        "carga": word_to_float(rt.get(L.C_CARGA)),
        "carga_asked": word_to_float(rt.get(L.C_CARGA_ASKED)),
    }  # fmt: skip


def _set(rt: Runtime, revision: int) -> dict[str, Any]:
    entries = settings.read(rt, revision)
    found = {path: list(entry) for path, entry in entries.items()}
    return {"set": found, "revision": revision}


def _positions(rt: Runtime, tick: int, *, whole: bool) -> dict[str, list[int]]:
    """By canal where the in-stream stands with ``tick``; of the canales where it has moved."""
    size = L.CANALES * L.IN_POS_WORDS
    tables = rt.control[L.C_IN_POS : L.C_IN_POS + 2 * size].reshape(2, L.CANALES, L.IN_POS_WORDS)
    new, old = tables[tick & 1], tables[1 - (tick & 1)]
    moved = new.any(axis=1) if whole else (new != old).any(axis=1)
    return {
        str(row - L.CANALES if row >= L.CANALES // 2 else row): [int(word) for word in new[row]]
        for row in np.flatnonzero(moved).tolist()
    }


def _readings(rt: Runtime, before: int, cut: int) -> int:
    total = 0
    for frame in rt.inbox.frames(before):
        if frame.position >= cut:
            break
        total += frame.b if frame.kind == L.KIND_READINGS_FRAME else 0
    return total
