"""Secrets are planted in every setting that holds one; no program may print any part of one."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.cli import Session, command, tidy_environment

CANARY = "canary"
"""Every planted secret holds it in both of its halves."""

PLANTED = {
    "DATABASE_URL": "postgresql://shop:canary-1-canary@127.0.0.1:1/shop",
    "REDIS_URL": "redis://:canary-2-canary@127.0.0.1:1/0",
    "OPENAI_API_KEY": "canary-3-canary",
    "SIGNING_KEY": "canary-4-canary-of-more-than-32-bytes",
    "DARKROOM_API_KEY": "canary-5-canary",
    "AWS_SECRET_ACCESS_KEY": "canary-6-canary",
    "AWS_SESSION_TOKEN": "canary-7-canary",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=canary-15-canary",
}
IN_FILES = {
    "DATABASE_PASSWORD": "canary-8-canary",
    "REDIS_URL": "redis://:canary-9-canary@127.0.0.1:1/0",
    "OPENAI_API_KEY": "canary-10-canary",
    "SIGNING_KEY": "canary-11-canary-of-more-than-32-bytes",
    "GEMINI_API_KEY": "canary-12-canary",
    "FLUX_API_KEY": "canary-14-canary",
}
OTHERS = {
    "LOG_LEVEL": "DEBUG",
    "AI_MOCK_MODE": "false",
    "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    "ENVIRONMENT": "staging",
    "QUEUE_URL": "http://127.0.0.1:1/000000000000/jobs",
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "API_PORT": "0",
    "DARKROOM_URL": "http://127.0.0.1:1",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
}

WRONG: Mapping[str, Mapping[str, str]] = {
    "a raw @": {
        "DATABASE_URL": "postgresql://shop:canary@canary@127.0.0.1:1/shop",
        "REDIS_URL": "redis://:canary/canary@127.0.0.1:1/0",
        "DARKROOM_URL": "http://u:canary@canary@127.0.0.1:1",
    },
    "ports": {
        "DATABASE_URL": "postgresql://shop:canary-1@127.0.0.1:canary/shop",
        "REDIS_URL": "redis://:canary-2@127.0.0.1:canary/0",
    },
    "values": {
        "DATABASE_URL": "mysql://u:canary@h/d",
        "REDIS_URL": "amqp://u:canary@h",
        "SIGNING_KEY": "canary-short",
        "OPENAI_PRICES": "{canary}",
        "TIME_LIMIT": "canary",
        "OPENAI_BASE_URL": "canary://u:canary@h",
    },
    "two of one": {"DATABASE_PASSWORD": "canary-13"},
    "a lost file": {"SIGNING_KEY": "", "SIGNING_KEY_FILE": "/nowhere"},
    "a lost module": {"IMAGE_PROVIDER_MODULES": "no_such_module"},
}

_INVOKE = "from functions import {0}; {0}.handler({{}}, None)"

PROGRAMS: Mapping[str, Sequence[str]] = {
    "api": (sys.executable, "-m", "local.api"),
    "report": (sys.executable, "-m", "celery", "-A", "local.celery_app", "report"),
    "worker": (sys.executable, "-m", "celery", "-A", "local.celery_app", "worker", "-c", "1"),
    "function worker": (sys.executable, "-c", _INVOKE.format("worker")),
    "function api": (sys.executable, "-c", _INVOKE.format("api")),
    "function reaper": (sys.executable, "-c", _INVOKE.format("reaper")),
    "function migrate": (sys.executable, "-c", _INVOKE.format("migrate")),
    "migrate": command("migrate"),
    "sweep": command("sweep"),
    "doctor": command("doctor", "--verbose"),
    "keys": command("keys", "list"),
    "client": command("jobs"),
}

SERVE = {"api": "api ready", "worker": "Cannot connect"}
"""What those print that go on although their servers are unavailable."""


def run(program: str, environment: Mapping[str, str], folder: Path) -> str:
    """Return all that a program prints in this environment."""
    session = Session(environment, folder, program=PROGRAMS[program])
    if program in SERVE and environment.get("DATABASE_URL") == PLANTED["DATABASE_URL"]:
        session.wait_for(SERVE[program])
        session.process.terminate()
    session.wait()
    return session.out + session.err


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_program_prints_a_secret(program: str, tmp_path: Path) -> None:
    """Where no server can be reached, at LOG_LEVEL=DEBUG."""
    with tidy_environment() as environment:
        printed = run(program, {**environment, **PLANTED, **OTHERS}, tmp_path)
    assert printed
    assert CANARY not in printed.lower()


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("program", ["report", "function migrate", "doctor"])
def test_no_wrong_setting_has_a_secret_printed(program: str, kind: str, tmp_path: Path) -> None:
    """Neither its own value nor that of another one."""
    with tidy_environment() as environment:
        printed = run(program, {**environment, **PLANTED, **OTHERS, **WRONG[kind]}, tmp_path)
    assert printed
    assert CANARY not in printed.lower()


@pytest.mark.parametrize("program", ["function reaper", "sweep"])
def test_no_program_prints_a_secret_of_a_file(program: str, tmp_path: Path) -> None:
    """Those are read later than the environment is."""
    files = {}
    for name, secret in IN_FILES.items():
        (tmp_path / name).write_text(secret)
        files[f"{name}_FILE"] = str(tmp_path / name)
    address = {"DATABASE_URL": "postgresql://shop@127.0.0.1:1/shop"}
    with tidy_environment() as environment:
        printed = run(program, {**environment, **address, **OTHERS, **files}, tmp_path)
    assert printed
    assert CANARY not in printed.lower()


def test_canaries_stand_in_every_setting_that_holds_a_secret() -> None:
    """A new secret needs one: fourteen with those of AWS and of the command line."""
    from shared.settings import ClientSettings, Settings, secret_fields

    secrets = {name.upper() for kind in (Settings, ClientSettings) for name in secret_fields(kind)}
    assert secrets - {*PLANTED, *IN_FILES} == set()
    assert len(PLANTED) + len(IN_FILES) == 14
