"""Every kind of frame fits into its lane, at the largest block with everything it may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corec
from corec import layout as L
from corec.config import parse_config
from corec.entities.processor import Processor
from corec.journal.past import Growth
from corec.kernels import desc as K
from corec.layout import frames
from corec.placing import BLOCK_ENTITIES_MAX
from corec.plan import Plan, make_plan
from corec.supervisor import lanes, segments
from corec.supervisor.growing import CannotGrow, grow
from corec.testing import Block
from corec.world.fusion import FRAME
from corec.world.lanes import OUT_LANE_BYTES_MIN, out_lane_bytes, rows_lane_bytes
from shm.layout import FRAME_HEADER_BYTES
from shm.ring import max_payload
from shm.segment import SegmentRefused
from tests.checkpoint.small import world

NAMES = tuple(f"f{k}" for k in range(L.ALERT_FIELDS_MAX))
GENES = {f"g{k}": (0.0, 1.0, 0.1) for k in range(12)}
LIMIT = (OUT_LANE_BYTES_MIN // 4 - FRAME_HEADER_BYTES) // 34
"""Entities whose messages with three fields fill a frame of the smallest out lane."""


@corec.micro(state=dict.fromkeys(NAMES, "f4"), genes=GENES, alerts=NAMES)
def loud(me: Any) -> Any:
    me.f0 = me.id
    me.f7 = -me.f0
    return 1.0


@corec.micro(state=dict.fromkeys(NAMES, "f4"), alerts=NAMES[:3])
def three(me: Any) -> Any:
    return 1.0


@corec.micro(state=dict.fromkeys(NAMES, "f4"), alerts=NAMES)
def eight(me: Any) -> Any:
    return 1.0


@corec.celu(state=dict.fromkeys(NAMES, "f4"), alerts=NAMES)
def heard(me: Any, value: Any) -> Any:
    return 1.0


def bloque(processor: Processor, n: int, **more: Any) -> dict[str, Any]:
    return {"id": "a", "canal": 1, "entidades": n, "entidades_por_bloque": n, "max_size_mb": 64,
            "procesador": f"{__name__}:{processor.function.__name__}", "umbral": "siempre",
            **more}  # fmt: skip


def plan_of(processor: Processor, n: int) -> Plan:
    return make_plan(parse_config({"instance_id": "x", "bloques": [bloque(processor, n)]},
                                  environ={}))  # fmt: skip


@pytest.mark.parametrize("n", [1, 1000, 28_339, 28_340, BLOCK_ENTITIES_MAX])
@pytest.mark.parametrize("processor", [loud, heard], ids=["micro", "celu"])
def test_the_largest_frame_of_every_kind_fits_into_its_lane(processor: Processor, n: int) -> None:
    plan = plan_of(processor, n)
    most = n if processor is loud else K.STEP_INPUTS_MAX
    out, rows = max_payload(out_lane_bytes(plan)), max_payload(rows_lane_bytes(plan))
    assert frames.messages_bytes(most, L.ALERT_FIELDS_MAX) <= out
    log_cap = int(plan.blocks["log_cap"][0])
    assert frames.row_payload_bytes(1, n, log_cap) <= rows
    assert frames.generation_bytes(len(processor.genes), n) <= rows
    assert rows >= FRAME.size
    widest = L.READINGS_HEAD.itemsize + frames.reading_bytes(L.VALUES_MAX)
    assert widest <= max_payload(lanes.IN_LANE_BYTES)  # the broker fills a frame with as many


def test_a_lane_grows_when_one_message_more_would_not_fit() -> None:
    assert out_lane_bytes(plan_of(three, LIMIT)) == OUT_LANE_BYTES_MIN
    assert out_lane_bytes(plan_of(three, LIMIT + 1)) == 2 * OUT_LANE_BYTES_MIN


def test_the_largest_block_sends_all_it_has_at_once() -> None:
    n = BLOCK_ENTITIES_MAX
    rules = {"cada": 1, "cruce": "uniforme", "linaje": 1.0, "elite": 0}
    config = {"bloques": [{**bloque(loud, n), "procesador": loud, "evolucion": rules}]}
    with corec.World(config) as w:
        w.tick()
        w.tick()
        assert len(w.messages()) == n
        assert len(w.lineage(n - 1)) == 1
        with pytest.raises(LookupError, match=f"entity {n}: there is none"):
            w.lineage(n)
    block = Block(loud, entities=n, cap=n, every_ticks=1)
    block.tick()
    (sent,) = block.messages()
    assert len(sent.messages) == n
    assert sent.fields["f7"].tolist() == (-np.arange(n, dtype=np.float32)).tolist()


def test_a_block_of_a_test_has_room_for_a_full_log() -> None:
    block = Block(three, entities=1000, every_ticks=64)
    for _ in range(64):
        block.tick()
    (row,) = block.row_frames()
    assert len(row.log) == min(64_000, int(block.plan.blocks["log_cap"][0]))


def test_lanes_that_are_too_small_are_refused(tmp_path: Path, shm_dir: Path) -> None:
    """An older version made them, or the world is to grow beyond them."""
    with world(tmp_path, shm_dir, [bloque(three, LIMIT + 1)]) as rt:
        larger = plan_of(eight, LIMIT + 1)
        assert rows_lane_bytes(larger) == rt.rows[0].capacity
        with pytest.raises(CannotGrow, match="stop it and start it again"):
            grow(rt, None, larger)  # type: ignore[arg-type]  # refused before it looks at them
        rt.growths = [Growth(9, larger)]  # of one that is to grow they are large enough for it
        segments.more_lanes(rt, 3)
        assert rt.out[2].capacity == out_lane_bytes(larger) > rt.out[1].capacity
        config, plan = rt.config, rt.plan
        path = shm_dir / "out-1.lane"
        path.unlink()
        lanes.create_lane(shm_dir, path.name, OUT_LANE_BYTES_MIN, rt.epoch).close()
        for look in (segments.adopt, segments.check_layout):
            with pytest.raises(SegmentRefused) as refused:
                look(config, shm_dir, plan)
            assert refused.value.path == path
            assert refused.value.found == "a lane of 8.0 MiB"
            assert refused.value.expected == "16 MiB, for the largest frame"
        del refused
