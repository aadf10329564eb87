"""What a user writes: a processor, a plain Python function with a declared state.

``@corec.micro`` makes an entity that computes from its own state at every tick
(``MicroCeluEntidadCoreC``), ``@corec.celu`` one that is called for each value that arrived for it
(``CeluEntidadCoreC``). The function stays an ordinary function: call it with a
``corec.testing.PlainEntity`` to step through it in a debugger.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, overload

import numpy as np

from corec import layout as L
from corec.entities.declaring import (
    check_alerts,
    check_counts,
    check_function,
    check_means,
    check_mortal,
    check_names,
    check_numbers,
    check_public,
    check_sends,
    check_silence,
    check_value,
    reading_class,
    reading_of,
)
from corec.entities.errors import ProcessorError as ProcessorError
from corec.entities.fields import (
    HISTORY_COUNT,
    LIVES_STATE,
    HistoryField,
    StateField,
    field_of,
    history_of,
)
from corec.entities.genes import Gene, declared_fitness, declared_genes
from corec.entities.given import given_globals, given_params
from corec.entities.globals_used import globals_used, uses
from corec.entities.silence import SILENCE_STATE

STEPS_MAX: Final = 100_000_000
"""Loop steps of one call, unless the processor declares another number."""


def unfit_text(name: str, dtype: str) -> str:
    """What is raised when a number is stored in an integer field that can't hold it."""
    limits = np.iinfo(dtype)
    return f"a number that does not fit me.{name}, which is {dtype}: {limits.min} to {limits.max}"


@dataclass(frozen=True)
class Processor:
    """A declared processor. ``fields`` holds the state fields, then one counter per history."""

    name: str
    kind: Literal["micro", "celu"]
    function: Callable[..., Any]
    init: Callable[..., Any] | None
    state: tuple[StateField, ...]
    history: tuple[HistoryField, ...]
    params: tuple[tuple[str, float], ...]
    means: tuple[str, ...]
    alerts: bool
    value_name: str
    steps_max: int = STEPS_MAX
    silence: int = 0
    """Ticks without a reading after which ``on_silence`` runs; 0: never."""
    on_silence: Callable[..., Any] | None = None
    public: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    """Names of the values of a reading; none: it is one number."""
    alert_fields: tuple[str, ...] = ()
    """State fields that an alert names."""
    kept: tuple[str, ...] = ()
    """Values that are state, too, because an alert names them."""
    genes: tuple[Gene, ...] = ()
    fitness: str = "valor"
    """What evolution selects by: ``valor`` or a state field."""
    see: tuple[str, ...] = ()
    """Bloques on the same plane whose entities it sees."""
    mortal: bool = False
    """Whether entities may be born and die; ``inferred``: it was not said, ``planned`` looks."""
    inferred: bool = False
    sends: int = 0
    """How many values one call may send, at most."""
    migrate: Callable[..., Any] | None = None
    """What makes columns out of those of a world with other fields (``corec.world.migrate``)."""

    @property
    def shown(self) -> tuple[tuple[str, str], ...]:
        """(name, dtype) of each public field."""
        dtypes = {f.name: f.dtype for f in self.state}
        return tuple((name, dtypes[name]) for name in self.public)

    def __call__(self, *args: Any) -> Any:
        """Run the plain form: ``processor(me)`` or ``processor(me, value)``; of several values a
        mapping of their names or a sequence in their order."""
        if self.values and len(args) == 2:
            args = (args[0], self.reading(args[1]))
        return self.plain(self.function)(*args)

    @cached_property
    def reading_form(self) -> Any:
        """The named tuple that it is called with."""
        return reading_class(self.values)

    def reading(self, given: Any) -> Any:
        """One reading as it is called with: float32, of several values with their names."""
        return reading_of(self.reading_form, self.name, given) if self.values else np.float32(given)

    @property
    def alert_columns(self) -> tuple[tuple[str, str], ...]:
        """(name, dtype) of each field that an alert names."""
        dtypes = {field.name: field.dtype for field in self.state}
        return tuple((name, dtypes[name]) for name in self.alert_fields)

    @property
    def width(self) -> int:
        """Numbers in a reading."""
        return max(1, len(self.values))

    def plain(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` of this processor as plain Python that computes like the compiled form."""
        from corec.entities.ordinary import plain_form  # brings Numba: not for a declaration

        return plain_form(function, self.wide)

    @property
    def wide(self) -> bool:
        """Whether it has an ``f8`` field: its real constants are float64 then."""
        return any(field.dtype == "f8" for field in self.state)

    @property
    def own_state(self) -> int:
        """How many state fields a repair hands on: all but those that say what was read."""
        added = len(SILENCE_STATE) if self.silence else 0
        return len(self.state) - len(self.kept) - added - (len(LIVES_STATE) if self.mortal else 0)

    @cached_property
    def globals(self) -> tuple[str, ...]:
        """The named numbers of the configuration that its functions read, ``me.globals.NAME``."""
        return globals_used(self.function, self.init, self.on_silence)

    @cached_property
    def reads_inbox(self) -> bool:
        """Whether it reads what others sent: a Micro that names ``me.inbox``, also in a helper."""
        return self.kind == "micro" and uses("inbox", self.function)

    @cached_property
    def moves(self) -> bool:
        """Whether its entities may ask to move to an empty cell."""
        return self.mortal and uses("move_to_empty", self.function)

    @property
    def takes(self) -> bool:
        """Whether others may send it something: a Celu whose readings are one number, too."""
        return self.reads_inbox or (self.kind == "celu" and self.width == 1)

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Name and type of each state field: what two worlds must have in common."""
        return [(field.name, field.dtype) for field in self.state]

    @property
    def fields(self) -> tuple[StateField, ...]:
        """State fields in column order: the declared ones, then the history counters."""
        counters = tuple(StateField(h.count_field, HISTORY_COUNT) for h in self.history)
        return self.state + counters

    def field_offsets(self, cap: int) -> dict[str, int]:
        """Byte offset of each column in one copy of the hot columns (``valor`` first)."""
        offsets = {"valor": 0}
        at = L.column_bytes(cap, 4)
        for column in self.fields:
            offsets[column.name] = at
            at += L.column_bytes(cap, column.itemsize)
        return offsets

    def copy_bytes(self, cap: int) -> int:
        """Bytes of one copy of the hot columns."""
        return L.column_bytes(cap, 4) + sum(L.column_bytes(cap, f.itemsize) for f in self.fields)

    def gene_offsets(self, cap: int) -> dict[str, int]:
        """Byte offset of each gene's column in one copy of the genes."""
        return {g.name: k * L.column_bytes(cap, 4) for k, g in enumerate(self.genes)}

    def gene_bytes(self, cap: int) -> int:
        """Bytes of one copy of the genes."""
        return len(self.genes) * L.column_bytes(cap, 4)

    def history_offsets(self, cap: int) -> dict[str, int]:
        """Byte offset of each history table (rows of ``slots`` float32) in the history area."""
        offsets: dict[str, int] = {}
        at = 0
        for ring in self.history:
            offsets[ring.name] = at
            at += L.column_bytes(cap, ring.slots * 4)
        return offsets

    def history_bytes(self, cap: int) -> int:
        """Bytes of the history area of a block of ``cap`` entities."""
        return sum(L.column_bytes(cap, ring.slots * 4) for ring in self.history)

    def param_values(self, given: Mapping[str, Any]) -> list[float]:
        """The parameters in declaration order, ``parametros`` of the config over the defaults.
        Raises ProcessorError: naming each unknown key or value that is not a finite number."""
        return given_params(self.name, self.params, given)

    def global_values(self, given: Mapping[str, float]) -> list[float]:
        """Those of the named numbers ``given`` that it reads, in the order of ``globals``. Raises
        ProcessorError: it reads one that is not given."""
        return given_globals(self.name, self.globals, given)


def _declare(
    kind: Literal["micro", "celu"],
    function: Callable[..., Any],
    *,
    state: Mapping[str, Any],
    history: Mapping[str, Any],
    params: Mapping[str, Any],
    means: Sequence[str],
    init: Callable[..., Any] | None,
    alerts: bool | Sequence[str],
    steps_max: int,
    silence: int,
    on_silence: Callable[..., Any] | None,
    public: Sequence[str],
    value: Mapping[str, str] | None,
    genes: Mapping[str, Any],
    fitness: str | None,
    see: Sequence[str],
    mortal: bool | None,
    sends: int,
    migrate: Callable[..., Any] | None,
) -> Processor:
    if not inspect.isfunction(function):
        what = type(function).__name__
        raise ProcessorError(f"@corec.{kind} goes on a function written with def, found a {what}")
    owner = f"{function.__module__}:{function.__qualname__}"
    value_name = check_function(kind, function, owner)
    if init is not None:
        if not inspect.isfunction(init):
            raise ProcessorError(f"{owner}: init is a {type(init).__name__}, allowed a function")
        check_function("micro", init, f"{owner}: init")
    values = check_value(kind, owner, value)
    alert_fields, kept = check_alerts(alerts, state, values, owner)
    added, on_silence = check_silence(kind, owner, silence, on_silence)
    lasting, lives = check_mortal(mortal, kind, function, owner)
    added = {**kept, **added, **lives}
    silent = [name for name in added if name not in lives]
    names = [str(name) for name in (*state, *silent, *history, *params, *genes)]
    names += [f"mean_{mean}" for mean in means]
    check_names(names, owner)
    fields = tuple(field_of(name, spec, owner) for name, spec in {**state, **added}.items())
    rings = tuple(history_of(name, spec, owner) for name, spec in history.items())
    by_name = {f.name: f for f in fields}
    check_means(means, by_name, owner)
    public = check_public(public, see, by_name, owner)
    heritable = declared_genes(genes, owner)
    selected = declared_fitness(fitness, by_name, heritable, owner)
    check_counts((len(fields) + len(rings), *map(len, (params, means, public, heritable))), owner)
    check_numbers(params, steps_max, owner)
    check_sends(sends, owner)
    if migrate is not None and not callable(migrate):
        raise ProcessorError(f"{owner}: migrate={migrate!r}, allowed a function")
    return Processor(
        owner, kind, function, init, fields, rings, tuple((k, float(v)) for k, v in params.items()),
        tuple(means), bool(alerts), value_name, steps_max, silence, on_silence, tuple(public),
        values, alert_fields, tuple(kept), heritable, selected, tuple(see), lasting,
        mortal is None, sends, migrate,
    )  # fmt: skip


@overload
def micro(function: Callable[..., Any], /) -> Processor: ...


@overload
def micro(
    *,
    state: Mapping[str, Any] | None = None,
    history: Mapping[str, Any] | None = None,
    params: Mapping[str, float] | None = None,
    means: Sequence[str] = (),
    init: Callable[..., Any] | None = None,
    alerts: bool | Sequence[str] = False,
    steps_max: int = STEPS_MAX,
    public: Sequence[str] = (),
    genes: Mapping[str, tuple[float, float, float]] | None = None,
    fitness: str | None = None,
    see: Sequence[str] = (),
    mortal: bool | None = None,
    sends: int = 0,
    migrate: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Any]], Processor]: ...


def micro(function: Callable[..., Any] | None = None, /, **given: Any) -> Any:
    """Declare an entity that runs at every tick: ``def f(me) -> number`` (the new ``valor``).

    Args:
        function: with no arguments at all, ``@corec.micro`` alone does.
        state: field name → dtype ("f4", "u4", …) or (dtype, initial value).
        history: name → ("f4", length): ``me.name.push(x)``, ``me.name[-1]``, ``len(me.name)``,
            ``me.name.mean()``.
        params: name → default; the config's ``parametros`` override them, read as ``me.name``.
        means: f4 state fields whose mean over the block's active entities, taken after the last
            tick (before the first: of the initial state), is read as ``me.mean_<field>``.
        init: ``def f(me) -> number``: sets the initial state, returns the initial ``valor``.
        alerts: its messages also go to the stream of alerts; a tuple names the fields that are in
            the alert.
        steps_max: loop steps of one call, after which the entity fails (docs/entities.md).
        public: state fields that others of the swarm may read (``corec.entities.meeting``).
        genes: name → (low, high, sigma): read as ``me.name``, drawn at the start, written by
            evolution alone (docs/evolution.md).
        fitness: the state field that evolution selects by; left out: what is returned.
        see: other bloques on the same plane: ``me.neighbours.of("wolf")``.
        mortal: it has ``vivo`` and ``generacion``; left out: if it calls ``me.die()``,
            ``me.spawn(field=…)`` or ``me.move_to_empty()``.
        sends: how many values one call may send with ``me.send(id, value)``.
        migrate: ``def f(old) -> new``, columns by name: of a world that had other fields.

    Raises:
        ProcessorError: the declaration can't work; the text says why.
    """
    return _decorator("micro", function, given)


@overload
def celu(function: Callable[..., Any], /) -> Processor: ...


@overload
def celu(
    *,
    state: Mapping[str, Any] | None = None,
    history: Mapping[str, Any] | None = None,
    params: Mapping[str, float] | None = None,
    means: Sequence[str] = (),
    init: Callable[..., Any] | None = None,
    alerts: bool | Sequence[str] = False,
    steps_max: int = STEPS_MAX,
    silence: int = 0,
    on_silence: Callable[..., Any] | None = None,
    public: Sequence[str] = (),
    value: Mapping[str, str] | None = None,
    genes: Mapping[str, tuple[float, float, float]] | None = None,
    fitness: str | None = None,
    sends: int = 0,
    migrate: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Any]], Processor]: ...


def celu(function: Callable[..., Any] | None = None, /, **given: Any) -> Any:
    """Declare an entity called for each arrived value: ``def f(me, value) -> number``.

    Arguments and errors as for ``micro``; the returned number is the entity's new ``valor``. And:

    Args:
        value: name → "f4" of each of several values of a reading, which are read as ``value.name``.
        silence: ticks without a reading after which the entity is run once, until the next reading.
        on_silence: ``def f(me) -> number``, which is run then; 1 if left out.
    """
    return _decorator("celu", function, given)


def _decorator(
    kind: Literal["micro", "celu"], function: Callable[..., Any] | None, given: dict[str, Any]
) -> Any:
    unknown = sorted(set(given) - _ARGUMENTS.keys())
    if unknown:
        allowed = ", ".join(_ARGUMENTS)
        raise ProcessorError(f"@corec.{kind}: found {', '.join(unknown)}, allowed {allowed}")
    arguments = {**_ARGUMENTS, **{k: v for k, v in given.items() if v is not None}}
    for name in ("state", "history", "params", "genes"):
        if not isinstance(arguments[name], Mapping):
            found = type(arguments[name]).__name__
            raise ProcessorError(f"@corec.{kind}: {name} is a {found}, allowed a dict")

    def decorate(function: Callable[..., Any]) -> Processor:
        return _declare(kind, function, **arguments)

    return decorate if function is None else decorate(function)


_ARGUMENTS: Final[dict[str, Any]] = {
    "state": {}, "history": {}, "params": {}, "means": (), "init": None, "alerts": False,
    "steps_max": STEPS_MAX, "silence": 0, "on_silence": None, "public": (), "value": None,
    "genes": {}, "fitness": None, "see": (), "mortal": None, "sends": 0,
    "migrate": None,
}  # fmt: skip
