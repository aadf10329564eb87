"""What ``corec chaos --thermostats`` finds in the sinks, against what the oracle says of it."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from corec.lab.chaos import plant
from corec.lab.oracle.alerting import Life


class Found(NamedTuple):
    """What the sinks, the receiver and the listeners have."""

    messages: Counter[tuple[int, int]]
    rows: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    taken: Counter[str]
    answers: Counter[tuple[int, int]]

    def differences(
        self, wanted: Counter[tuple[int, int]], alerts: list[Life], tick: int, celery: bool
    ) -> list[str]:
        """From what the oracle says; empty: none."""
        found = [f"{one['tarea']} failed for good: {one['error']}" for one in self.failed]
        found += _differ("messages (tick, entity)", self.messages, wanted)
        table = Counter(
            (Life(row["entidad"], row["desde"], row["ultimo"], row["veces"]), row["hasta"])
            for row in self.rows
        )
        ends = ((one, one.last + plant.CLEAR) for one in alerts)
        lived = Counter((one, end if end < tick else None) for one, end in ends)
        found += _differ("rows of alertas", table, lived)
        keys = Counter({f"{row['id']}:raised": 1 for row in self.rows})
        found += _differ("webhooks", Counter(dict.fromkeys(self.taken, 1)), keys)
        if celery:
            told = Counter((one.entity % plant.LISTENER_COUNT, one.first) for one in alerts)
            found += _differ("answers (id, tick)", self.answers, told)
        return found


def _differ(what: str, found: Counter[Any], wanted: Counter[Any]) -> list[str]:
    missing, more = wanted - found, found - wanted
    if not missing and not more:
        return []
    return [
        (
            f"{what}: {missing.total()} missing {list(missing)[:3]}, {more.total()} too many "
            f"{list(more)[:3]}, of {wanted.total()}"
        )
    ]


def report_lines(report: dict[str, Any]) -> list[str]:
    """The report for a reader."""
    kills = ", ".join(f"{n} {who}" for who, n in report["kills"].items())
    took = report["told_seconds"]
    lines = [
        (
            f"seed {report['seed']}: {report['entidades']} thermostats, {report['seconds']:g} s, "
            f"{report['tick']} ticks"
        ),
        f"  kills in turns: {kills or 'none'}",
        (
            f"  {report['readings']} readings of two values ({report['readings_per_second']}/s), "
            f"{report['messages']} messages"
        ),
        f"  {report['alerts']} alerts, {report['alerts_of_one_tick']} of one tick (silence)",
        (
            f"  {report['webhooks']} webhooks taken once each, in {report['webhook_calls']} calls; "
            f"{report['webhook_repeats']} repeats known by their key"
        ),
        f"  {report['answers']} answers by Celery's worker",
    ]
    if took:
        lines.append(
            f"  tick to webhook: p50 {took['p50']} s, p99 {took['p99']} s, worst {took['max']} s"
        )
    good = [
        "messages, alertas, webhooks and answers are what the oracle says",
        f"digest {report['digest']}, also of its journal replayed without any task",
    ]
    return lines + [f"  {line}" for line in report["differences"] or good]
