"""What a client has left in the instance's folder for a request, checked."""

from __future__ import annotations

from typing import Any

from corec.control.protocol import ControlError, brief
from corec.control.writing import NAME, PREFIX
from corec.process.runtime import Runtime
from corec.world.edits import Edit, checked
from corec.world.writes import Unreadable, unpacked


def edit_left(rt: Runtime, file: Any) -> tuple[Edit, str]:
    """What the file of that name has to be written, and the token in its name.

    Raises ControlError: it is no such file, or does not fit the world.
    """
    found = NAME.fullmatch(file) if isinstance(file, str) else None
    if found is None:
        expected = f"the name of a file there, {PREFIX} and 32 hex digits"
        raise ControlError(f"file: found {brief(file)}, expected {expected}", "bad_request")
    try:
        given = unpacked(rt.folder / found[0])
        return checked(rt.plan, given.swarm, given.entities, given.values), found[1]
    except (Unreadable, ValueError) as error:
        raise ControlError(str(error), "bad_request") from None
