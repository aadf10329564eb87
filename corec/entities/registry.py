"""Processors by name: the built-in ones, and ``package.module:attribute`` of the user."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Final

from corec.entities.processor import Processor, ProcessorError
from corec.project import look_in

BUILT_IN: Final = {
    "sensor": "corec.processors.sensor:sensor",
    "kuramoto": "corec.processors.kuramoto:kuramoto",
    "sir": "corec.processors.sir:sir",
    "life": "corec.processors.life:life",
    "schelling": "corec.processors.schelling:schelling",
    "forest_fire": "corec.processors.forest_fire:forest_fire",
    "sir_graph": "corec.processors.sir_graph:sir_graph",
    "boids": "corec.processors.boids:boids",
    "diffusion": "corec.processors.diffusion:diffusion",
    "ising": "corec.processors.ising:ising",
    "grass": "corec.processors.wolf_sheep:grass",
    "sheep": "corec.processors.wolf_sheep:sheep",
    "wolf": "corec.processors.wolf_sheep:wolf",
    "detector": "corec.processors.detector:detector",
    "ewma": "corec.processors.ewma:ewma",
    "spot": "corec.processors.spot:spot",
    "seasonal": "corec.processors.seasonal:seasonal",
    "rate": "corec.processors.rate:rate",
    "stuck": "corec.processors.stuck:stuck",
}


def resolve(name: str, search: tuple[Path, ...] = ()) -> Processor:
    """The processor called ``name``.

    ``search`` are folders in which the user's modules are looked for beside ``sys.path``.

    Raises:
        ProcessorError: unknown name, module that can't be imported, or something else found there.
    """
    target = BUILT_IN.get(name, name)
    module_name, colon, attribute = target.partition(":")
    if not colon or not module_name or not attribute:
        known = ", ".join(sorted(BUILT_IN))
        raise ProcessorError(
            f"found {name!r}, allowed one of {known}, or package.module:attribute of your own"
        )
    look_in(search)
    try:
        found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        raise ProcessorError(f"found {name!r}: there is no module {error.name!r}") from error
    except AttributeError as error:
        raise ProcessorError(f"found {name!r}: {module_name} has no {attribute!r}") from error
    except (Exception, SystemExit) as error:  # a module that leaves must not take us along
        reason = f"{type(error).__name__}: {error}"
        raise ProcessorError(f"found {name!r}: {module_name} fails on import: {reason}") from error
    if not isinstance(found, Processor):
        kind = type(found).__name__
        raise ProcessorError(
            f"found {name!r}, which is a {kind}, not a function with @corec.micro or @corec.celu"
        )
    return found
