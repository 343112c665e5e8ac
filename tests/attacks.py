"""What an attack costs: `make attacks`, on both runtimes, as a Markdown table.

Each line says what the attacker got, how much memory the processes took, and how long the answers
to clients that mean no harm took meanwhile. The clients on both sides are processes of their own;
`lag` is how late the clients that measure woke up, which is no fault of the server.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from PIL import Image

from devkit.runtimes import RUNTIMES, ApiProcess
from tests.support.api import KEYED, OTHER_WORKSPACE, PATIENCE_SECONDS, SMALL, Api, ApiWithFewFiles
from tests.support.hostile_api import HostileApi
from tests.support.prober import Probe
from tests.support.raw_http import connected, pause, read_to_end
from tests.support.runtime import TIMINGS, Runtime
from tests.support.wait import wait_until
from tests.support.watching import HEALTH, Watch, crowd, watching

MEGABYTE = 1_000_000
SETTINGS = {**KEYED, "EVENT_WINDOW_SECONDS": "20", "MAX_OPEN_JOBS": "100000"}
PROBE_SECONDS = 0.2
SANDBOXES = 20
"""Of the local Lambda gateway."""

ORDER = json.dumps({"prompt": "a mug", **SMALL})
HEAD = b"POST /v1/generations HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
COLUMNS = (
    *("attack", "runtime", "what happened", "s", "MB before to peak"),
    *("ms p50 / p99 / max", "other workspace, the same", "lag ms p99, max", "load"),
)


class ApiWithUsualFiles(ApiWithFewFiles):
    """An API that may open as many files as most systems allow a process by default."""

    files = 1_024


@dataclass(frozen=True)
class Ground:
    """What is attacked.

    Attributes:
        scale: Of all sizes: 1 for those of the table.
    """

    runtime: Runtime
    api: Api
    scale: float

    @property
    def port(self) -> int:
        """Where the API listens."""
        return int(urlsplit(self.api.url).port or 0)

    def size(self, full: float) -> int:
        """Return a number of bytes, clients or seconds, by the scale."""
        return max(1, round(full * self.scale))

    def head(self, path: str, workspace_id: str = "default", **headers: str) -> bytes:
        """Return the head of a request with a key, of a POST if it has a length."""
        method = "POST" if "Content_Length" in headers else "GET"
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {self.api.keys[workspace_id]}",
            *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def upload(self, data: bytes, media_type: str, **headers: str) -> bytes:
        """Return a whole request that uploads a picture."""
        length = {"Content_Length": str(len(data)), "Content_Type": media_type}
        return self.head("/v1/assets", **length, **headers) + data

    def probe(self, method: str, path: str, body: str | None = None, **headers: str) -> Probe:
        """Return a request of the other workspace, to be repeated."""
        key = {"Authorization": f"Bearer {self.api.keys[OTHER_WORKSPACE]}"}
        kind = {} if body is None else {"Content-Type": headers.pop("kind", "application/json")}
        return Probe(method, path, {**key, **kind, **headers}, body)


def flood(ground: Ground, head: bytes, piece: bytes, megabytes: float) -> str:
    """Send a head and then a piece again and again, over one connection after the other."""
    wanted, taken, seen = ground.size(megabytes * MEGABYTE), 0, Counter[str]()
    block, until = piece * (65_536 // len(piece) + 1), time.monotonic() + ground.size(5)
    while time.monotonic() < until:
        with connected(ground.api.url) as connection, ThreadPoolExecutor(1) as threads:
            connection.settimeout(PATIENCE_SECONDS)
            answer = threads.submit(read_to_end, connection)
            sent = 0
            with suppress(OSError):
                connection.sendall(head)
                while sent < wanted:
                    connection.sendall(block)
                    sent += len(block)
            taken = max(taken, sent)
            statuses = [line[:3].decode() for line in answer.result().split(b"HTTP/1.1 ")[1:]]
        seen[f"{len(statuses)} times {statuses[0]}" if statuses else "disconnected"] += 1
    most = f"at most {taken / MEGABYTE:.1f} of {wanted / MEGABYTE:.0f} MB sent"
    return f"{seen.total()} connections, {most}, answers: {dict(seen)}"


def half_requests(ground: Ground) -> str:
    """More connections than the API may have, each with half of a request."""
    with crowd(ground.port, ground.size(1_100), HEAD) as seen:
        pause(ground.size(10))
    return f"{ground.size(1_100)} half requests: {dict(seen)}"


def streams(ground: Ground, count: int, seconds: float = 10) -> str:
    """Streams of one workspace, of a job that does not start."""
    with ground.runtime.paused():
        request = _stream(ground)
        with crowd(ground.port, ground.size(count), request, answered=True) as seen:
            pause(ground.size(seconds))
    return f"{ground.size(count)} streams: {dict(seen)}"


def waits(ground: Ground) -> str:
    """Requests of one workspace that wait for a job that does not start."""
    with ground.runtime.paused():
        path = ground.api.submit("a mug")["urls"]["self"]
        request = ground.head(path, Prefer="wait=25")
        with crowd(ground.port, ground.size(40), request, answered=True) as seen:
            pause(ground.size(5))
    return f"{ground.size(40)} waits: {dict(seen)}"


def stalled_readers(ground: Ground) -> str:
    """Readers of a signed address of a picture, who do not read."""
    buffer = BytesIO()
    Image.effect_noise((1_700, 1_700), 100).save(buffer, "PNG")
    headers = {"Content-Type": "image/png"}
    asset = ground.api.client.post("/v1/assets", content=buffer.getvalue(), headers=headers).json()
    request = f"GET {asset['url']} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with crowd(ground.port, ground.size(60), request, answered=True) as seen:
        pause(ground.size(10))
    return f"{ground.size(60)} readers of {asset['size_bytes']} bytes: {dict(seen)}"


def picture(ground: Ground, make: Callable[[Ground], bytes], media_type: str) -> str:
    """Upload a picture that is costly to decode."""
    data = make(ground)
    headers = {"Content-Type": media_type}
    answer = ground.api.client.post("/v1/assets", content=data, headers=headers)
    return f"{len(data)} bytes: {answer.status_code} {answer.json().get('detail', '')}"


def empty_scans(ground: Ground) -> bytes:
    """Return a progressive JPEG whose last scan comes again and again."""
    buffer = BytesIO()
    Image.new("RGB", (3000, 2000), "red").save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * ground.size(54_652) + data[-2:]


def many_pixels(ground: Ground, kind: str = "WEBP") -> bytes:
    """Return a small file of 49 million pixels."""
    buffer = BytesIO()
    side = ground.size(7_000)
    options = {"lossless": True, "quality": 0, "method": 0} if kind == "WEBP" else {}
    Image.new("RGB", (side, side)).save(buffer, kind, **options)
    return buffer.getvalue()


def hostile_provider(ground: Ground, answer: str) -> str:
    """Have a provider answer a job so that it does harm."""
    job = ground.api.submit(f"<<{answer}>>", size="1024x1024")
    rows = ground.runtime.finish(ground.runtime.services.get(job["id"]), 300)
    error = (rows.job["error"] or {}).get("code")
    return f"{rows.job['status']} {error}, {len(rows.attempts)} attempts"


def odd_requests(ground: Ground) -> str:
    """Times that no clock shows, cursors at the edge, hosts that are none."""
    seen = Counter[str]()
    for moment in ("2026-01-01T00:00:00+16:00", "2026-01-01T00:00:00-23:59", "9999-12-31T23:59-15"):
        for name in ("created_after", "created_before", "cursor"):
            answer = ground.api.client.get("/v1/generations", params={name: moment})
            seen[f"{'cursor' if name == 'cursor' else 'time'} {answer.status_code}"] += 1
    for host in ("localhost:1:2", "localhost:port", "local host", "[::1", "a,b", "a/b"):
        answer = httpx.get(f"{ground.api.url}/healthz", headers={"Host": host})
        seen[f"host {answer.status_code}"] += 1
    return str(dict(seen))


def large_picture(ground: Ground) -> str:
    """Read a picture that has more bytes than a Lambda function may answer with."""
    job = ground.api.finish(ground.api.submit("a mug"))
    [key] = ground.runtime.saved_keys(ground.runtime.services.get(job["id"]))
    data = os.urandom(ground.size(8 * MEGABYTE))
    (ground.runtime.image_dir / key).write_bytes(data)
    with httpx.Client(base_url=ground.api.url, follow_redirects=True) as client:
        answer = client.get(job["images"][0]["url"])
    same = "the same bytes" if answer.content == data else f"{len(answer.content)} other bytes"
    return f"{len(data)} bytes: {answer.status_code}, {same}"


def everything(ground: Ground) -> str:
    """Slow clients, streams and uploads at once, for so many seconds."""
    port, upload = ground.port, many_pixels(ground, "JPEG")
    with ground.runtime.paused(), ExitStack() as undo:
        stream = _stream(ground, Connection="close")
        bomb = ground.upload(upload, "image/jpeg", Connection="close")
        many = ground.size(1_000)
        slow = undo.enter_context(crowd(port, many, HEAD, drip_seconds=1.0, reopen_seconds=1.0))
        following = undo.enter_context(crowd(port, many, stream, answered=True, reopen_seconds=2.0))
        uploads = undo.enter_context(crowd(port, 16, bomb, answered=True, reopen_seconds=0.1))
        pause(ground.size(60))
    # Complete only now, when the clients have ended.
    return f"{many} slow: {dict(slow)}, {many} streams: {dict(following)}, bomb: {dict(uploads)}"


def _stream(ground: Ground, **headers: str) -> bytes:
    """Return a request for the events of a job that does not start, behind those it has."""
    job, redis = ground.api.submit("a mug"), ground.runtime.redis_client
    key = f"task_events:{ground.runtime.services.get(job['id']).task_id}"
    entries: Any = wait_until(lambda: redis.xrevrange(key, count=1), 10, "an event")
    path = f"{job['urls']['self']}/events"
    return ground.head(path, Last_Event_ID=entries[0][0], **headers)


@dataclass(frozen=True)
class Attack:
    """One line of the table.

    Attributes:
        kind: Of the API or the runtime that it needs: one that may open few files, or one whose
            provider is hostile.
    """

    play: Callable[[Ground], str]
    kind: str = "usual"


ATTACKS: Mapping[str, Attack] = {
    "200 MB of small headers": Attack(partial(flood, head=HEAD, piece=b"a:b\r\n", megabytes=200)),
    "63 MB of pipelined GETs": Attack(partial(flood, head=b"", piece=GET, megabytes=63)),
    "one long header": Attack(partial(flood, head=HEAD + b"x: ", piece=b"y", megabytes=63)),
    "trailers": Attack(
        partial(flood, head=CHUNKED + b"2\r\n{}\r\n0\r\n", piece=b"a:b\r\n", megabytes=63)
    ),
    "half requests at 1,024 files": Attack(half_requests, "few files"),
    "streams of one workspace at 1,024 files": Attack(partial(streams, count=1_000), "few files"),
    "30 streams of one workspace": Attack(partial(streams, count=30)),
    "40 waits of one workspace": Attack(waits),
    "stalled readers of a picture": Attack(stalled_readers),
    "JPEG of empty scans": Attack(partial(picture, make=empty_scans, media_type="image/jpeg")),
    "WebP of 49 megapixels": Attack(partial(picture, make=many_pixels, media_type="image/webp")),
    "odd times, cursors and hosts": Attack(odd_requests),
    "picture above 6 MB": Attack(large_picture),
    **{
        f"provider: {answer}": Attack(partial(hostile_provider, answer=answer), "hostile")
        for answer in ("endless-body", "bomb", "endless-head", "endless-headers", "objects")
    },
    "all at once": Attack(everything),
}


@contextmanager
def grounds(name: str, scale: float) -> Iterator[Callable[[str], Ground]]:
    """Give what is attacked, by its kind: each is started at its first use."""
    with tempfile.TemporaryDirectory(prefix="attacks-") as folder, ExitStack() as undo:
        # Root's PostgreSQL runs under another account, which must get through.
        Path(folder).chmod(0o711)
        made: dict[str, Ground] = {}

        def start(kind: str, settings: Mapping[str, str]) -> Runtime:
            place = Path(folder) / kind.replace(" ", "-")
            place.mkdir()
            return undo.enter_context(closing(Runtime(name, place, {**TIMINGS, **settings})))

        def ground_of(kind: str) -> Ground:
            if kind in made:
                return made[kind]
            api_kind: type[ApiProcess] = ApiProcess
            if kind == "hostile":
                provider = undo.enter_context(HostileApi())
                runtime = start(kind, provider.environment("sk-0123456789abcdef"))
            elif kind == "few files":
                runtime, api_kind = ground_of("usual").runtime, ApiWithUsualFiles
            else:
                runtime = start(kind, {})
            log_path = Path(folder) / f"{kind}-api.log"
            api = Api(name, runtime.environment, SETTINGS, log_path, api_kind)
            undo.callback(api.close)
            # What a sandbox costs that starts is no matter of an attack.
            api.warm(SANDBOXES)
            made[kind] = Ground(runtime, api, scale)
            return made[kind]

        yield ground_of


def measure(ground: Ground, attack: Attack) -> tuple[str, float, Watch]:
    """Play an attack once; return what happened, how long it took, and what was seen."""
    pids, probes = {"API": ground.api.process.pid}, {"healthz": HEALTH}
    if attack.kind == "hostile":
        pids = {"worker": ground.runtime.process.pid}
    else:
        probes["read"] = ground.probe("GET", "/v1/generations?limit=1")
        probes["submit"] = ground.probe("POST", "/v1/generations", ORDER)
    with watching(pids, ground.port, probes, PROBE_SECONDS) as watch:
        pause(1.0)
        began_at = time.monotonic()
        happened = attack.play(ground)
        seconds = time.monotonic() - began_at
    return happened, seconds, watch


def line_of(name: str, runtime: str, happened: str, seconds: float, watch: Watch) -> str:
    """Return a line of the table."""
    lag = watch.answers.pop("lag")
    health, *others = (
        f"{probe} {watch.times(probe)} {found['seen']}" for probe, found in watch.answers.items()
    )
    cells = (
        *(name, runtime, happened, f"{seconds:.1f}", watch.memory(), health, ", ".join(others)),
        *(f"{lag['p99']}, {lag['max']}", f"{os.getloadavg()[0]:.1f}"),
    )
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> int:
    """Play the attacks; return the exit code."""
    parser = argparse.ArgumentParser("python -m tests.attacks", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes")
    parser.add_argument("--on", choices=RUNTIMES, action="append", help="default: both")
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    options = parser.parse_args(arguments)
    say(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for runtime in options.on or RUNTIMES:
        with grounds(runtime, options.scale) as ground_of:
            for name, attack in ATTACKS.items():
                if options.only in name:
                    ground = ground_of(attack.kind)
                    ground.runtime.make_ready()
                    say(line_of(name, runtime, *measure(ground, attack)))
                    ground.runtime.forget_jobs()
    return 0


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
