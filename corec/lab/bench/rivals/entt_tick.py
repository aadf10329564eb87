"""EnTT, the C++ engine: an owning group, one pass over it per tick (``entt_sensor.cpp``).

Built here with the machine's own compiler and ``-O3 -march=native``. It needs a C++20 compiler and
EnTT's headers: ``ENTT_INCLUDE`` is the folder that holds ``entt/entt.hpp``.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from corec.lab.bench.loading import Absent
from corec.lab.bench.rivals.sensor import UMBRAL, Uniforms, Values

INCLUDE: Final = "ENTT_INCLUDE"
SOURCE: Final = Path(__file__).with_name("entt_sensor.cpp")
FLAGS: Final = ("-O3", "-march=native", "-std=c++20", "-shared", "-fPIC")
_FLOATS: Final = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")


def _library() -> ctypes.CDLL:
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if compiler is None:
        raise Absent("no C++ compiler is installed")
    folder = os.environ.get(INCLUDE, "")
    include = [f"-I{folder}"] if folder else []
    with tempfile.TemporaryDirectory(prefix="corec-entt-") as home:
        target = Path(home) / "entt_sensor.so"
        done = subprocess.run(
            [compiler, *FLAGS, *include, str(SOURCE), "-o", str(target)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), "?")
            raise Absent(f"EnTT does not build here ({INCLUDE} names its headers): {first[-160:]}")
        library = ctypes.CDLL(str(target))
    library.entt_create.restype = ctypes.c_void_p
    library.entt_create.argtypes = [ctypes.c_size_t, _FLOATS, ctypes.c_float]
    library.entt_tick.restype = ctypes.c_uint64
    library.entt_tick.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.entt_values.restype = None
    library.entt_values.argtypes = [ctypes.c_void_p, _FLOATS]
    library.entt_destroy.restype = None
    library.entt_destroy.argtypes = [ctypes.c_void_p]
    return library


LIBRARY: Final = _library()


class EnttTick:
    """An EnTT registry of ``n`` entities; its own random numbers are xorshift32, one per entity."""

    def __init__(self, valor: Values, uniforms: Uniforms | None = None) -> None:
        self.n = valor.size
        self.messages = 0
        self._tick = 0
        self._uniforms = uniforms
        given = np.ascontiguousarray(valor, np.float32)
        self._world = LIBRARY.entt_create(self.n, given, UMBRAL)

    def tick(self) -> None:
        self._tick += 1
        drawn = None if self._uniforms is None else self._uniforms(self._tick)
        address = None if drawn is None else drawn.ctypes.data
        self.messages += int(LIBRARY.entt_tick(self._world, address))

    def values(self) -> Values:
        out = np.zeros(self.n, np.float32)
        LIBRARY.entt_values(self._world, out)
        return out

    def __del__(self) -> None:
        LIBRARY.entt_destroy(self._world)
