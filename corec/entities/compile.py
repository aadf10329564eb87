"""From a processor to machine code: C functions that the block kernels call by address.

A Python number adopts the type of what it meets (NEP 50): ``0.95 * me.level`` is float32 in plain
NumPy, so float constants of the user's function, and of the module it reads, become float32 before
Numba sees them; otherwise each would promote its expression to float64 and halve the vector width.
Plain Python helper functions of the user's module are compiled along.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.errors import NumbaError

import corec.entities.codegen as codegen
import corec.entities.cursor as cursor
import corec.kernels.address as address
import corec.kernels.philox as philox
from corec import layout
from corec.cache import cache_folder
from corec.entities.processor import Processor, ProcessorError


@dataclass(frozen=True)
class Kernels:
    """Addresses of the compiled functions (0: the processor has none of that kind)."""

    update: int
    arrive: int
    init: int
    keep: tuple[Any, ...]


@dataclass(frozen=True)
class Parts:
    """What a kernel module takes from the processor it is made for."""

    make: Any
    make_init: Any
    checked: Any
    checked_init: Any
    readers: dict[str, Any]


_PARTS: dict[str, Parts] = {}
_BUILT: dict[str, Kernels] = {}


def parts(key: str) -> Parts:
    """The parts of the kernel module with this key; called by that module when it is imported."""
    return _PARTS[key]


def _is_user_function(value: Any, module: str) -> bool:
    return isinstance(value, types.FunctionType) and (
        value.__module__ == module or not value.__module__.startswith(("numba", "numpy", "math"))
    )


def _float32_constant(value: Any) -> Any:
    if type(value) is float:
        return np.float32(value)
    if type(value) is tuple:
        return tuple(_float32_constant(item) for item in value)
    return value


def _adapt(function: Any, seen: dict[int, Any]) -> Any:
    """``function`` compiled lazily, with float32 constants, and its helpers likewise."""
    if id(function) in seen:
        return seen[id(function)]
    code = function.__code__
    names = {name: function.__globals__[name] for name in code.co_names
             if name in function.__globals__}  # fmt: skip
    closure = dict(zip(code.co_freevars, (c.cell_contents for c in function.__closure__ or ()),
                       strict=True))  # fmt: skip
    adapted: dict[str, Any] = {"__builtins__": __builtins__, "__name__": function.__module__}
    for name, value in {**names, **closure}.items():
        if _is_user_function(value, function.__module__):
            adapted[name] = _adapt(value, seen)
        else:
            adapted[name] = _float32_constant(value)
    constants = tuple(_float32_constant(value) for value in code.co_consts)
    copied = code.replace(co_consts=constants)
    cells = tuple(types.CellType(adapted[name]) for name in code.co_freevars)
    clone = types.FunctionType(copied, adapted, function.__name__, function.__defaults__, cells)
    compiled = numba.njit(error_model="numpy")(clone)
    seen[id(function)] = compiled
    return compiled


def _fingerprint(function: Any, seen: set[int]) -> list[str]:
    """Everything of ``function`` that decides what it computes, as text."""
    if function is None or id(function) in seen:
        return []
    seen.add(id(function))
    code = function.__code__
    found = [code.co_code.hex(), repr([c for c in code.co_consts if not inspect.iscode(c)])]
    found += [c.co_code.hex() for c in code.co_consts if inspect.iscode(c)]
    found.append(repr(code.co_names))
    values = [function.__globals__.get(name) for name in code.co_names]
    values += [cell.cell_contents for cell in function.__closure__ or ()]
    for value in values:
        if isinstance(value, types.FunctionType):
            found += _fingerprint(value, seen)
        elif isinstance(value, int | float | str | bool | tuple | np.generic):
            found.append(repr(value))
    return found


def _key(processor: Processor, cap: int, predraws: int) -> str:
    digest = hashlib.blake2b(digest_size=12)
    own = (codegen, cursor, address, philox, layout, sys.modules[__name__])
    for module in own:
        digest.update(Path(str(module.__file__)).read_bytes())
    declared = (processor.name, processor.kind, processor.state, processor.history,
                processor.params, processor.means, cap, predraws, numba.__version__,
                np.__version__, sys.version_info[:3])  # fmt: skip
    digest.update(repr(declared).encode())
    seen: set[int] = set()
    for text in _fingerprint(processor.function, seen) + _fingerprint(processor.init, seen):
        digest.update(text.encode())
    return digest.hexdigest()


def _predraws(processor: Processor) -> int:
    """How many numbers to draw ahead: the calls of ``me.random()`` that the source shows."""
    names = processor.function.__code__.co_names
    if "random" not in names:
        return 0
    try:
        source = inspect.getsource(processor.function)
    except OSError:
        return 1
    return max(1, min(cursor.PREDRAWS_MAX, source.count(".random(")))


def compile_processor(processor: Processor, cap: int) -> Kernels:
    """Compile, or load from the cache, the kernels of ``processor`` for blocks of ``cap`` entities.

    Raises:
        ProcessorError: the function can't be compiled; the text is the compiler's reason.
    """
    predraws = _predraws(processor) if processor.kind == "micro" else 0
    key = _key(processor, cap, predraws)
    if key in _BUILT:
        return _BUILT[key]
    entity = cursor.EntityType(processor, predraws)
    for ring in processor.history:
        if ring.count_field not in entity.index:
            raise AssertionError("a history has its counter among the members")
    init_entity = entity if not predraws else cursor.EntityType(processor, 0)
    seen: dict[int, Any] = {}
    checked = cursor.checked_call(
        _adapt(processor.function, seen), entity, with_value=processor.kind == "celu"
    )
    checked_init = (
        cursor.checked_call(_adapt(processor.init, seen), init_entity, with_value=False)
        if processor.init is not None
        else None
    )
    _PARTS[key] = Parts(
        cursor.entity_maker(entity),
        cursor.entity_maker(init_entity),
        checked,
        checked_init,
        {ring.count_field: cursor.hidden_reader(entity, ring.count_field)
         for ring in processor.history},
    )  # fmt: skip
    try:
        module = _load(processor, cap, predraws, key)
    except NumbaError as error:
        raise ProcessorError(f"{processor.name} can't be compiled: {_reason(error)}") from error
    kernels = Kernels(
        module.update.address if processor.kind == "micro" else 0,
        module.arrive.address if processor.kind == "celu" else 0,
        module.init.address,
        (module,),
    )
    _BUILT[key] = kernels
    return kernels


def _reason(error: NumbaError) -> str:
    """The lines of a Numba error that a user of CoreC can act on."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    wanted = [
        line
        for line in lines
        if line.startswith(("me.", "the processor", "Unknown attribute", "No implementation"))
        or ("File " in line and "kernels" not in line)
    ]
    return "; ".join(dict.fromkeys(wanted)) or (lines[0] if lines else "unknown reason")


def _load(processor: Processor, cap: int, predraws: int, key: str) -> Any:
    folder = cache_folder() / "kernels"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = f"k_{key}"
    path = folder / f"{name}.py"
    source = codegen.kernel_source(processor, cap, predraws, key)
    if not path.exists() or path.read_text() != source:
        half = folder / f".{name}.{os.getpid()}"
        half.write_text(source)
        os.replace(half, path)
    spec = importlib.util.spec_from_file_location(f"corec_kernels.{name}", path)
    if spec is None or spec.loader is None:
        raise ProcessorError(f"{path}: can't be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
