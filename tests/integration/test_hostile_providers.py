"""Providers whose answers never end, grow without bound or lead elsewhere cost little and end."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from shared import addresses
from tests.support.hostile_api import ANSWERS, HostileApi

DEADLINE_SECONDS = 3.0
PATIENCE_SECONDS = 60
MEBIBYTES_AT_MOST = 700
"""More than one answer of 128 MiB, as bytes, as text and decoded; half of what one cost before."""

CALL = """
import json, re, sys, time
from shared.deadline import Deadline
from shared.errors import AttemptError
from shared.imaging.providers.answers import parse
from shared.imaging.providers.api_client import ApiClient
from shared.imaging.providers.event_stream import is_event_stream, read_events

url, name, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
found, started_at = {}, time.monotonic()
try:
    client = ApiClient(url, {}, 2)
    with client.opened("POST", "/images", Deadline(seconds), json={"prompt": name}) as answer:
        found["status"] = answer.status
        if is_event_stream(answer.start(), answer.media_type):
            found["events"] = sum(1 for _ in read_events(answer.pieces()))
        else:
            found["parsed"] = parse(answer.read()) is not None
except AttemptError as error:
    found["code"] = error.code
found["seconds"] = time.monotonic() - started_at
# Not ru_maxrss, which counts the memory of the parent before the exec (proc(5), VmHWM).
[peak] = re.findall(r"VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())
found["mebibytes"] = int(peak) / 1024
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def hostile() -> Iterator[HostileApi]:
    """Give the provider."""
    with HostileApi() as api:
        yield api


def call(hostile: HostileApi, name: str) -> Mapping[str, Any]:
    """Return what becomes of a call, in a process of its own."""
    arguments = (f"{hostile.url}/v1", f"<<{name}>>", str(DEADLINE_SECONDS))
    done = subprocess.run(
        [sys.executable, "-c", CALL, *arguments],
        capture_output=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", [name for name in ANSWERS if not name.startswith("echo")])
def test_no_answer_takes_much_memory_or_lasts_longer_than_the_deadline(
    hostile: HostileApi, name: str
) -> None:
    """Whether it is a head, a body, compressed, or valid JSON of a hundred million parts."""
    found = call(hostile, name)
    assert found["mebibytes"] < MEBIBYTES_AT_MOST
    assert found["seconds"] < DEADLINE_SECONDS + 15
    assert not found.get("parsed", False) or name == "after-gzip"


@pytest.mark.parametrize("name", ["endless-head", "endless-100"])
def test_an_answer_that_drips_ends_at_the_deadline(hostile: HostileApi, name: str) -> None:
    """No wait for a byte is longer than a timeout, and together they are longer than any."""
    assert call(hostile, name)["code"] == "soft_time_limit"


def test_no_redirection_is_followed(hostile: HostileApi) -> None:
    """It would take the key along."""
    hostile.paths.clear()
    assert call(hostile, "redirect")["status"] == 307
    assert hostile.paths == ["/v1/images"]


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("93.184.216.34", True),
        ("::ffff:93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("::ffff:127.0.0.1", False),
        ("::127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d822", False),
        ("64:ff9b:1::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2002:5db8:d822::1", False),
        ("2001:0:7f00:1::1", False),
        ("2001:db8::1", False),
        ("fec0::1", False),
        ("fe80::1%lo", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("224.0.0.1", False),
        ("100.64.0.1", False),
    ],
)
def test_only_public_addresses_are_fetched_from(address: str, is_public: bool) -> None:
    """None that carries another one: NAT64, 6to4, Teredo; none of an old or a local kind."""
    assert addresses.is_public(address) is is_public
