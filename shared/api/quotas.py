"""Quotas as clients see them (draft-ietf-httpapi-ratelimit-headers-11)."""

from collections.abc import Sequence

from shared.errors import LimitReached
from shared.jobs.workspace_limits import Quota


def quota_headers(quotas: Sequence[Quota]) -> dict[str, str]:
    """Return the fields `RateLimit-Policy` and `RateLimit`; none without quotas."""
    if not quotas:
        return {}
    policies = ", ".join(_item(each.policy, q=each.limit, w=each.window_seconds) for each in quotas)
    left = ", ".join(_item(each.policy, r=each.remaining, t=each.reset_seconds) for each in quotas)
    return {"RateLimit-Policy": policies, "RateLimit": left}


def quota_reached(error: LimitReached) -> Quota:
    """Return the quota of which nothing is left."""
    seconds = error.retry_after_seconds
    return Quota(error.policy, error.limit, 0, error.window_seconds, seconds)


def _item(policy: str, **parameters: int | None) -> str:
    """Return an item of a structured field (RFC 9651): a string with parameters."""
    shown = "".join(f";{name}={value}" for name, value in parameters.items() if value is not None)
    return f'"{policy}"{shown}'
