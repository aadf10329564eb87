"""A world whose processors have other fields by now: what stays, what begins, what goes.

A field that has the same name and type keeps its values, and so does a history of the same length,
a gene of the same name. A new one begins as in a new entity: at its default, or what ``init`` sets.
One that is gone, or has another type, loses its values: who starts the world has to say that this
is meant (``--migrate``). A processor with ``migrate=f`` is handed the old columns of each block and
gives new ones for it: what it is handed is not lost. All else of an entity and of a block goes on:
valor, activo, failures, umbral, fitness, counts, the messages since the last row.

The world is filled before anybody ticks. Of one that comes from a checkpoint, a kill leaves the
checkpoint, and the next start begins anew; of one in memory (``corec.supervisor.refitting``) the
old segment, as long as the new one has not got its name.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.entities.fields import VIVO
from corec.entities.post import children_at, has_post, moves_at, sends_room
from corec.kernels.whole import settle_edited
from corec.layout.post import POST_BORN, POST_HEAD_BYTES, POST_MOVES, POST_SENT, SEND
from corec.plan import Plan, Swarm
from corec.world.checkpoint import Checkpoint, CheckpointRefused
from corec.world.commits import commit_word
from corec.world.edits import refused_of
from corec.world.read import BlockView
from corec.world.restore import load_to_read
from corec.world.shape import Shape, whole_swarms
from corec.world.tables import Tables

_SELECTORS: Final = (
    L.D_HOT_SEL, L.D_ACTIVO_SEL, L.D_FALLOS_SEL, L.D_MARKS_SEL, L.D_GENES_SEL,
)  # fmt: skip
_KINDS: Final = (("state", "state field"), ("history", "history"), ("genes", "gene"))


class MigrateFailed(Exception):
    """A processor's ``migrate`` does not give what it should; the text says what it does."""


class Change(NamedTuple):
    """What becomes of one field of a bloque."""

    text: str
    loses: bool


def handed(plan: Plan) -> frozenset[str]:
    """The bloques whose processor makes new columns out of the old ones."""
    return frozenset(s.id for s in plan.swarms if s.processor.migrate is not None)


def migration(
    found: Shape, wanted: Shape, makers: frozenset[str] = frozenset()
) -> list[Change]:  # fmt: skip
    """What of the fields of ``found`` is not as in ``wanted``, which it fits otherwise. ``makers``:
    see ``handed``."""
    changes: list[Change | None] = []
    pairs = zip(whole_swarms(found["swarms"]), whole_swarms(wanted["swarms"]), strict=False)
    for index, (old, new) in enumerate(pairs):
        for kind, word in _KINDS:
            where = f"bloques[{index}]: {word} of {new['procesador']}: "
            was, now = _types(kind, old), _types(kind, new)
            names = [*was, *(name for name in now if name not in was)]
            makes = kind == "state" and new["id"] in makers
            changes += [
                _change(where + name, was.get(name), now.get(name), makes) for name in names
            ]
    return [change for change in changes if change is not None]


def _types(kind: str, swarm: dict[str, Any]) -> dict[str, str]:
    found = {str(name): str(what[0]) for name, *what in swarm.get(kind, [])}
    return dict.fromkeys(found, "gene") if kind == "genes" else found


def _change(where: str, was: str | None, now: str | None, makes: bool) -> Change | None:
    if was == now:
        return None
    if makes:
        becomes = "goes" if now is None else f"is {now}" if was else f"is new ({now})"
        return Change(f"{where}{f' ({was})' if was else ''} {becomes}, as migrate has it", False)
    if was is None:
        return Change(f"{where} is new ({now}), and begins as in a new entity", False)
    if now is None:
        return Change(f"{where} ({was}) goes, and its values with it", True)
    return Change(f"{where} is {now} and was {was}: its values go", True)


def load_migrated(checkpoint: Checkpoint, plan: Plan, tables: Tables, world: NDArray[Any]) -> None:
    """Write what ``checkpoint`` has into the new world of ``plan`` in ``world`` (u8), made by
    ``create_world``.

    Raises:
        CheckpointRefused: damaged.
    """
    old, memory = load_to_read(checkpoint, _zeroed)
    try:
        carry_over(old, memory, plan, tables, world)
    except MigrateFailed as error:
        raise CheckpointRefused(f"{checkpoint.path}: {error}") from None


def carry_over(
    old: Plan, memory: NDArray[Any], plan: Plan, tables: Tables, world: NDArray[Any]
) -> None:
    """Write what the world of ``old`` in ``memory`` (u8) has, which stands still between two ticks,
    into the new one of ``plan`` in ``world`` (u8).

    Raises:
        MigrateFailed: a processor's ``migrate`` does not give what it should.
    """
    before, words = memory.view(np.uint64), world.view(np.uint64)
    for index in range(plan.n_blocks):
        views = BlockView(old, before, index), BlockView(plan, words, index)
        _write(plan, words, *views)
        _make(*views)
        settle_edited(tables.blocks, tables.swarms, index)


def _make(old: BlockView, new: BlockView) -> None:
    """What the processor's ``migrate`` makes of the old columns, if the fields differ."""
    processor = new.swarm.processor
    if processor.migrate is None or old.swarm.processor.columns == processor.columns:
        return
    names = ["valor", "activo", "fallos", *(name for name, _ in old.swarm.processor.columns)]
    names += [gene.name for gene in old.swarm.processor.genes]
    given = {name: old.column(name).copy() for name in names}
    given["id"] = np.arange(old.first_id, old.first_id + old.n)
    where = f"migrate of {processor.name}"
    try:
        made = dict(processor.migrate(given))
    except Exception as error:  # noqa: BLE001 - whatever the user's function raises is told
        raise MigrateFailed(f"{where}: {type(error).__name__}: {error}") from None
    dtypes = {field.name: field.dtype for field in processor.state}
    for name, values in made.items():
        if name not in dtypes:
            known = ", ".join(dtypes)
            raise MigrateFailed(f"{where}: found {name!r}, expected state fields: {known}")
        cast = _fitting(values, dtypes[name], new.n, f"{where}: {name}")
        refused, allowed = refused_of(new.swarm, name, cast)
        if refused.any():
            k = int(np.flatnonzero(refused)[0])
            found = f"found {cast[k]} of entity {new.first_id + k}"
            raise MigrateFailed(f"{where}: {name}: {found}, expected {allowed}")
        new.column(name)[:] = cast
    if VIVO in made and new.swarm.processor.mortal:  # who does not live is none that is switched on
        new.column("activo")[:] &= new.column(VIVO)


def _fitting(values: Any, dtype: str, n: int, where: str) -> NDArray[Any]:
    expected = f"expected {n} finite numbers that fit {dtype}, or one"
    try:
        given = np.broadcast_to(np.asarray(values), n)
        with np.errstate(over="ignore", invalid="ignore"):
            cast = given.astype(dtype)
            fits = np.isfinite(cast).all() and (cast.dtype.kind == "f" or (cast == given).all())
    except (TypeError, ValueError) as error:
        raise MigrateFailed(f"{where}: {error}; {expected}") from None
    if not fits:
        raise MigrateFailed(f"{where}: found some that don't; {expected}")
    return cast


def _zeroed(size: int) -> NDArray[np.uint8]:
    return np.zeros(-(-size // 8), np.uint64).view(np.uint8)[:size]


def _write(plan: Plan, words: NDArray[np.uint64], old: BlockView, new: BlockView) -> None:
    for name in ("valor", "activo", "fallos", "racha", *_same(old.swarm, new.swarm)):
        new.column(name)[:] = old.column(name)
    for name in _same_rings(old.swarm, new.swarm):
        new.ring(name)[:] = old.ring(name)
    dyn = old.dyn.copy()
    dyn[list(_SELECTORS)] = 0  # a new world's first copies count
    kept = min(int(dyn[L.D_LOG_N]), len(new.log))
    new.log[:kept] = old.log[:kept]
    dyn[L.D_LOG_OMITTED] += dyn[L.D_LOG_N] - np.uint64(kept)
    dyn[L.D_LOG_N] = kept
    _carry_post(old, new, dyn)
    start = int(plan.blocks["offset"][new.index])
    place = (start + L.OFF_DYN[0]) // 8
    words[place : place + L.DYN_WORDS] = dyn
    words[(start + L.OFF_COMMIT) // 8] = commit_word(old.tick)


def _carry_post(old: BlockView, new: BlockView, dyn: NDArray[np.uint64]) -> None:
    """What was sent goes on its way, and children without a place wait on, with the fields that
    both have. What there is no room for, since the processor sends less, is counted."""
    if not has_post(old.swarm.processor):
        return
    into, processor = new.post_of(old.tick), new.swarm.processor
    sent = old.sent[: sends_room(processor, new.swarm.cap)]
    dyn[L.D_UNDELIVERED] += np.uint64(len(old.sent) - len(sent))
    if len(sent):
        into[POST_SENT : POST_SENT + 8].view("<u8")[0] = len(sent)
        into[POST_HEAD_BYTES : POST_HEAD_BYTES + sent.nbytes].view(SEND)[:] = sent
    moves = old.moves
    if processor.mortal and len(moves):
        into[POST_MOVES : POST_MOVES + 8].view("<u8")[0] = len(moves)
        at = moves_at(processor, new.swarm.cap)
        into[at : at + moves.nbytes].view(np.uint32)[:] = moves
    born = old.children
    if not processor.mortal or not len(born):
        return
    rows: NDArray[np.uint64] = np.zeros((len(born), len(processor.state) + 1), np.uint64)
    places = {field.name: k for k, field in enumerate(old.swarm.processor.state)}
    for k, field in enumerate(processor.state):
        if dict(old.swarm.processor.columns).get(field.name) == field.dtype:
            rows[:, k] = born[:, places[field.name]]
        else:
            slots = rows.view(np.uint8).reshape(len(born), -1, 8)[:, k, : field.itemsize]
            slots[:] = np.array([field.default], field.dtype).view(np.uint8)
    rows[:, -1] = born[:, -1]
    at = children_at(processor, new.swarm.cap)
    into[at : at + rows.nbytes] = rows.view(np.uint8).ravel()
    into[POST_BORN : POST_BORN + 8].view("<u8")[0] = len(born)


def _same_rings(old: Swarm, new: Swarm) -> list[str]:
    lengths = {ring.name: ring.length for ring in old.processor.history}
    return [r.name for r in new.processor.history if lengths.get(r.name) == r.length]


def _same(old: Swarm, new: Swarm) -> list[str]:
    """The columns that both have: state fields, counts of histories, genes."""
    types = dict(old.processor.columns)
    fields = [name for name, dtype in new.processor.columns if types.get(name) == dtype]
    rings = set(_same_rings(old, new))
    counts = [ring.count_field for ring in new.processor.history if ring.name in rings]
    genes = {gene.name for gene in old.processor.genes}
    return [*fields, *counts, *(g.name for g in new.processor.genes if g.name in genes)]
