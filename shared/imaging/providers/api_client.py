"""The HTTP client of the providers: one request a call, without retries or redirections.

It distinguishes what never left this machine, which costs nothing, from what may have been billed.
Imported where a provider is built: httpx takes a while to import.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import httpx

from shared import __version__
from shared.deadline import Deadline
from shared.errors import AttemptError, SoftTimeLimitReached
from shared.imaging.provider import ChargeState
from shared.imaging.providers import error_rules
from shared.imaging.providers.bounded_body import UnreadableBody, bounded_body
from shared.imaging.providers.error_rules import ErrorRule
from shared.imaging.providers.hanging_up import hanging_up, trace_of

CONNECT_SECONDS = 5.0
ANSWER_MAX_BYTES = 128 * 1024 * 1024
"""Of one answer: ten pictures of 9 MB, in base64."""

USER_AGENT = f"Darkroom/{__version__}"

_REQUEST_ID_MAX_CHARS = 255
"""What the ledger keeps."""

_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,  # a header that HTTP does not allow
)
"""What httpx raises before the first byte of a request goes out."""


@dataclass(slots=True)
class Answer:
    """The answer to one request, read as it comes."""

    response: httpx.Response
    deadline: Deadline
    _pieces: Iterator[bytes] = field(init=False)

    def __post_init__(self) -> None:
        encoding = self.response.headers.get("content-encoding", "")
        raw = self.response.iter_raw()
        self._pieces = bounded_body(raw, encoding, ANSWER_MAX_BYTES, self.deadline)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by names in small letters."""
        return self.response.headers

    @property
    def media_type(self) -> str:
        """The type of the body, without parameters; empty if it has none."""
        return str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()

    @property
    def request_id(self) -> str | None:
        """The server's own id of the call."""
        return self.headers.get("x-request-id", "")[:_REQUEST_ID_MAX_CHARS] or None

    def start(self) -> bytes:
        """Return how the body begins, without white space; it is read again by the others."""
        read = list[bytes]()
        begin = b""
        # Some servers send blanks while they work, so that no proxy ends the connection.
        while len(begin) < len("retry:") and (piece := next(self._pieces, None)) is not None:
            read.append(piece)
            begin = (begin + piece).lstrip(b"\xef\xbb\xbf \t\r\n")
        self._pieces = chain(read, self._pieces)
        return begin

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes."""
        return self._pieces

    def read(self) -> bytes:
        """Return the whole body."""
        return b"".join(self._pieces)


class ApiClient:
    """Makes requests to one API.

    Args:
        base_url: Before every path.
        headers: Of every request; the key is among them.
        silence_seconds: The longest wait for the next byte.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], silence_seconds: float) -> None:
        self.base_url = base_url
        self._headers = {**headers, "User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        self._silence_seconds = silence_seconds
        # A connection that lay idle may be dead, and a call on it would perhaps be billed.
        self._client = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))

    @contextmanager
    def opened(
        self, method: str, path: str, deadline: Deadline, **request: Any
    ) -> Iterator[Answer]:
        """Send a request and yield its answer, whatever its status.

        Args:
            method: Of HTTP.
            path: After the base address, or a whole address.
            deadline: Bounds all of it.
            request: `headers`, `json`, `data` and `files`, as httpx takes them.

        Raises:
            ProviderUnavailable, ProviderTimeout: Also in the body, while the answer is read.
            SoftTimeLimitReached: The deadline has passed.
        """
        headers = {**self._headers, **request.pop("headers", {})}
        address = path if "://" in path else f"{self.base_url}{path}"
        silence = httpx.Timeout(
            deadline.timeout(self._silence_seconds), connect=deadline.timeout(CONNECT_SECONDS)
        )
        try:
            sent = self._client.build_request(
                method, address, headers=headers, timeout=silence, **request
            )
        except (httpx.InvalidURL, ValueError, TypeError) as error:
            raise _not_sent(error_rules.NOT_CONNECTED, error, deadline) from error
        try:
            with hanging_up(deadline) as watch:
                sent.extensions["trace"] = trace_of(watch)
                response = self._client.send(sent, stream=True)
                try:
                    yield Answer(response, deadline)
                finally:
                    response.close()
        except _NOT_SENT as error:
            is_late = isinstance(error, httpx.TimeoutException)
            rule = error_rules.CONNECT_TIMEOUT if is_late else error_rules.NOT_CONNECTED
            raise _not_sent(rule, error, deadline) from error
        except httpx.TimeoutException as error:
            deadline.check()
            raise _lost(error_rules.ANSWER_TIMEOUT, error) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            deadline.check()
            raise _lost(error_rules.NO_ANSWER, error) from error
        except UnreadableBody as error:
            deadline.check()
            raise error_rules.NO_ANSWER.error(f"The provider's answer {error}") from error


def _not_sent(rule: ErrorRule, error: Exception, deadline: Deadline) -> AttemptError:
    try:
        deadline.check()
    except SoftTimeLimitReached as limit:
        # Perhaps the time of the attempt itself has run out.
        limit.charge_state = ChargeState.NONE.value
        return limit
    return rule.error(f"The connection to the provider failed ({type(error).__name__})")


def _lost(rule: ErrorRule, error: Exception) -> AttemptError:
    name = type(error).__name__
    if rule is error_rules.ANSWER_TIMEOUT:
        return rule.error(f"The provider did not answer in time ({name})")
    return rule.error(f"The connection to the provider failed ({name})")
