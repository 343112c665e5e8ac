"""The two requests of the FLUX API: buy an image, ask for it. Used by `flux_images`.

The key goes to the host of FLUX_BASE_URL alone, and to the regional hosts of Black Forest Labs.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import getproxies

import structlog

from shared.addresses import AddressRefused, find_address
from shared.deadline import Deadline
from shared.errors import AttemptError, one_line
from shared.imaging.provider import ChargeState, ProviderCall, Purchase
from shared.imaging.providers import error_rules
from shared.imaging.providers.answers import parse, refusal_in
from shared.imaging.providers.api_client import Answer, ApiClient
from shared.imaging.providers.error_rules import find_rule, retry_after_seconds
from shared.imaging.providers.flux import ENDS, ERRORS, FluxSettings
from shared.imaging.styles import STYLES

MICRODOLLARS_A_CREDIT = 10_000
"""github.com/black-forest-labs/skills, `skills/bfl-api/SKILL.md`: a credit is a cent."""

ASK_SECONDS = 10.0
NAME_MAX_CHARS = 255
ADDRESS_MAX_CHARS = 2048

_HOSTS = re.compile(r"api(\.(eu|us)[0-9]?)?\.bfl\.ai")
_NAME = re.compile(rb'"id"\s*:\s*"([A-Za-z0-9_-]{8,255})"')
_UNKNOWN = "Task not found"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """How an image stands.

    Attributes:
        status: In the words of the API.
        sample: The address of the image, if it is ready.
        sentence: The status, and what else the API says.
    """

    status: str
    sample: str | None = None
    price_microdollars: int | None = None
    sentence: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether it is being made; the API has more words for that than it documents."""
        is_end = any(self.status in rule.words for rule in ENDS)
        return self.sample is None and not is_end and self.status != "Ready"

    @property
    def is_unknown(self) -> bool:
        """Whether the API knows no such image, or not any more."""
        return self.status == _UNKNOWN

    @property
    def charge_state(self) -> ChargeState:
        """What is known of its bill, once it is not pending."""
        is_charged = (
            self.sample is not None
            if self.price_microdollars is None
            else (self.price_microdollars > 0)
        )
        return ChargeState.CHARGED if is_charged else ChargeState.NONE


class FluxApi:
    """Buys images and asks for them."""

    def __init__(self, settings: FluxSettings) -> None:
        key = settings.flux_api_key
        secret = "" if key is None else key.get_secret_value()
        self._base = settings.flux_base_url
        self._client = ApiClient(self._base, {"x-key": secret}, settings.flux_timeout_seconds)
        silence_seconds = min(ASK_SECONDS, settings.flux_timeout_seconds)
        self._asking = ApiClient(self._base, {"x-key": secret}, silence_seconds)

    def buy(self, call: ProviderCall, purchase: Purchase) -> Purchase:
        """Order an image; return the purchase with its name.

        Raises:
            AttemptError: The order was refused, or its answer was lost.
        """
        body = _request_of(call, purchase.position)
        data, is_accepted = bytearray(), False
        try:
            with self._client.opened("POST", f"/{call.model}", call.deadline, json=body) as answer:
                is_accepted = answer.status == 200
                for piece in answer.pieces():
                    data += piece
        except AttemptError as error:
            # The answer was cut off, perhaps behind the name.
            cut = _NAME.search(data)
            if cut is None or not is_accepted or error.charge_state is None:
                raise
            return self._named(purchase, {"id": cut[1].decode()})
        found = parse(bytes(data))
        if answer.status != 200:
            raise _refusal(answer, found, data)
        if not isinstance(found, Mapping) or not isinstance(found.get("id"), str):
            call.deadline.check()
            raise error_rules.EMPTY.error("The provider's answer has no id")
        return self._named(purchase, found)

    def ask(self, purchase: Purchase, deadline: Deadline) -> Report:
        """Ask how an image stands.

        Raises:
            AttemptError: The API does not answer.
        """
        with self._asking.opened("GET", purchase.address, deadline) as answer:
            data = answer.read()
        found = parse(data)
        if not isinstance(found, Mapping) or not isinstance(found.get("status"), str):
            if answer.status != 200:
                raise _refusal(answer, found, data)
            raise error_rules.NO_ANSWER.error("The provider's answer has no status")
        result = found.get("result")
        sample = result.get("sample") if isinstance(result, Mapping) else None
        status = found["status"][:64]
        is_ready = status == "Ready" and isinstance(sample, str) and bool(sample)
        said = refusal_in(found, "").sentence
        return Report(
            status,
            sample if is_ready else None,
            _price_of(found),
            one_line(f"{status}: {said}" if said else status),
        )

    def _named(self, purchase: Purchase, answer: Mapping[str, Any]) -> Purchase:
        name = str(answer["id"])[:NAME_MAX_CHARS]
        address = answer.get("polling_url")
        if not isinstance(address, str) or not may_have_key(address, self._base):
            if address:
                log.warning("address of an image not used: it is of another host")
            address = f"{self._base}/get_result?id={quote(name, safe='')}"
        return replace(
            purchase, request_id=name, address=address, price_microdollars=_price_of(answer)
        )


def may_have_key(address: str, base_url: str) -> bool:
    """Return whether an address may be sent the key of the API at `base_url`."""
    try:
        parts, base = urlsplit(address), urlsplit(base_url)
        place, own_place = (parts.scheme, parts.netloc), (base.scheme, base.netloc)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if len(address) > ADDRESS_MAX_CHARS:
        return False
    if place == own_place:
        return True
    is_regional = _HOSTS.fullmatch(host) and _HOSTS.fullmatch(base.hostname or "")
    if not is_regional or parts.scheme != "https" or port not in (None, 443) or "@" in parts.netloc:
        return False
    try:
        # A proxy may know names that this machine does not.
        return bool(getproxies().get("https") or find_address(host, 443))
    except AddressRefused:
        return False


def _request_of(call: ProviderCall, position: int) -> dict[str, Any]:
    width, height = call.params.size_px
    body: dict[str, Any] = {
        "prompt": f"{call.params.prompt}\n\n{STYLES[call.params.style].description}",
        "width": width,
        "height": height,
        "seed": call.seed_of(position),
        "output_format": "png",
    }
    for number, each in enumerate(call.references, 1):
        name = "input_image" if number == 1 else f"input_image_{number}"
        body[name] = b64encode(each.data).decode()
    return body


def _price_of(answer: Mapping[str, Any]) -> int | None:
    cost = answer.get("cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < 10**9:
        return None
    return round(cost * MICRODOLLARS_A_CREDIT)


def _refusal(answer: Answer, body: Any, data: bytes | bytearray) -> AttemptError:
    said = refusal_in(body, bytes(data[:4000]).decode("utf-8", "replace"))
    rule = find_rule(ERRORS, said.words, answer.status) or error_rules.NO_ANSWER
    return rule.error(
        one_line(f"The provider answered {answer.status}: {said.sentence}"),
        retry_after_seconds=retry_after_seconds(answer.headers),
        provider_code=said.code or str(answer.status),
        request_id=answer.request_id,
    )
