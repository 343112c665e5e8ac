"""Webhooks: every event is delivered, signed and in order, whatever the receivers do."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from devkit.stack.server import free_port
from tests.support.api import OTHER_WORKSPACE
from tests.support.cli import darkroom
from tests.support.drills import kill_and_start, play_webhooks, restart_postgres
from tests.support.receiver import Received, Receiver, receiving
from tests.support.runtime import Runtime
from tests.support.snippets import PROJECT, blocks_of_kind
from tests.support.wait import wait_until

ALL = ["generation.completed", "generation.failed", "generation.retrying", "generation.started"]
RETRIED = ["generation.started", "generation.retrying", "generation.started"]
PATIENCE_SECONDS = 40


@pytest.fixture(scope="module")
def own_settings() -> Mapping[str, str]:
    """Let receivers be on this machine, and shorten the schedule."""
    return {
        "WEBHOOK_PRIVATE_NETWORKS": "true",
        "WEBHOOK_RETRY_SECONDS": "0.2,0.2,0.2,0.2,0.2",
        "WEBHOOK_TIMEOUT_SECONDS": "2",
    }


@pytest.fixture
def receiver(own_runtime: Runtime) -> Iterator[Receiver]:
    """Give a receiver of a runtime that has no webhooks."""
    assert own_runtime.services.webhooks.list() == []
    with receiving() as receiver:
        yield receiver


def create(runtime: Runtime, url: str | None, events: list[str] = ALL) -> dict[str, Any]:
    """Create a webhook of the workspace `default`, and return it with its secret."""
    body = {"events": events} | ({} if url is None else {"url": url})
    answer = runtime.api.client.post("/v1/webhooks", json=body)
    assert answer.status_code == 201, answer.text
    webhook: dict[str, Any] = answer.json()
    return webhook


def webhook_now(runtime: Runtime, webhook: Mapping[str, Any]) -> dict[str, Any]:
    """Return a webhook as it is now."""
    found: dict[str, Any] = runtime.api.client.get(f"/v1/webhooks/{webhook['id']}").json()
    return found


def deliveries(runtime: Runtime, webhook: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the deliveries of a webhook, oldest first."""
    path = f"/v1/webhooks/{webhook['id']}/deliveries"
    items: list[dict[str, Any]] = runtime.api.client.get(path).json()["items"]
    return items[::-1]


def named(received: Received) -> tuple[str, str]:
    """Return the event and the job of a request."""
    return received.event["type"], received.event["data"]["id"]


def without_tokens(value: Any) -> Any:
    """Return a job without the tokens of its addresses."""
    if isinstance(value, dict):
        return {name: without_tokens(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_tokens(part) for part in value]
    return value.partition("?token=")[0] if isinstance(value, str) else value


def test_events_are_delivered_signed_and_in_order(own_runtime: Runtime, receiver: Receiver) -> None:
    """The last one shows the job as GET does; the secret is shown once."""
    runtime, path = own_runtime, "/ok"
    webhook = create(runtime, receiver.url(path))
    job = runtime.api.finish(runtime.api.submit("[[fail:1]] a red mug"))
    wanted = [*RETRIED, "generation.completed"]
    wait_until(lambda: receiver.types_at(path) == wanted, PATIENCE_SECONDS, "all events")
    for received in receiver.at(path):
        Webhook(webhook["secret"]).verify(received.body, dict(received.headers))
        assert len(received.body) < 20_000
        assert received.event["data"]["id"] == job["id"]
    last = receiver.at(path)[-1].event
    assert last["data"] == without_tokens(runtime.api.get(job))
    assert [each.event["data"]["status"] for each in receiver.at(path)] == [
        *("processing", "pending", "processing", "completed")
    ]
    assert [len(each.event["data"]["attempts"]) for each in receiver.at(path)] == [0, 1, 1, 2]
    assert "secret" not in webhook_now(runtime, webhook)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 44).verify(received.body, dict(received.headers))


@pytest.mark.parametrize("manner", ["500-302-429-ok", "reset-ok", "hang-ok", "503-reset-ok"])
def test_failed_deliveries_are_repeated_under_their_id(
    own_runtime: Runtime, receiver: Receiver, manner: str
) -> None:
    """In order, until each is answered with 2xx; a redirect is not followed."""
    runtime, path = own_runtime, f"/{manner}"
    webhook = create(runtime, receiver.url(path))
    runtime.api.finish(runtime.api.submit("[[reject]] a red mug"))

    def are_delivered() -> bool:
        return [each["delivered_at"] is not None for each in deliveries(runtime, webhook)] == [
            *(True, True)
        ]

    wait_until(are_delivered, PATIENCE_SECONDS, "both events to be delivered")
    assert receiver.types_at(path) == ["generation.started", "generation.failed"]
    ids = [each.id for each in receiver.at(path)]
    assert len({each.body for each in receiver.at(path)}) == 2, "the same at each try"
    tries = len(manner.split("-"))
    assert [ids.count(one) for one in dict.fromkeys(ids)] == [tries, tries]
    assert ids == sorted(ids, key=ids.index), "the second event waits for the first"
    assert not receiver.at("/redirected/ok")
    assert webhook_now(runtime, webhook)["failing_since"] is None


def test_receiver_that_is_gone_is_disabled(own_runtime: Runtime, receiver: Receiver) -> None:
    """It gets nothing more until its owner enables it again."""
    runtime, path = own_runtime, "/410"
    webhook = create(runtime, receiver.url(path))
    runtime.api.finish(runtime.api.submit("a red mug"))
    wait_until(lambda: webhook_now(runtime, webhook)["disabled_at"], PATIENCE_SECONDS, "the end")
    assert webhook_now(runtime, webhook)["disabled_reason"] == "answered 410"
    missed = runtime.api.finish(runtime.api.submit("a blue mug"))
    assert len(receiver.at(path)) == 1
    change = {"is_enabled": True, "url": receiver.url("/ok")}
    answer = runtime.api.client.patch(f"/v1/webhooks/{webhook['id']}", json=change)
    assert (answer.status_code, answer.json()["disabled_at"]) == (200, None)
    job = runtime.api.finish(runtime.api.submit("a green mug"))
    wanted = ("generation.completed", job["id"])
    wait_until(
        lambda: wanted in [named(received) for received in receiver.at("/ok")],
        *(PATIENCE_SECONDS, "the events of the next job"),
    )
    assert missed["id"] not in [job_id for _, job_id in map(named, receiver.at("/ok"))]


def test_receiver_that_always_fails_is_disabled(own_runtime: Runtime, receiver: Receiver) -> None:
    """Once a delivery has used up its schedule; the owner can have it sent again."""
    runtime = own_runtime
    webhook = create(runtime, receiver.url("/500"), ["generation.failed"])
    runtime.api.finish(runtime.api.submit("[[reject]] a red mug"))
    wait_until(lambda: webhook_now(runtime, webhook)["disabled_at"], PATIENCE_SECONDS, "the end")
    [given_up] = deliveries(runtime, webhook)
    assert (given_up["tries"], given_up["next_try_at"]) == (6, None)
    assert (given_up["status_code"], given_up["error"]) == (500, "answered 500")
    path = f"/v1/webhooks/{webhook['id']}"
    change = {"is_enabled": True, "url": receiver.url("/ok")}
    assert runtime.api.client.patch(path, json=change).is_success
    again = runtime.api.client.post(f"/v1/webhooks/deliveries/{given_up['id']}/resend")
    assert again.status_code == 202, again.text
    wait_until(lambda: receiver.at("/ok"), PATIENCE_SECONDS, "it to be sent again")
    assert (
        receiver.at("/ok")[0].id == f"msg_{UUID(given_up['id']).hex}" == receiver.at("/500")[0].id
    )


def test_one_slow_receiver_delays_no_other(own_runtime: Runtime, receiver: Receiver) -> None:
    """Nor any job: the others get everything while it has answered nothing."""
    runtime = own_runtime
    create(runtime, receiver.url("/hang"))
    quick = create(runtime, receiver.url("/ok"), ["generation.completed"])
    jobs = [runtime.api.submit(f"mug {number}") for number in range(6)]
    for job in jobs:
        runtime.api.finish(job)
    wait_until(lambda: len(receiver.at("/ok")) == 6, PATIENCE_SECONDS, "the others")
    assert receiver.at("/hang")
    wait_until(
        lambda: all(each["delivered_at"] for each in deliveries(runtime, quick)),
        *(PATIENCE_SECONDS, "their notes"),
    )


def test_request_names_its_own_receiver(own_runtime: Runtime, receiver: Receiver) -> None:
    """Signed by the webhook without a URL, which has to be there; it gets that job alone."""
    runtime, api = own_runtime, own_runtime.api
    order = {"prompt": "a red mug", "size": "256x256", "webhook_url": receiver.url("/ok")}
    refused = api.client.post("/v1/generations", json=order)
    assert api.problem(refused) == (422, "invalid_request")
    webhook = create(runtime, None)
    job = api.finish(api.submit("a red mug", webhook_url=receiver.url("/ok")))
    api.finish(api.submit("a blue mug"))
    wait_until(lambda: receiver.at("/ok"), PATIENCE_SECONDS, "the event")
    [received] = receiver.at("/ok")
    Webhook(webhook["secret"]).verify(received.body, dict(received.headers))
    assert (received.event["type"], received.event["data"]["id"]) == (
        *("generation.completed", job["id"]),
    )


def test_receiver_of_a_request_that_is_gone_gets_no_more_of_its_job(
    own_runtime: Runtime, receiver: Receiver
) -> None:
    """Neither what waits by then nor what happens later; other jobs are as before."""
    runtime, api = own_runtime, own_runtime.api
    webhook = create(runtime, None)
    named_by_request = {"webhook_url": receiver.url("/410"), "webhook_events": ALL}
    job = api.submit("a green mug [[rate-limit:4]]", **named_by_request)
    wait_until(lambda: receiver.at("/410"), PATIENCE_SECONDS, "the first event")
    api.finish(job)
    wait_until(
        lambda: all(each["next_try_at"] is None for each in deliveries(runtime, webhook)),
        *(PATIENCE_SECONDS, "the rest of the job's events to be dropped"),
    )
    assert len(receiver.at("/410")) == 1
    api.finish(api.submit("a red mug", webhook_url=receiver.url("/ok")))
    wait_until(lambda: receiver.at("/ok"), PATIENCE_SECONDS, "the event of another job")
    assert webhook_now(runtime, webhook)["disabled_at"] is None


def test_long_job_is_cut_to_the_size_of_a_payload(own_runtime: Runtime, receiver: Receiver) -> None:
    """What does not fit is left empty; the rest says what happened."""
    create(own_runtime, receiver.url("/ok"), ["generation.completed"])
    labels = {f"label-{number}": "\U0001f3fa" * 255 for number in range(16)}
    prompt = "\U0001f3fa" * 4000
    job = own_runtime.api.finish(own_runtime.api.submit(prompt, metadata=labels))
    wait_until(lambda: receiver.at("/ok"), PATIENCE_SECONDS, "the event")
    [received] = receiver.at("/ok")
    assert len(received.body) < 20_000
    data = received.event["data"]
    assert (data["metadata"], data["attempts"]) == ({}, [])
    assert [image["id"] for image in data["images"]] == [image["id"] for image in job["images"]]


def test_new_secret_signs_beside_the_one_before(own_runtime: Runtime, receiver: Receiver) -> None:
    """Receivers may change theirs within a day."""
    runtime = own_runtime
    webhook = create(runtime, receiver.url("/ok"), ["generation.completed"])
    path = f"/v1/webhooks/{webhook['id']}"
    changed = runtime.api.client.patch(path, json={"rotates_secret": True}).json()
    assert changed["secret"] not in (None, webhook["secret"])
    runtime.api.finish(runtime.api.submit("a red mug"))
    wait_until(lambda: receiver.at("/ok"), PATIENCE_SECONDS, "the event")
    [received] = receiver.at("/ok")
    for secret in (webhook["secret"], changed["secret"]):
        Webhook(secret).verify(received.body, dict(received.headers))


def test_lost_machine_loses_no_event(own_runtime: Runtime, receiver: Receiver) -> None:
    """Each delivery that was on its way is sent again, under its id."""
    runtime = own_runtime
    create(runtime, receiver.url("/hang-ok"), ["generation.completed"])
    runtime.api.finish(runtime.api.submit("a red mug"))
    wait_until(lambda: receiver.at("/hang-ok"), PATIENCE_SECONDS, "the first try")
    runtime.kill_machine()
    runtime.start()
    wait_until(lambda: len(receiver.at("/hang-ok")) > 1, PATIENCE_SECONDS, "the second try")
    first, second, *_ = receiver.at("/hang-ok")
    assert (first.id, first.body) == (second.id, second.body)


@pytest.mark.timeout(400)
def test_no_event_is_lost_while_all_goes_wrong(own_runtime: Runtime, receiver: Receiver) -> None:
    """Seven receivers, each with a fault, while processes are killed and PostgreSQL restarts."""
    play_webhooks(own_runtime, receiver, 3, (kill_and_start, restart_postgres), 100)


def test_webhooks_of_other_workspaces_get_nothing(own_runtime: Runtime, receiver: Receiver) -> None:
    """Each workspace has webhooks of its own, and its jobs are sent to them alone."""
    api = own_runtime.api
    with api.client_of(OTHER_WORKSPACE) as stranger:
        body = {"url": receiver.url("/theirs/ok"), "events": ALL}
        assert stranger.post("/v1/webhooks", json=body).status_code == 201
        create(own_runtime, receiver.url("/ok"))
        api.finish(api.submit("a red mug"))
        wait_until(lambda: len(receiver.at("/ok")) == 2, PATIENCE_SECONDS, "the events")
        assert not receiver.at("/theirs/ok")
        assert len(stranger.get("/v1/webhooks").json()["items"]) == 1


def listens(port: int) -> bool:
    """Return whether a program takes connections on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_receiver_of_the_guide_verifies_what_it_gets(own_runtime: Runtime, tmp_path: Path) -> None:
    """The program of docs/webhooks.md, as a process."""
    [block] = blocks_of_kind("webhooks", PROJECT / "docs" / "webhooks.md")
    port = free_port()
    webhook = create(own_runtime, f"http://127.0.0.1:{port}/", ["generation.completed"])
    environment = {**os.environ, "PORT": str(port), "WEBHOOK_SECRET": webhook["secret"]}
    printed = tmp_path / "printed"
    with printed.open("w") as output:
        program = subprocess.Popen(
            [sys.executable, "-c", block.text], env=environment, stdout=output
        )
        try:
            wait_until(lambda: listens(port), PATIENCE_SECONDS, "the program to listen")
            job = own_runtime.api.finish(own_runtime.api.submit("a red mug"))
            wait_until(printed.read_text, PATIENCE_SECONDS, "the event")
        finally:
            program.kill()
            program.wait()
    assert printed.read_text().split()[1:3] == ["generation.completed", job["id"]]


def test_private_addresses_are_refused(runtime: Runtime) -> None:
    """Unless a setting allows them: no connection is made, and no plain HTTP is sent."""
    api = runtime.api
    plain = api.client.post("/v1/webhooks", json={"url": "http://shop.example/hook"})
    assert api.problem(plain) == (422, "invalid_request")
    with receiving() as receiver:
        url = receiver.url("/ok").replace("http://", "https://")
        webhook = create(runtime, url)
        path = f"/v1/webhooks/{webhook['id']}"
        job = api.finish(api.submit("a red mug"))
        found = wait_until(
            lambda: [each for each in deliveries(runtime, webhook) if each["error"]],
            *(PATIENCE_SECONDS, "a try"),
        )
        assert found[0]["error"] == "its address is refused: it leads into a private network"
        assert api.client.delete(path).status_code == 204
        assert api.get(job)["status"] == "completed"


def test_operators_see_and_mend_webhooks_that_fail(
    own_runtime: Runtime, receiver: Receiver
) -> None:
    """On the command line: the one that was disabled, what it missed, and all of that again."""
    runtime, path = own_runtime, "/410-ok"
    webhook = create(runtime, receiver.url(path), ["generation.completed"])
    job = runtime.api.finish(runtime.api.submit("a red mug"))
    [failing] = wait_until(
        lambda: printed(runtime, "list", "--failing")["items"], PATIENCE_SECONDS, "a notice"
    )
    assert (failing["id"], failing["state"]) == (webhook["id"], "disabled")
    assert (failing["workspace_id"], failing["disabled_reason"]) == ("default", "answered 410")
    [delivery] = printed(runtime, "deliveries", webhook["id"])["items"]
    assert (delivery["job_id"], delivery["status_code"]) == (job["id"], 410)
    assert printed(runtime, "enable", webhook["id"])["state"] == "working"
    assert printed(runtime, "resend", webhook["id"], "--since", "1h") == {"resent": 1}
    wait_until(lambda: len(receiver.at(path)) == 2, PATIENCE_SECONDS, "it to be sent again")
    sent = f"msg_{UUID(delivery['id']).hex}"
    assert [each.id for each in receiver.at(path)] == [sent, sent]


def printed(runtime: Runtime, *words: str) -> dict[str, Any]:
    """Return what a command of `darkroom webhooks` prints."""
    done = darkroom(runtime.environment, "webhooks", *words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
