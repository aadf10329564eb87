"""``corec-ctl world`` and ``evolution``: what there is, and how what has genes gets on."""

from __future__ import annotations

from corec.control import show
from corec.control.asking import ConfigOption, InstanceOption, JsonOption, ask, explained, output
from corec.control.discover import find_instance


def evolution(
    instance: InstanceOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Show how swarms with genes evolve: generation, best, mean and worst fitness, diversity."""
    with explained():
        output(ask(find_instance(instance, config), "evolution"), as_json, show.evolution)


def world(
    instance: InstanceOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Show what there is: swarms with their fields, parameters, spaces and rules; globals."""
    with explained():
        output(ask(find_instance(instance, config), "world"), as_json, show.world)
