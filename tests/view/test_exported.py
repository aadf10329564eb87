"""What ``corec export --table`` tells beside the rows that it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import corec
from tests.support.instance import Running
from tests.support.invoked import invoked
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("payload", ["histogram", "none"])
def test_messages_that_are_in_no_payload_are_told(
    living: Running, tmp_path: Path, payload: str
) -> None:
    with corec.attach() as world:
        world.set("tick_hz", 200)
        world.set("persist.payload", payload)
        world.resume()
        begun = world.ticks
        wait_until(lambda: world.ticks > begun + 50, "rows without messages", 60.0)
        world.pause()
        wait_until(lambda: world.status()["persist_lag_ticks"] == 0, "all rows", 30.0)
    bloques, mensajes = tmp_path / "bloques.csv", tmp_path / "mensajes.csv"
    assert "omitidos" not in invoked("export", str(bloques), "--table", "bloques", "--json").stdout
    with bloques.open(encoding="utf-8", newline="") as file:
        sent = sum(int(row["mensajes"]) for row in csv.DictReader(file))
    told = json.loads(invoked("export", str(mensajes), "--table", "mensajes", "--json").stdout)
    assert told["rows"] + told["omitidos"] == sent
    assert min(told["rows"], told["omitidos"]) > 0
    text = invoked("export", str(mensajes), "--table", "mensajes").stdout
    assert f"{told['omitidos']:,} more were sent that are in no payload (omitidos)" in text
