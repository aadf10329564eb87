"""The nucleus' last duty in a clean stop: the final digest and the checkpoint.

The workers are gone, the lanes are empty. The digest words are stored before ``C_DIGEST_VALID``,
which is stored after the checkpoint is on disk, read back and has its name: who finds it set may
remove the world from memory.
"""

from __future__ import annotations

from corec import layout as L
from corec.process.runtime import Runtime
from corec.world.digest import digest_of
from corec.world.kept import Keeper
from corec.world.snapshot import Snapshot

DIGEST_AND_CHECKPOINT = 1


def finish(rt: Runtime, keeper: Keeper) -> None:
    """Digest, checkpoint, and the words that say so.

    Raises:
        OSError, CheckpointRefused: the checkpoint could not be written, or does not read back; the
            world stays in memory.
    """
    tick, digest = digest_of(rt.plan, rt.world.words)
    rt.set(L.C_DIGEST_TICK, tick)
    rt.set(L.C_DIGEST, int(digest[:16], 16))
    rt.set(L.C_DIGEST + 1, int(digest[16:], 16))
    snapshot = Snapshot(rt, keeper.folder, lambda: False)
    try:
        snapshot.prepare()
        snapshot.take()
        snapshot.write(digest)
        snapshot.publish(keeper, rt.config.checkpoint.keep)
    finally:
        snapshot.abandon()
    rt.set(L.C_DIGEST_VALID, DIGEST_AND_CHECKPOINT)
