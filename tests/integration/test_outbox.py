"""Deliveries of webhooks are taken in order, fairly, by one sender each."""

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import Engine

from shared.webhooks.outbox import A_RECEIVER, Answer, DueDelivery, Outbox
from shared.webhooks.store import WebhookStore
from tests.support.database import Database

Add = Callable[..., None]

DUE_NOW = "UPDATE webhook_deliveries SET next_try_at = now() WHERE next_try_at IS NOT NULL"


@pytest.fixture
def outbox(engine: Engine, database: Database) -> Outbox:
    """Give an outbox without deliveries."""
    database.fetch("DELETE FROM webhooks")
    return Outbox(engine, lease_seconds=30, failing_seconds=100)


@pytest.fixture
def webhooks(engine: Engine, outbox: Outbox) -> list[UUID]:
    """Give two webhooks."""
    store = WebhookStore(engine, allows_private=True)
    return [store.create("default", f"http://shop/{name}", ["x"])[0].id for name in "ab"]


@pytest.fixture
def add(database: Database) -> Add:
    """Give what adds deliveries of new jobs, so many of each."""

    def make(webhook_id: UUID, jobs: int = 1, of_each: int = 1) -> None:
        for _ in range(jobs):
            job_id, _task = database.insert_job()
            database.fetch(
                "INSERT INTO webhook_deliveries (webhook_id, job_id, receiver, event, job)"
                " SELECT %(webhook)s, %(job)s, %(webhook)s, 'generation.started', '{}'"
                " FROM generate_series(1, %(count)s)",
                webhook=str(webhook_id),
                job=str(job_id),
                count=of_each,
            )

    return make


def numbers(taken: list[DueDelivery]) -> list[int]:
    """Return the places of deliveries in the order of events."""
    return [delivery.number for delivery in taken]


def test_events_of_a_job_are_taken_one_after_the_other(
    outbox: Outbox, webhooks: list[UUID], add: Add, database: Database
) -> None:
    """The next one when the last is over: delivered or given up."""
    add(webhooks[0], of_each=3)
    seen: list[int] = []
    for answer in (Answer(200), Answer(500, "answered 500"), Answer(200)):
        [delivery], has_more = outbox.take(10)
        assert has_more == (len(seen) < 2)
        assert outbox.take(10)[0] == []
        outbox.note(delivery, answer, None)
        seen += numbers([delivery])
        database.fetch(
            "UPDATE webhook_deliveries SET next_try_at = now() WHERE next_try_at > now()"
        )
    assert seen == sorted(seen)
    assert outbox.take(10) == ([], False)


def test_a_backlog_of_one_receiver_hides_no_other(
    outbox: Outbox, webhooks: list[UUID], add: Add
) -> None:
    """Each gets its share at once, one that fails a single delivery, one that is busy none."""
    first, second = webhooks
    add(first, jobs=3 * A_RECEIVER)
    add(second)
    taken, _ = outbox.take(100)
    receivers = [UUID(delivery.receiver) for delivery in taken]
    assert (receivers.count(first), receivers.count(second)) == (A_RECEIVER, 1)
    assert outbox.take(100, busy=[str(first)])[0] == []
    outbox.note(taken[0], Answer(None, "not reached"), 60)
    assert len(outbox.take(100)[0]) == 1


def test_a_delivery_has_one_sender_until_its_lease_expires(
    outbox: Outbox, webhooks: list[UUID], add: Add, database: Database
) -> None:
    """Then it is due again; what its first sender notes later changes nothing."""
    add(webhooks[0])
    [first], _ = outbox.take(10)
    assert outbox.take(10)[0] == []
    database.fetch("UPDATE webhook_deliveries SET next_try_at = now()")
    [second], _ = outbox.take(10)
    assert (second.id, second.tries) == (first.id, first.tries + 1)
    outbox.note(first, Answer(200), None)
    assert database.fetch("SELECT 1 FROM webhook_deliveries WHERE delivered_at IS NOT NULL") == []
    outbox.note(second, Answer(200), None)
    assert database.fetch("SELECT 1 FROM webhook_deliveries WHERE delivered_at IS NULL") == []


def test_a_webhook_is_disabled_that_has_failed_for_long(
    outbox: Outbox, webhooks: list[UUID], add: Add, database: Database
) -> None:
    """When a delivery is given up; one success in between counts as none before it."""
    add(webhooks[0], jobs=2)
    failed = Answer(500, "answered 500")
    [first, second] = outbox.take(10)[0]
    outbox.note(first, failed, None)
    state = "SELECT disabled_at IS NOT NULL AS is_disabled FROM webhooks WHERE id = %(id)s"
    assert not database.fetch(state, id=str(webhooks[0]))[0]["is_disabled"]
    database.fetch("UPDATE webhooks SET failing_since = failing_since - interval '101 seconds'")
    outbox.note(second, failed, None)
    assert database.fetch(state, id=str(webhooks[0]))[0]["is_disabled"]


def test_what_was_given_up_since_a_time_is_sent_again(
    outbox: Outbox, webhooks: list[UUID], add: Add, database: Database, engine: Engine
) -> None:
    """Or all of that; what waits, is older, or is of another webhook stays as it is."""
    for webhook_id in webhooks:
        add(webhook_id, jobs=4)
    database.fetch(
        "UPDATE webhook_deliveries SET tries = 3, error = 'answered 500',"
        " next_try_at = CASE WHEN mod(number, 4) = 0 THEN now() + interval '1 hour' END,"
        " delivered_at = CASE WHEN mod(number, 4) = 1 THEN now() END,"
        " created_at = now() - make_interval(hours => (mod(number, 4) = 2)::int * 5)"
    )
    store = WebhookStore(engine, allows_private=True)
    assert store.resend_since(webhooks[0], 3600, with_delivered=False) == 1
    assert store.resend_since(webhooks[0], 3600, with_delivered=False) == 0
    assert store.resend_since(webhooks[0], 3600, with_delivered=True) == 1
    due = database.fetch(
        "SELECT tries, error, webhook_id FROM webhook_deliveries WHERE next_try_at <= now()"
    )
    assert due == [{"tries": 0, "error": None, "webhook_id": str(webhooks[0])}] * 2
    [other] = database.fetch(
        "SELECT id FROM webhook_deliveries WHERE webhook_id = %(id)s AND delivered_at IS NOT NULL",
        id=str(webhooks[1]),
    )
    assert store.resend(None, UUID(other["id"])).delivered_at is None
