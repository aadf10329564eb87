"""What can be said of a declaration without compiling it: functions, values, silence, alerts."""

from __future__ import annotations

import inspect
import keyword
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from corec import layout as L
from corec.entities.errors import ProcessorError
from corec.entities.fields import LIVES_STATE, VIVO
from corec.entities.globals_used import lives_calls
from corec.entities.silence import SILENCE_MAX, SILENCE_STATE, fell_silent
from corec.layout.post import SENDS_MAX
from corec.signature import signature_of

DRAWS_OF: Final = {"random": 1, "normal": 2, "randint": 2}
"""Numbers of Philox that one call of each method of ``me`` takes."""
FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
STEPS_MAX_LIMIT: Final = 1 << 40
BETWEEN: Final = frozenset({"weight", "dx", "dy", "dz", "distance2"})
"""What is read of another entity and is between the two: no public field's name."""
SEE_MAX: Final = 8
RESERVED: Final = frozenset({"id", "tick", "valor", "activo", "fallos", "draws", "seed",
                             "neighbours", "entity", "globals", "die", "spawn", "send", "inbox",
                             "move_to_empty", *DRAWS_OF, *LIVES_STATE})  # fmt: skip
VALUE_DTYPE: Final = "f4"
"""Of each value of a reading: as a message carries it."""
_NOT_NAMES: Final = frozenset({"id", "datos", "valor", "activo", "tick"})


def check_function(kind: str, function: Any, owner: str) -> str:
    """Check what can be seen without compiling; returns the name of the value argument."""
    if inspect.iscoroutinefunction(function):
        raise ProcessorError(f"{owner}: it is async, a processor is a plain function")
    if inspect.isgeneratorfunction(function):
        raise ProcessorError(f"{owner}: it has a yield, a processor returns a number")
    arguments = list(signature_of(function).parameters.values())
    fixed = all(a.kind is a.POSITIONAL_OR_KEYWORD for a in arguments)
    shape = "(me)" if kind == "micro" else "(me, value)"
    if not fixed or len(arguments) != (1 if kind == "micro" else 2):
        shape = f"takes {shape}, this one {signature_of(function)}"
        raise ProcessorError(f"{owner}: a {kind} processor {shape}")
    return arguments[1].name if kind == "celu" else ""


def check_names(names: list[str], owner: str) -> None:
    """Raise ProcessorError for a name that can't be used, or that is there twice."""
    for name in names:
        hidden = name.startswith("_") or "__" in name or name in RESERVED
        if hidden or not name.isidentifier() or keyword.iskeyword(name):
            raise ProcessorError(f"{owner}: {name!r} can't be the name of a field or parameter")
        if names.count(name) > 1:
            raise ProcessorError(f"{owner}: the name {name!r} is declared twice")


def check_silence(
    kind: str, owner: str, silence: Any, on_silence: Any
) -> tuple[dict[str, str], Callable[..., Any] | None]:
    """The state fields and the function of what was declared."""
    if silence == 0 and on_silence is None:
        return {}, None
    if kind == "micro":
        raise ProcessorError(f"{owner}: silence is for @corec.celu: a micro entity runs each tick")
    if type(silence) is not int or not 1 <= silence <= SILENCE_MAX:
        raise ProcessorError(f"{owner}: silence={silence!r}, allowed 1 to {SILENCE_MAX} ticks")
    on_silence = on_silence or fell_silent
    if not inspect.isfunction(on_silence):
        found = type(on_silence).__name__
        raise ProcessorError(f"{owner}: on_silence is a {found}, allowed a function")
    check_function("micro", on_silence, f"{owner}: on_silence")
    return dict(SILENCE_STATE), on_silence


def check_mortal(mortal: Any, kind: str, function: Any, owner: str) -> tuple[bool, dict[str, Any]]:
    """Whether entities are born and die (None: whether ``function`` calls what makes them), and the
    state fields that come with it."""
    if mortal is not None and not isinstance(mortal, bool):
        raise ProcessorError(f"{owner}: mortal={mortal!r}, allowed True or False")
    called = "" if mortal else next(iter(lives_calls(function)), "")
    if called and mortal is False:
        allowed = "mortal=True, or no mortal at all"
        raise ProcessorError(f"{owner}: me.{called} beside mortal=False, allowed {allowed}")
    found = mortal or bool(called)
    if found and kind != "micro":
        who = f"me.{called}" if called else "mortal"
        raise ProcessorError(f"{owner}: {who} beside @corec.celu, allowed for @corec.micro")
    return found, dict(LIVES_STATE) if found else {}


def check_means(means: Any, fields: Mapping[str, Any], owner: str) -> None:
    """Raise ProcessorError unless ``means`` names state fields of type f4."""
    if isinstance(means, str):
        raise ProcessorError(f"{owner}: means={means!r}, allowed a list or tuple of field names")
    for mean in means:
        if mean not in fields or fields[mean].dtype != "f4":
            raise ProcessorError(f"{owner}: means={mean!r} must name a state field of type f4")


def check_numbers(params: Mapping[str, Any], steps_max: Any, owner: str) -> None:
    """Raise ProcessorError unless the defaults of ``params`` are numbers, and the steps some."""
    for key, default in params.items():
        number = isinstance(default, int | float) and not isinstance(default, bool)
        if not number or not abs(default) <= FLOAT32_MAX:
            raise ProcessorError(f"{owner}: params {key!r} is {default!r}, allowed a finite number")
    if type(steps_max) is not int or not 1 <= steps_max <= STEPS_MAX_LIMIT:
        raise ProcessorError(f"{owner}: steps_max={steps_max!r}, allowed 1 to {STEPS_MAX_LIMIT}")


def check_counts(found: Sequence[int], owner: str) -> None:
    """Raise ProcessorError for more state fields, params, means, public fields or genes than there
    is room for."""
    names = ("state fields", "params", "means", "public fields", "genes")
    limits = (L.FIELDS_MAX, L.PARAMS_MAX, L.MEANS_MAX, L.PUBLIC_MAX, L.GENES_MAX)
    for count, what, most in zip(found, names, limits, strict=True):
        if count > most:
            raise ProcessorError(f"{owner}: {count} {what}, at most {most}")


def check_sends(sends: Any, owner: str) -> None:
    """Raise ProcessorError unless ``sends`` is how many values one call may send."""
    if type(sends) is not int or not 0 <= sends <= SENDS_MAX:
        raise ProcessorError(f"{owner}: sends={sends!r}, allowed 0 to {SENDS_MAX} a call")


def check_public(public: Any, see: Any, fields: Mapping[str, Any], owner: str) -> tuple[str, ...]:
    """What is shown: ``public``, and of mortals who lives. Raises ProcessorError unless these are
    state fields, and ``see`` names other bloques."""
    if isinstance(public, str) or len(set(public) & fields.keys()) < len(public):
        allowed = f"a list of its state fields ({', '.join(fields) or 'it has none'}), each once"
        raise ProcessorError(f"{owner}: public={public!r}, allowed {allowed}")
    if taken := sorted(BETWEEN & set(public)):
        allowed = f"another name: other.{taken[0]} is what lies between"
        raise ProcessorError(f"{owner}: public={taken[0]!r}, allowed {allowed}")
    names = isinstance(see, list | tuple) and all(isinstance(name, str) for name in see)
    if not names or len(set(see)) < len(see) or len(see) > SEE_MAX:
        allowed = f"a list of up to {SEE_MAX} bloques, each once"
        raise ProcessorError(f"{owner}: see={see!r}, allowed {allowed}")
    lives = [VIVO] if public and VIVO in fields and VIVO not in public else []
    return (*public, *lives)


def check_value(kind: str, owner: str, value: Any) -> tuple[str, ...]:
    """The names of the values of a reading; none when it is one number without a name."""
    if value is None:
        return ()
    if kind == "micro":
        raise ProcessorError(f"{owner}: value is for @corec.celu: a micro entity takes no argument")
    if not isinstance(value, Mapping) or not value:
        raise ProcessorError(f'{owner}: value={value!r}, allowed {{"name": "{VALUE_DTYPE}", …}}')
    if len(value) > L.VALUES_MAX:
        raise ProcessorError(f"{owner}: {len(value)} values, at most {L.VALUES_MAX}")
    for name, dtype in value.items():
        known = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
        if not known or name.startswith("_") or name in _NOT_NAMES:
            raise ProcessorError(f"{owner}: {name!r} can't be the name of a value")
        if dtype != VALUE_DTYPE:
            found = f"value {name!r} is {dtype!r}"
            raise ProcessorError(f"{owner}: {found}, allowed {VALUE_DTYPE!r}: as a stream has it")
    return tuple(value)


def check_alerts(
    alerts: Any, state: Mapping[str, Any], values: tuple[str, ...], owner: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The fields an alert names, and those of them that become state: values of a reading."""
    if isinstance(alerts, bool):
        return (), {}
    if isinstance(alerts, str) or not isinstance(alerts, Sequence):
        raise ProcessorError(
            f"{owner}: alerts={alerts!r}, allowed true, false or a tuple of fields"
        )
    known = (*state, *(name for name in values if name not in state))
    for name in alerts:
        if name not in known or list(alerts).count(name) > 1:
            allowed = ", ".join(known) or "there are none"
            raise ProcessorError(f"{owner}: alerts names {name!r}, allowed each once of: {allowed}")
    if len(alerts) > L.ALERT_FIELDS_MAX:
        raise ProcessorError(f"{owner}: {len(alerts)} alert fields, at most {L.ALERT_FIELDS_MAX}")
    return tuple(alerts), {name: VALUE_DTYPE for name in alerts if name not in state}


def reading_class(names: tuple[str, ...]) -> Any:
    """What a processor is called with: a tuple of float32 with names."""
    return namedtuple("Reading", names)


def reading_of(form: Any, owner: str, given: Any) -> Any:
    """``given``, a mapping or as many numbers as ``form`` (``reading_class``) has names, as one.

    Raises:
        TypeError: names are missing or unknown, or there are more or fewer numbers.
    """
    names = form._fields
    if isinstance(given, Mapping):
        if given.keys() != set(names):
            found = ", ".join(map(str, given)) or "nothing"
            raise TypeError(f"{owner}: found a reading of {found}, expected {', '.join(names)}")
        given = [given[name] for name in names]
    numbers = tuple(given) if np.ndim(given) == 1 else ()
    if len(numbers) != len(names):
        raise TypeError(f"{owner}: found {given!r}, expected {', '.join(names)}")
    return form(*(np.float32(number) for number in numbers))
