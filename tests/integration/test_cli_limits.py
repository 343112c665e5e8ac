"""`darkroom limits`, `pause` and `resume`: over the database alone, for people and for programs."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.support.cli import darkroom
from tests.support.database import Database

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(database: Database) -> Run:
    """Give the command with the address of the database, and no other setting."""
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": database.url}
    return lambda *arguments: darkroom(environment, *arguments)


def json_of(done: subprocess.CompletedProcess[str]) -> Mapping[str, Any]:
    """Return the one line of JSON that a command has printed."""
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def test_limits_are_set_and_shown(run: Run) -> None:
    """As JSON for programs; a number, or the word for the settings' own."""
    none = {"open_jobs": None, "running_jobs": None, "submissions_per_minute": None}
    none |= {"cost_per_day": None, "cost_per_month": None, "models": None}
    shown = {"workspace_id": "default", **none, "paused_at": None}
    assert json_of(run("limits", "show", "--json")) == {"items": [], "paused_providers": {}}
    changed = run("limits", "set", "default", "--open-jobs", "9", "--running-jobs", "2", "--json")
    assert json_of(changed) == {**shown, "open_jobs": 9, "running_jobs": 2}
    changed = run("limits", "set", "default", "--open-jobs", "default", "--json")
    assert json_of(changed) == {**shown, "running_jobs": 2}
    changed = run("limits", "set", "default", "--cost-per-day", str(10**10), "--json")
    assert json_of(changed) == {**shown, "running_jobs": 2, "cost_per_day": 10**10}
    table = run("limits", "show").stdout.splitlines()
    own = ["default", "default", "2", "default", str(10**10), "default", "default", "-"]
    assert table[1].split() == own


def test_a_workspace_and_a_provider_are_paused_and_resumed(run: Run) -> None:
    """What is paused is shown with the limits."""
    assert json_of(run("pause", "--workspace", "default", "--json")) == {
        "workspace": "default",
        "paused": True,
    }
    assert json_of(run("pause", "--provider", "mock", "--json"))["provider"] == "mock"
    shown = json_of(run("limits", "show", "--json"))
    assert [item["paused_at"] is not None for item in shown["items"]] == [True]
    assert list(shown["paused_providers"]) == ["mock"]
    assert "provider mock is paused since" in run("limits", "show").stdout
    assert run("resume", "--workspace", "default").stdout == "workspace default is resumed\n"
    assert run("resume", "--workspace", "default").stdout == "workspace default was not paused\n"
    assert json_of(run("resume", "--provider", "mock", "--json"))["paused"] is False
    assert json_of(run("limits", "show", "--json")) == {"items": [], "paused_providers": {}}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("limits", "set", "nowhere", "--open-jobs", "1"), "workspace: no workspace 'nowhere'"),
        (("limits", "set", "default"), "limits: name at least one to set"),
        (
            ("limits", "set", "default", "--open-jobs", "-1"),
            "--open-jobs: must be a number or 'default', not '-1'",
        ),
        (("pause", "--workspace", "nowhere"), "workspace: no workspace 'nowhere'"),
        (("pause",), "name either --workspace or --provider"),
        (
            ("resume", "--workspace", "default", "--provider", "mock"),
            "name either --workspace or --provider",
        ),
    ],
)
def test_a_mistake_is_named_in_one_line(run: Run, arguments: tuple[str, ...], line: str) -> None:
    """With the exit code of usage."""
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"darkroom: {line}\n")


def test_the_audit_says_who_did_what(run: Run) -> None:
    """Also what was refused, and why; what only shows things is not in it."""
    run("limits", "set", "default", "--open-jobs", "9", "--models", "default")
    run("pause", "--workspace", "nowhere")
    made = run("keys", "create", "--workspace", "default", "--name", "ops", "--scope", "admin")
    entries = json_of(run("audit", "--json"))["items"]
    assert [(entry["action"], entry["target"], entry["error"]) for entry in entries] == [
        ("create key", "workspace default", None),
        ("pause", "workspace nowhere", "invalid_request"),
        ("limits", "workspace default", None),
    ]
    assert entries[-1]["details"] == {"open_jobs": 9, "models": None}
    assert entries[0]["details"] == {"name": "ops", "scopes": ["admin"]}
    assert all(entry["who"].startswith("cli ") for entry in entries)
    audit = run("audit").stdout
    assert made.stdout.strip() not in audit
    assert "invalid_request" in audit


def test_an_unknown_provider_is_paused_with_a_warning(run: Run) -> None:
    """It may be one that a module of yours declares, or a slip of the pen."""
    done = run("pause", "--provider", "opanai", "--json")
    assert (done.returncode, json.loads(done.stdout)["paused"]) == (0, True)
    assert done.stderr == "darkroom: 'opanai' is none of mock, openai, gemini, flux\n"
