"""The nucleus' last duty in a clean stop: the final digest and the checkpoint.

The workers are gone, the lanes are empty. The digest words are stored before ``C_DIGEST_VALID``,
which is stored after the checkpoint is on disk: who finds it set may remove the world from memory.
"""

from __future__ import annotations

import time
from typing import Any

import corec
from corec import layout as L
from corec.runtime import Runtime
from corec.world.checkpoint import write_checkpoint
from corec.world.digest import digest_of

DIGEST_AND_CHECKPOINT = 1


def checkpoint_head(rt: Runtime, tick: int, digest: str) -> dict[str, Any]:
    """What the head of a checkpoint says: which world, which tick, where the lanes stood."""
    copy = rt.get(L.C_IN_POS_SEQ) & 1
    size = L.CANALES * L.IN_POS_WORDS
    start = L.C_IN_POS + copy * size
    return {
        "version": corec.__version__,
        "layout": L.LAYOUT_VERSION,
        "instance_id": rt.config.instance_id,
        "epoch": rt.epoch,
        "fingerprint": rt.get(L.C_CONFIG_HASH),
        "seed": rt.config.seed,
        "entidades": rt.plan.entidades,
        "tick": tick,
        "digest": digest,
        "unix_ns": time.time_ns(),
        "in_positions": [int(w) for w in rt.control[start : start + size]],
        "lanes": {
            "in": rt.inbox.head,
            "out": [lane.head for lane in rt.out],
            "rows": [lane.head for lane in rt.rows],
            "events": {role: lane.head for role, lane in rt.events.items()},
        },
    }


def finish(rt: Runtime) -> None:
    """Digest, checkpoint, and the words that say so.

    Raises:
        OSError: the checkpoint could not be written; the world stays in memory.
    """
    tick, digest = digest_of(rt.plan, rt.world.words)
    rt.set(L.C_DIGEST_TICK, tick)
    rt.set(L.C_DIGEST, int(digest[:16], 16))
    rt.set(L.C_DIGEST + 1, int(digest[16:], 16))
    head = checkpoint_head(rt, tick, digest)
    folder = rt.config.state_path / rt.config.instance_id
    write_checkpoint(folder, rt.plan, rt.world.payload, head, rt.config.checkpoint.keep)
    rt.set(L.C_DIGEST_VALID, DIGEST_AND_CHECKPOINT)
