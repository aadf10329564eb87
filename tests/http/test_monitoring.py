"""The dashboard and the alert rules speak of metrics and labels that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from corec.http.metric_table import METRICS

FOLDER = Path(__file__).parents[2] / "monitoring"
SUFFIXES = ("_bucket", "_sum", "_count")
ADDED_BY_PROMETHEUS = {"instance", "job", "le"}
MADE_BY_PROMETHEUS = {"up"}
FUNCTIONS = {"rate", "increase", "deriv", "resets", "absent", "histogram_quantile"}
WORDS = {"sum", "max", "min", "by", "on", "and", "or"}
KNOWN_LABELS = {label for one in METRICS.values() for label in one.labels} | ADDED_BY_PROMETHEUS


def expressions(name: str) -> list[str]:
    """Every PromQL expression of a file."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        panels = json.loads(text)["panels"]
        return [target["expr"] for panel in panels for target in panel["targets"]]
    return re.findall(r"^\s+expr: (.+)$", text, re.MULTILINE)


def assert_reads(expression: str) -> None:
    """Parentheses pair, and every name is a function, an operator, a label or a metric."""
    plain = re.sub(r'"[^"]*"', "", expression)
    for opened, closed in ("()", "[]", "{}"):
        assert plain.count(opened) == plain.count(closed), expression
    known = FUNCTIONS | WORDS | KNOWN_LABELS | MADE_BY_PROMETHEUS
    for name in re.findall(r"[a-z_]\w*", re.sub(r"\[\w+\]", "", plain)):
        assert name in known or name.startswith("corec_"), (name, expression)


def test_every_rule_is_whole() -> None:
    """One name, one expression, a severity and a summary each, no name twice."""
    text = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    rules = re.split(r"^      - alert: ", text, flags=re.MULTILINE)[1:]
    names = [rule.splitlines()[0] for rule in rules]
    assert len(set(names)) == len(names)
    assert {"CoreCDown", "CoreCAbsent", "CoreCTicksLate", "CoreCBehind"} <= set(names)
    for rule in rules:
        keys = re.findall(r"^        (\w+):", rule, re.MULTILINE)
        assert set(keys) - {"for"} == {"expr", "labels", "annotations"}, rule
        assert re.search(r"severity: (info|warning|critical)", rule)
        assert re.search(r'^          summary: ".+"$', rule, re.MULTILINE)


@pytest.mark.parametrize(("name", "least"), [("alerts.yml", 14), ("grafana-dashboard.json", 16)])
def test_metrics_and_labels_exist(name: str, least: int) -> None:
    found = expressions(name)
    assert len(found) >= least
    for expression in found:
        assert_reads(expression)
        metrics = re.findall(r"corec_\w+", expression)
        assert metrics or MADE_BY_PROMETHEUS & set(re.findall(r"\w+", expression))
        for metric in metrics:
            plain = metric
            for suffix in SUFFIXES:
                plain = plain.removesuffix(suffix)
            assert plain in METRICS, expression
        for group in re.findall(r"(?:by|on) \(([^)]*)\)", expression):
            assert {label.strip() for label in group.split(",")} <= KNOWN_LABELS, expression
    text = (FOLDER / name).read_text(encoding="utf-8")
    shown = set(re.findall(r"\{\{ ?(?:\$labels\.)?([a-z]+) ?\}\}", text))
    assert shown <= KNOWN_LABELS


def test_rates_are_of_counters_only() -> None:
    for name in ("alerts.yml", "grafana-dashboard.json"):
        for expression in expressions(name):
            for metric in re.findall(r"(?:rate|increase)\((corec_\w+)", expression):
                plain = metric.removesuffix("_bucket")
                assert METRICS[plain].kind in ("counter", "histogram"), expression
