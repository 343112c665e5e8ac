"""Rules between settings, held against every part: this environment, services, functions."""

from collections.abc import Iterable, Iterator

from cli.doctor.facts import API_HANDLER, REAPER_HANDLER, Facts
from cli.doctor.parts import Part
from cli.doctor.quantities import in_seconds, period_of
from cli.doctor.rule import NotChecked, Reading, Rule, judged
from cli.doctor.template_file import FUNCTION_TIMEOUT_SECONDS, Resource, Template
from shared.api.generation_routes import WAIT_MAX_SECONDS
from shared.database.session import CONNECT_TIMEOUT_SECONDS, STATEMENT_TIMEOUT_SECONDS
from shared.settings import RETRY_AFTER_MAX_SECONDS

GATEWAY_SECONDS = 30.0
"""The longest integration timeout of an HTTP API (API Gateway Developer Guide, "Quotas for
configuring and running an HTTP API")."""

EXTENSIONS_LEAST = 4
"""A lease that is extended less often is lost to one pause of a process that computes."""

AGREEING = (
    "ENVIRONMENT", "DATABASE_URL", "REDIS_URL", "TIME_LIMIT", "SOFT_TIME_LIMIT", "MAX_ATTEMPTS",
    "LEASE_SECONDS", "RETRY_BACKOFF", "RETRY_BACKOFF_MAX", "DISPATCH_GRACE_SECONDS",
    "EVENT_TTL_SECONDS", "EVENT_STREAM_MAX_LENGTH", "IMAGE_DIR", "IMAGE_BUCKET", "AI_MOCK_MODE",
)  # fmt: skip
"""Settings that all processes of one deployment must have alike."""


def _accepted(facts: Facts) -> Iterable[Reading]:
    for part in facts.parts:
        refusal = part.find_refusal()
        yield Reading(part.where, "refused" if refusal else "accepted", refusal)


def _agree(facts: Facts) -> Iterable[Reading]:
    deployments = {template.label: template.parts for template in facts.templates}
    if facts.compose is not None:
        deployments["compose"] = facts.compose.parts
    if not deployments:
        raise NotChecked("docker-compose.yml and template.yaml are absent")
    for label, parts in deployments.items():
        for name in AGREEING:
            yield from _same(name, label, parts)


def _same(name: str, label: str, parts: Iterable[Part]) -> Iterator[Reading]:
    places: dict[str, list[str]] = {}
    for part in parts:
        value = part.find_text(name)
        if value is not None:
            places.setdefault(_comparable(value), []).append(part.where)
    if not places:
        return
    # The address of a server may hold a password.
    is_secret = name in ("DATABASE_URL", "REDIS_URL")
    found = f"{name} is set" if is_secret else f"{name} {next(iter(places))}"
    each = "; ".join(
        ", ".join(where) if is_secret else f"{text} ({', '.join(where)})"
        for text, where in places.items()
    )
    yield judged(label, found, holds=len(places) == 1, fault=f"{name} differs: {each}")


def _comparable(text: str) -> str:
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _limits(facts: Facts) -> Iterable[Reading]:
    for part in facts.parts:
        found = part.numbers("SOFT_TIME_LIMIT", "TIME_LIMIT")
        if found is not None:
            soft, hard = found
            yield judged(
                part.where,
                f"{soft:g} < {hard:g} s",
                holds=soft < hard,
                fault=f"SOFT_TIME_LIMIT {soft:g} is not less than TIME_LIMIT {hard:g}",
            )


def _lease(facts: Facts) -> Iterable[Reading]:
    extensions = facts.code.extensions_a_lease
    yield judged(
        "code",
        f"{extensions} extensions a lease",
        holds=extensions >= EXTENSIONS_LEAST,
        fault=f"fewer than {EXTENSIONS_LEAST} extensions a lease",
    )
    failure = CONNECT_TIMEOUT_SECONDS + STATEMENT_TIMEOUT_SECONDS
    for part in facts.parts:
        found = part.numbers("LEASE_SECONDS", "TIME_LIMIT")
        if found is None:
            continue
        lease, hard = found
        extended_again = 2 * lease / extensions + failure
        fault = None
        if lease >= hard:
            fault = f"LEASE_SECONDS {lease:g} is not less than TIME_LIMIT {hard:g}"
        elif extended_again >= lease:
            fault = (
                f"one extension that fails takes up to {failure} s, and the next may come "
                f"{extended_again:g} s after the last: too late for a lease of {lease:g} s"
            )
        yield Reading(part.where, f"{extended_again:g} < {lease:g} < {hard:g} s", fault)


def sweep_periods(facts: Facts) -> Iterator[tuple[Part, str, float]]:
    """Yield, for each part that sweeps, the part, what says how often, and the seconds between."""
    compose = [] if facts.compose is None else list(facts.compose.parts)
    for part in (facts.environment, *compose):
        seconds = part.find_number("SWEEP_SECONDS")
        if seconds is not None:
            yield part, "SWEEP_SECONDS", seconds
    for template in facts.templates:
        reaper = template.find_function(REAPER_HANDLER)
        for schedule in template.schedules(reaper) if reaper is not None else ():
            seconds = period_of(schedule)
            if reaper is not None and seconds is not None:
                yield template.part_of(reaper), f"schedule {schedule}", seconds


def _sweep(facts: Facts) -> Iterable[Reading]:
    for part, source, period in sweep_periods(facts):
        lease = part.find_number("LEASE_SECONDS")
        if lease is not None:
            yield judged(
                part.where,
                f"{period:g} <= {lease:g} s",
                holds=period <= lease,
                fault=f"{source} is {period:g} s, more than LEASE_SECONDS {lease:g}",
            )
    for template in facts.templates:
        reaper = template.find_function(REAPER_HANDLER)
        schedules = list(template.schedules(reaper)) if reaper is not None else []
        if not any(period_of(schedule) for schedule in schedules):
            yield Reading(template.label, "no schedule", "nothing starts the reaper each minute")


def _grace(facts: Facts) -> Iterable[Reading]:
    for part, source, period in sweep_periods(facts):
        grace = part.find_number("DISPATCH_GRACE_SECONDS")
        if grace is not None:
            yield judged(
                part.where,
                f"{grace:g} >= {period:g} s",
                holds=grace >= period,
                fault=f"each sweep ({source}, {period:g} s) would dispatch every waiting job again",
            )


def _event_lifetime(facts: Facts) -> Iterable[Reading]:
    for part in facts.parts:
        found = part.numbers("EVENT_TTL_SECONDS", "TIME_LIMIT", "RETRY_BACKOFF_MAX")
        if found is not None:
            lifetime, hard, backoff = found
            silence = hard + max(backoff, RETRY_AFTER_MAX_SECONDS)
            yield judged(
                part.where,
                f"{lifetime:g} > {silence:g} s",
                holds=lifetime > silence,
                fault=f"EVENT_TTL_SECONDS {lifetime:g}: a job may be silent for {silence:g} s",
            )


def _gateway(facts: Facts) -> Iterable[Reading]:
    ping = facts.code.ping_seconds
    yield judged(
        "code",
        f"ping after {ping:g} s",
        holds=ping < GATEWAY_SECONDS,
        fault=f"a quiet stream is cut off by gateways that wait {GATEWAY_SECONDS:g} s",
    )
    for part in facts.parts:
        window = part.find_number("EVENT_WINDOW_SECONDS")
        if window is not None:
            yield _within(part.where, window, GATEWAY_SECONDS)
    for template in facts.templates:
        function = template.find_function(API_HANDLER)
        if function is not None:
            yield from _behind_gateway(template, function)


def _behind_gateway(template: Template, function: Resource) -> Iterator[Reading]:
    window = template.part_of(function).find_number("EVENT_WINDOW_SECONDS") or 0.0
    limit = GATEWAY_SECONDS
    for seconds in template.gateway_timeouts(function):
        yield judged(
            function.where,
            f"TimeoutInMillis {seconds * 1000:g}",
            holds=seconds <= GATEWAY_SECONDS,
            fault=f"API Gateway takes no TimeoutInMillis above {GATEWAY_SECONDS * 1000:g}",
        )
        yield _within(f"{function.where} (TimeoutInMillis {seconds * 1000:g})", window, seconds)
        limit = min(limit, seconds)
    timeout = function.find_number("Timeout", FUNCTION_TIMEOUT_SECONDS)
    if timeout is not None:
        yield _within(f"{function.where} (Timeout {timeout:g})", window, timeout)
        yield judged(
            function.where,
            f"Timeout {timeout:g} s",
            holds=timeout <= limit,
            fault=f"the gateway answers 503 after {limit:g} s, and the function runs on",
        )


def _within(where: str, window: float, limit: float) -> Reading:
    longest = max(window, WAIT_MAX_SECONDS)
    return judged(
        where,
        f"answers within {in_seconds(longest)} < {limit:g} s",
        holds=longest < limit,
        fault=f"an answer that waits {longest:g} s (EVENT_WINDOW_SECONDS {window:g}, "
        f"`Prefer: wait` {WAIT_MAX_SECONDS:g}) does not come within {limit:g} s",
    )


SETTING_RULES = (
    Rule(
        "settings",
        "The settings of every part are accepted",
        "Change the setting that is named, where it is named.",
        _accepted,
    ),
    Rule(
        "settings-agree",
        "All processes of one deployment have the same limits, servers and image store",
        "Set it once for all services (a YAML anchor) or functions (Globals).",
        _agree,
    ),
    Rule(
        "soft-limit",
        "The soft limit lies before the hard one",
        "Make SOFT_TIME_LIMIT less than TIME_LIMIT; 30 s between them suffice.",
        _limits,
    ),
    Rule(
        "lease",
        "A lease outlasts one extension that fails, and ends before the hard limit",
        "Make LEASE_SECONDS greater (60), but less than TIME_LIMIT.",
        _lease,
    ),
    Rule(
        "sweep",
        "The sweep runs at least once a lease",
        "Make SWEEP_SECONDS, or the schedule of the reaper, no longer than LEASE_SECONDS.",
        _sweep,
    ),
    Rule(
        "dispatch-grace",
        "An envelope counts as on its way for longer than a sweep's period",
        "Make DISPATCH_GRACE_SECONDS at least SWEEP_SECONDS, or the period of the schedule.",
        _grace,
    ),
    Rule(
        "event-lifetime",
        "Events outlive the longest silence of a job",
        "Make EVENT_TTL_SECONDS greater than TIME_LIMIT and the longest backoff together.",
        _event_lifetime,
    ),
    Rule(
        "gateway",
        "Pings and answers come before a gateway gives up",
        "Make EVENT_WINDOW_SECONDS less than the Timeout of the API's function, and that no more "
        "than TimeoutInMillis of its HttpApi event: at most 30 s.",
        _gateway,
    ),
)
