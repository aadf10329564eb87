"""``corec-ctl fork``: ``corec fork`` of the running instance.

It takes the compiler along, as no other command here does, so it is that program that runs.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import typer

from corec.control.asking import ConfigOption, InstanceOption, JsonOption, explained
from corec.control.discover import find_instance

FORK_SETTINGS: Final = {"ignore_unknown_options": True, "allow_extra_args": True}


def fork(
    context: typer.Context,
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What if: go on from now in this process, with other settings; the instance does not change.

    --ticks N, --set PATH=VALUE and what else corec fork takes (corec fork --help).
    """
    with explained():
        found = find_instance(instance, config)
        words = ["--instance", found.instance_id, *(["--json"] if as_json else [])]
        if config is not None:
            words += ["--config", str(config)]
        program = [sys.executable, "-P", "-m", "corec", "fork", *words, *context.args]
        os.execv(program[0], program)
