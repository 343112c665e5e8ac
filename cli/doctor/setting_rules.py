"""Rules between settings."""

from collections.abc import Iterable

from cli.doctor.rule import Facts, Observation, known, rule
from local.open_files import streams_of_a_workspace
from shared.database.session import CONNECT_TIMEOUT_SECONDS, STATEMENT_TIMEOUT_SECONDS
from shared.generation.lease import EXTENSIONS_A_LEASE
from shared.jobs.retry import RETRY_AFTER_MAX_SECONDS
from shared.settings import Settings


@rule(mend="Change the setting that is named; docs/reference/settings.md lists them.")
def settings(facts: Facts) -> Iterable[Observation]:
    """The settings of this environment are accepted."""
    refusal = facts.settings if isinstance(facts.settings, str) else ""
    yield "refused" if refusal else "accepted", not refusal, refusal


@rule(mend="Make LEASE_SECONDS greater.")
def lease(facts: Facts) -> Iterable[Observation]:
    """A lease outlasts one extension that fails."""
    seconds = known(facts.settings).lease_seconds
    failure = CONNECT_TIMEOUT_SECONDS + STATEMENT_TIMEOUT_SECONDS
    extended_again = 2 * seconds / EXTENSIONS_A_LEASE + failure
    yield (
        f"extended after {extended_again:g} of {seconds:g} s",
        extended_again < seconds,
        f"one extension that fails takes up to {failure} s, and the next may come "
        f"{extended_again:g} s after the last: too late for a lease of {seconds:g} s",
    )


@rule(mend="Make SWEEP_SECONDS no longer than LEASE_SECONDS.")
def sweep(facts: Facts) -> Iterable[Observation]:
    """The sweep runs at least once a lease."""
    settings = known(facts.settings)
    yield (
        f"{settings.sweep_seconds:g} <= {settings.lease_seconds:g} s",
        settings.sweep_seconds <= settings.lease_seconds,
        f"SWEEP_SECONDS {settings.sweep_seconds:g} is more than LEASE_SECONDS "
        f"{settings.lease_seconds:g}",
    )


@rule(mend="Make DISPATCH_GRACE_SECONDS at least SWEEP_SECONDS.")
def dispatch_grace(facts: Facts) -> Iterable[Observation]:
    """An envelope counts as on its way for longer than a sweep's period."""
    settings = known(facts.settings)
    yield (
        f"{settings.dispatch_grace_seconds:g} >= {settings.sweep_seconds:g} s",
        settings.dispatch_grace_seconds >= settings.sweep_seconds,
        f"each sweep (every {settings.sweep_seconds:g} s) would dispatch every waiting job again",
    )


@rule(mend="Make EVENT_TTL_SECONDS greater than TIME_LIMIT and the longest backoff together.")
def event_lifetime(facts: Facts) -> Iterable[Observation]:
    """Events outlive the longest silence of a job."""
    settings = known(facts.settings)
    silence = longest_hold_seconds(settings)
    yield (
        f"{settings.event_ttl_seconds} > {silence:g} s",
        settings.event_ttl_seconds > silence,
        f"EVENT_TTL_SECONDS is {settings.event_ttl_seconds}: a job may be silent for {silence:g} s",
    )


@rule(mend="Raise the limit of open files (ulimit -Hn), or make MAX_STREAMS less.")
def open_files(facts: Facts) -> Iterable[Observation]:
    """A workspace may have all its streams on one API, and others are still served."""
    limit, files = known(facts.settings).max_streams, facts.open_files
    streams = streams_of_a_workspace(files)
    yield (
        f"{limit} streams, {files} open files",
        limit <= streams,
        f"MAX_STREAMS is {limit}, and an API with {files} open files keeps {streams} streams of a "
        "workspace",
    )


def longest_hold_seconds(settings: Settings) -> float:
    """Return how long a job may run and then wait for its next attempt."""
    return settings.time_limit + max(settings.retry_backoff_max, RETRY_AFTER_MAX_SECONDS)
