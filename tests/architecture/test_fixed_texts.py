"""Texts that programs, dashboards and runbooks depend on never change.

A new text is free to add. One that is listed here stays as it is spelled.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

from shared import status
from shared.settings import ClientSettings, Settings

PROJECT = Path(__file__).parents[2]
PACKAGES = ("shared", "local", "functions", "cli", "devkit")

SETTINGS = """
    DATABASE_URL DATABASE_PASSWORD DATABASE_PASSWORD_FILE ENVIRONMENT REDIS_URL REDIS_URL_FILE
    AI_MOCK_MODE MOCK_SCRIPTS MOCK_STEP_SECONDS
    OPENAI_API_KEY OPENAI_API_KEY_FILE OPENAI_BASE_URL OPENAI_MODEL OPENAI_QUALITY
    OPENAI_OUTPUT_FORMAT OPENAI_PARTIAL_IMAGES OPENAI_PRICES OPENAI_TIMEOUT_SECONDS
    ON_UNKNOWN_CHARGE SOFT_TIME_LIMIT TIME_LIMIT MAX_ATTEMPTS LEASE_SECONDS SWEEP_SECONDS
    DISPATCH_GRACE_SECONDS RETRY_BACKOFF RETRY_BACKOFF_MAX SHUTDOWN_GRACE_SECONDS HEARTBEAT_FILE
    IMAGE_DIR IMAGE_BUCKET RETENTION_DAYS ASSET_RETENTION_DAYS MAX_ASSETS
    QUEUE_URL EVENT_TTL_SECONDS EVENT_STREAM_MAX_LENGTH
    PUBLIC_BASE_URL SIGNING_KEY SIGNING_KEY_FILE REQUIRE_API_KEYS API_HOST API_PORT
    TRUSTED_NETWORKS CORS_ORIGINS MAX_OPEN_JOBS MAX_RUNNING_JOBS MAX_SUBMISSIONS_PER_MINUTE
    MAX_COST_PER_DAY MAX_COST_PER_MONTH MAX_PROVIDER_CALLS MAX_PROVIDER_CALLS_PER_MINUTE
    MAX_STREAMS MAX_REQUESTS_PER_MINUTE API_CONCURRENCY EVENT_TOKEN_SECONDS
    IMAGE_TOKEN_SECONDS EVENT_WINDOW_SECONDS AWS_LAMBDA_FUNCTION_NAME SECRET_ARNS SECRETS_VERSION
    LOG_LEVEL DARKROOM_URL DARKROOM_API_KEY
    DATABASE_SCHEMA REDIS_PREFIX QUEUE_PREFIX AUTO_CREATE
"""

ERROR_CODES = """
    asset_in_use budget_exceeded cancelled charge_unknown corrupt_image cost_limit empty_result
    expired_token
    forbidden idempotency_key_reused images_missing internal invalid_request invalid_token
    job_running malformed_host malformed_json method_not_allowed not_found output_rejected
    payload_too_large prompt_rejected provider_authentication provider_overloaded provider_timeout
    provider_unavailable quota_exceeded rate_limited request_rejected service_unavailable
    request_timeout soft_time_limit storage_unavailable time_limit too_many_open_jobs
    too_many_assets too_many_requests too_many_streams too_many_submissions too_many_uploads
    unauthorized unsupported_media_type unusable_image worker_lost
"""

LOG_EVENTS = (
    "attempt broke",
    "attempt ended",
    "attempt failed",
    "attempt started",
    "delivered again",
    "envelope rejected",
    "event not sent",
    "job recovered",
    "key created",
    "lease not extended",
    "migrated",
    "not dispatched",
    "not ready",
    "request",
    "swept",
)
"""What docs/operations.md, alarms and operators search the logs for."""

NAMES = (
    *("generate_images_task", "image_generation", "default"),
    *("celery-task-meta-", "task_updates:", "task_events:"),
    *("task_id", "job_id", "JobFailed"),
    *("open-jobs", "submissions", "event-streams", "requests", "uploads", "assets"),
    *("cost-per-day", "cost-per-month"),
)
"""Names of the task, its queues, its argument, of what lies in Redis, and of quotas."""


@cache
def trees(*folders: str) -> list[ast.Module]:
    """Return the syntax trees of all files in some folders of the product."""
    paths = (path for folder in folders for path in sorted((PROJECT / folder).rglob("*.py")))
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


def literals(*folders: str) -> set[str]:
    """Return every string that stands in the code, and every class name."""
    found: set[str] = set()
    for node in (node for tree in trees(*folders) for node in ast.walk(tree)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.ClassDef):
            found.add(node.name)
    return found


def codes() -> set[str]:
    """Return the codes of all error classes, and the strings of the API, which has some more."""
    found = literals("shared/api")
    for node in (node for tree in trees(*PACKAGES) for node in ast.walk(tree)):
        if isinstance(node, ast.ClassDef):
            fields = [field for field in node.body if isinstance(field, ast.Assign | ast.AnnAssign)]
            fields = [each for each in fields if ast.unparse(each).startswith(("code =", "code:"))]
            given = [each for each in node.keywords if each.arg == "code"]
            found |= {
                str(each.value.value)
                for each in (*fields, *given)
                if isinstance(each.value, ast.Constant)
            }
    return found


def test_every_setting_keeps_its_name() -> None:
    """Deployments set them."""
    names = {name.upper() for name in (*Settings.model_fields, *ClientSettings.model_fields)}
    assert set(SETTINGS.split()) - names == set()


def test_every_error_code_is_still_spelled_so() -> None:
    """Clients compare them."""
    assert set(ERROR_CODES.split()) - codes() == set()


@pytest.mark.parametrize("texts", [LOG_EVENTS, NAMES], ids=["logs", "names"])
def test_log_events_and_names_are_still_spelled_so(texts: tuple[str, ...]) -> None:
    """Runbooks search logs for events, other Celery programs use the names."""
    assert set(texts) - literals(*PACKAGES) == set()


def test_messages_on_the_wire_keep_their_wording() -> None:
    """Progress messages are part of the format."""
    steps = [
        status.QUEUED,
        status.STARTING,
        status.PREPARING,
        status.rendering(30),
        status.SAVING,
        status.waiting(2, 3),
        status.COMPLETED,
        status.failed(30, "Cancelled"),
    ]
    assert [(step.status.value, step.progress, step.message) for step in steps] == [
        ("pending", 0, "Queued"),
        ("processing", 5, "Starting..."),
        ("processing", 10, "Processing..."),
        ("processing", 30, "Rendering..."),
        ("processing", 95, "Saving..."),
        ("pending", 0, "Retrying (attempt 2 of 3)"),
        ("completed", 100, "Completed"),
        ("failed", 30, "Cancelled"),
    ]
