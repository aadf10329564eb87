"""Where a chaos run takes place: a folder, servers and an instance of its own, and what is left."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corec.embedded.errors import EmbeddedServerError
from corec.lab.chaos import witness
from corec.lab.chaos.instance import ChaosInstance
from corec.lab.chaos.ledger import Ledger
from corec.lab.chaos.servers import Servers
from corec.lab.instance import LabFailed
from corec.lab.oracle import sinks
from corec.lab.oracle.compare import Disagreement
from corec.lab.oracle.entity import kind_of
from corec.lab.oracle.world import World


def in_own_folder(
    work: Callable[[Path], dict[str, Any]], keep: bool, tell: Callable[[str], None]
) -> dict[str, Any]:
    """The report of ``work``, whose folder stays when it is not ``ok``, or to be kept.

    Raises:
        LabFailed: the instance did not survive, or could not be started.
    """
    base = Path(tempfile.mkdtemp(prefix="corec-chaos-"))
    os.chmod(base, 0o755)
    good = False
    try:
        report = work(base)
        good = bool(report["ok"])
        return report
    except (EmbeddedServerError, RuntimeError) as error:
        raise LabFailed(str(error)) from error
    finally:
        if good and not keep:
            shutil.rmtree(base, ignore_errors=True)
        else:
            tell(f"logs and data are kept in {base}")


class Stage:
    """Servers and an instance of their own in ``folder``, while the context lasts."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.instance = ChaosInstance(folder, config)
        self.servers = Servers(folder / "servers", folder / "sockets")

    def __enter__(self) -> Stage:
        try:
            self.servers.start()
        except BaseException:
            self.servers.stop()
            raise
        self.instance.environment |= self.servers.environment()
        return self

    def __exit__(self, *_: object) -> None:
        if self.instance.process is not None:
            self.instance.abandon()
        self.servers.stop()

    def ledger(self, canales: list[int]) -> Ledger:
        """What its instance left, now that it has ended."""
        return Ledger(self.servers.postgres.dsn, self.servers.valkey.url, "chaos", canales)

    def disagrees_with_oracle(self, config: dict[str, Any], ticks: int) -> list[str]:
        """What the witnesses left that a world in plain Python says otherwise; empty: nothing."""
        kinds = {witness.SWARM["procesador"]: kind_of(witness.witness)}
        world = World(config, kinds, only={witness.NAME})
        for _ in range(ticks):
            world.run_tick()
        dsn, url = self.servers.postgres.dsn, self.servers.valkey.url
        try:
            sinks.same(sinks.read(dsn, url, "chaos", world), world)
        except Disagreement as error:
            return [f"the oracle: {error}"]
        return []
