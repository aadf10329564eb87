"""From a processor to machine code: C functions that the block kernels call by address.

The user's function is adapted (``adapt.py``), wrapped into the loop of a block (``codegen.py``) and
compiled once per state of everything it reads; the machine code is kept on disk under that key.
"""

from __future__ import annotations

import contextlib
import dis
import hashlib
import importlib.util
import os
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from types import CodeType
from typing import Any

import numba
import numpy as np
from numba.core import types

from corec.cache import cache_folder
from corec.entities import (
    adapt,
    aggregates,
    calling,
    codegen,
    cursor,
    drawing,
    folding,
    globals_used,
    near,
    nearest,
    others,
    references,
)
from corec.entities.declaring import DRAWS_OF
from corec.entities.fingerprint import fingerprint
from corec.entities.me_types import EntityType
from corec.entities.meeting import Meeting
from corec.entities.members import PREDRAWS_MAX
from corec.entities.processor import Processor, ProcessorError
from corec.entities.reasons import reason, returns_what
from corec.kernels import plane

TEACHING = (aggregates, drawing, folding, nearest, others)
"""Modules that say to Numba, when they are imported, what the members of ``me`` do."""


@dataclass(frozen=True)
class Kernels:
    """Addresses of the compiled functions (0: the processor has none of that kind)."""

    update: int
    arrive: int
    dense: int
    silent: int
    init: int
    sites: tuple[CodeType, ...]
    """The code of each compiled function, by its number in a status code (``guard.where``)."""
    keep: tuple[Any, ...]


@dataclass(frozen=True)
class Parts:
    """What a kernel module takes from the processor it is made for."""

    make: Any
    make_init: Any
    checked: Any
    apart: Any
    checked_init: Any
    checked_silence: Any
    readers: dict[str, Any]
    near_rows: Any
    reading: Any


_PARTS: dict[str, Parts] = {}
_BUILT: dict[str, Kernels] = {}


def parts(key: str) -> Parts:
    """The parts of the kernel module with this key; called by that module when it is imported."""
    return _PARTS[key]


def kernel_key(processor: Processor, cap: int, meeting: Meeting | None = None) -> str:
    """24 hexadecimal digits over everything that decides the machine code, but for the code of
    CoreC: each state of that has a folder of its own (``corec.cache``)."""
    digest = hashlib.blake2b(digest_size=12)
    declared = (processor.name, processor.kind, processor.state, processor.history,
                processor.params, processor.globals, processor.means, processor.steps_max,
                processor.silence > 0, processor.sends, processor.reads_inbox,
                processor.values, processor.alert_fields, processor.kept,
                processor.genes, meeting, cap, numba.__version__, np.__version__,
                sys.version_info[:3])  # fmt: skip
    digest.update(repr(declared).encode())
    for function in (processor.function, processor.init, processor.on_silence):
        for text in fingerprint(function):
            digest.update(text.encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()


def code_key(processor: Processor, cap: int, meeting: Meeting | None = None) -> str:
    """Over everything of ``processor`` and of this program that decides what a world does: its
    machine code, all of its declaration, and the code of CoreC that compiled code may contain."""
    functions = ("function", "init", "on_silence")  # whose text is an address; the key has them
    declared = [
        (each.name, getattr(processor, each.name))
        for each in fields(processor)
        if each.name not in functions
    ]
    return f"{cache_folder().name} {kernel_key(processor, cap, meeting)} {declared!r}"


def _predraws(processor: Processor) -> int:
    """How many numbers to draw ahead: those of the draws that the function shows."""
    if processor.kind != "micro":
        return 0
    shown = sum(
        number * references.count_calls(processor.function, name)
        for name, number in DRAWS_OF.items()
    )
    return min(PREDRAWS_MAX, shown)


def is_compiled(processor: Processor, cap: int, meeting: Meeting | None = None) -> bool:
    """Whether the machine code of ``processor`` is kept: loading it takes no compiler."""
    key = kernel_key(processor, cap, meeting)
    return key in _BUILT or _done(key).exists()


def _done(key: str) -> Path:
    """The file that is there once everything of a kernel module was compiled and kept."""
    return cache_folder() / "kernels" / f"k_{key}.done"


def compile_processor(processor: Processor, cap: int, meeting: Meeting | None = None) -> Kernels:
    """Compile, or load from the cache, the kernels of ``processor`` for blocks of ``cap`` entities,
    which see each other as ``meeting`` says.

    Raises:
        ProcessorError: the function can't be compiled; the text is the compiler's reason.
    """
    predraws = _predraws(processor)
    key = kernel_key(processor, cap, meeting)
    if key in _BUILT:
        return _BUILT[key]
    entity = EntityType(processor, predraws, cap, meeting=meeting)
    init_entity = EntityType(processor, 0, cap, init=True, meeting=meeting)
    adapter = adapt.Adapter(processor.wide, processor.steps_max)
    try:
        function = adapter.function(processor.function)
        dense = is_dense(processor, meeting, adapter.sites)
        init = adapter.function(processor.init) if processor.init is not None else None
        silent = adapter.function(processor.on_silence) if processor.silence else None
    except ProcessorError as error:
        raise ProcessorError(f"{processor.name} can't be compiled: {error}") from error
    value = _value_type(processor)
    checked = calling.checked_call(function, entity, value)
    checked_init = calling.checked_call(init, init_entity) if init else None
    _PARTS[key] = Parts(
        cursor.entity_maker(entity),
        cursor.entity_maker(init_entity),
        checked,
        calling.checked_call(function, entity, value, apart=True),
        checked_init,
        calling.checked_call(silent, entity) if silent else None,
        {ring.count_field: cursor.hidden_reader(entity, ring.count_field)
         for ring in processor.history},
        _bringer(processor, meeting),
        processor.reading_form if processor.values else None,
    )  # fmt: skip
    try:
        module = _load(processor, cap, predraws, meeting, key, dense)
    except ProcessorError:
        raise
    except Exception as error:  # Numba raises whatever it trips over
        why = _why(processor.function, function, (entity, *([value] if value else [])))
        if why is None and init is not None:
            why = _why(processor.init, init, (init_entity,))
        if why is None and silent is not None:
            why = _why(processor.on_silence, silent, (entity,))
        why = why or reason(error)
        raise ProcessorError(f"{processor.name} can't be compiled: {why}") from error
    kernels = Kernels(
        module.update.address if processor.kind == "micro" else 0,
        module.arrive.address if processor.kind == "celu" else 0,
        module.dense.address if dense else 0,
        module.silent.address if processor.silence else 0,
        module.init.address,
        tuple(adapter.sites),
        (module,),
    )
    _BUILT[key] = kernels
    with contextlib.suppress(OSError):  # then it is asked for again at the next start
        _done(key).touch(mode=0o600)
    return kernels


def _value_type(processor: Processor) -> Any:
    """What the function is called with beside ``me``; None: nothing."""
    if processor.kind == "micro":
        return None
    if processor.values:
        named: Any = types.NamedUniTuple
        return named(types.float32, processor.width, processor.reading_form)
    return types.float32


def _bringer(processor: Processor, meeting: Meeting | None) -> Any:
    """Compiled: brings what is seen of others near to the core, cells or records."""
    if meeting is None or meeting.graph is not None or not meeting.spatial:
        return None
    if meeting.plane is None:
        return near.rows_filler(meeting)
    shown = meeting.plane.shown
    offsets = tuple(meeting.offsets[field] for field in shown[0].position)
    names = globals_used.swarms_asked(processor.function)
    asked = [k for k in range(1, len(shown)) if shown[k].name in names]
    asked += [0] if globals_used.own_asked(processor.function) else []
    return plane.fetchers([plane.fetcher(offsets, k) for k in asked])


def _why(function: Any, dispatcher: Any, arguments: tuple[Any, ...]) -> str | None:
    """What is wrong with one function, compiled alone; None when it compiles."""
    try:
        dispatcher.compile(arguments)
    except Exception as error:  # noqa: BLE001  # as above
        return reason(error, function.__code__.co_filename)
    return returns_what(dispatcher.overloads[arguments].signature.return_type)


def is_dense(processor: Processor, meeting: Meeting | None, sites: list[CodeType]) -> bool:
    """Whether readings of many entities at once may run as vectors: nobody else is looked at or
    sent to, and no call can run long, so the order of the calls decides nothing. ``sites``: what it
    reaches."""
    straight = not any(map(_loops, sites))
    alone = meeting is None and not (processor.mortal or processor.sends or processor.reads_inbox)
    return processor.kind == "celu" and alone and straight


def _loops(code: CodeType) -> bool:
    """Whether it has a loop, or what it makes inside has one: a comprehension (Python 3.11)."""
    return any(
        one.opname == "FOR_ITER" or "JUMP_BACKWARD" in one.opname  # Python 3.11: POP_JUMP_…, too
        for one in dis.get_instructions(code)
    ) or any(_loops(inner) for inner in code.co_consts if isinstance(inner, CodeType))


def _load(
    processor: Processor, cap: int, predraws: int, meeting: Meeting | None, key: str, dense: bool
) -> Any:
    folder = cache_folder() / "kernels"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = f"k_{key}"
    path = folder / f"{name}.py"
    source = codegen.kernel_source(processor, cap, predraws, meeting, key, dense)
    if not path.exists() or path.read_text("utf-8") != source:
        half = folder / f".{name}.{os.getpid()}"
        half.write_text(source, "utf-8")
        os.replace(half, path)
    spec = importlib.util.spec_from_file_location(f"corec_kernels.{name}", path)
    if spec is None or spec.loader is None:
        raise ProcessorError(f"{path}: can't be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module
