"""The configuration: one JSON file, the environment and the command line, checked as a whole.

``load_config`` reads them, ``parse_config`` checks data already in memory; both return a frozen
``Config`` or raise ``ConfigError``, which holds every ``Fault`` at once.
"""

from __future__ import annotations

from corec.config.faults import ConfigError, Fault
from corec.config.load import load_config, parse_config, with_overrides
from corec.config.model import Config
from corec.config.schema import json_schema
from corec.config.sections import (
    Autoreparacion,
    Checkpoint,
    Http,
    Log,
    Persist,
    PluginConfig,
    Streams,
)
from corec.config.servers import DbConfig, RedisConfig
from corec.config.swarm import BloqueConfig

__all__ = [
    "Autoreparacion",
    "BloqueConfig",
    "Checkpoint",
    "Config",
    "ConfigError",
    "DbConfig",
    "Fault",
    "Http",
    "Log",
    "Persist",
    "PluginConfig",
    "RedisConfig",
    "Streams",
    "json_schema",
    "load_config",
    "parse_config",
    "with_overrides",
]
