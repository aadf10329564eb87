"""The modelled sinks: persister (``by_lane``) and the broker's sender (``by_tick``).

    start → take over, release what is durable → ready → [broker: look which tick is complete]
    → take frames → COMMIT of rows and position in one → release → ready

A lost reply to COMMIT is a kill after it: the successor reads the position.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.state import Lane, Sink, Size, State, put, released

Step = tuple[str, State]


def sink_steps(size: Size, mutant: str, s: State, kind: int) -> Iterator[Step]:
    """What sink ``kind`` may do next."""
    sink, lanes = s.sinks[kind], s.lanes[kind]
    who = f"sink {kind}: "
    if sink.pc == "start":
        yield who + "take over", _to(s, kind, sink._replace(pc="ready"), _free(lanes))
    elif sink.pc == "ready":
        if any(len(lane.frames) > lane.durable for lane in lanes):
            yield _look(size, mutant, s, kind)
    elif sink.pc in ("looked", "read"):
        yield _look(size, mutant, s, kind)
    elif sink.pc == "taken":
        if mutant == "position_before_commit":
            late = sink._replace(pc="late")
            yield who + "COMMIT the position", _to(s, kind, late, _marked(lanes, sink))
        elif mutant == "release_before_durable":
            late = sink._replace(pc="late")
            yield who + "release", _to(s, kind, late, _free(_marked(lanes, sink)))
        else:
            yield who + "COMMIT", _written(size, mutant, s, kind, _marked(lanes, sink))
    elif sink.pc == "late":
        yield who + "COMMIT the rows", _written(size, mutant, s, kind, lanes)
    elif mutant == "no_release":
        yield who + "forget to release", _to(s, kind, sink._replace(pc="ready"), lanes)
    else:
        yield who + "release", _to(s, kind, sink._replace(pc="ready"), _free(lanes))


def _to(s: State, kind: int, sink: Sink, lanes: tuple[Lane, ...], harm: str = "") -> State:
    sinks, all_lanes = put(s.sinks, kind, sink), put(s.lanes, kind, lanes)
    return s._replace(sinks=sinks, lanes=all_lanes, harm=harm or s.harm)


def _free(lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
    return tuple(map(released, lanes))


def _marked(lanes: tuple[Lane, ...], sink: Sink) -> tuple[Lane, ...]:
    """The lanes with the stored position behind what was taken."""
    return tuple(
        Lane(lane.frames, lane.durable + len(frames))
        for lane, frames in zip(lanes, sink.taken, strict=True)
    )


def _look(size: Size, mutant: str, s: State, kind: int) -> Step:
    """Read the lanes; the broker first reads which tick every worker has done."""
    sink, lanes = s.sinks[kind], s.lanes[kind]
    look_first = mutant != "lanes_before_done"
    by_tick = size.kinds[kind] == "by_tick"
    if by_tick and sink.pc == ("ready" if look_first else "read"):
        new = sink._replace(pc="looked" if look_first else "taken", complete=min(s.done))
        return f"sink {kind}: look what is done", _to(s, kind, new, lanes)
    new = sink._replace(
        pc="read" if by_tick and not look_first else "taken",
        taken=tuple(lane.frames[lane.durable :] for lane in lanes),
    )
    return f"sink {kind}: take frames", _to(s, kind, new, lanes)


def _written(size: Size, mutant: str, s: State, kind: int, lanes: tuple[Lane, ...]) -> State:
    """The state after the transaction that writes what was taken."""
    sink = s.sinks[kind]
    rows, last = list(sink.rows), list(sink.last)
    harm = ""
    for k, frames in enumerate(sink.taken):
        for frame in frames:
            key = (frame.tick, frame.block)
            have = len(rows[frame.block])
            if mutant == "dedupe_by_tick":
                seen = frame.tick <= last[k][0]
            elif size.kinds[kind] == "by_tick":
                # ``have`` stands for out_part: the frames of a running tick that went
                seen = frame.tick <= max(sink.out_tick, have)
            else:
                seen = key <= last[k]
            if seen and mutant != "no_dedupe":
                continue
            last[k] = key
            if frame.tick != have + 1:
                what = "twice" if frame.tick <= have else "without the one before"
                harm = f"sink {kind} writes tick {frame.tick} of block {frame.block} {what}"
            rows[frame.block] = (*rows[frame.block], frame.life)
    out_tick = max(sink.out_tick, sink.complete)
    new = Sink(tuple(rows), tuple(last), out_tick, "committed", (), 0)
    return _to(s, kind, new, lanes, harm)
