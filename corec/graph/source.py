"""Where the links of a swarm come from: a file or a generator, read when they are first wanted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from corec.config.faults import ConfigError, Fault
from corec.config.space import Space
from corec.graph.files import BadEdges, read_links
from corec.graph.generators import generated
from corec.graph.links import Links, links_of

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Source:
    """The edges of a graph space. ``folder``: where relative names begin."""

    space: Space
    n: int
    seed: int
    folder: Path
    where: str
    """The key that is named when something is wrong."""

    @cached_property
    def links(self) -> Links:
        """Raises ConfigError: the file can't be used; the fault says why, with the line."""
        edges = self.space.edges
        assert edges is not None
        if not isinstance(edges, str):
            source, target = generated(self.n, edges, self.seed, self.space.directed)
            return links_of(self.n, source, target, None, self.space.directed)
        try:
            return read_links(
                self.folder / edges, self.n, self.space.weights, self.space.directed
            )  # fmt: skip
        except BadEdges as error:
            raise ConfigError([Fault(self.where, error.found, error.allowed)]) from None

    @cached_property
    def mark(self) -> str:
        """16 hexadecimal digits over what the links are made of."""
        edges = self.space.edges
        digest = hashlib.blake2b(digest_size=8)
        digest.update(f"{self.n} {self.space.directed} {self.space.weights}".encode())
        if isinstance(edges, str):
            try:
                with (self.folder / edges).open("rb") as file:
                    while piece := file.read(_PIECE_BYTES):
                        digest.update(piece)
            except OSError:  # ``links`` says so
                digest.update(b"missing")
        else:
            ordered = {"ordered": True} if self.space.directed else {}  # pairs were not, before
            text = json.dumps({"seed": self.seed, **(edges or {}), **ordered}, sort_keys=True)
            digest.update(text.encode())
        return digest.hexdigest()


def source_of(
    space: Space | None, entidades: int, seed: int, folder: Path, where: str
) -> Source | None:
    """Where the links of a graph come from; ``where``: the bloque's path in the config."""
    if space is None or space.kind != "graph":
        return None
    return Source(space, entidades, seed, folder, f"{where}.space.edges")
