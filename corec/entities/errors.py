"""What is raised for a processor that cannot run."""

from __future__ import annotations


class ProcessorError(TypeError):
    """A processor is declared or written in a way that cannot run; the text says what to change."""
