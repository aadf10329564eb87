"""What may be set while a world ticks is part of that world: it goes on so after a restart.

A setting has two words: the value that counts (the nucleus', and at a start or a reload, while
there is none, the supervisor's) and what the configuration said when that began to count (the
supervisor's). As long as the configuration says the same, a value that was set stays; who changes
the configuration, or its option on the command line, means that. A new world begins with it.

Order of the stores: the value, then what was configured. A start that is killed between the two is
followed by one that finds the old word still, and does the same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from corec import layout as L
from corec.config import Config
from corec.runtime import Runtime, float_to_word, word_to_float


class Setting(NamedTuple):
    """A number that may be set: its name in the configuration and in ``set``, its words."""

    name: str
    word: int
    configured: int


SETTINGS: Final = (
    Setting("tick_hz", L.C_TICK_HZ, L.C_HZ_CONFIGURED),
    Setting("carga", L.C_CARGA, L.C_CARGA_CONFIGURED),
)


def settle(rt: Runtime) -> None:
    """Take over what the configuration says where it is not what it said before."""
    for name, word, configured in SETTINGS:
        wanted = float_to_word(_configured(rt.config, name))
        if rt.get(configured) != wanted:
            rt.set(word, wanted)
            rt.set(configured, wanted)


def restore(rt: Runtime, head: Mapping[str, Any]) -> None:
    """The settings of a world that comes from a checkpoint, before ``settle``."""
    kept = head.get("settings", {})
    for name, word, configured in SETTINGS:
        if name in kept:
            value, said = kept[name]
            rt.set(word, float_to_word(float(value)))
            rt.set(configured, float_to_word(float(said)))


def in_head(rt: Runtime) -> dict[str, list[float]]:
    """What ``restore`` needs of a world, as JSON data: [value, what was configured] by name."""
    return {
        name: [word_to_float(rt.get(word)), word_to_float(rt.get(configured))]
        for name, word, configured in SETTINGS
    }


def set_otherwise(rt: Runtime) -> dict[str, float]:
    """The settings that count and are not what the configuration says."""
    return {
        name: word_to_float(rt.get(word))
        for name, word, configured in SETTINGS
        if rt.get(word) != rt.get(configured)
    }


def _configured(config: Config, name: str) -> float:
    return float(getattr(config, name))
