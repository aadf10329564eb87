"""What the command line asks for, and how many workers that makes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from corec.config import Config
from corec.terminal import Document

WORKERS_MAX: Final = 1024
"""Slots of the control segment."""


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for beside the configuration."""

    ticks: int | None = None
    fresh: bool = False
    json: bool = False
    document: Document | None = None
    """Where the JSON summary goes; there is one exactly when ``json`` is set."""
    config_path: Path | None = None
    overrides: dict[str, object] = field(default_factory=dict)
    take_over: bool = False
    """Take the servers from another live instance of this instance_id."""
    migrate: bool = False
    """Start without the values of fields that are gone."""


def worker_count(config: Config) -> int:
    """``workers``, or one per available CPU; never more than there are blocks, or slots."""
    available = len(os.sched_getaffinity(0))
    wanted = available if config.workers == "auto" else int(config.workers)
    return max(1, min(wanted, config.block_count, WORKERS_MAX))
