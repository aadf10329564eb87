"""What a module may be called: by its name, as the original writes it, or by its class."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final

from corec.config.faults import Fault

MODULES: Final = ("registro", "ejecucion", "sincronizacion", "auditoria", "evolucion")
"""Those that are built in."""
_NAMES: Final = {name: name for name in MODULES} | {f"modulo{name}": name for name in MODULES}
_CLASSES: Final = {f"corec.modules.{name}.Modulo{name.title()}": name for name in MODULES}


def module_name(name: object) -> object:
    """The original writes "sincronización", "sincronizacion" and "ModuloSincronizacion"."""
    if not isinstance(name, str):
        return name
    decomposed = unicodedata.normalize("NFKD", name)
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    return _NAMES.get(plain.lower().replace("_", ""), plain)


def module_faults(modules: object) -> Iterator[Fault]:
    """A fault for each that is named a second time, also in other words."""
    if not isinstance(modules, (list, tuple)):
        return
    there = set()
    for index, name in enumerate(modules):
        plain = str(module_name(name)).replace(":", ".")
        one = _CLASSES.get(plain, plain)
        if isinstance(name, str) and one in there:
            yield Fault(f"modules[{index}]", f'"{name}", which is there twice', "each once")
        there.add(one)
