"""The small sections of the configuration: repair, persist, streams, http, checkpoint, log."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from corec.config.keys import EVERY_MAX, Section, key

_SECONDS = {"h": 3600, "d": 86_400, "w": 604_800}


class Autoreparacion(Section):
    """When a block repairs its entities, and when it counts as weak."""

    max_errores: float = key(
        "a number from 0 to 1",
        "Share of a block's entities that may fail in one tick before the block repairs them.",
        0.05,
        strict=True,
        ge=0.0,
        le=1.0,
    )
    min_fitness: float = key(
        "a number from 0 to 1",
        "A block whose fitness is below this is weak and may be fused with a strong one.",
        0.2,
        strict=True,
        ge=0.0,
        le=1.0,
    )


class Persist(Section):
    """What is written to PostgreSQL, how often, how long it stays, and what happens without it."""

    every_ticks: int = key(
        f"an integer from 1 to {EVERY_MAX}",
        "Each block writes one row every so many ticks.",
        10,
        strict=True,
        ge=1,
        le=EVERY_MAX,
    )
    partition: Literal["hour", "day", "month"] = key(
        '"hour", "day" or "month"',
        "Span of time that one partition of the tables holds.",
        "day",
    )
    retention: str | None = key(
        'null (keep everything) or a number with h, d or w, such as "12h", "30d", "8w"',
        "Partitions wholly older than this are dropped.",
        None,
        pattern=r"^[1-9][0-9]{0,4}[hdw]$",
    )
    payload: Literal["json", "histogram", "none"] = key(
        '"json" (the messages since the last row and a histogram, Zstandard), "histogram" (without'
        ' the messages) or "none"',
        "What the column payload holds.",
        "json",
    )
    on_full: Literal["block", "drop_oldest", "drop_new"] = key(
        '"block", "drop_oldest" or "drop_new"',
        "When the spool is full while the database is away: ticks wait, or rows are dropped"
        " and each gap is recorded as an event.",
        "block",
    )
    spool_max_mb: int = key(
        "an integer from 1 to 1048576",
        "Limit in MiB of the rows kept on disk in state_dir while the database is away.",
        1024,
        strict=True,
        ge=1,
        le=1_048_576,
    )

    @property
    def retention_seconds(self) -> int | None:
        """``retention`` in seconds; None keeps everything."""
        if self.retention is None:
            return None
        return int(self.retention[:-1]) * _SECONDS[self.retention[-1]]


class Streams(Section):
    """The message streams."""

    maxlen: int = key(
        "an integer from 1 to 1000000000000",
        "Out-streams are trimmed to about this many entries; unread input never is.",
        100_000,
        strict=True,
        ge=1,
        le=1_000_000_000_000,
    )
    max_mb: int = key(
        "an integer from 1 to 1048576",
        "Out-streams, alertas and dead together are trimmed to about this many MiB.",
        1024,
        strict=True,
        ge=1,
        le=1_048_576,
    )
    batch_ms: int = key(
        "an integer from 1 to 60000",
        "Longest time in milliseconds that messages wait to be sent together.",
        20,
        strict=True,
        ge=1,
        le=60_000,
    )
    readings_per_tick: int = key(
        f"an integer from 1 to {EVERY_MAX}",
        "At most so many readings are taken in by one tick; the others wait for the next ones."
        " The inbox itself holds about a million.",
        1_000_000,
        strict=True,
        ge=1,
        le=EVERY_MAX,
    )
    on_full: Literal["block", "drop_oldest"] = key(
        '"block" or "drop_oldest"',
        "When Redis cannot keep up: ticks wait, or the oldest messages are dropped"
        " and each gap is counted and recorded as an event.",
        "block",
    )


class Auditoria(Section):
    """When a block's figures are unlike its own."""

    umbral: float = key(
        "a number from 3 to 1000000",
        "How many deviations a figure of a block's row may be off the median of its rows before.",
        8.0,
        strict=True,
        ge=3.0,
        le=1e6,
    )
    filas: int = key(
        "an integer from 8 to 1000",
        "So many rows of each block are its history, as the module has seen them.",
        32,
        strict=True,
        ge=8,
        le=1000,
    )
    bosque: bool = key(
        "true or false",
        "Ask an IsolationForest as well, in a process of its own; needs scikit-learn.",
        False,
        strict=True,
    )


HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:%-]{1,255}$")]


class Http(Section):
    """Where /metrics, /healthz, /readyz and the live page are served."""

    host: str = key(
        "a host name or address of 1 to 255 characters",
        "Address to listen on; the default can be reached from this machine only.",
        "127.0.0.1",
        pattern=r"^[A-Za-z0-9_.:%-]{1,255}$",
    )
    port: int = key(
        "an integer from 0 to 65535 (0: any free port)",
        "TCP port to listen on. A port that is not written anywhere is only a wish:"
        " when it is taken, another free one is used.",
        8000,
        strict=True,
        ge=0,
        le=65_535,
    )

    hosts: tuple[HostName, ...] = key(
        "an array of at most 100 host names or addresses, without port",
        "More names that a browser or a proxy may ask for in its Host header; localhost, http.host"
        " and the address that a connection came to are always answered, any other gets 421.",
        (),
        item="a host name or address of 1 to 255 characters",
        max_length=100,
    )

    @property
    def port_explicit(self) -> bool:
        """True when the file or the command line names the port, so a taken one is an error."""
        return "port" in self.model_fields_set


class Checkpoint(Section):
    """Saved copies of the world in ``state_dir``."""

    every_seconds: float = key(
        "a number from 0 to 31536000 (0: only when stopping)",
        "Time between two checkpoints.",
        300.0,
        strict=True,
        ge=0,
        le=31_536_000,
    )
    keep: int = key(
        "an integer from 1 to 1000",
        "How many checkpoints are kept; older ones are deleted.",
        3,
        strict=True,
        ge=1,
        le=1000,
    )


class Log(Section):
    """How the processes log."""

    format: Literal["auto", "console", "json"] = key(
        '"auto" (console on a terminal, else json), "console" or "json"',
        "Form of a log line.",
        "auto",
    )
    level: Literal["debug", "info", "warning", "error"] = key(
        '"debug", "info", "warning" or "error"',
        "The least important level that is logged.",
        "info",
    )
    file: str | None = key(
        "null (standard error) or a path of 1 to 4096 characters",
        "File to append to, reopened on SIGUSR1; a relative path is taken like state_dir's.",
        None,
        min_length=1,
        max_length=4096,
        pattern=r"^[^\x00]*$",
    )


class PluginConfig(Section):
    """One plugin, in the fuller original's shape."""

    enabled: bool = key("true or false", "Whether the plugin is loaded.", True, strict=True)
    path: str | None = key(
        "null or a path of 1 to 4096 characters",
        "The plugin's own configuration file.",
        None,
        min_length=1,
        max_length=4096,
        pattern=r"^[^\x00]*$",
    )
    bloque: dict[str, Any] = key(
        "an object", "The block the plugin asks for, handed to the plugin as it is.", factory=dict
    )


def _named(value: object) -> object:
    if not isinstance(value, (list, tuple)):
        return value
    if not all(isinstance(name, str) for name in value) or len(set(value)) != len(value):
        raise ValueError("plugin names must be different strings")
    return {name: {} for name in value}


# A list of names is short for an object of plugins that all have their defaults.
Plugins = Annotated[
    dict[str, PluginConfig],
    BeforeValidator(_named, json_schema_input_type=list[str] | dict[str, PluginConfig]),
]
