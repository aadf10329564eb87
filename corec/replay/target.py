"""Which server, which instance, which entities: from the options, the environment, the config."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import setproctitle

from corec.config import Config, ConfigError, Fault, load_config
from corec.config.environment import REDIS_URL, read_secrets
from corec.config.servers import secrets_in
from corec.control.discover import NoInstance, SeveralInstances, find_instance, redis_address
from corec.entities.errors import ProcessorError
from corec.log import hide, mask
from corec.project import default_config
from corec.replay.schedule import Ranges, make_ranges, parse_map
from corec.replay.series import ReplayInputError
from corec.replay.several import names_of
from corec.replay.wire import ReplayError


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user gave on the command line; None is not given."""

    canal: int
    url: str | None = None
    instance_id: str | None = None
    config_path: Path | None = None
    map_text: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """url: where to publish, password included, empty when it was not asked for."""

    url: str = field(repr=False)
    instance_id: str
    ranges: Ranges
    values: tuple[str, ...]
    """Names of the values of a reading, as the config says; none: one number."""
    foreign: int
    """Ids that the config gives to another canal or to none: the instance will refuse them."""


def resolve(choice: Choice, need_url: bool = True) -> Target:
    """Raises ReplayInputError or ConfigError when the options do not say enough or contradict the
    config, ReplayError when the instance whose server is meant is not running."""
    if choice.url:
        _conceal(choice.url)
    path = _config_path(choice)
    config = load_config(path) if path is not None else None
    instance_id = choice.instance_id or (config.instance_id if config else None)
    if instance_id is None:
        raise ReplayInputError(
            f"which instance? {default_config()} does not exist here and none is running;"
            " give --config or --instance"
        )
    own = _canal_ranges(config, choice.canal) if config else None
    if choice.map_text is not None:
        ranges = parse_map(choice.map_text)
    elif own is None:
        raise ReplayInputError("which entities? give --map FIRST-LAST or --config")
    else:
        ranges = own
    url = choice.url or (_url(config, path, instance_id) if need_url else "")
    foreign = _outside(ranges, own) if own is not None else 0
    return Target(url, instance_id, ranges, _values(config, choice.canal), foreign)


def _conceal(url: str) -> None:
    """Keep the password of ``--url`` out of what is printed, and of what ``ps`` shows from now."""
    with contextlib.suppress(ValueError):  # no URL at all, which is told without quoting it
        for secret in secrets_in(url):
            hide(secret)
    title = setproctitle.getproctitle()
    if mask(title) != title:
        setproctitle.setproctitle(mask(title))


def _config_path(choice: Choice) -> Path | None:
    """The config that was named; else that of the only running instance, as with ``corec-ctl``;
    else the default one. None when nothing is needed from it or there is none."""
    if choice.config_path is not None:
        return choice.config_path
    if choice.url and choice.instance_id and choice.map_text:
        return None
    try:
        running = find_instance(choice.instance_id)
    except NoInstance:
        default = default_config()
        fits = default.exists() and choice.instance_id in (None, load_config(default).instance_id)
        return default if fits else None
    except SeveralInstances as error:
        raise ReplayInputError(str(error)) from None
    return Path(running.config_path) if running.config_path else None


def _canal_ranges(config: Config, canal: int) -> Ranges:
    pieces, first = [], 0
    for bloque in config.bloques:
        if bloque.canal == canal:
            pieces.append((first, bloque.places))
        first += bloque.places
    if not pieces:
        known = ", ".join(str(one) for one in sorted({b.canal for b in config.bloques}))
        raise ReplayInputError(
            f"--canal {canal}: no bloque of {config.instance_id} has this canal; it has {known}"
        )
    return make_ranges(pieces, f"canal {canal} of {config.instance_id}")


def _values(config: Config | None, canal: int) -> tuple[str, ...]:
    try:
        return names_of(config, canal) if config is not None else ()
    except ProcessorError as error:
        raise ReplayInputError(f"the bloques of canal {canal}: {error}") from None


def _outside(ranges: Ranges, own: Ranges) -> int:
    """How many ids of `ranges` are not in `own`."""

    def shared() -> Iterator[int]:
        for first, count in ranges.pieces:
            for own_first, own_count in own.pieces:
                overlap = min(first + count, own_first + own_count) - max(first, own_first)
                yield max(0, overlap)

    return ranges.count - sum(shared())


def _url(config: Config | None, path: Path | None, instance_id: str) -> str:
    if config is not None and not config.redis.embedded:
        url = config.redis.connection_url()
        return url.replace("://", "+cluster://", 1) if config.redis.cluster else url
    if config is None:
        faults: list[Fault] = []
        from_environment = read_secrets(os.environ, faults).get(REDIS_URL)
        if faults:
            raise ConfigError(faults)
        if from_environment:
            return from_environment
    own = config is not None and config.instance_id == instance_id
    try:
        return redis_address(find_instance(config=path) if own else find_instance(instance_id))
    except (NoInstance, SeveralInstances) as error:
        raise ReplayError(
            f"where to publish? {error}, or give the server by --url or {REDIS_URL}"
        ) from None
