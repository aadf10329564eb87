"""A checkpoint's world, to be read without its configuration and without its processors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from corec.plan import Plan
from corec.view.memory import zeroed
from corec.view.reading import Columns, Digest, Part, Readable, Words
from corec.world.columns import read_columns
from corec.world.restore import check_parts, load_to_read


class Saved(Readable):
    """The world in the checkpoint file ``path``.

    Raises:
        CheckpointRefused: it is damaged; the text says where. OSError: it can't be read.
    """

    def __init__(self, path: str | Path) -> None:
        checkpoint = check_parts(Path(path))
        self._plan, memory = load_to_read(checkpoint, zeroed)
        self._words: Words = memory.view(np.uint64)
        self._digest = Digest(checkpoint.head["digest"], checkpoint.tick)

    def _world(self) -> tuple[Plan, Words]:
        return self._plan, self._words

    def _read(self, plan: Plan, parts: Sequence[Part]) -> list[Columns]:
        words = self._world()[1]
        return [read_columns(plan, words, one.swarm, one.names, one.blocks) for one in parts]

    @property
    def _plan_shown(self) -> Plan | None:
        return self._plan

    def digest(self) -> Digest:
        """What the file says, which was read back from it when it was made."""
        return self._digest
