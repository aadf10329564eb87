"""What a bloque asks for that its processor is not declared for."""

from __future__ import annotations

from collections.abc import Iterator

from corec.config import Fault
from corec.config.swarm import BloqueConfig
from corec.entities.processor import Processor


def misfits(bloque: BloqueConfig, processor: Processor, where: str) -> Iterator[Fault]:
    """The faults of ``bloque``, which stands at ``where``."""
    name = bloque.procesador
    if bloque.evolucion is not None and not processor.genes:
        yield Fault(f"{where}.evolucion", f"an evolution, and {name} has no genes",
                    'a processor declared with genes={"…": (low, high, sigma)}')  # fmt: skip
    elif bloque.evolucion is not None and processor.mortal:
        yield Fault(f"{where}.evolucion", f"an evolution, and entities of {name} are born and die",
                    "one of the two: children have their mothers' genes")  # fmt: skip
