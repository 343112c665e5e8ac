"""Durations and sizes as docker-compose.yml, redis.conf and template.yaml write them."""

import re

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]?)(?:i?b)?|b)", re.IGNORECASE)
_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_RATE_SECONDS = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0}


def seconds_of(duration: object) -> float | None:
    """Return a duration of compose, as `1m30s` or a number of seconds; None if it is none."""
    text = str(duration).strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or _DURATION.sub("", text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))


def bytes_of(size: object) -> int | None:
    """Return a size, as `256mb` or `1g`, in bytes; None if it is none."""
    match = _SIZE.fullmatch(str(size).strip())
    if match is None:
        return None
    return int(float(match[1]) * _BYTES[(match[2] or "").lower()])


def period_of(schedule: object) -> float | None:
    """Return the seconds between two runs of an EventBridge schedule; None if it is no rate."""
    match = _RATE.fullmatch(str(schedule).strip())
    if match is not None:
        return int(match[1]) * _RATE_SECONDS[match[2]]
    return 60.0 if str(schedule).strip() == "cron(* * * * ? *)" else None


def in_seconds(value: float) -> str:
    """Return seconds as a person reads them."""
    return f"{value:.10g} s"


def in_megabytes(size_bytes: float) -> str:
    """Return bytes as a person reads them."""
    return f"{size_bytes / 1024**2:g} MB"
