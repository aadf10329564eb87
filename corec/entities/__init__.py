"""Entities: how a user declares one, how it is compiled, and its plain-Python reference."""

from corec.entities.processor import Processor, ProcessorError, celu, micro

__all__ = ["Processor", "ProcessorError", "celu", "micro"]
