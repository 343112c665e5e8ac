"""The HTTP API as the command line uses it: requests out, jobs and errors of ours back.

Addresses that the API signs are secrets: none is logged, and no error names one.
"""

import ipaddress
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from httpx_sse import EventSource, connect_sse
from pydantic import BaseModel, ValidationError

from cli.errors import ApiProblem, ApiUnreachable
from shared.api.schemas import ImageBody, JobBody, PageBody, ProblemBody
from shared.errors import ConfigurationError
from shared.settings import ClientSettings

READ_TIMEOUT_SECONDS = 35.0
"""More than the 15 s between two comments of a stream, and the 30 s a Lambda function may take."""

TIMEOUT = httpx.Timeout(READ_TIMEOUT_SECONDS, connect=5.0)

_JOBS = "/v1/generations"

Body = TypeVar("Body", bound=BaseModel)


class ApiClient:
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
            self.address = _without_credentials(url)
            self._client = httpx.Client(base_url=url, timeout=TIMEOUT, trust_env=not _is_here(url))
        except (httpx.InvalidURL, ValueError):
            raise ConfigurationError("settings: DARKROOM_URL is not a valid address") from None
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def submit(self, order: Mapping[str, Any], idempotency_key: str) -> JobBody:
        """Submit a job; the same key and order give the same job."""
        headers = {"Idempotency-Key": idempotency_key, "Content-Type": "application/json"}
        # Escaped, so that bytes which are no text are the API's to refuse.
        body = json.dumps(order).encode()
        return self._read(JobBody, self._ask("POST", _JOBS, headers, content=body))

    def get(self, job_id: UUID) -> JobBody:
        """Return a job as it is now, with new signed addresses."""
        return self._read(JobBody, self._ask("GET", f"{_JOBS}/{job_id}"))

    def page(
        self, limit: int, statuses: Sequence[str] = (), product_id: str | None = None
    ) -> PageBody:
        """Return the newest jobs."""
        query: dict[str, Any] = {"limit": limit, "status": list(statuses)}
        if product_id is not None:
            query["product_id"] = product_id
        return self._read(PageBody, self._ask("GET", _JOBS, params=query))

    def cancel(self, job_id: UUID, timeout_seconds: float = READ_TIMEOUT_SECONDS) -> JobBody:
        """Ask for the end of a job and return it as it is then."""
        path = f"{_JOBS}/{job_id}/cancel"
        return self._read(JobBody, self._ask("POST", path, timeout=timeout_seconds))

    def load(self, image: ImageBody) -> bytes:
        """Return the bytes of an image, from its signed address."""
        with self._reaching():
            answer = self._client.get(image.url, follow_redirects=True)
        self._check(answer)
        return answer.content

    @contextmanager
    def open_events(self, job: JobBody, after_id: str | None) -> Iterator[EventSource]:
        """Open the event stream of a job, after an event; its response may be a 204."""
        headers = {"Last-Event-ID": after_id} if after_id else {}
        with (
            self._reaching(),
            connect_sse(self._client, "GET", job.urls.events, headers=headers) as source,
        ):
            if source.response.is_error:
                source.response.read()
            self._check(source.response)
            media_type = source.response.headers.get("content-type", "")
            if source.response.status_code == 200 and "text/event-stream" not in media_type:
                raise self._stranger()
            yield source

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        with self._reaching():
            answer = self._client.request(
                method, path, headers={**self._headers, **(headers or {})}, **options
            )
        self._check(answer)
        return answer

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
        except (httpx.InvalidURL, httpx.DecodingError, httpx.TooManyRedirects):
            raise self._stranger() from None

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        with suppress(ValidationError):
            problem = ProblemBody.model_validate_json(answer.content)
            raise ApiProblem(answer.status_code, problem.code, problem.detail, _wait_of(answer))
        if answer.status_code < 500:
            raise self._stranger()
        # What stands in front of the API may be there when the API is not.
        detail = f"the API at {self.address} answers {answer.status_code} {answer.reason_phrase}"
        raise ApiProblem(answer.status_code, "service_unavailable", detail, _wait_of(answer))

    def _read(self, kind: type[Body], answer: httpx.Response) -> Body:
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError:
            raise self._stranger() from None

    def _stranger(self) -> ApiProblem:
        return ApiProblem(
            404, "not_found", f"{self.address} does not answer as the API of Darkroom does"
        )


def _authorization_of(settings: ClientSettings) -> Mapping[str, str]:
    if settings.darkroom_api_key is None:
        return {}
    key = settings.darkroom_api_key.get_secret_value()
    if re.fullmatch(r"[\x21-\x7e]+", key) is None:
        raise ConfigurationError("settings: DARKROOM_API_KEY is not a key")
    return {"Authorization": f"Bearer {key}"}


def _without_credentials(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _wait_of(answer: httpx.Response) -> float | None:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None


def _is_here(address: str) -> bool:
    """Return whether the address is this machine's own, for which no proxy is to be asked."""
    host = urlsplit(address).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
