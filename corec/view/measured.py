"""Numbers of all entities of a bloque at one tick, as a table of one row."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from corec.config.measures import parse_expression
from corec.view.frame import Frame, Table
from corec.view.reading import Readable


def measured(world: Readable, swarm: str | None, texts: Iterable[str]) -> tuple[Table, Frame]:
    """What ``texts`` ask for, as of a sweep, in a row with swarm, tick and entities; and the frame
    it is of.

    Raises:
        ValueError: there is no such swarm or column, or a text is no expression.
    """
    try:
        expressions = [parse_expression(text) for text in texts]
    except ValueError as error:
        raise ValueError(f"stat: {error}") from None
    frame = world.frame(swarm, list(dict.fromkeys(one.column for one in expressions)))
    row = {
        "enjambre": np.array([frame.swarm]), "tick": np.array([frame.tick], np.int64),
        "entidades": np.array([len(frame)], np.int64),
        **{one.text: np.array([one.of(frame[one.column])]) for one in expressions},
    }  # fmt: skip
    return Table(row), frame
