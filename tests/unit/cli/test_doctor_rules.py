"""Every rule of `darkroom doctor` holds on defaults, and is named when it is broken."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import pytest

from cli.doctor.command import RULES, STAND_INS, gather
from cli.doctor.rule import Facts
from cli.doctor.servers import PostgresFacts, QueueFacts, RedisFacts
from shared.errors import ConfigurationError
from shared.settings import Settings
from tests.support.deployment_settings import load_from


@dataclass(frozen=True)
class Break:
    """One way to break a rule.

    Attributes:
        rule: The rule that must be named.
        fault: Words of what must be wrong.
        environment: Variables of this process.
        celery: Options of Celery.
        transport: Options of its connections to the broker.
        postgres: What PostgreSQL answers; `redis` and `queue` are the same for the others.
        versions: What is installed.
    """

    rule: str
    fault: str
    environment: Mapping[str, str] = field(default_factory=dict)
    celery: Mapping[str, Any] = field(default_factory=dict)
    transport: Mapping[str, Any] = field(default_factory=dict)
    postgres: Mapping[str, Any] = field(default_factory=dict)
    redis: Mapping[str, Any] = field(default_factory=dict)
    queue: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


BREAKS = [
    Break("settings", "SOFT_TIME_LIMIT must be less", {"SOFT_TIME_LIMIT": "3000"}),
    Break("settings", "LEASE_SECONDS must be less than TIME_LIMIT", {"LEASE_SECONDS": "3000"}),
    Break("settings", "EVENT_WINDOW_SECONDS", {"EVENT_WINDOW_SECONDS": "30"}),
    Break("settings", "stay below the broker's visibility timeout", {"TIME_LIMIT": "3000"}),
    Break("settings", "SIGNING_KEY must have at least 32 bytes", {"SIGNING_KEY": "k" * 31}),
    Break("settings", "AI_MOCK_MODE", {"ENVIRONMENT": "staging"}),
    Break("lease", "too late for a lease of 10 s", {"LEASE_SECONDS": "10"}),
    Break("sweep", "more than LEASE_SECONDS", {"SWEEP_SECONDS": "300"}),
    Break("dispatch-grace", "dispatch every waiting job again", {"DISPATCH_GRACE_SECONDS": "1"}),
    Break("event-lifetime", "may be silent for", {"EVENT_TTL_SECONDS": "600"}),
    Break("open-files", "keeps 1488 streams", {"MAX_STREAMS": "1489"}),
    Break("celery-version", "5.7.0 ends when Redis restarts", versions={"celery": "5.7.0"}),
    Break("celery-version", "never consumes again", versions={"celery": "5.6.2"}),
    Break("celery-limits", "SOFT_TIME_LIMIT is", celery={"task_soft_time_limit": 1}),
    Break("celery-limits", "TIME_LIMIT is", celery={"task_time_limit": None}),
    Break("celery-limits", "paid for again", celery={"never_retried": []}),
    Break(
        "celery-acknowledgement",
        "delivered without end",
        celery={"task_reject_on_worker_lost": True},
    ),
    Break("celery-connection", "frozen Redis", transport={"socket_timeout": None}),
    Break("celery-connection", "go unnoticed", transport={"health_check_interval": 0}),
    Break("broker-visibility", "shortest one counts", transport={"visibility_timeout": 1800}),
    Break("broker-visibility", "comes again", transport={"visibility_timeout": 600}),
    Break("queues", "producers know", celery={"queues": ["celery"]}),
    Break("queues", "producers know", celery={"task": None}),
    Break("key-prefix", "miss each other", transport={"global_keyprefix": "shop:"}),
    Break("postgresql", "older than 14", postgres={"version": 12}),
    Break("postgresql", "this code needs", postgres={"revision": "0001"}),
    Break("postgresql-connections", "4 free connections", postgres={"free_connections": 4}),
    Break("postgresql-sessions", "do not hold", postgres={"shares_sessions": True}),
    Break("postgresql-transactions", "2.0 h", postgres={"oldest_transaction_seconds": 7200.0}),
    Break("clocks", "the clock of PostgreSQL", postgres={"skew_seconds": 6.0}),
    Break("clocks", "the clock of Redis", redis={"skew_seconds": -60.0}),
    Break("redis-cluster", "several slots", redis={"is_cluster": True}),
    Break("redis-memory", "volatile-lru", redis={"policy": "volatile-lru"}),
    Break("redis-persistence", "a restart forgets", redis={"has_append_only_file": False}),
    Break("queues-of-others", "throw our messages away", redis={"others": ["task a on default"]}),
    Break("queue-visibility", "times TIME_LIMIT", queue={"visibility_seconds": 30}),
    Break("dead-letters", "as many deliveries", queue={"max_receives": None}),
    Break("dead-letters", "as many deliveries", {"MAX_ATTEMPTS": "20"}),
]


@pytest.fixture(scope="module")
def known() -> Facts:
    """Give the facts of this code on defaults, and servers as they should be."""
    with patch.dict(os.environ, clear=True):
        facts = gather()
    assert isinstance(facts.settings, Settings)
    return replace(
        facts,
        postgres=PostgresFacts(17, facts.versions["schema"], 97, 0.0, False, 0.0),
        redis=RedisFacts("noeviction", 256 * 1024**2, True, 0, False, 0.0),
        queue=QueueFacts(visibility_seconds=6 * facts.settings.time_limit, max_receives=20),
        open_files=4_096,
    )


def broken_facts(known: Facts, broken: Break) -> Facts:
    """Return the facts with one thing broken."""
    assert not isinstance(known.celery, str)
    transport = {**known.celery["broker_transport_options"], **broken.transport}
    settings: Settings | str
    try:
        settings = load_from({**STAND_INS, **broken.environment})
    except ConfigurationError as error:
        settings = str(error)
    changed = {
        name: replace(getattr(known, name), **getattr(broken, name))
        for name in ("postgres", "redis", "queue")
    }
    return replace(
        known,
        settings=settings,
        celery={**known.celery, **broken.celery, "broker_transport_options": transport},
        versions={**known.versions, **broken.versions},
        **changed,
    )


def test_every_rule_holds_on_defaults(known: Facts) -> None:
    """What breaks a rule below is the change."""
    findings = [rule.examine(broken_facts(known, Break("", ""))) for rule in RULES]
    assert [(f.name, f.faults, f.not_checked) for f in findings if f.state != "holds"] == []


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: f"{broken.rule}: {broken.fault}")
def test_a_broken_rule_is_named(known: Facts, broken: Break) -> None:
    """With what is wrong."""
    [rule] = [rule for rule in RULES if rule.name == broken.rule]
    finding = rule.examine(broken_facts(known, broken))
    assert finding.state == "broken"
    assert broken.fault in "\n".join(finding.faults)


def test_each_rule_is_broken_once() -> None:
    """A rule that nothing breaks may hold nothing."""
    assert {broken.rule for broken in BREAKS} == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_refused_settings_leave_the_rest_unchecked() -> None:
    """Nothing is reported of values that no process would run with."""
    with patch.dict(os.environ, {"SOFT_TIME_LIMIT": "3000"}, clear=True):
        findings = [rule.examine(gather()) for rule in RULES]
    states = {finding.name: finding.state for finding in findings}
    assert {states.pop("settings"), states.pop("celery-version")} == {"broken", "holds"}
    assert set(states.values()) == {"not checked"}
