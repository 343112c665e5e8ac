"""Random faults for as long as you like: `make torture MINUTES=30`.

Each round has a seed of its own. Clients submit through the API and repeat what fails, cancel, and
follow events over connections that are cut. Meanwhile processes and servers are killed, frozen and
emptied. Then every promise is checked from the outside. A round that breaks one is run again with
the same seed and fewer faults, to find how few do it.
"""

import argparse
import itertools
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx

from devkit.runtimes import RuntimeProcess
from shared.errors import ServiceUnavailable
from shared.events.event import is_of_row
from shared.jobs.model import Job
from tests.support.api import SMALL, ReceivedEvent
from tests.support.calm import assert_calm, assert_saved_images_were_used
from tests.support.promises import assert_promises
from tests.support.random_faults import RandomFaults
from tests.support.redis_outages import JOBS, STATES, outlast
from tests.support.runtime import SLOTS, TIMINGS, Runtime
from tests.support.tidiness import (
    assert_keys_expire,
    assert_ledger_is_closed,
    assert_no_connection_leaks,
)
from tests.support.wait import wait_until

GROUNDS = ("celery", "lambda", "both")
"""`both`: a Celery worker and the Lambda functions take jobs from the same database."""

SCRIPTS = (
    *("", "", "", "[[slow:1]]", "[[slow:2]]", "[[fail:1]]", "[[fail:2]]", "[[rate-limit:1]]"),
    *("[[short:1]]", "[[reject]]", "[[crash:1]]", "[[crash]]", "[[block:1]]"),
)
CLIENTS = 12
FAULTS = 10
ARRIVALS_SECONDS = 4.0
PATIENCE_SECONDS = 120.0
IMAGES = 2

T = TypeVar("T")


class Round:
    """Jobs and their clients, while faults happen.

    Args:
        seed: Decides what is submitted, when clients come and go, and which faults happen.
        faults: How many.
    """

    def __init__(self, runtime: Runtime, seed: int, faults: int) -> None:
        self._runtime = runtime
        self._api = runtime.api
        self._seed = seed
        self._jobs: list[Job] = []
        self._received: dict[UUID, list[ReceivedEvent]] = {}
        self._faults = faults

    def run(self) -> Counter[str]:
        """Submit, break, wait, check; return how many jobs ended in which way.

        Raises:
            AssertionError: A promise was broken.
        """
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self._be_client, number) for number in range(CLIENTS)]
            wait_until(lambda: self._jobs, PATIENCE_SECONDS, "a job to be accepted")
            faults = RandomFaults(self._runtime, self._jobs, self._seed, harsh=True)
            faults.strike(self._faults)
            self._runtime.make_ready()
            for client in clients:
                client.result(PATIENCE_SECONDS)
        self._assert_one_job_for_each_key()
        ends: Counter[str] = Counter()
        for job in self._jobs:
            rows = self._runtime.finish(job, within=PATIENCE_SECONDS)
            assert_promises(self._runtime, job, rows, IMAGES, faults.redis_was_emptied)
            self._assert_events_came_once(job, faults.redis_was_emptied)
            assert_saved_images_were_used(self._runtime, job, rows)
            ends[rows.job["error"]["code"] if rows.job["error"] else "completed"] += 1
        return ends

    def _be_client(self, number: int) -> None:
        """Submit a job twice with one key, perhaps cancel it, and follow it to its end."""
        drawn = random.Random(f"{self._seed} {number}")
        time.sleep(drawn.uniform(0, ARRIVALS_SECONDS))
        body = {"prompt": f"a red mug {drawn.choice(SCRIPTS)}", "n": IMAGES, **SMALL}
        first, second = (
            self._ask("POST", "/v1/generations", json=body, key=f"{self._seed}-{number}")
            for _ in range(2)
        )
        assert first["id"] == second["id"], "two jobs for one key"
        job = repeat(lambda: self._runtime.services.get(UUID(first["id"])))
        self._jobs.append(job)
        if drawn.random() < 0.15:
            time.sleep(drawn.uniform(0, 1))
            self._ask("POST", f"/v1/generations/{job.id}/cancel")
        cut_after = drawn.choice((1, 2, 3, 100))
        self._received[job.id] = self._api.follow(first["urls"]["events"], cut_after=cut_after)

    def _ask(self, method: str, path: str, *, json: Any = None, key: str = "") -> dict[str, Any]:
        """Send a request until it is answered by something else than an outage."""

        def ask() -> dict[str, Any]:
            headers = {"Idempotency-Key": key} if key else {}
            try:
                answer = self._api.client.request(method, path, json=json, headers=headers)
            except httpx.TransportError as error:
                raise ServiceUnavailable(str(error)) from error
            if answer.status_code in (502, 503, 504):
                raise ServiceUnavailable(answer.text)
            assert answer.status_code < 500, answer.text
            body: dict[str, Any] = answer.json()
            return body

        return repeat(ask)

    def _assert_one_job_for_each_key(self) -> None:
        with self._runtime.database() as cursor:
            cursor.execute("SELECT count(*) FROM generation_jobs")
            assert cursor.fetchone()["count"] == CLIENTS, "a request was accepted twice, or lost"

    def _assert_events_came_once(self, job: Job, redis_was_emptied: bool) -> None:
        received = self._received[job.id]
        places = [tuple(map(int, event.id.split("-"))) for event in received]
        assert all(before < after for before, after in itertools.pairwise(places)), received
        assert [event.is_last for event in received] == [False] * (len(received) - 1) + [True]
        if redis_was_emptied:
            return
        steps = [step.as_json() for step in self._runtime.steps(job)]
        seen = [event.data for event in received]
        if is_of_row(received[-1].id):
            # Redis was unavailable at the end: what had not come by then came later, for others.
            rest = iter(steps)
            assert all(data in rest for data in seen), (received, steps)
            assert seen[-1] == steps[-1], (received, steps)
        else:
            assert seen == steps, (received, steps)


def repeat(ask: Callable[[], T]) -> T:
    """Ask until there is no outage any more.

    Raises:
        AssertionError: It lasts longer than any fault.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except ServiceUnavailable as error:
            if time.monotonic() > until:
                raise AssertionError("still unavailable") from error
            time.sleep(0.2)


@contextmanager
def ground(name: str, folder: Path) -> Iterator[Runtime]:
    """Start one runtime, or both on the servers of one."""
    with ExitStack() as undo:
        runtime = Runtime("celery" if name == "celery" else "lambda", folder, TIMINGS)
        undo.callback(runtime.close)
        if name == "both":
            environment = {**runtime.environment}
            del environment["QUEUE_URL"]
            second = RuntimeProcess("celery", environment, folder / "celery.log", SLOTS)
            undo.callback(second.kill)
            second.start()
        yield runtime


def play(runtime: Runtime, seed: int, faults: int, *, then_calm: bool = False) -> Counter[str]:
    """Run a round on a runtime that is up and has no job; see `Round.run` and `assert_calm`."""
    runtime.make_ready()
    try:
        ends = Round(runtime, seed, faults).run()
        if then_calm:
            assert_calm(runtime)
        assert_ledger_is_closed(runtime)
        assert_keys_expire(runtime.redis_client, "")
        assert_no_connection_leaks(runtime)
    finally:
        runtime.make_ready()
        runtime.forget_jobs()
    return ends


def shrink(runtime: Runtime, seed: int, faults: int) -> int:
    """Return the fewest faults with which a round has failed again."""
    fewest = faults
    for fewer in (faults // 2, faults // 4, 1):
        try:
            play(runtime, seed, fewer, then_calm=True)
        except AssertionError:
            fewest = fewer
    return fewest


def torture(names: list[str], seconds: float, seed: int, faults: int) -> int:
    """Run rounds until the time is over; return how many broke a promise."""
    started_at = time.monotonic()
    seeds = random.Random(seed)
    violations, ends = 0, Counter[str]()
    with tempfile.TemporaryDirectory(prefix="darkroom-torture-") as folder, ExitStack() as undo:
        grounds = []
        for name in names:
            (Path(folder) / name).mkdir()
            grounds.append((name, undo.enter_context(ground(name, Path(folder) / name))))
        for number in itertools.count(1):
            name, runtime = grounds[number % len(grounds)]
            drawn, began_at = seed if number == 1 else seeds.randrange(2**31), time.monotonic()
            try:
                ended = play(runtime, drawn, faults, then_calm=True)
            except AssertionError:
                violations += 1
                traceback.print_exc()
                fewest = shrink(runtime, drawn, faults)
                say(f"VIOLATION: tests.torture --on {name} --seed {drawn} --faults {fewest}")
            else:
                ends += ended
                say(
                    f"round {number} on {name}, seed {drawn}: {dict(ended)}"
                    f" in {time.monotonic() - began_at:.0f} s"
                )
            if time.monotonic() - started_at > seconds:
                break
    say(f"{number} rounds, {ends.total()} jobs: {dict(ends)}; {violations} violations")
    return violations


def outlast_redis(runtime: Runtime, times: int) -> None:
    """Let Redis be in each of its bad states so many times, in the middle of many jobs."""
    for state, seconds in STATES.items():
        for _ in range(times):
            runtime.make_ready()
            outlasted = outlast(runtime, state, seconds)
            say(
                f"redis {state.__name__} for {seconds:g} s: went on"
                f" {outlasted.went_on_after:.1f} s after its end, all {JOBS} jobs completed"
                f" {outlasted.ended_after:.1f} s later, with {outlasted.attempts} attempts"
            )
            runtime.forget_jobs()


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--faults", type=int, default=FAULTS, help="in each round")
    parser.add_argument("--on", choices=GROUNDS, action="append", help="default: all three")
    parser.add_argument("--redis", type=int, help="instead: so many times in each bad state")
    given = parser.parse_args()
    names = given.on or list(GROUNDS)
    if given.redis is not None:
        for name in names:
            with tempfile.TemporaryDirectory() as folder, ground(name, Path(folder)) as runtime:
                outlast_redis(runtime, given.redis)
        return
    say(f"--seed {given.seed}")
    sys.exit(bool(torture(names, given.minutes * 60, given.seed, given.faults)))


if __name__ == "__main__":
    main()
