"""What an operator is told is true: every figure is exported, every alert has a page, every link leads somewhere."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

import gateway.app
import generator.app
import ledger.app
import storage.app
from tests.architecture.cluster import OVERLAYS, of_kind

ROOT = Path(__file__).parents[2]
SERVICES = (gateway.app, generator.app, storage.app, ledger.app)
"""Imported, so that all that they export is registered."""
ALERTS = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
BOARDS = {path.name: json.loads(path.read_text()) for path in sorted((ROOT / "deploy/grafana").glob("*.json"))}
OTHERS = {
    "up",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "kube_job_status_failed",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
}
"""Of Prometheus, of every Python process, and of the cluster."""
DAY_SECONDS = 24 * 3600
WORDS = {"sum", "max", "min", "rate", "increase", "histogram_quantile", "scalar", "by", "le"}


def metrics_of(expression: str) -> set[str]:
    """The metrics that an expression of PromQL names."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\bby \([^)]*\)", "", expression)
    return set(re.findall(r"[a-z_][a-z0-9_]*", bare)) - WORDS


def expressions() -> Iterator[tuple[str, str]]:
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"]


def labels_of(expression: str) -> dict[str, set[str]]:
    """Metric → the labels that are asked of it."""
    found = re.findall(r"([a-z_][a-z0-9_]*)\{([^}]*)\}", expression)
    return {metric: set(re.findall(r'(\w+)(?:=~?|!=)"', labels)) for metric, labels in found}


def exported() -> dict[str, tuple[str, ...]]:
    """Name of a metric or sample that one of our services exports → its labels."""
    known: dict[str, tuple[str, ...]] = {}
    for collector in REGISTRY._collector_to_names:
        labels = getattr(collector, "_labelnames", ())
        for name in REGISTRY._collector_to_names[collector]:
            known[name] = labels
    return known


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=lambda value: value[:60])
def test_every_figure_is_exported(where: str, expression: str) -> None:
    known = exported()
    metrics = metrics_of(expression)
    assert metrics
    assert metrics <= set(known) | OTHERS, where
    for metric, labels in labels_of(expression).items():
        if metric not in OTHERS:
            assert labels <= set(known[metric]), (where, metric)
    for opening, closing in ("()", "[]", "{}"):
        assert expression.count(opening) == expression.count(closing)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_has_a_page(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    sections = re.split(r"^## ", (ROOT / page).read_text(), flags=re.MULTILINE)[1:]
    texts = {section.split("\n", 1)[0].lower(): section for section in sections}
    assert anchor == rule["alert"].lower()
    assert len(texts[anchor]) > 200, "a page says what to do"
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]


SINCE_START = {"attempts_total", "facts_handled_total", "provider_cost_micros_total", "sold_units_total"}
"""By provider, consumer and model: what there is of these is known once a process has started."""


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_names_what_it_is_about(rule: dict[str, Any]) -> None:
    """A pod is named in a cluster alone; what `prometheus.yml` here asks are instances. A group has its labels left."""
    for wanted in re.findall(r"{{([^}]*)}}", rule["annotations"]["summary"]):
        labels = set(re.findall(r"\$labels\.(\w+)", wanted))
        grouped = re.search(r"by \(([^)]*)\)", rule["expr"])
        if grouped:
            assert labels <= {label.strip() for label in grouped[1].split(",")}
        elif labels:
            assert "instance" in labels


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_what_an_alert_counts_is_there_before_it_happens(rule: dict[str, Any]) -> None:
    """`increase` and `rate` see nothing of a series that begins with its first 1."""
    counted = re.findall(r"(?:rate|increase)\(([a-z_]+_total)(?:\{([^}]*)\})?", rule["expr"])
    assert len(counted) == rule["expr"].count("_total")
    for name, labels in counted:
        asked = dict(re.findall(r'(\w+)="([^"]+)"', labels))
        samples = [sample for family in REGISTRY.collect() for sample in family.samples if sample.name == name]
        assert name in SINCE_START or [sample for sample in samples if asked.items() <= sample.labels.items()], name


@pytest.mark.parametrize("rule", [rule for rule in ALERTS if "kube_job_status_failed" in rule["expr"]])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_alert_about_a_job_that_failed_ends(rule: dict[str, Any], overlay: str) -> None:
    """The metric stands for as long as the Job does: past the next one, and not much longer."""
    [pattern] = re.findall(r'job_name=~"([^"]+)"', rule["expr"])
    named = {name: job for name, job in of_kind(overlay, "CronJob").items() if re.fullmatch(pattern, f"{name}-1")}
    assert named
    for name, job in named.items():
        assert re.fullmatch(r"\d+ \d+ \* \* \*", job["spec"]["schedule"]), "once a day"
        lasts = job["spec"]["jobTemplate"]["spec"].get("ttlSecondsAfterFinished", math.inf)
        assert DAY_SECONDS < lasts < 2 * DAY_SECONDS, name


def test_every_page_is_of_an_alert() -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs/runbooks.md").read_text(), flags=re.MULTILINE)
    assert sections == [rule["alert"] for rule in ALERTS], "in the same order"


def test_every_promise_that_can_be_late_has_an_alert() -> None:
    asked = set().union(*(metrics_of(rule["expr"]) for rule in ALERTS))
    assert {
        "generations_overdue",
        "generations_ended_total",
        "notification_lag_seconds_bucket",
        "holds_oldest_open_seconds",
        "attempts_total",
        "consumer_lag",
        "dead_letters",
        "generations_oldest_unfinished_seconds",
        "provider_cost_micros_total",
        "moderation_silent_total",
        "webhook_deliveries_total",
    } <= asked


SEEN = {
    "accepted": "generations_accepted_total",
    "outcomes by kind": "generations_ended_total",
    "age of the oldest unfinished": "generations_oldest_unfinished_seconds",
    "holds open": "holds_open_units",
    "unknown attempts": "attempts_unknown_open",
    "exposure": "attempts_unknown_open_units",
    "notification lag": "notification_lag_seconds_bucket",
    "consumer lag": "consumer_lag",
    "cost": "provider_cost_micros_total",
    "margin": "sold_units_total",
    "cache hits": "reuses_total",
    "moderation": "moderation_refused_total",
    "webhooks": "webhook_deliveries_total",
}


@pytest.mark.parametrize("promise", SEEN)
def test_every_promise_is_a_figure_on_a_board_and_on_the_page(promise: str) -> None:
    assert SEEN[promise] in exported()
    assert any(SEEN[promise] in metrics_of(expression) for where, expression in expressions() if ".json" in where)
    assert SEEN[promise].removesuffix("_bucket") in (ROOT / "docs/operating.md").read_text()


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_can_be_imported(name: str) -> None:
    board = BOARDS[name]
    assert board["uid"].startswith("darkroom-")
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]}
    assert len(places) == len(board["panels"])
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {"${source}"}


PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md")] + sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), flags=re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, link


def slug(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
