"""The HTTP API as the command line uses it: requests out, jobs and errors of ours back.

Addresses that the API signs are secrets: none is logged, and no error names one.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from httpx_sse import EventSource, connect_sse
from pydantic import BaseModel, ValidationError

from cli.errors import ApiProblem, ApiUnreachable
from shared.api.schemas import (
    AssetBody,
    ImageBody,
    JobBody,
    PageBody,
    ProblemBody,
    QuoteBody,
)
from shared.errors import ConfigurationError
from shared.imaging.media_types import media_type_of
from shared.settings import ClientSettings, load_client_settings

READ_TIMEOUT_SECONDS = 35.0
"""More than the 15 s between two comments of a stream, and the 30 s a Lambda function may take."""

TIMEOUT = httpx.Timeout(READ_TIMEOUT_SECONDS, connect=5.0)

_JOBS = "/v1/generations"
_STRANGE = (httpx.InvalidURL, httpx.DecodingError, httpx.TooManyRedirects, ValidationError)

Body = TypeVar("Body", bound=BaseModel)


class ApiClient(AbstractContextManager["ApiClient"]):
    """A connection to the API; every method raises ApiProblem or ApiUnreachable.

    Attributes:
        address: Of the API, as it may be shown.

    Raises:
        ConfigurationError: The address or the key cannot be one.
    """

    def __init__(self, settings: ClientSettings) -> None:
        # For requests of ours alone: a signed address may lead to another machine.
        self._headers = _authorization_of(settings)
        url = settings.darkroom_url
        try:
            self.address = str(httpx.URL(url).copy_with(userinfo=b""))
            # No proxy leads to this machine.
            is_here = urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
            self._client = httpx.Client(base_url=url, timeout=TIMEOUT, trust_env=not is_here)
        except (httpx.InvalidURL, ValueError):
            raise ConfigurationError("settings: DARKROOM_URL is not a valid address") from None

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def submit(self, order: Mapping[str, Any], idempotency_key: str) -> JobBody:
        """Submit a job; the same key and order give the same job."""
        headers = {"Idempotency-Key": idempotency_key, "Content-Type": "application/json"}
        # Escaped, so that bytes which are no text are the API's to refuse.
        body = json.dumps(order).encode()
        return self._ask(JobBody, "POST", _JOBS, headers=headers, content=body)

    def upload(self, data: bytes) -> AssetBody:
        """Store a picture; the API says what is wrong with one."""
        # AVIF is the one that is not known by its first bytes here.
        headers = {"Content-Type": media_type_of(data) or "image/avif"}
        return self._ask(AssetBody, "POST", "/v1/assets", headers=headers, content=data)

    def quote(self, order: Mapping[str, Any]) -> QuoteBody:
        """Return what an order would cost; no job is submitted."""
        headers, body = {"Content-Type": "application/json"}, json.dumps(order).encode()
        dry_run = {"dry_run": "true"}
        return self._ask(QuoteBody, "POST", _JOBS, headers=headers, content=body, params=dry_run)

    def get(self, job_id: UUID) -> JobBody:
        """Return a job as it is now, with new signed addresses."""
        return self._ask(JobBody, "GET", f"{_JOBS}/{job_id}")

    def page(
        self,
        limit: int,
        statuses: Sequence[str] = (),
        product_id: str | None = None,
        model: str | None = None,
    ) -> PageBody:
        """Return the newest jobs."""
        filters = {"product_id": product_id, "model": model}
        chosen = {name: value for name, value in filters.items() if value is not None}
        query: dict[str, Any] = {"limit": limit, "status": list(statuses), **chosen}
        return self._ask(PageBody, "GET", _JOBS, params=query)

    def cancel(self, job_id: UUID, timeout_seconds: float = READ_TIMEOUT_SECONDS) -> JobBody:
        """Ask for the end of a job and return it as it is then."""
        path = f"{_JOBS}/{job_id}/cancel"
        return self._ask(JobBody, "POST", path, timeout=timeout_seconds)

    def load(self, image: ImageBody) -> bytes:
        """Return the bytes of an image, from its signed address."""
        with self._reaching():
            return self._client.get(image.url, follow_redirects=True).raise_for_status().content

    @contextmanager
    def open_events(self, job: JobBody, after_id: str | None) -> Iterator[EventSource]:
        """Open the event stream of a job, after an event; its response may be a 204."""
        headers = {"Last-Event-ID": after_id} if after_id else {}
        with (
            self._reaching(),
            connect_sse(self._client, "GET", job.urls.events, headers=headers) as source,
        ):
            answer = source.response
            if answer.is_error:
                answer.read()
            answer.raise_for_status()
            media_type = answer.headers.get("content-type", "")
            if answer.status_code == 200 and "text/event-stream" not in media_type:
                raise self._stranger()
            yield source

    def _ask(self, kind: type[Body], method: str, path: str, **options: Any) -> Body:
        headers = {**self._headers, **options.pop("headers", {})}
        with self._reaching():
            answer = self._client.request(method, path, headers=headers, **options)
            return kind.model_validate_json(answer.raise_for_status().content)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or "no answer"
            raise ApiUnreachable(self.address, reason, was_sent=False) from error
        except httpx.TransportError as error:
            reason = str(error) or "the connection was lost"
            raise ApiUnreachable(self.address, reason, was_sent=True) from error
        except httpx.HTTPStatusError as error:
            raise self._problem_of(error.response) from None
        except _STRANGE:
            raise self._stranger() from None

    def _problem_of(self, answer: httpx.Response) -> ApiProblem:
        status, wait = answer.status_code, answer.headers.get("retry-after", "")
        retry_after_seconds = float(wait) if wait.isdecimal() else None
        with suppress(ValidationError):
            problem = ProblemBody.model_validate_json(answer.content)
            return ApiProblem(status, problem.code, problem.detail, retry_after_seconds)
        if status < 500:
            return self._stranger()
        # What stands in front of the API may be there when the API is not.
        detail = f"the API at {self.address} answers {status} {answer.reason_phrase}"
        return ApiProblem(status, "service_unavailable", detail, retry_after_seconds)

    def _stranger(self) -> ApiProblem:
        return ApiProblem(
            404, "not_found", f"{self.address} does not answer as the API of Darkroom does"
        )


def connect() -> ApiClient:
    """Return a connection to the API of DARKROOM_URL; for a `with` block."""
    return ApiClient(load_client_settings())


def _authorization_of(settings: ClientSettings) -> Mapping[str, str]:
    if settings.darkroom_api_key is None:
        return {}
    key = settings.darkroom_api_key.get_secret_value()
    if re.fullmatch(r"[\x21-\x7e]+", key) is None:
        raise ConfigurationError("settings: DARKROOM_API_KEY is not a key")
    return {"Authorization": f"Bearer {key}"}
