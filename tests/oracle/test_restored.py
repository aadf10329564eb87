"""A world that is lost behind its checkpoint runs ticks again, and of what the tables have of them
each row and each repair is looked for by itself."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from corec.lab.oracle import sinks
from corec.lab.oracle.world import World
from tests.oracle import left, live
from tests.oracle.drawn import MODULE, PER_BLOCK, Drawn
from tests.support.instance import Running, machine_is_lost
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

NAME: Final = "restored"
LISTENER: Final = f"{MODULE}:listener"
KEPT, LOST = 3, 9
"""The ticks, or a few later, at which a checkpoint is made and at which the world is lost."""


class Loss(live.Calm):
    """A checkpoint, and then the machine is lost; of some ticks since the tables lose the rows, of
    others the repairs."""

    player: live.Player

    def __init__(self, dsn: str) -> None:
        self.dsn, self.kept, self.lost = dsn, 0, 0

    def between(self, run: Running) -> str | None:
        tick = int(run.status()["tick"])
        if not self.kept and tick >= KEPT:
            self.kept = int(run.ask("snapshot", 60.0)["tick"])
        elif not self.lost and tick >= max(LOST, self.kept + 5):
            self.lost = tick
            wanted = replace(self.player.happened, ticks=tick).play()
            wait_until(lambda: self._written(wanted), "all of it is written", live.SECONDS_MAX)
            machine_is_lost(self.player.instance, run)
            self._forget(wanted)
            return "kill"
        return None

    def _written(self, wanted: World) -> bool:
        with psycopg.connect(self.dsn) as connection:
            rows = self._count(connection, "SELECT count(*) FROM bloques WHERE instance_id = %s")
            repairs = self._count(
                connection,
                "SELECT count(*) FROM eventos WHERE instance_id = %s AND tipo = 'repair'",
            )
        return (rows, repairs) == (len(wanted.rows), len(wanted.repairs))

    def _count(self, connection: psycopg.Connection[Any], query: Any) -> int:
        found = connection.execute(query, (NAME,)).fetchone()
        return int(found[0]) if found else 0

    def _forget(self, wanted: World) -> None:
        """Of the ticks that have both, the rows of every other one and the repairs of the rest."""
        since = [
            tick
            for tick in sorted({row.tick for row in wanted.rows} & {r.tick for r in wanted.repairs})
            if tick > self.kept
        ]
        assert len(since) > 1, "no tick since the checkpoint has rows and repairs"
        with psycopg.connect(self.dsn) as connection:
            gone = connection.execute(
                "DELETE FROM bloques WHERE instance_id = %s AND tick = ANY(%s)", (NAME, since[::2])
            ).rowcount
            assert gone == len(since[::2]), gone
            connection.execute(
                "DELETE FROM eventos WHERE instance_id = %s AND tipo = 'repair' AND tick = ANY(%s)",
                (NAME, since[1::2]),
            )


def test_rows_and_repairs_of_ticks_that_run_again_are_there_once(
    pg_dsn: str, valkey_url: str, tmp_path: Path
) -> None:
    """Whichever of a tick's were there."""
    swarm = {
        "id": "b0", "canal": 1, "entidades": PER_BLOCK, "entidades_por_bloque": PER_BLOCK,
        "procesador": LISTENER, "autoreparacion": {"max_errores": 0.1},
    }  # fmt: skip
    config: dict[str, Any] = {
        "seed": 20261128, "carga": 1.0, "persist": {"every_ticks": 1}, "bloques": [swarm],
    }  # fmt: skip
    hot = [(k, 2000.0 if k % 3 else 0.5, True) for k in range(PER_BLOCK)]
    drawn = Drawn(config, 18, dict.fromkeys(range(2, 12), hot), {}, (1,))
    live.compile_all(tmp_path, [LISTENER])
    base = Path(tempfile.mkdtemp(prefix="corec-oracle-", dir="/dev/shm"))
    servers, loss = live.Servers(pg_dsn, valkey_url), Loss(pg_dsn)
    player = loss.player = live.Player(drawn, NAME, tmp_path / NAME, base, servers, loss)
    try:
        found, _ = player.play()
        world = player.happened.play()
        assert world.tick > loss.lost, "it has not come to where it was lost"
        left.same(found, world)
        sinks.same(sinks.read(pg_dsn, valkey_url, NAME, world), world, times=False)
    finally:
        player.instance.kill()
        shutil.rmtree(base, ignore_errors=True)
