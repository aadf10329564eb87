"""A report as text: tables for a terminal, tables for Markdown."""

from __future__ import annotations

from corec.lab.bench import machine
from corec.lab.bench.results import Row, Table
from corec.lab.bench.runner import Report


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(row: Row) -> str:
    """``low … high``."""
    low, high = row.spread
    return f"{number(low)} … {number(high)}"


def ratio(table: Table, row: Row) -> str:
    """How many times better the reference is: ``2.7×``; ``1`` for itself."""
    if table.better == "neither":
        return ""
    if row is table.reference_row:
        return "1"
    found = table.ratio(row)
    return "" if found is None else f"{number(found)}×"


def as_text(report: Report) -> str:
    """Everything, for a terminal."""
    parts = [machine.line(report.machine), _about(report), ""]
    for table in report.tables:
        parts += [*_text_table(table), ""]
    parts += [f"{name}: not measured: {why}" for name, why in report.failed.items()]
    return "\n".join(parts).rstrip() + "\n"


def _about(report: Report) -> str:
    rounds = report.effort.rounds
    text = f"median of {rounds} round{'s' * (rounds > 1)}, contenders in turns"
    load = report.machine["load_before"]
    if load > 0.5:
        text += f"; the machine had a load of {load:g} before: other work was running"
    return text + ("; quick: not for comparing" if report.effort.quick else "")


def _text_table(table: Table) -> list[str]:
    head = ("", table.unit, "low … high", _ratio_head(table), "")
    rows = [head] + [
        (r.name, number(r.median), spread(r), ratio(table, r), r.note) for r in table.rows
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = [f"== {table.title} [{table.name}]"]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [row[k].rjust(widths[k]) for k in (1, 2, 3)]
        lines.append("  ".join([*cells, row[4]]).rstrip())
    lines += [f"   {'ok   ' if c.ok else 'WRONG'} {c.what}: {c.detail}" for c in table.checks]
    lines += [f"   note {note}" for note in table.notes]
    return lines


def _ratio_head(table: Table) -> str:
    reference = table.reference_row
    if reference is None or table.better == "neither":
        return ""
    return "to first" if reference.ours else "to reference"


def as_markdown(report: Report, names: tuple[str, ...] = ()) -> str:
    """The tables for the README; ``names`` picks some of them."""
    rounds = report.effort.rounds
    how = f"medians of {rounds} rounds, contenders in turns; in brackets the lowest and the highest"
    parts = [f"Measured by `corec bench` ({how}) on {machine.line(report.machine)}."]
    for table in report.tables:
        if names and table.name not in names:
            continue
        parts += ["", *_markdown_table(table)]
    wrong = [c for t in report.tables for c in t.checks if not c.ok]
    checks = sum(len(t.checks) for t in report.tables)
    parts.append("")
    if wrong:
        which = "; ".join(c.what for c in wrong)
        parts.append(f"**{len(wrong)} of {checks} checks failed**: {which}")
    else:
        parts.append(
            f"All {checks} checks of these runs held: digests, rows and messages are those of the "
            "reference, and rivals compute what CoreC computes."
        )
    return "\n".join(parts)


def _markdown_table(table: Table) -> list[str]:
    ratios = table.better != "neither" and len(table.rows) > 1
    head = f"| {table.title} | {table.unit} |" + (" CoreC is |" if ratios else "")
    lines = [head, "|---|---:|" + ("---:|" if ratios else "")]
    for row in table.rows:
        name = f"**{row.name}**" if row.ours else row.name
        low, high = row.spread
        cells = f"| {name} | {number(row.median)} ({number(low)} … {number(high)}) |"
        if ratios:
            found = table.ratio(row)
            cells += f" {number(found)}× |" if found is not None and not row.ours else " |"
        lines.append(cells)
    return lines
