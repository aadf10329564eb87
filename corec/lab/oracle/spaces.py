"""Who is near whom, in all the spaces of a world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corec.lab.oracle.graphs import Graph, generated
from corec.lab.oracle.near import Grid, Neighbours
from corec.lab.oracle.plane import Chart, Plane

Edges = Mapping[str, Sequence[Sequence[float]]]
Shown = Mapping[int, Mapping[str, Any]]
AXES = ("dx", "dy", "dz")


class Spaces:
    """Of the bloques of one configuration; ``edges``: what is in files, by their names."""

    def __init__(
        self, config: Mapping[str, Any], places: Mapping[str, int], seed: int, edges: Edges
    ) -> None:
        self._all: dict[str, Grid | Graph | Plane] = {}
        for bloque in config["bloques"]:
            if bloque.get("space"):
                name = bloque["id"]
                self._all[name] = _space(bloque["space"], places[name], seed, edges)
        self._charts: dict[str, Chart] = {}

    def plane(self, name: str) -> Plane | None:
        """That of a bloque, if it is on one."""
        space = self._all.get(name)
        return space if isinstance(space, Plane) else None

    def tick(self) -> None:
        """Entities may have moved."""
        self._charts.clear()

    def neighbours(
        self, name: str, ids: Mapping[str, Sequence[int]], identity: int, shown: Shown
    ) -> Neighbours:
        """Of an entity of the bloque ``name``; ``ids``: of each bloque."""
        space, first = self._all[name], ids[name][0]
        if isinstance(space, Grid):
            return Neighbours([first + cell for cell in space.around(identity - first)], shown)
        if isinstance(space, Graph):
            links = space.around(identity - first)
            weights = [{"weight": weight} for _, weight in links]
            return Neighbours([first + place for place, _ in links], shown, weights)
        others = {
            other: self._on_plane(space, other, ids[other], identity, shown)
            for other, its in self._all.items()
            if other != name and isinstance(its, Plane) and alike(space, its)
        }
        return self._on_plane(space, name, ids[name], identity, shown, others)

    def _on_plane(
        self, looks: Plane, name: str, ids: Sequence[int], identity: int, shown: Shown,
        others: Mapping[str, Neighbours] | None = None,
    ) -> Neighbours:  # fmt: skip
        if name not in self._charts:
            its = self._all[name]
            assert isinstance(its, Plane)
            self._charts[name] = Chart(its, ids, shown)
        place = [shown[identity][axis] for axis in looks.position]
        near = self._charts[name].near(looks, place, identity if others is not None else None)
        more = [
            {**dict(zip(AXES, one.away, strict=False)), "distance2": one.distance2} for one in near
        ]
        return Neighbours([one.id for one in near], shown, more, others)


def alike(one: Plane, other: Plane) -> bool:
    """Whether they are one plane."""
    return (one.size, one.wrap) == (other.size, other.wrap)


def _space(space: Mapping[str, Any], places: int, seed: int, edges: Edges) -> Grid | Graph | Plane:
    if space["kind"] == "grid":
        return Grid.of(space)
    if space["kind"] == "plane":
        return Plane.of(space)
    given, directed = space["edges"], bool(space.get("directed", False))
    found: Sequence[Sequence[float]] = (
        edges[given] if isinstance(given, str) else generated(places, given, seed, directed)
    )
    return Graph(places, found, directed)
