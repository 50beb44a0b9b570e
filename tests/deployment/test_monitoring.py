"""Prometheus and Grafana are set up for each other, and ask only for metrics that are listed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
COMPOSE = yaml.safe_load(
    re.sub(
        r"\$\{\w+:-([^}]*)\}",
        r"\1",
        (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"),
    )
)
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/polygrain.json").read_text(encoding="utf-8"))

# Written by Prometheus itself about each target.
_OF_PROMETHEUS = {"up": {"job", "instance"}}
_OF_EVERY_TARGET = {"job", "instance"}


def read_yaml(path: str) -> Any:  # noqa: ANN401
    return yaml.safe_load((DEPLOY / path).read_text(encoding="utf-8"))


def listed() -> dict[str, set[str]]:
    """The series that Prometheus sees of the metrics in deploy/metrics.txt, with their labels."""
    lines = (DEPLOY / "metrics.txt").read_text(encoding="utf-8").splitlines()
    series = dict(_OF_PROMETHEUS)
    for name, kind, *labels in (line.split() for line in lines if not line.startswith("#")):
        assert kind in {"counter", "gauge", "histogram"}
        assert name.endswith("_total") == (kind == "counter")
        if kind == "histogram":
            series[f"{name}_bucket"] = {*labels, "le"} | _OF_EVERY_TARGET
            series[f"{name}_sum"] = series[f"{name}_count"] = {*labels} | _OF_EVERY_TARGET
        else:
            series[name] = {*labels} | _OF_EVERY_TARGET
    return series


def alerts() -> list[dict[str, Any]]:
    return [
        rule for group in read_yaml("prometheus/alerts.yml")["groups"] for rule in group["rules"]
    ]


def expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    variables = [each["query"]["query"] for each in DASHBOARD["templating"]["list"]]
    return [*panels, *variables, *(rule["expr"] for rule in alerts())]


def asked(expression: str) -> tuple[set[str], set[str]]:
    """The series and the labels that an expression names."""
    names = set(re.findall(r"\b(?:polygrain_\w+|up(?=\{))", expression))
    matchers = "".join(re.findall(r"\{(.*?)\}", expression))
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
    for by in re.findall(r"\bby \((.*?)\)", expression):
        labels |= set(re.split(r",\s*", by))
    return names, labels


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_asked_for_is_listed_with_its_labels(expression: str) -> None:
    names, labels = asked(expression)
    assert names
    for name in names:
        assert name in listed(), f"{name} is not in deploy/metrics.txt"
        assert labels <= listed()[name], f"{name} has no {labels - listed()[name]}"


def test_every_listed_metric_is_asked_for() -> None:
    names = {name for expression in expressions() for name in asked(expression)[0]}
    for line in (DEPLOY / "metrics.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            assert any(name.startswith(line.split()[0]) for name in names), line


def test_names_and_labels_are_found_in_an_expression() -> None:
    expression = (
        'sum by (le, path) (rate(polygrain_x_bucket{instance=~"a",status!="5"}[5m])) / up{}'
    )
    assert asked(expression) == (
        {"polygrain_x_bucket", "up"},
        {"le", "path", "instance", "status"},
    )


def test_counters_are_asked_for_their_rate() -> None:
    for expression in expressions():
        for found in re.finditer(r"polygrain_\w+_(?:total|bucket)", expression):
            assert expression[: found.start()].endswith("rate("), expression


def test_prometheus_scrapes_the_service_by_its_name_in_the_network() -> None:
    config = read_yaml("prometheus/prometheus.yml")
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "polygrain"
    assert job["metrics_path"] == "/metrics"
    (targets,) = job["static_configs"]
    aliases = COMPOSE["services"]["polygrain-cpu"]["networks"]["default"]["aliases"]
    assert targets["targets"] == [f"{aliases[0]}:8080"]
    mounted = dict(each.split(":")[:2] for each in COMPOSE["services"]["prometheus"]["volumes"])
    assert mounted["./deploy/prometheus"] == "/etc/prometheus"
    for rules in config["rule_files"]:
        assert (DEPLOY / "prometheus" / Path(rules).relative_to("/etc/prometheus")).is_file()


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    (source,) = read_yaml("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in COMPOSE["services"]
    for panel in DASHBOARD["panels"]:
        assert panel["datasource"]["uid"] == source["uid"]
    (provider,) = read_yaml("grafana/provisioning/dashboards/polygrain.yml")["providers"]
    grafana = COMPOSE["services"]["grafana"]
    mounted = dict(each.split(":")[:2] for each in grafana["volumes"])
    assert mounted["./deploy/grafana/dashboards"] == provider["options"]["path"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/polygrain.json"


def test_panels_do_not_overlap() -> None:
    cells = [
        (panel["gridPos"]["x"] + dx, panel["gridPos"]["y"] + dy)
        for panel in DASHBOARD["panels"]
        for dx in range(panel["gridPos"]["w"])
        for dy in range(panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
