"""The numbers a swarm's processor reads that are the same for all of it, as configured."""

from __future__ import annotations

from collections.abc import Iterator

from corec import layout as L
from corec.config import Config, Fault
from corec.entities.processor import Processor, ProcessorError


def numbers(config: Config, processor: Processor, index: int) -> tuple[float, ...]:
    """What a swarm's processor reads: its parameters, then the globals that it uses.

    Raises:
        ProcessorError: there is no such parameter or global, or a value is none.
    """
    parametros = config.bloques[index].parametros
    return (*processor.param_values(parametros), *processor.global_values(config.globals))


def number_faults(config: Config, processor: Processor, index: int) -> Iterator[Fault]:
    """What is wrong with the parameters of a bloque, and with the globals that it needs."""
    where = f"bloques[{index}]"
    try:
        processor.param_values(config.bloques[index].parametros)
    except ProcessorError as error:
        for fault in str(error).split("; "):
            key, _, rest = fault.partition(": ")
            found, _, allowed = rest.removeprefix("found ").partition(", allowed ")
            allowed = allowed or "a parameter of the processor"
            yield Fault(f"{where}.parametros.{key}", found, allowed)
    count = len(processor.params) + len(processor.globals)
    if count > L.PARAMS_MAX:
        found = f"{processor.name} with {count} parameters and globals"
        yield Fault(f"{where}.procesador", found, f"at most {L.PARAMS_MAX} together")
    for name in processor.globals:
        if name not in config.globals:
            known = ", ".join(config.globals) or "empty"
            found = f"{processor.name}, which reads me.globals.{name}"
            yield Fault(f"{where}.procesador", found, f"a name in globals, which is {known}")
