"""What a block says to the outside: messages, log entries, rows, written straight into the lanes.

Both frames of a step are reserved before either is published, so a full lane publishes nothing.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int64, njit, uint16, uint32, uint64

from corec.kernels import desc as K
from corec.kernels.address import (
    copy_memory,
    f4_at,
    fetch_to_write,
    store_big_u2,
    store_big_u8,
    store_f4,
    store_f8,
    store_u4,
    store_u8,
    trailing_zeros,
    u4_at,
)
from corec.kernels.block_words import (
    K_AFTER_PUBLISH,
    K_BETWEEN_PUBLISH,
    add,
    get_f,
)
from corec.kernels.stats import histogram
from corec.layout import (
    COLUMN_MAX,
    D_ACTIVAS,
    D_DESVIACION,
    D_FITNESS,
    D_HOT_SEL,
    D_LOG_N,
    D_LOG_OMITTED,
    D_MEDIA,
    D_ROW_ERRORES,
    D_ROW_MENSAJES,
    D_ROW_REPARADAS,
    D_ROW_TICK,
    D_UMBRAL,
    HISTOGRAM_BINS,
    KIND_MESSAGES_FRAME,
    KIND_ROW_FRAME,
    LOG_DTYPE,
    REPAIR,
    ROW,
    ROW_HAS_ROW,
)
from corec.layout.frames import (
    alert_fields_at,
    log_at,
    message_word,
    messages_bytes,
    repairs_at,
    row_payload_bytes,
    row_word,
)
from shm.compiled_killpoint import process_kill_point
from shm.jit import dissolved, inner
from shm.layout import LANE_HEAD
from shm.ring import frame_payload_offset, frame_write_header, lane_publish, lane_reserve

ROW_BYTES = ROW.itemsize
REPAIR_BYTES = REPAIR.itemsize
LOG_BYTES = LOG_DTYPE.itemsize


def _at(dtype: np.dtype, name: str) -> int:
    return int(dtype.fields[name][1]) if dtype.fields else 0


def _row_at(name: str) -> int:
    return _at(ROW, name)


AT_UNIX_NS = _row_at("unix_ns")
AT_BLOCK = _row_at("block")
AT_CARGA = _row_at("carga")
AT_HIST_MIN = _row_at("hist_min")
AT_HISTOGRAM = _row_at("histograma")
AT_DESDE = _row_at("desde")
LOG_TICK, LOG_LOCAL, LOG_VALOR = (_at(LOG_DTYPE, name) for name in ("tick", "local", "valor"))
REPAIR_ID, REPAIR_DONOR, REPAIR_HOW, REPAIR_PAD = (
    _at(REPAIR, name) for name in ("id", "donor", "how", "pad")
)
assert _row_at("omitidos") - AT_BLOCK == 32
assert _row_at("desviacion") - AT_CARGA == 32


@njit(error_model="numpy")
def select_over(over, valor, local, picked):
    """List the entities that have a bit in ``over`` (u64[(n + 63) // 64]), ascending: index and
    value; returns the count."""
    count = 0
    for w in range(over.shape[0]):
        marks = over[w]
        while marks != uint64(0):
            i = (w << 6) + trailing_zeros(marks)
            local[count] = uint32(i)
            picked[count] = valor[i]
            count += 1
            marks &= marks - uint64(1)
    return count


@dissolved
def fetch_frame(lane):
    """Ask for the lines of the lane that the next frame goes to.

    The consumer has read them on another core since they were written last.
    """
    ctl, data = lane
    fetch_to_write(data.ctypes.data + (int64(ctl[LANE_HEAD]) & (data.shape[0] - 1)), 256)


@inner
def append_log(block, dyn, tick, count, local, picked, keep):
    """Append messages to the block's log at its cursor; what is not kept there is counted."""
    at = int64(dyn[D_LOG_N])
    room = min(count, block[K.B_LOG_CAP] - at) if keep else int64(0)
    base = block[K.B_LOG] + LOG_BYTES * at
    for k in range(room):
        entry = base + LOG_BYTES * k
        store_u8(entry + LOG_TICK, uint64(tick))
        store_u4(entry + LOG_LOCAL, local[k])
        store_f4(entry + LOG_VALOR, picked[k])
    dyn[D_LOG_N] = uint64(at + room)
    add(dyn, D_LOG_OMITTED, count - room)


@inner
def write_repair(at, entity, donor, how):
    """A REPAIR at address ``at``."""
    store_u4(at + REPAIR_ID, uint32(entity))
    store_u4(at + REPAIR_DONOR, uint32(donor))
    store_u4(at + REPAIR_HOW, uint32(how))
    store_u4(at + REPAIR_PAD, uint32(0))


@njit
def write_messages(at, first_id, canal, count, local, picked):
    """``count`` messages, struct ``!Ibf?``, from address ``at``."""
    bits = picked[:count].view(np.uint32)
    channel = uint64(canal & 0xFF) << uint64(24)
    for k in range(count):
        entity = uint64(first_id) + uint64(local[k])
        valor = uint64(bits[k])
        store_big_u8(at + 10 * k, entity << uint64(32) | channel | valor >> uint64(8))
        store_big_u2(at + 10 * k + 8, uint16((valor & uint64(0xFF)) << uint64(8) | uint64(1)))


@inner
def write_row(address, block, row, dyn, targs, carga, ok, place, counts):
    """The ROW of this tick at ``address``; the histogram counts whom ``ok`` (u8[n]) marks."""
    n = block[K.B_N]
    words = address + AT_BLOCK
    store_u4(words, uint32(block[K.B_INDEX]))
    store_u4(words + 4, uint32(row[K.W_CANAL] & 0xFFFFFFFF))
    store_u4(words + 8, uint32(n))
    store_u4(words + 12, uint32(dyn[D_ACTIVAS]))
    store_u4(words + 16, uint32(min(dyn[D_ROW_ERRORES], uint64(COLUMN_MAX))))
    store_u4(words + 20, uint32(min(dyn[D_ROW_REPARADAS], uint64(COLUMN_MAX))))
    store_u8(words + 24, dyn[D_ROW_MENSAJES])
    store_u8(words + 32, dyn[D_LOG_OMITTED])
    store_f8(address + AT_CARGA, carga)
    store_f8(address + AT_CARGA + 8, get_f(dyn, D_UMBRAL))
    store_f8(address + AT_CARGA + 16, get_f(dyn, D_FITNESS))
    store_f8(address + AT_CARGA + 24, get_f(dyn, D_MEDIA))
    store_f8(address + AT_CARGA + 32, get_f(dyn, D_DESVIACION))
    store_u8(address + AT_UNIX_NS, uint64(targs[K.T_UNIX_NS]))
    store_u8(address + AT_DESDE, uint64(dyn[D_ROW_TICK] + uint64(1)))
    copy = block[K.B_HOT] + int64(dyn[D_HOT_SEL]) * row[K.W_COPY_BYTES]
    low, high = histogram(
        f4_at(copy, n), ok, place, counts, u4_at(address + AT_HISTOGRAM, HISTOGRAM_BINS)
    )
    store_f4(address + AT_HIST_MIN, float32(low))
    store_f4(address + AT_HIST_MIN + 4, float32(high))


@inner
def emit(
    out,
    rows,
    block,
    row,
    step,
    emitted,
    local,
    picked,
    with_row,
    repairs,
    repaired,
    dyn,
    targs,
    carga,
    ok,
    place,
    counts,
    shown,
):
    """Publish the step's frames: messages, then row and repairs. False: a lane is full."""
    out_ctl, out_data = out
    rows_ctl, rows_data = rows
    tick = targs[K.T_TICK]
    out_pos = int64(-1)
    rows_pos = int64(-1)
    log_n = int64(dyn[D_LOG_N]) if with_row else 0
    has_row = 1 if with_row else 0
    rows_len = int64(0)
    if has_row + repairs > 0:
        rows_len = row_payload_bytes(has_row, repairs, log_n)
    fields = row[K.W_ALERT_FIELDS]
    out_len = messages_bytes(emitted, fields)
    if emitted > 0:
        out_pos = lane_reserve(out_ctl, out_data, out_len)
        if out_pos < 0:
            return False
    if rows_len > 0:
        rows_pos = lane_reserve(rows_ctl, rows_data, rows_len)
        if rows_pos < 0:
            return False
    if emitted > 0:
        frame_write_header(
            out_data, out_pos, out_len, KIND_MESSAGES_FRAME, 0,
            block[K.B_INDEX], emitted, uint64(tick), uint64(message_word(row[K.W_CANAL], step)),
        )  # fmt: skip
        to = out_data[frame_payload_offset(out_data, out_pos) :].ctypes.data
        write_messages(to, block[K.B_FIRST], row[K.W_CANAL], emitted, local, picked)
        if fields > 0:
            copy_memory(to + alert_fields_at(emitted), shown, 8 * fields * emitted)
        lane_publish(out_ctl, out_data, out_pos, out_len)
    process_kill_point(K_BETWEEN_PUBLISH)
    if rows_len > 0:
        frame_write_header(
            rows_data, rows_pos, rows_len, KIND_ROW_FRAME, has_row * ROW_HAS_ROW,
            block[K.B_INDEX], repairs, uint64(tick), uint64(row_word(step, log_n)),
        )  # fmt: skip
        at = rows_data[frame_payload_offset(rows_data, rows_pos) :].ctypes.data
        if with_row:
            write_row(at, block, row, dyn, targs, carga, ok, place, counts)
        else:
            store_u8(at, uint64(targs[K.T_UNIX_NS]))
        copy_memory(at + repairs_at(has_row), repaired, REPAIR_BYTES * repairs)
        copy_memory(at + log_at(has_row, repairs), block[K.B_LOG], LOG_BYTES * log_n)
        lane_publish(rows_ctl, rows_data, rows_pos, rows_len)
    process_kill_point(K_AFTER_PUBLISH)
    return True
