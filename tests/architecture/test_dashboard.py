"""The dashboard and the alerts name metrics that there are, and commands that there are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from cli.app import app
from shared.metrics.exposition import FAMILIES

FOLDER = Path(__file__).parents[2] / "docs/dashboards"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "darkroom.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def metrics_in(query: str) -> set[str]:
    """Return the families that a query reads."""
    names = set(re.findall(r"\b(?:darkroom|celery)_[a-z_]+", query))
    return {re.sub(r"_bucket$", "", name) for name in names}


@pytest.mark.parametrize("query", [*QUERIES, *(rule["expr"] for rule in RULES)])
def test_a_query_reads_metrics_that_there_are(query: str) -> None:
    """And takes one of the processes that serve the same numbers before it sums them up."""
    assert metrics_in(query)
    assert metrics_in(query) <= set(FAMILIES)
    summed = re.findall(r"sum(?: by \([a-z_, ]+\))? ?\((.{0,40})", query)
    assert all(
        inner.startswith("max without (instance, job)") or "event_streams" in inner
        for inner in summed
    )


def test_every_metric_is_on_the_dashboard() -> None:
    """But for those that only older dashboards know, and what another number shows."""
    shown = set().union(*map(metrics_in, QUERIES))
    hidden = {name for name in FAMILIES if name.startswith("celery_task")} | {"darkroom_workers"}
    assert set(FAMILIES) - shown == hidden


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_names_the_command_to_run_first(rule: dict[str, Any]) -> None:
    """With options that it has."""
    command: Any = typer.main.get_command(app)
    first, *words = rule["annotations"]["command"].split()
    assert first == "darkroom"
    while words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
