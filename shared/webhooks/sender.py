"""Sends deliveries: many at once, none waiting for another receiver, never in a job's way.

Run by a thread of every Celery worker's main process, and by runs of its own of the scheduled
Lambda function; any number of senders may run at once.
"""

import asyncio
import json
import random
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import structlog
from sqlalchemy import Engine

from shared import __version__, tracing
from shared.addresses import AddressRefused, find_address
from shared.errors import ServiceUnavailable
from shared.tracing import JobTrace
from shared.webhook_settings import WebhookSettings
from shared.webhooks.outbox import Answer, DueDelivery, Outbox
from shared.webhooks.signing import signed_headers

AT_ONCE = 100
"""Deliveries that one sender has on their way: sockets of one event loop, not threads."""

RUN_SECONDS = 20.0
"""How long one run takes new deliveries; the next run goes on."""

LEASE_MARGIN_SECONDS = 10.0
"""How much longer than a try may take its delivery is left to its sender."""

PAUSE_SECONDS = 1.0
"""The longest that a run waits before it looks for more."""

BODY_MAX_BYTES = 20_000
"""Of a payload [Standard Webhooks 1.0.0, "Payload"]."""

_OPTIONAL: Mapping[str, Any] = {"previews": [], "attempts": [], "metadata": {}, "prompt": ""}
"""What a body that is too long shows instead of these fields, in this order."""

JITTER = 0.1
"""How much a delay may differ from the schedule, so that deliveries do not come all at once."""

DAY_SECONDS = 24 * 3600.0

log = structlog.get_logger(__name__)
T = TypeVar("T")
Show = Callable[[DueDelivery], Mapping[str, Any]]
AroundEach = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class SendRules:
    """How deliveries are tried.

    Attributes:
        delays: Seconds from each try that fails to the next; after the last it is given up.
        timeout_seconds: Of a whole try.
        allows_private: Whether receivers may lie in private networks.
    """

    delays: tuple[float, ...]
    timeout_seconds: float
    allows_private: bool


@dataclass(slots=True)
class _Run:
    """One run of a sender: what is on its way, and the thread that talks to PostgreSQL."""

    around_each: AroundEach
    client: httpx.AsyncClient
    names: ThreadPoolExecutor
    until: float
    # One, as it needs one connection; where a fork comes between two pieces of its work.
    rows: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1))
    flying: dict[asyncio.Task[None], str] = field(default_factory=dict)

    async def do(self, work: Callable[[], T]) -> T:
        def gated() -> T:
            with self.around_each():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self.rows, gated)


class WebhookSender:
    """Sends what is due.

    Args:
        show: Returns the job of a delivery as clients see it.
    """

    def __init__(self, outbox: Outbox, show: Show, rules: SendRules) -> None:
        self._outbox = outbox
        self._show = show
        self._rules = rules
        self._tls = ssl.create_default_context()

    def send_due(self, around_each: AroundEach = nullcontext) -> int:
        """Send until nothing is due or the run has used its time; return the number of tries.

        Args:
            around_each: Entered for the length of each piece of work with PostgreSQL.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached; deliveries are due again later.
        """
        with around_each():
            taken, has_more = self._outbox.take(AT_ONCE)
        if not taken and not has_more:
            return 0
        return asyncio.run(self._send_all(taken, around_each))

    async def _send_all(self, taken: list[DueDelivery], around_each: AroundEach) -> int:
        client = httpx.AsyncClient(
            verify=self._tls,
            trust_env=False,
            timeout=None,  # noqa: S113 - a try has one bound for everything
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"User-Agent": f"Darkroom/{__version__}", "Content-Type": "application/json"},
        )
        names = ThreadPoolExecutor(AT_ONCE)
        run = _Run(around_each, client, names, time.monotonic() + RUN_SECONDS)
        sent, has_more = 0, True
        try:
            async with client:
                while True:
                    for delivery in taken:
                        task = asyncio.create_task(self._send(run, delivery))
                        run.flying[task] = delivery.receiver
                    sent += len(taken)
                    if not run.flying and not has_more:
                        return sent
                    taken, has_more = await self._take_more(run)
        finally:
            run.rows.shutdown()
            # A name server that hangs is not waited for.
            names.shutdown(wait=False)

    async def _take_more(self, run: _Run) -> tuple[list[DueDelivery], bool]:
        """Wait for the end of a delivery, or a moment; then take what is due by now."""
        if run.flying:
            done, _ = await asyncio.wait(
                run.flying, timeout=PAUSE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                del run.flying[task]
        else:
            await asyncio.sleep(PAUSE_SECONDS)
        room, busy = AT_ONCE - len(run.flying), set(run.flying.values())
        if not room or time.monotonic() >= run.until:
            return [], False
        try:
            return await run.do(partial(self._outbox.take, room, busy))
        except ServiceUnavailable as error:
            log.warning("deliveries not taken", reason=str(error))
            return [], False

    async def _send(self, run: _Run, delivery: DueDelivery) -> None:
        try:
            body = await run.do(partial(self._body_of, delivery))
            async with asyncio.timeout(self._rules.timeout_seconds):
                answer = await self._post(run, delivery, body)
        except TimeoutError:
            answer = Answer(None, f"no answer within {self._rules.timeout_seconds:g} s")
        except AddressRefused as error:
            answer = Answer(None, f"its address is refused: {error}")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            answer = Answer(None, f"not reached ({type(error).__name__})")
        except ServiceUnavailable as error:
            log.warning("delivery left", delivery_id=str(delivery.id), reason=str(error))
            return
        except Exception as error:  # One broken delivery must not stop the others.
            log.exception("delivery broke", delivery_id=str(delivery.id))
            answer = Answer(None, f"not sent ({type(error).__name__})")
        await run.do(partial(self._note, delivery, answer))

    async def _post(self, run: _Run, delivery: DueDelivery, body: bytes) -> Answer:
        url = httpx.URL(delivery.address)
        port = url.port or (443 if url.scheme == "https" else 80)
        find = partial(find_address, url.host, port, allows_private=self._rules.allows_private)
        loop = asyncio.get_running_loop()
        # The connection goes to the address that was checked, whatever the name means later.
        address = await loop.run_in_executor(run.names, find)
        message_id = f"msg_{delivery.id.hex}"
        headers = signed_headers(message_id, int(time.time()), body, delivery.secrets)
        headers["Host"] = urlsplit(delivery.address).netloc
        with _delivery_span(delivery, url.host, port) as span:
            if span.traceparent is not None:
                headers["traceparent"] = span.traceparent
            async with run.client.stream(
                "POST",
                url.copy_with(host=address),
                content=body,
                headers=headers,
                extensions={"sni_hostname": url.host},
            ) as response:
                # Its body is of no interest.
                answer = _answer_of(response)
            span.note({"http.response.status_code": answer.status_code})
            if answer.error is not None:
                span.fail(str(answer.status_code))
            return answer

    def _body_of(self, delivery: DueDelivery) -> bytes:
        data = dict(self._show(delivery))
        event = {"type": delivery.event, "timestamp": delivery.created_at.isoformat(), "data": data}
        body = _as_json(event)
        for name, blank in _OPTIONAL.items():
            if len(body) >= BODY_MAX_BYTES:
                data[name] = blank
                body = _as_json(event)
        return body

    def _note(self, delivery: DueDelivery, answer: Answer) -> None:
        delay_seconds = None if answer.error is None else self._delay_of(delivery, answer)
        try:
            changed = self._outbox.note(delivery, answer, delay_seconds)
        except ServiceUnavailable as error:
            log.warning("delivery not noted", delivery_id=str(delivery.id), reason=str(error))
            return
        if answer.error is not None:
            log.warning(
                "delivery failed",
                **{"delivery_id": str(delivery.id), "tries": delivery.tries},
                **{"reason": answer.error, "next_in_seconds": delay_seconds},
            )
        if changed is not None and changed["disabled_at"] is not None:
            log.error("webhook disabled", webhook_id=str(changed["id"]), reason=answer.error)

    def _delay_of(self, delivery: DueDelivery, answer: Answer) -> float | None:
        """Return the seconds to the next try; None if there is none."""
        if answer.status_code == 410 or delivery.tries > len(self._rules.delays):
            return None
        seconds = self._rules.delays[delivery.tries - 1]
        seconds *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load
        return max(seconds, min(answer.retry_after_seconds, DAY_SECONDS))


def _delivery_span(
    delivery: DueDelivery, host: str, port: int
) -> AbstractContextManager[tracing.Span]:
    # Not the address: the path of one may be a secret.
    attributes = {
        "http.request.method": "POST",
        "http.request.resend_count": delivery.tries - 1 or None,
        "server.address": host,
        "server.port": port,
        "darkroom.job.id": str(delivery.job["id"]),
        "darkroom.webhook.event": delivery.event,
    }
    # An event that an earlier version wrote has no traceparent.
    trace = JobTrace(UUID(str(delivery.job["id"])), delivery.job.get("traceparent"))
    return tracing.span("POST", "client", attributes, trace.place)


def _answer_of(response: httpx.Response) -> Answer:
    code = response.status_code
    if response.is_success:
        return Answer(code)
    return Answer(code, f"answered {code}", _seconds_of(response.headers.get("retry-after", "")))


def _seconds_of(retry_after: str) -> float:
    """Read a Retry-After, in seconds or as a date; 0 if it is neither."""
    try:
        if retry_after.isascii() and retry_after.isdecimal():
            return float(retry_after[:9])
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _as_json(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "backslashreplace"
    )


def build_sender(engine: Engine, settings: WebhookSettings, show: Show) -> WebhookSender:
    """Return a sender that works as the settings say."""
    delays, timeout = settings.webhook_retry_seconds, settings.webhook_timeout_seconds
    outbox = Outbox(engine, timeout + LEASE_MARGIN_SECONDS, sum(delays) / 2)
    return WebhookSender(
        outbox, show, SendRules(delays, timeout, settings.webhook_private_networks)
    )
