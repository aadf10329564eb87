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
KNOWN_LABELS = {label for one in METRICS.values() for label in one.labels} | ADDED_BY_PROMETHEUS


def expressions(name: str) -> list[str]:
    """Every PromQL expression of a file."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        panels = json.loads(text)["panels"]
        return [target["expr"] for panel in panels for target in panel["targets"]]
    return re.findall(r"^\s+expr: (.+)$", text, re.MULTILINE)


@pytest.mark.parametrize(("name", "least"), [("alerts.yml", 9), ("grafana-dashboard.json", 16)])
def test_metrics_and_labels_exist(name: str, least: int) -> None:
    found = expressions(name)
    assert len(found) >= least
    for expression in found:
        metrics = re.findall(r"corec_\w+", expression)
        assert metrics
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
