"""The operator page: quiet, busy and in an incident; its details and actions, with any input."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Locator, expect

from shared.access.api_keys import ApiKeyStore
from shared.access.scopes import Scope
from tests.support.browser import DESKTOP, Browsing, Tab
from tests.support.runtime import Runtime

SHOPS = """
INSERT INTO workspaces (id, name) SELECT name, name FROM unnest(%(shops)s::text[]) name
ON CONFLICT DO NOTHING
"""

ENDED = """
WITH job AS (
    INSERT INTO generation_jobs (workspace_id, params, status, progress, message, result, error,
        attempt, lease_token, created_at, started_at, finished_at, announced_at)
    SELECT shop, '{"prompt": "A ceramic mug on a window sill", "n": 1, "size": "256x256"}',
        CASE WHEN is_failed THEN 'FAILED' ELSE 'COMPLETED' END::job_status, 100, 'Completed',
        CASE WHEN NOT is_failed THEN '{"images": [], "missing": 0}'::jsonb END,
        CASE WHEN is_failed THEN jsonb_build_object('code', %(code)s, 'message', %(message)s,
            'retryable', true, 'attempt', 1) END,
        1, 1, at - interval '14 seconds', at - interval '12 seconds', at, at
    FROM (
        SELECT (%(shops)s::text[])[1 + mod(n, cardinality(%(shops)s::text[]))] AS shop,
            n <= %(failed)s AS is_failed,
            now() - (mod(n * 7, 29) * 60 + mod(n, 50)) * interval '1 second' AS at
        FROM generate_series(1, %(jobs)s) n
    ) made
    RETURNING *
)
INSERT INTO generation_attempts (job_id, number, token, runtime, started_at, finished_at, outcome,
    error, charge_state, provider, model, price_microdollars)
SELECT id, 1, 1, 'celery', started_at, finished_at,
    CASE WHEN status = 'FAILED' THEN 'failed' ELSE 'completed' END, error,
    CASE WHEN status = 'FAILED' THEN 'unknown' ELSE 'charged' END, %(provider)s,
    'gpt-image-2.5-flare', 40000
FROM job
"""

RUNNING = """
WITH job AS (
    INSERT INTO generation_jobs (workspace_id, params, status, attempt, progress, lease_token,
        lease_owner, lease_until, time_limit_at, started_at)
    SELECT (%(shops)s::text[])[1 + mod(n, cardinality(%(shops)s::text[]))],
        '{"prompt": "Trail running shoes on a wet rock", "n": 1}', 'PROCESSING', 1, 10 * n, 1,
        'worker-' || n || ':17', now() + interval '1 hour', now() + interval '1 hour', now()
    FROM generate_series(1, 4) n RETURNING id
)
INSERT INTO generation_attempts (job_id, number, token, runtime, started_at, provider, model)
SELECT id, 1, 1, 'celery', now() - 17 * interval '1 second', 'openai', 'gpt-image-2.5-flare'
FROM job
"""

WAITING = """
INSERT INTO generation_jobs (workspace_id, params, attempt, next_attempt_at, created_at)
SELECT (%(shops)s::text[])[1 + mod(n, cardinality(%(shops)s::text[]))],
    '{"prompt": "A perfume bottle under one spotlight", "n": 1}', 1, now() + interval '1 hour',
    now() - %(age)s * interval '1 second'
FROM generate_series(1, 9) n
"""

INCIDENT = """
INSERT INTO paused_providers (provider, paused_at)
    VALUES ('openai', now() - interval '4 minutes');
INSERT INTO workspace_limits (workspace_id, paused_at)
    VALUES ('glasshouse', now() - interval '2 hours');
INSERT INTO webhooks (workspace_id, url, events, secret, failing_since, disabled_at,
    disabled_reason) VALUES
    ('mugs-and-more', 'https://mugs.example/hooks/darkroom', '{generation.failed}', 'x',
        now() - interval '3 hours', NULL, NULL),
    ('glasshouse', 'https://glasshouse.example/a/long/address/for/all/events', '{}', 'x',
        now() - interval '3 days', now() - interval '5 hours', 'failed for three days')
"""

Statements = tuple[tuple[str, dict[str, Any]], ...]

SHOPPED = {"shops": ["mugs-and-more", "glasshouse", "trail-and-rock"]}


@contextmanager
def rows(runtime: Runtime, *statements: tuple[str, dict[str, Any]]) -> Iterator[None]:
    """Write rows that no process touches, and delete them and all pauses at the end."""
    with runtime.database() as cursor:
        for statement, given in ((SHOPS, {}), *statements):
            cursor.execute(statement, {**SHOPPED, **given})
    try:
        yield
    finally:
        with runtime.database() as cursor:
            cursor.execute(
                "DELETE FROM generation_jobs; DELETE FROM webhooks; DELETE FROM paused_providers;"
                " DELETE FROM workspace_limits"
            )


BUSY: Statements = (
    (ENDED, {"jobs": 240, "failed": 6, "provider": "openai", "code": "output_rejected",
             "message": "The image provider withheld the image"}),
    (RUNNING, {}),
    (WAITING, {"age": 40}),
)  # fmt: skip

OUTAGE: Statements = (
    (ENDED, {"jobs": 90, "failed": 70, "provider": "openai", "code": "provider_unavailable",
             "message": "The image provider answered 503 and asked to be left alone for a while"}),
    (RUNNING, {}),
    (WAITING, {"age": 700}),
    (INCIDENT, {}),
)  # fmt: skip


def panel(tab: Tab, name: str) -> Locator:
    """Return a panel of the page."""
    return tab.page.get_by_test_id(name)


def confirm(tab: Tab) -> None:
    """Confirm what the open dialog asks, and wait for the end of it."""
    tab.page.get_by_test_id("confirm-yes").click()
    expect(tab.page.get_by_test_id("confirm")).to_be_hidden()


def pictures(browsing: Browsing, tab: Tab, state: str) -> None:
    """Keep pictures of a state: dark and light on a desk, light on the smallest phone."""
    assert tab.overflow_px() == 0
    browsing.picture(tab, f"operator-{state}-dark", "dark")
    browsing.picture(tab, f"operator-{state}")
    tab.page.set_viewport_size({"width": 320, "height": 800})
    assert tab.overflow_px() == 0
    browsing.picture(tab, f"operator-{state}-phone")
    tab.page.set_viewport_size(DESKTOP)


def test_a_quiet_day(runtime: Runtime, browsing: Browsing) -> None:
    """Nothing needs attention, and each table says that it is empty."""
    tab = browsing.open(runtime.page_api, "/operator")
    expect(panel(tab, "notices")).to_have_text("Nothing needs attention.")
    expect(panel(tab, "queue")).to_contain_text("No job waits or runs.")
    expect(panel(tab, "workers").locator("tbody tr").first).to_be_visible()
    pictures(browsing, tab, "quiet")


def test_a_busy_day(runtime: Runtime, browsing: Browsing) -> None:
    """Queue, running jobs, failures, health and costs, by workspace, provider and code."""
    with rows(runtime, *BUSY):
        tab = browsing.open(runtime.page_api, "/operator")
        expect(panel(tab, "running").locator("tbody tr")).to_have_count(4)
        expect(panel(tab, "queue").locator("tbody tr")).to_have_count(3)
        expect(panel(tab, "provider-queue").locator("tbody tr")).to_have_count(1)
        expect(panel(tab, "newest").locator("tbody tr")).to_have_count(10)
        expect(panel(tab, "failures")).to_contain_text("output_rejected")
        expect(panel(tab, "providers")).to_contain_text("withheld the image (output_rejected)")
        expect(panel(tab, "costs")).to_contain_text("$")
        expect(panel(tab, "notices")).to_have_text("Nothing needs attention.")
        pictures(browsing, tab, "busy")


def test_an_incident(runtime: Runtime, browsing: Browsing) -> None:
    """What fails, waits, is paused or disabled comes first."""
    with rows(runtime, *OUTAGE):
        tab = browsing.open(runtime.page_api, "/operator")
        notices = panel(tab, "notices").locator("li")
        expect(notices.first).to_contain_text("Provider openai fails: 3")
        for text in (
            "Provider openai was paused",
            "has waited for 11 min",
            "1 webhook is disabled",
        ):
            expect(notices.filter(has_text=text).first).to_be_visible()
        expect(panel(tab, "webhooks")).to_contain_text("failed for three days")
        pictures(browsing, tab, "incident")


def test_a_job_is_found_shown_cancelled_and_retried(runtime: Runtime, browsing: Browsing) -> None:
    """With its ledger and timeline; each action is confirmed, and stands in the audit."""
    api = runtime.page_api
    job = api.submit("[[hang]] A ceramic mug")
    tab = browsing.open(api, "/operator")
    tab.page.get_by_test_id("wanted").fill(job["id"])
    tab.page.get_by_test_id("wanted").press("Enter")
    detail = panel(tab, "detail")
    expect(detail).to_contain_text("Attempt 1 started")
    expect(detail).to_contain_text("Event: Starting...")
    detail.get_by_role("button", name="Cancel job").click()
    tab.page.get_by_test_id("confirm-no").click()
    expect(tab.page.get_by_test_id("confirm")).to_be_hidden()
    expect(detail.get_by_role("button", name="Cancel job")).to_be_focused()
    tab.page.keyboard.press("Enter")
    browsing.picture(tab, "operator-confirm")
    confirm(tab)
    expect(detail.get_by_role("button", name="Retry job")).to_be_visible()
    expect(detail.get_by_test_id("job-receipt")).to_contain_text("Attempt 1")
    expect(panel(tab, "audit")).to_contain_text(f"cancel job {job['id']}")
    pictures(browsing, tab, "job")
    detail.get_by_role("button", name="Retry job").click()
    confirm(tab)
    expect(detail).to_contain_text("Retry of")
    again = tab.page.url.rpartition("job=")[2]
    assert api.get({"id": again})["retry_of"] == job["id"]
    api.client.post(f"/v1/generations/{again}/cancel")
    tab.page.get_by_test_id("detail-close").click()
    expect(detail).to_be_hidden()


def test_a_workspace_is_paused_and_limited_with_the_keyboard_alone(
    runtime: Runtime, browsing: Browsing
) -> None:
    """The keyboard's place survives each answer; an empty field brings back the default."""
    with rows(runtime):
        tab = browsing.open(runtime.page_api, "/operator#workspace=glasshouse")
        keyboard, detail = tab.page.keyboard, panel(tab, "detail")
        expect(detail).to_contain_text("500 (default)")
        tab.tab_to(detail.get_by_role("button", name="Change limits"), 30)
        keyboard.press("Enter")
        tab.tab_to(tab.page.get_by_role("spinbutton", name="Running jobs"))
        keyboard.type("8")
        keyboard.press("Enter")
        expect(tab.page.get_by_test_id("confirm")).to_be_hidden()
        expect(detail).to_contain_text("Running jobs, at most8")
        expect(detail.get_by_role("button", name="Change limits")).to_be_focused()
        keyboard.press("Tab")
        for key in ("Enter", "Tab", "Enter"):
            keyboard.press(key)
        expect(detail.get_by_role("button", name="Resume workspace")).to_be_focused()
        expect(panel(tab, "paused")).to_contain_text("glasshouse")
        expect(panel(tab, "audit")).to_contain_text("running_jobs: 8")
        pictures(browsing, tab, "workspace")


def test_the_page_asks_for_a_key_with_the_scope(runtime: Runtime, browsing: Browsing) -> None:
    """It shows nothing before, and says what is wrong with another key."""
    browsing.allow(r"status of 40[13]")
    store = ApiKeyStore(runtime.services.engine)
    (_, reader), (_, admin) = (
        store.create("default", "page", scopes=[each]) for each in (Scope.READ, Scope.ADMIN)
    )
    tab = browsing.open(runtime.api, "/operator")
    field, save = tab.page.get_by_test_id("api-key"), tab.page.get_by_test_id("api-key-save")
    expect(field).to_be_focused()
    field.fill(reader)
    save.click()
    expect(tab.page.get_by_text("This key lacks the scope admin.")).to_be_visible()
    expect(panel(tab, "queue")).to_be_hidden()
    browsing.picture(tab, "operator-key")
    field.fill(admin)
    save.click()
    expect(panel(tab, "queue")).to_be_visible()
    tab.page.get_by_test_id("api-key-forget").click()
    expect(panel(tab, "queue")).to_be_hidden()
