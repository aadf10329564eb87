"""The command ``corec chaos``."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from corec.lab.chaos.plan import any_seed, schedule
from corec.lab.instance import LabFailed
from corec.libpq import forget


def _seconds(text: str) -> float:
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = 0.0
    if not 5.0 <= seconds <= 86_400.0:
        raise typer.BadParameter(f"found {text!r}, allowed a time from 5s to 24h, as 60s or 15m")
    return seconds


def report_lines(report: dict[str, Any]) -> list[str]:
    """The report for a reader."""
    kills = ", ".join(f"{n} {role}" for role, n in report["kills"].items() if n)
    restarts = ", ".join(f"{n} {name}" for name, n in report["server_restarts"].items() if n)
    missed = report["recovery_ms"]
    lines = [
        f"seed {report['seed']}: {report['faults_total']} faults in {report['seconds']:g} s",
        f"  kills: {report['kills_total']} ({kills})",
        f"  server restarts: {restarts or 'none'}",
        f"  connections: {report['cuts']} cut, {report['delays']} slowed, {report['holds']} held",
        f"  stopped: {report['stops']}, frozen until replaced: {report['frozen']}",
        f"  full disks: {report['full_disks']}",
        f"  database away for long: {report['spool_fills']}, spool full {report['spool_full']}",
        f"  {report['entidades']} entities, {report['tick']} ticks",
        f"  {report['rows']} rows, {report['messages']} messages, {report['readings']} readings",
    ]
    if missed["n"]:
        lines.append(
            f"  killed worker to its successor's commit, {missed['n']} times: "
            f"p50 {missed['p50']} ms, p99 {missed['p99']} ms, worst {missed['max']} ms"
        )
    good = ["digest, rows and messages are those of an undisturbed run"]
    return lines + [f"  {line}" for line in report["differences"] or good]


def chaos(
    seed: Annotated[
        int | None, typer.Option(help="Seed of the schedule; any when left out.")
    ] = None,
    lasting: Annotated[str, typer.Option("--for", help="How long: 60s, 15m, 1h.")] = "60s",
    thermostats: Annotated[
        int | None,
        typer.Option(min=100, max=1_000_000, help="Thermostats and their webhooks instead."),
    ] = None,
    blocks: Annotated[int, typer.Option(min=2, max=2000, help="Blocks of 1000 sensors.")] = 20,
    keep: Annotated[bool, typer.Option("--keep", help="Keep logs and data afterwards.")] = False,
    show: Annotated[bool, typer.Option("--schedule", help="Print the schedule and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Disturb an instance of its own at random moments; then check the ledger.

    It starts its own instance and servers in a temporary folder: processes are killed, stopped and
    frozen, servers restarted, connections cut, slowed and held through proxies on loopback, disks
    full, all by a schedule that follows from the seed. It repeats the same ticks and inputs
    undisturbed, and compares digest, rows and messages. Exit code 0: equal; 1: not.

    With --thermostats so many say two values at 10 Hz, some too hot, some falling silent; a server
    that fails a third of the calls takes a webhook for each alert, and a worker of Celery's answers
    them. Those who work on it and Valkey are killed in turns; an oracle says what should be there.
    """
    seconds = _seconds(lasting)
    chosen = any_seed() if seed is None else seed
    if show:
        for fault in schedule(chosen, seconds):
            print(fault)
        return
    forget()
    lines = report_lines

    def tell(text: str) -> None:
        print(f"chaos: {text}", file=sys.stderr)

    try:  # what reads segments brings compiled code
        if thermostats is not None:
            from corec.lab.chaos import told
            from corec.lab.chaos.thermostats import Thermostats

            lines = told.report_lines
            report = Thermostats(thermostats, seconds, chosen, tell).run(keep)
        else:
            from corec.lab.chaos.run import ChaosRun

            report = ChaosRun(chosen, seconds, blocks, keep, tell).run()
    except LabFailed as error:
        print(f"corec chaos: seed {chosen}: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(report))
    else:
        for line in lines(report):
            print(line)
    raise typer.Exit(0 if report["ok"] else 1)
