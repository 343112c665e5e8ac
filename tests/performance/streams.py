"""Event streams of one API process: latency, memory and connections, against two others.

Latency against a raw subscriber of the same events in the same moments; memory and connections
against the usual way (`usual_streams`), which is measured afterwards in the same manner.
"""

import math
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from devkit.stack import StackOptions, embedded_stack
from shared.events.keys import unprefixed as keys
from shared.imaging.request import GenerationRequest
from shared.jobs.acceptance import NewJob
from shared.jobs.migration import migrate
from shared.jobs.model import Job
from shared.settings import load_settings
from shared.wiring import Services
from tests.performance.stream_processes import Listeners, Publisher, latencies_ms
from tests.performance.web_process import WebProcess

STREAMS = 1_000
ROUNDS = 5
ROUND_SECONDS = 4.0
WARM_UP_SECONDS = 2.0
FIRST_STREAMS = 50
"""Opened and closed before memory is looked at: first requests import, connect and compile."""

ARRIVAL_SECONDS = 1.0
"""What the last events get to arrive."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds from publish to the client, and how many events came."""

    p50: float
    p99: float
    events: int


@dataclass(frozen=True)
class Streams:
    """What was measured of one server.

    Attributes:
        rounds: Of its clients, and of the raw subscriber in the same seconds.
        burst: The same for an event to every job at once.
        connections: Its connections to Redis: subscribed, reading streams, all.
        cpu: Share of a processor that it used during the rounds.
    """

    rounds: list[tuple[Latency, Latency]]
    burst: tuple[Latency, Latency]
    kb_a_stream: float
    connections: tuple[int, int, int]
    cpu: float


@dataclass(frozen=True)
class StreamComparison:
    """The API, and the usual way."""

    ours: Streams
    usual: Streams

    def describe(self) -> str:
        """Return the figures as lines."""
        memory = self.ours.kb_a_stream / self.usual.kb_a_stream
        return (
            f"ours:  {_describe_latency(self.ours)}\n"
            f"    usual: {_describe_latency(self.usual)}\n"
            f"    memory ratio {memory:.2f}; a stream: ours {self.ours.kb_a_stream:.1f} KB,"
            f" usual {self.usual.kb_a_stream:.1f} KB\n"
            f"    Redis connections: ours {_describe_connections(self.ours)};"
            f" usual {_describe_connections(self.usual)}"
        )


def compare_streams(streams: int = STREAMS, rounds: int = ROUNDS) -> StreamComparison:
    """Open the same streams at both, one after the other, against the same servers."""
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_stack(options=StackOptions(tcp_redis=True)) as stack,
    ):
        os.environ.update(stack.environment)
        os.environ.update(MAX_STREAMS=str(2 * streams), IMAGE_DIR=folder, LOG_LEVEL="INFO")
        migrate(load_settings().database_url)
        jobs = _insert_jobs(streams)
        task_ids = [job.task_id for job in jobs]
        paths = [f"/v1/generations/{job.id}/events" for job in jobs]
        ours = _measure("local.api", Path(folder), paths, task_ids, rounds)
        paths = [f"/events/{task_id}" for task_id in task_ids]
        usual = _measure("tests.performance.usual_streams", Path(folder), paths, task_ids, rounds)
        return StreamComparison(ours, usual)


def _insert_jobs(count: int) -> list[Job]:
    request = GenerationRequest(prompt="a red mug", size="256x256", style="minimal", seed=7)
    new = NewJob("default", None, None, request.params().as_row(), 3)
    with Services(load_settings()) as services:
        return [services.jobs.insert(new) for _ in range(count)]


def _measure(
    module: str, folder: Path, paths: Sequence[str], task_ids: Sequence[str], rounds: int
) -> Streams:
    raw_wanted = {
        "redis_url": os.environ["REDIS_URL"],
        "channels": [keys.channel(task_id) for task_id in task_ids],
    }
    with WebProcess(module, os.environ, folder / f"{module}.log").running() as server:
        with Listeners({"port": server.port, "paths": paths[:FIRST_STREAMS]}) as first:
            first.finish()
        before_kb = server.settled_kb()
        with (
            Publisher(task_ids) as publisher,
            Listeners({"port": server.port, "paths": paths}) as clients,
            Listeners(raw_wanted) as raw,
        ):
            publisher.spread(WARM_UP_SECONDS)
            kb_a_stream = (server.settled_kb() - before_kb) / len(paths)
            connections = _count_connections(server)
            publisher.spread(WARM_UP_SECONDS)
            began, cpu = time.monotonic(), server.cpu_seconds()
            windows = [publisher.spread(ROUND_SECONDS) for _ in range(rounds)]
            cpu = (server.cpu_seconds() - cpu) / (time.monotonic() - began)
            time.sleep(ARRIVAL_SECONDS)
            windows.append(publisher.burst())
            time.sleep(ARRIVAL_SECONDS)
            received, raw_received = clients.finish(), raw.finish()
    pairs = [
        (_latency(latencies_ms(received, window)), _latency(latencies_ms(raw_received, window)))
        for window in windows
    ]
    return Streams(pairs[:-1], pairs[-1], kb_a_stream, connections, cpu)


def _latency(sorted_ms: Sequence[float]) -> Latency:
    if len(sorted_ms) < 2:
        return Latency(math.inf, math.inf, len(sorted_ms))
    cuts = statistics.quantiles(sorted_ms, n=100)
    return Latency(cuts[49], cuts[98], len(sorted_ms))


def _count_connections(server: WebProcess) -> tuple[int, int, int]:
    ports = server.tcp_ports()
    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        ours = [
            client
            for client in redis.client_list()
            if int(client["addr"].rpartition(":")[2]) in ports
        ]
    subscribed = sum(1 for client in ours if int(client["sub"]) > 0)
    reading = sum(1 for client in ours if client["cmd"] in ("xread", "xrange"))
    return subscribed, reading, len(ours)


def _describe_latency(streams: Streams) -> str:
    p50 = [ours.p50 - raw.p50 for ours, raw in streams.rounds]
    p99 = [ours.p99 - raw.p99 for ours, raw in streams.rounds]
    raw_p50 = statistics.median(raw.p50 for _, raw in streams.rounds)
    raw_p99 = statistics.median(raw.p99 for _, raw in streams.rounds)
    burst, raw_burst = streams.burst
    lost = sum(raw.events - ours.events for ours, raw in streams.rounds)
    return (
        f"p50 {_spread(p50)} ms and p99 {_spread(p99)} ms over raw"
        f" ({raw_p50:.2f} and {raw_p99:.2f} ms); {lost} events lost, CPU {streams.cpu:.0%};"
        f" burst p50 {burst.p50:.0f} ms, raw {raw_burst.p50:.0f} ms"
    )


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):+.2f} ({min(values):+.2f} to {max(values):+.2f})"


def _describe_connections(streams: Streams) -> str:
    subscribed, reading, count = streams.connections
    return f"{subscribed} subscribed, {reading} reading, {count} in all"


if __name__ == "__main__":
    print(compare_streams().describe())
