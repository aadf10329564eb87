"""What ``corec-ctl`` can do when the nucleus does not answer: read the segment.

The control segment is mapped read-only; a plain aligned load is enough for numbers that are only
shown.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from corec import layout as L
from corec.control.client import Client, Unreachable
from corec.control.discover import Instance, NoInstance, is_supervisor
from corec.control.memory import open_control
from corec.control.status import About, build_status, starting_status
from corec.control.waits import AT_ONCE_SECONDS
from corec.proc import CpuSampler
from shm.segment import Segment, SegmentRefused

_CPU_SPAN_SECONDS = 0.2


STATUS_SECONDS = 2.0
"""Then shared memory is read instead."""


class MemoryUnreadable(Exception):
    """The control segment is not there or not of this version."""


def status_of(instance: Instance) -> dict[str, Any]:
    """From the nucleus, or from memory when it does not answer. Raises ``MemoryUnreadable``,
    ``ControlError``, ``NoInstance``: it has ended since it was found, whatever it has left."""
    try:
        with Client(Path(instance.socket), AT_ONCE_SECONDS) as client:
            answer: dict[str, Any] = client.ask("status", timeout_seconds=STATUS_SECONDS)
    except Unreachable:
        if not is_supervisor(instance):
            text = f"instance {instance.instance_id!r} (pid {instance.pid}) does not run any more"
            raise NoInstance(text) from None
        return status_from_memory(instance)
    return answer


def status_from_memory(instance: Instance) -> dict[str, Any]:
    """``status`` without the nucleus; its ``source`` is ``shared memory``.

    Takes 0.2 s, over which the CPU use is measured. Raises ``MemoryUnreadable``.
    """
    about = About(
        instance_id=instance.instance_id,
        folder=instance.folder,
        http_url=instance.http_url,
        redis_url=instance.redis_url,
        db=instance.db,
        version=instance.version,
        source="shared memory",
    )
    try:
        segment = open_control(instance.path)
    except FileNotFoundError:
        return starting_status(about, instance.pid)
    except (OSError, SegmentRefused) as error:
        if instance.http_url is None:
            return starting_status(about, instance.pid)
        raise MemoryUnreadable(f"control segment: {error}") from None
    with segment:
        if int(segment.words[L.C_SUPERVISOR_PID]) != instance.pid:
            return starting_status(about, instance.pid)
        return _sampled(segment, about)


def _sampled(segment: Segment, about: About) -> dict[str, Any]:
    words = segment.words
    sampler = CpuSampler(span_seconds_min=_CPU_SPAN_SECONDS)
    build_status(lambda i: int(words[i]), about, sampler)
    time.sleep(_CPU_SPAN_SECONDS)
    return build_status(lambda i: int(words[i]), about, sampler)
