"""What a block leaves to the next tick: what its entities sent, children without a place.

Who writes: the worker that owns the block, its copy ``T & 1`` (``corec.layout.post``) in tick T:
the values in each step, behind those of the committed steps; the moves (of Micro: in the one step);
the children and the head, which says how many there are, in the step that ends the tick, before the
commit word. Who reads: every worker, in tick T + 1 and in the phases before it, copy ``T & 1`` of
all blocks. Nobody starts tick T + 2, which writes that copy again, before every worker has done T +
1: no lock, no torn read.

What a SIGKILL leaves: values beyond what the committed words count, which the redo writes again; or
a head of T that says the same after the redo: what T does follows from copy ``(T − 1) & 1``, which
nobody writes in T. Which copy counts is said by the committed tick, so an adopted world has its
post, and a checkpoint of tick T takes copy ``T & 1`` along.

Order: a tick gives an entity what was sent to it before its readings; by the ids of the senders'
blocks, within a block as it was sent. So no number of workers changes it.

The *own* words of a swarm (``desc.M_*``) are memory of this process; nobody reads them after
a step.
"""

from __future__ import annotations

from numba import int64, uint32, uint64

from corec import layout as L
from corec.kernels import desc as K
from corec.kernels.address import (
    copy_memory,
    i8_at,
    load_u4,
    load_u8,
    store_f4,
    store_u4,
    store_u8,
    u4_at,
)
from corec.kernels.block_words import add
from corec.layout.post import POST_BORN, POST_HEAD_BYTES, POST_MOVES, POST_SENT, SEND_BYTES
from shm.compiled_killpoint import process_kill_point
from shm.jit import dissolved, inner
from shm.killpoint import register

K_BEFORE_POST = register("block.before_post")
K_AFTER_POST = register("block.after_post")

FULL, NOBODY, TAKES_NONE = 1, 2, 3
NO_ROOM_TO_SEND = -2
NOT_RUN = -3
"""Status codes of ``entities.told``."""


@dissolved
def own_word(own, k):
    """Word ``k`` of a swarm's own words."""
    return int64(load_u8(own + 8 * k))


@dissolved
def set_own(own, k, value):
    """Store it."""
    store_u8(own + 8 * k, uint64(value))


@dissolved
def begin_call(own):
    """An entity's call begins: how many values the block has sent before it."""
    count = own_word(own, K.M_COUNT)
    set_own(own, K.M_START, count)
    return count


@dissolved
def unsend(own, count):
    """Only the first ``count`` values were sent."""
    set_own(own, K.M_COUNT, count)


@inner
def refusal(own, who):
    """Why the entity of this call may not send to ``who``; 0: it may."""
    if own_word(own, K.M_COUNT) - own_word(own, K.M_START) >= own_word(own, K.M_LIMIT):
        return FULL
    at = own + 8 * K.M_SWARMS
    for _ in range(own_word(own, K.M_RANGES)):
        if who >= own_word(at, 0) and who < own_word(at, 1):
            return 0 if own_word(at, 2) != 0 else TAKES_NONE
        at += 24
    return NOBODY


@inner
def sent_by(own, sender, who, value):
    """Put a value behind the others; when there is no room it is only counted."""
    count = own_word(own, K.M_COUNT)
    if count < own_word(own, K.M_ROOM):
        at = own_word(own, K.M_TABLE) + SEND_BYTES * count
        store_u4(at, uint32(who))
        store_f4(at + 4, value)
    else:
        set_own(own, K.M_LAST, sender)
    set_own(own, K.M_COUNT, count + 1)


@dissolved
def starts_at(starts, i):
    """Number of the first value for entity ``i`` of the block."""
    return int64(load_u4(starts + 4 * i))


@inner
def ask_to_move(own, who):
    """The entity of this call wants to move."""
    count, place = own_word(own, K.M_MOVES), who - own_word(own, K.M_FIRST)
    at = own_word(own, K.M_MOVERS) + 4 * count
    if count > 0 and int64(load_u4(at - 4)) == place:
        return  # it said so before
    store_u4(at, uint32(place))
    set_own(own, K.M_MOVES, count + 1)


@dissolved
def post_of(block, row, tick):
    """Address of what ``tick`` leaves."""
    return block[K.B_HOT] + row[K.W_POST] + (tick & 1) * row[K.W_POST_BYTES]


@inner
def sent_in(dyn, tick):
    """How many values the steps of ``tick`` so far have sent, those without room among them."""
    return int64(dyn[L.D_SENT]) if int64(dyn[L.D_SENT_TICK]) == tick else 0


@inner
def open_post(block, row, dyn, tick):
    """Before the entities run: where they send to."""
    own = row[K.W_OWN]
    if row[K.W_VIVO] >= 0:
        set_own(own, K.M_LEFT, 0)
        set_own(own, K.M_FIRST, block[K.B_FIRST])
        set_own(own, K.M_MOVES, 0)
        set_own(own, K.M_MOVERS, post_of(block, row, tick) + row[K.W_MOVES])
    if row[K.W_SENDS] > 0:
        set_own(own, K.M_COUNT, sent_in(dyn, tick))
        set_own(own, K.M_ROOM, row[K.W_SENDS] * block[K.B_N])
        set_own(own, K.M_TABLE, post_of(block, row, tick) + POST_HEAD_BYTES)


@inner
def note(told, tick, entity, code):
    """Leave at ``told`` (``entities.told``) that something of ``entity`` did not arrive."""
    words = i8_at(told, K.TOLD_WORDS)
    words[K.TOLD_ENTITY], words[K.TOLD_CODE] = entity, code
    words[K.TOLD_TICK] = tick + 1


@inner
def close_post(row, dyn, tick, told):
    """After they have run: how much was sent."""
    own = row[K.W_OWN]
    if row[K.W_SENDS] == 0:
        return
    count = own_word(own, K.M_COUNT)
    if count > own_word(own, K.M_ROOM) and count > sent_in(dyn, tick):
        note(told, tick, own_word(own, K.M_LAST), NO_ROOM_TO_SEND)
    dyn[L.D_SENT_TICK], dyn[L.D_SENT] = uint64(tick), uint64(count)


@inner
def leave_post(block, row, dyn, tick):
    """At the end of ``tick``: its head, and the children for whom the block has no place."""
    process_kill_point(K_BEFORE_POST)
    own, post = row[K.W_OWN], post_of(block, row, tick)
    count = sent_in(dyn, tick)
    sent = min(count, row[K.W_SENDS] * block[K.B_N])
    add(dyn, L.D_SENDS, count)
    add(dyn, L.D_UNDELIVERED, count - sent)
    left = own_word(own, K.M_LEFT)
    if left > 0:
        births, record = own_word(own, K.M_BIRTHS), row[K.W_RECORD]
        first = births + K.BIRTHS_HEAD + (int64(load_u8(births)) - left) * record
        copy_memory(post + row[K.W_CHILDREN], first, left * record)
    store_u8(post + POST_SENT, uint64(sent))
    store_u8(post + POST_BORN, uint64(left))
    store_u8(post + POST_MOVES, uint64(own_word(own, K.M_MOVES)))
    process_kill_point(K_AFTER_POST)


@inner
def bring_letters(block, row, locals_, values, lo):
    """Of a Micro block: where in the values that arrived for it each entity's begin. They are
    sorted by entity."""
    n, letters = block[K.B_N], block[K.B_SENT]
    own = row[K.W_OWN]
    starts = u4_at(own_word(own, K.M_STARTS), n + 1)
    at = 0
    for i in range(n):
        starts[i] = uint32(at)
        while at < letters and int64(locals_[lo + at]) == i:
            at += 1
    starts[n] = uint32(at)
    set_own(own, K.M_LETTERS, int64(values.ctypes.data) + 4 * lo)


@inner
def count_unread(block, row, dyn, tick, run, told):
    """Of a Micro block: what arrived for entities that did not run."""
    if block[K.B_SENT] == 0:
        return
    starts = u4_at(own_word(row[K.W_OWN], K.M_STARTS), block[K.B_N] + 1)
    unread, whose = 0, 0
    for i in range(block[K.B_N]):
        if run[i] == 0 and starts[i + 1] != starts[i]:
            unread += int64(starts[i + 1]) - int64(starts[i])
            whose = i
    if unread > 0:
        add(dyn, L.D_UNDELIVERED, unread)
        note(told, tick, block[K.B_FIRST] + whose, NOT_RUN)


@inner
def count_refused(block, dyn, tick, locals_, actives, first, last, told):
    """Of a Celu block: what arrived for entities that are switched off, out of the arrivals
    ``first … last−1``."""
    unread, whose = 0, 0
    for j in range(first, last):
        if actives[j] == 0:
            unread += 1
            whose = int64(locals_[j])
    if unread > 0:
        add(dyn, L.D_UNDELIVERED, unread)
        note(told, tick, block[K.B_FIRST] + whose, NOT_RUN)
