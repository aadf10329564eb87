"""``alertas`` and ``tasks``: what becomes of an alert, or of a message, after it was emitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field

from corec.config.faults import Fault
from corec.config.keys import SAFE_NAME, SAFE_NAME_ALLOWED, Section, key

_RUN: Final = r"^(webhook|command|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*)$"
Event = Literal["raised", "repeated", "cleared", "acknowledged"]
_Word = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]


class Alertas(Section):
    """The life of an alert (docs/tasks.md)."""

    clear_after_ticks: int = key(
        "an integer from 1 to 1000000000",
        "An alert is cleared when its entity emitted no message for so many ticks.",
        600,
        strict=True,
        ge=1,
        le=1_000_000_000,
    )


class TaskConfig(Section):
    """One entry of ``tasks``: what is run when something happens to an alert, or is emitted."""

    on: Literal["alertas", "mensajes"] = key(
        '"alertas" or "mensajes"',
        "What starts it: what happens to an alert, or each message of the out-streams.",
        "alertas",
    )
    run: str = key(
        '"webhook", "command" or package.module:attribute of a function with @corec.task',
        "What is run.",
        pattern=_RUN,
        max_length=255,
    )
    name: str | None = key(
        f"null (made of run and canal) or a name of its own: {SAFE_NAME_ALLOWED}",
        "What it is called by corec-ctl tasks and in the streams; another name is another task.",
        None,
        pattern=SAFE_NAME,
    )
    canal: int | None = key(
        "null (every canal) or an integer from -128 to 127",
        "Only alerts, or messages, of this canal.",
        None,
        strict=True,
        ge=-128,
        le=127,
    )
    when: tuple[Event, ...] | None = key(
        'null (with on: alertas "raised") or a list of at least one of "raised", "repeated", '
        '"cleared", "acknowledged"',
        "What of an alert's life starts it.",
        None,
        item='"raised", "repeated", "cleared" or "acknowledged"',
        min_length=1,
    )
    pool: Literal["own", "celery"] = key(
        '"own" or "celery" (celery -A corec.core.celery_app worker, here or elsewhere)',
        "Whose processes run it.",
        "own",
    )
    workers: int = key(
        "an integer from 1 to 64",
        "Processes that run it; each runs one call at a time, of an async task and of webhook 16.",
        1,
        strict=True,
        ge=1,
        le=64,
    )
    timeout_seconds: float = key(
        "a number greater than 0, at most 3600",
        "How long one call may take.",
        30.0,
        strict=True,
        gt=0,
        le=3600,
    )
    retries: int = key(
        "an integer from 0 to 1000",
        "How often a call that failed is made again, after a pause that doubles from 0.1 s to 60 s;"
        " then it is in tareas_fallidas.",
        10,
        strict=True,
        ge=0,
        le=1000,
    )
    per_second: float = key(
        "0 (no limit) or a number up to 100000",
        "Calls a second at most.",
        0.0,
        strict=True,
        ge=0,
        le=100_000,
    )
    url: str | None = key(
        "an http:// or https:// address",
        "webhook: where the notice is posted.",
        None,
        pattern=r"^https?://[^\s\x00]+$",
        max_length=4096,
    )
    secret_file: str | None = key(
        "a path of 1 to 4096 characters",
        "webhook: file with the key that signs the body.",
        None,
        min_length=1,
        max_length=4096,
        pattern=r"^[^\x00]*$",
    )
    command: tuple[_Word, ...] = key(
        "a list of words",
        "command: the program (one with a slash is taken like state_dir) and its arguments; the"
        " notice is on its standard input.",
        (),
        item="a word",
        max_length=256,
    )

    @property
    def events(self) -> tuple[str, ...]:
        """What happens to alerts that starts it."""
        return () if self.on == "mensajes" else self.when or ("raised",)

    def words(self, absolute: Callable[[str], Path]) -> list[str]:
        """``command``, its program with a slash in it as any path of the configuration."""
        first, rest = self.command[:1], self.command[1:]
        return [*(str(absolute(word)) if "/" in word else word for word in first), *rest]

    @property
    def title(self) -> str:
        """Its name, given or made."""
        if self.name is not None:
            return self.name
        canal = "" if self.canal is None else f".{self.canal}"
        return f"{self.run.replace(':', '.')}{canal}"[:64]


def task_faults(tasks: object, bloques: object) -> Iterator[Fault]:
    """Faults between the keys of each entry, between entries, and with ``bloques``; both as they
    were written."""
    if not isinstance(tasks, (list, tuple)):
        return
    titles: dict[str, int] = {}
    canales = _canales(bloques)
    for index, one in enumerate(tasks):
        if not isinstance(one, dict) or not isinstance(one.get("run"), str):
            continue
        where, run = f"tasks[{index}]", one["run"]
        yield from _own_keys(where, run, one)
        if one.get("on") == "mensajes" and one.get("when") is not None:
            found = "it is there with on: mensajes, a message having no life"
            yield Fault(f"{where}.when", found, "with on: alertas")
        name, canal = one.get("name"), one.get("canal")
        if canales and type(canal) is int and canal not in canales:
            allowed = f"null (every canal) or one of {', '.join(map(str, canales))}"
            yield Fault(f"{where}.canal", f"{canal}, which no bloque has", allowed)
        if not isinstance(name, (str, type(None))) or not isinstance(canal, (int, type(None))):
            continue
        made = run.replace(":", ".") + ("" if canal is None else f".{canal}")
        title = name or made[:64]
        if title in titles:
            allowed = "another name for each"
            yield Fault(f"{where}.name", f'"{title}", as of tasks[{titles[title]}]', allowed)
        titles.setdefault(title, index)


def _canales(bloques: object) -> list[int]:
    """The canals of bloques, each once; none where one of them can't be told."""
    if not isinstance(bloques, (list, tuple)):
        return []
    found = [one.get("canal") if isinstance(one, Mapping) else None for one in bloques]
    known = sorted({canal for canal in found if type(canal) is int})
    return known if all(type(canal) is int for canal in found) else []


def _url_faults(where: str, url: object) -> Iterator[Fault]:
    """Of an address that no request can be sent to, or of which a part would be left out."""
    if not isinstance(url, str):
        return
    allowed = "http:// or https://, a host, perhaps a port and a path, in printable ASCII"
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and parts.port != 0 and url.isascii() and url.isprintable()
    except ValueError:
        good = False
    if not good:
        yield Fault(f"{where}.url", "an address that can't be taken apart", allowed)
    elif "@" in parts.netloc:
        found = "a user or a password in the address"
        yield Fault(f"{where}.url", found, f"{allowed}; secret_file signs what is posted")


def _own_keys(where: str, run: str, one: dict[str, Any]) -> Iterator[Fault]:
    if run == "webhook":
        yield from _url_faults(where, one.get("url"))
    for own, names, needed in (
        ("webhook", ("url", "secret_file"), "url"),
        ("command", ("command",), "command"),
    ):
        if run == own and not one.get(needed):
            yield Fault(f"{where}.{needed}", "nothing", f"one with run: {own}")
        for name in names:
            if run != own and one.get(name):
                yield Fault(f"{where}.{name}", f"it is there with run: {run}", f"with run: {own}")
