"""``Config``: every key of the configuration file, frozen once it is checked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    model_validator,
)

from corec.config.acting import Alertas, TaskConfig
from corec.config.checks import RATE_ALLOWED, TICK_HZ_MAX, cross_faults
from corec.config.collecting import Collect, CollectOfKey
from corec.config.faults import ConfigError
from corec.config.keys import SAFE_NAME, SAFE_NAME_ALLOWED, Section, key
from corec.config.module_names import MODULES, module_name
from corec.config.schedule import (
    ENTRIES_MAX,
    GLOBAL_ALLOWED,
    GLOBALS_MAX,
    GlobalName,
    GlobalNumber,
    Scheduled,
)
from corec.config.sections import (
    Auditoria,
    Autoreparacion,
    Checkpoint,
    Http,
    Log,
    Persist,
    Plugins,
    Streams,
)
from corec.config.servers import DbConfig, RedisConfig, shown_url
from corec.config.swarm import PER_BLOCK_ALLOWED, BloqueConfig


def _auto_or_count(value: object) -> object:
    if value == "auto":
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1024:
        return value
    raise ValueError("not a number of workers")


_Module = Annotated[
    str,
    BeforeValidator(module_name),
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.:]{0,254}$"),
]
_Workers = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=1, le=1024)], BeforeValidator(_auto_or_count)
]


class Config(Section):
    """The whole configuration of one instance."""

    editor_schema: str | None = key(
        "a string",
        "The JSON Schema for editors; it changes nothing.",
        None,
        alias="$schema",
    )
    instance_id: str = key(
        SAFE_NAME_ALLOWED,
        "Name of the instance: in the keys of its streams, its rows and its folders.",
        pattern=SAFE_NAME,
    )
    db_config: DbConfig = key("an object", "PostgreSQL.", factory=lambda: DbConfig(embedded=True))
    redis_config: RedisConfig = key(
        "an object", "Redis or Valkey.", factory=lambda: RedisConfig(embedded=True)
    )
    bloques: tuple[BloqueConfig, ...] = key(
        "a list of at least one object",
        "The swarms; entity ids count up in this order from 0.",
        item="an object",
        min_length=1,
    )
    entidades_por_bloque: int | None = key(
        PER_BLOCK_ALLOWED,
        "How many entities one block holds, for the bloques that do not say it themselves.",
        None,
        strict=True,
        ge=1,
        le=1_000_000,
    )
    autoreparacion: Autoreparacion = key(
        "an object", "Repair settings, for the bloques without their own.", factory=Autoreparacion
    )
    globals: dict[GlobalName, GlobalNumber] = key(
        f"an object of at most {GLOBALS_MAX} numbers by name",
        "Numbers that every processor may read, as me.globals.NAME.",
        item=GLOBAL_ALLOWED,
        max_length=GLOBALS_MAX,
        factory=dict,
    )
    schedule: tuple[Scheduled, ...] = key(
        f"a list of at most {ENTRIES_MAX} objects with at or every, and set",
        "What is set by itself, and at which ticks.",
        (),
        item="an object with at or every, and set",
        max_length=ENTRIES_MAX,
    )
    collect: CollectOfKey = key(
        "a list of objects with every and stats or columns, or one of them",
        "Statistics and columns of a swarm or of all, beside those that bloques ask for.",
        (),
    )
    modules: tuple[_Module, ...] = key(
        "a list of different module names",
        "Modules to run, by name or class (ModuloRegistro); accents make no difference. What is"
        " left out is switched off.",
        MODULES,
        item="a module name",
    )
    auditoria: Auditoria = key(
        "an object", "What the module auditoria finds unusual in blocks.", factory=Auditoria
    )
    plugins: Plugins = key(
        "a list of different plugin names, or an object of plugins by name",
        "Plugins to load.",
        item="an object",
        factory=dict,
    )
    seed: int = key(
        "an integer from 0 to 18446744073709551615",
        "Key of all random numbers: the same seed and input give the same world, bit for bit.",
        42,
        strict=True,
        ge=0,
        le=2**64 - 1,
    )
    tick_hz: float = key(
        RATE_ALLOWED,
        "Ticks per second.",
        10.0,
        strict=True,
        ge=0,
        le=TICK_HZ_MAX,
    )
    workers: _Workers = key(
        '"auto" (one per available CPU) or an integer from 1 to 1024',
        "Number of worker processes; the world's content does not depend on it.",
        "auto",
    )
    carga: float = key(
        "a number greater than 0 and at most 1",
        "Share of a block's places, the active entities of which run in one tick.",
        1.0,
        strict=True,
        gt=0,
        le=1,
    )
    persist: Persist = key("an object", "Rows in PostgreSQL.", factory=Persist)
    streams: Streams = key("an object", "Messages in Redis Streams.", factory=Streams)
    alertas: Alertas | None = key(
        "null (with tasks: its defaults) or an object",
        "Keep the table alertas: each alert once, from being raised to being cleared.",
        None,
    )
    tasks: tuple[TaskConfig, ...] = key(
        "a list of objects",
        "What is run when something happens to an alert, or when something is emitted.",
        (),
        item="an object",
        max_length=64,
    )
    http: Http = key("an object", "The HTTP server.", factory=Http)
    state_dir: str = key(
        "a path of 1 to 4096 characters",
        "Folder on disk for checkpoints, spool and embedded servers' data. A relative path starts"
        " in the project: the folder that holds configs/ if the file is there, else the file's"
        " own.",
        "var/state",
        min_length=1,
        max_length=4096,
        pattern=r"^[^\x00]*$",
    )
    runtime_dir: str | None = key(
        "null (chosen at the start, under /dev/shm) or a path of 1 to 4096 characters",
        "Folder on a tmpfs that holds the world while it runs.",
        None,
        min_length=1,
        max_length=4096,
        pattern=r"^[^\x00]*$",
    )
    checkpoint: Checkpoint = key("an object", "Checkpoints.", factory=Checkpoint)
    log: Log = key("an object", "Logging.", factory=Log)

    _base_dir: Path = PrivateAttr(default_factory=Path.cwd)
    _ignored: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _complete(self) -> Config:
        """Check what concerns several keys, and give each bloque the common settings it lacks."""
        faults = cross_faults(self.model_dump(by_alias=True))
        if faults:
            raise ConfigError(faults)  # as it is: pydantic would make a text of it
        # A frozen model is completed here, before anybody can have seen it.
        object.__setattr__(self, "bloques", tuple(self._completed(b) for b in self.bloques))
        return self

    def _completed(self, bloque: BloqueConfig) -> BloqueConfig:
        update: dict[str, Any] = {}
        if bloque.entidades_por_bloque is None:
            update["entidades_por_bloque"] = self.entidades_por_bloque or bloque.per_block
        if bloque.autoreparacion is None:
            update["autoreparacion"] = self.autoreparacion
        completed = bloque.model_copy(update=update)
        # Not as if written in the file: a later change of the common settings must reach it.
        completed.model_fields_set.difference_update(update)
        return completed

    def collected(self, bloque: int) -> tuple[Collect, ...]:
        """What is told of the blocks of a bloque: what it asks for itself, then the common."""
        one = self.bloques[bloque]
        return one.collect + tuple(c for c in self.collect if c.swarm in (None, one.id))

    def collecting(self) -> Iterator[tuple[str, Collect]]:
        """Everything that is collected, and the path of its key."""
        yield from ((f"collect[{k}]", one) for k, one in enumerate(self.collect))
        for index, bloque in enumerate(self.bloques):
            where = f"bloques[{index}].collect"
            yield from ((f"{where}[{k}]", one) for k, one in enumerate(bloque.collect))

    @property
    def db(self) -> DbConfig:
        """``db_config``, for short."""
        return self.db_config

    @property
    def redis(self) -> RedisConfig:
        """``redis_config``, for short."""
        return self.redis_config

    @property
    def acts(self) -> bool:
        """Whether alerts are followed, which takes a process of its own."""
        return self.alertas is not None or bool(self.tasks)

    @property
    def entidades(self) -> int:
        """Entities in all bloques together."""
        return sum(bloque.places for bloque in self.bloques)

    @property
    def block_count(self) -> int:
        """Blocks of all swarms together."""
        return sum(bloque.block_count for bloque in self.bloques)

    @property
    def base_dir(self) -> Path:
        """The absolute folder that relative paths in the configuration start from."""
        return self._base_dir

    @property
    def plugin_folders(self) -> tuple[Path, Path]:
        """Where the user's own modules are looked for, beside what is installed."""
        return self._base_dir, self._base_dir / "plugins"

    @property
    def state_path(self) -> Path:
        """``state_dir`` as an absolute path."""
        return self.absolute(self.state_dir)

    @property
    def state_folder(self) -> Path:
        """Where this instance keeps its state: checkpoints, journal, spool, embedded servers."""
        return self.state_path / self.instance_id

    @property
    def runtime_path(self) -> Path | None:
        """``runtime_dir`` as an absolute path; None when it is to be chosen."""
        return None if self.runtime_dir is None else self.absolute(self.runtime_dir)

    @property
    def log_path(self) -> Path | None:
        """``log.file`` as an absolute path; None is standard error."""
        return None if self.log.file is None else self.absolute(self.log.file)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Paths of the original's keys that were in the file and have no effect here."""
        return self._ignored

    def absolute(self, path: str) -> Path:
        """``path`` from the configuration as an absolute path (``~`` is the user's home)."""
        return self._base_dir / os.path.expanduser(path)

    def compared(self) -> dict[str, Any]:
        """Every key as plain data, **secrets in the clear**: to see what differs, never to show."""
        found = revealed(self.model_dump(exclude={"editor_schema"}))
        assert isinstance(found, dict)  # as what it is made of
        return found

    def public_dict(self) -> dict[str, Any]:
        """Every key as plain JSON data, for ``status`` and logs; secrets are masked."""
        shown = self.model_dump(mode="json", exclude={"editor_schema"})
        for section, server in (("db_config", self.db_config), ("redis_config", self.redis_config)):
            if server.password is not None:
                shown[section]["password"] = "***"
            if server.url is not None:
                shown[section]["url"] = shown_url(server.url.get_secret_value())
        return shown


def revealed(value: object) -> object:
    """A model's dumped data with its secrets in the clear, to validate it again."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {name: revealed(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [revealed(inner) for inner in value]
    return value
