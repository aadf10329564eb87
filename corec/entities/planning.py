"""What a declaration leaves out and a bloque settles, when a world is planned.

Whether entities are born and die follows from what the functions call, and so do the bloques that
they see; it is looked at here, since a helper may be written further down than the declaration. A
position on a plane is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from corec import layout as L
from corec.config.space import Space
from corec.entities.declaring import SEE_MAX, check_mortal
from corec.entities.errors import ProcessorError
from corec.entities.fields import VIVO, field_of
from corec.entities.globals_used import swarms_asked
from corec.entities.processor import Processor


def planned(processor: Processor, space: Space | Mapping[str, Any] | None) -> Processor:
    """``processor`` as a bloque in ``space`` runs it; again, it stays what it is.

    Raises:
        ProcessorError: what it calls and what it is declared with don't go together, or it has
            more fields than there may be.
    """
    return _shown(_seeing(_mortal(processor)), space)


def _seeing(processor: Processor) -> Processor:
    """With the bloques that it asks for by name, behind those that it declares."""
    asked = swarms_asked(processor.function, processor.on_silence)
    added = tuple(name for name in asked if name not in processor.see)
    if len(processor.see) + len(added) > SEE_MAX:
        text = f"{len(processor.see) + len(added)} bloques that it sees"
        raise ProcessorError(f"{processor.name}: {text}, at most {SEE_MAX}")
    return replace(processor, see=processor.see + added) if added else processor


def _mortal(processor: Processor) -> Processor:
    if processor.mortal or not processor.inferred:
        return processor
    owner = processor.name
    mortal, added = check_mortal(None, processor.kind, processor.function, owner)
    if not mortal:
        return processor
    lives = tuple(field_of(name, spec, owner) for name, spec in added.items())
    found = replace(processor, mortal=True, state=processor.state + lives)
    if len(found.fields) > L.FIELDS_MAX:
        text = f"{len(found.fields)} state fields, vivo and generacion among them"
        raise ProcessorError(f"{owner}: {text}, at most {L.FIELDS_MAX}")
    return found


def _shown(processor: Processor, space: Space | Mapping[str, Any] | None) -> Processor:
    """With its position among the public fields, and of mortals who lives."""
    position: Any = None
    if space is not None:
        given = space if isinstance(space, Mapping) else {"position": space.position}
        position = given.get("position")
    real = {field.name for field in processor.state if field.dtype == "f4"}
    names = position if isinstance(position, list | tuple) else ()
    added = tuple(name for name in names if name in real and name not in processor.public)
    public = tuple(name for name in processor.public if name != VIVO or not added) + added
    if processor.mortal and (public or space is not None) and VIVO not in public:
        public += (VIVO,)
    if len(public) > L.PUBLIC_MAX:
        text = f"{len(public)} public fields, its position among them"
        raise ProcessorError(f"{processor.name}: {text}, at most {L.PUBLIC_MAX}")
    return processor if public == processor.public else replace(processor, public=public)
