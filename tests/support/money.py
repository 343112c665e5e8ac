"""One job after another, each with a fault at another moment; then its bills against its ledger.

A fault is a connection that is cut, or the death of the worker. A worker that dies does nothing
more: whatever it would have called afterwards refuses.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from shared.adapters.disk_images import DiskImageStore
from shared.deadline import Deadline, MainThreadInterrupt
from shared.events.publisher import EventPublisher
from shared.generation.announce import Announcer
from shared.generation.charges import ChargePolicy
from shared.generation.ending import AttemptEnding
from shared.generation.handler import GenerationHandler, RuntimeTraits
from shared.generation.lease import LeaseKeeper
from shared.generation.purchases import OpenBills
from shared.imaging.providers.registry import registered
from shared.imaging.service import ImageService
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.job_store import JobStore
from shared.jobs.retry import RetryPolicy
from tests.support.builders import build_settings, new_job
from tests.support.cut_proxy import Cut, Traffic, cutting_proxy
from tests.support.database import Database, Row

ATTEMPTS = 4
PICTURES = 2


class Killed(BaseException):
    """The worker has died."""


@dataclass(slots=True)
class Life:
    """How many steps a worker lives; None means to the end.

    Attributes:
        steps: How many it has taken.
    """

    ends_before: int | None = None
    steps: int = 0

    def step(self) -> None:
        """Take a step, or die before it; the dead stay dead."""
        if self.ends_before is not None and self.steps >= self.ends_before:
            raise Killed
        self.steps += 1


class Mortal:
    """What a worker calls; each call is a step before it and a step after it."""

    def __init__(self, called: Any, life: Life) -> None:
        self._called, self._life = called, life

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._called, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            self._life.step()
            answer = value(*arguments, **named)
            self._life.step()
            return answer

        return call


@dataclass(frozen=True)
class Fault:
    """When the first attempt of a job is disturbed; nothing is set if it is not.

    Attributes:
        connection: Which connection to the provider is cut, from 0.
        kills_before: The step of the worker that it does not live to see.
    """

    connection: int = 0
    cut: Cut | None = None
    kills_before: int | None = None


@dataclass(frozen=True)
class Biller:
    """A provider that bills.

    Attributes:
        count: Returns how many pictures it has billed so far.
        settings: Of Darkroom, by name; `{url}` stands for its address.
        repeats_answers: A repeated request gets the answer of the first, and is not billed.
    """

    name: str
    url: str
    settings: Mapping[str, Any]
    price: int
    count: Callable[[], int]
    repeats_answers: bool = False


@dataclass(slots=True)
class Run:
    """What became of one job.

    Attributes:
        bills: How many pictures were billed in each of its attempts.
        lines: Its ledger.
        kept_of: Which attempts the images are of that were kept.
        steps: Of the worker in its first attempt.
        traffic: Of each connection of its first attempt.
    """

    fault: Fault
    bills: list[int] = field(default_factory=list)
    lines: list[Row] = field(default_factory=list)
    job: Row = field(default_factory=dict)
    kept_of: set[str] = field(default_factory=set)
    steps: int = 0
    traffic: list[Traffic] = field(default_factory=list)

    def assert_bills_are_in_the_ledger(self, biller: Biller) -> None:
        """Each attempt's bill is in its line, with its price, or stated to be in doubt.

        A second bill for a picture is preceded by a line in doubt.
        """
        doubtful = made = 0
        is_in_doubt = False
        for line, billed in zip(self.lines, self.bills, strict=True):
            price = line["price_microdollars"] or 0
            if line["charge_state"] == "unknown":
                is_in_doubt = True
                doubtful += billed * biller.price - price
            else:
                # An answer that is repeated shows the bill that was in doubt.
                shown = billed * biller.price
                shown += doubtful if biller.repeats_answers and price and not billed else 0
                assert price == shown, (self, line)
                assert (line["charge_state"] == "charged") == (shown > 0), (self, line)
            made += billed
            assert made <= PICTURES or is_in_doubt, self


class Till:
    """Runs jobs of one provider, in this process, with the handler of the product."""

    def __init__(
        self,
        biller: Biller,
        engine: Engine,
        database: Database,
        publisher: EventPublisher,
        folder: Path,
    ) -> None:
        self._biller, self._engine, self._publisher = biller, engine, publisher
        self._database = database
        self._images = DiskImageStore(folder)
        self._jobs = JobStore(engine)

    def faults(self, step_bytes: int) -> Iterator[Fault]:
        """Yield every moment of a job that meets none: of its connections, and of its worker."""
        plain = self.run(Fault())
        for number, traffic in enumerate(plain.traffic):
            for sent in range(0, traffic.sent, step_bytes):
                yield Fault(number, Cut(sent_bytes=sent))
            for received in range(0, traffic.received, step_bytes):
                yield Fault(number, Cut(received_bytes=received))
        for step in range(plain.steps):
            yield Fault(kills_before=step)

    def run(self, fault: Fault, accepted: str = "retry") -> Run:
        """Run a job to its end, and ask for the bills that were left open."""
        job_id, database = self._submit(accepted), self._database
        run = Run(fault)
        cuts = [*[None] * fault.connection, fault.cut]
        life = Life(fault.kills_before)
        with cutting_proxy(self._biller.url, *cuts, traffic=run.traffic) as url:
            handler = self._handler(url, life)
            self._attempt(handler, job_id, run)
            run.steps = life.steps
            life.ends_before = None
            while database.job(job_id)["finished_at"] is None and len(run.bills) < ATTEMPTS:
                database.expire_lease(job_id)
                self._attempt(handler, job_id, run)
            if handler.bills is not None:
                # An image may not have been ready when its bill was asked for the first time.
                database.pass_time_between_asks(job_id)
                handler.bills.ask(Deadline(30))
        run.lines, run.job = database.attempts(job_id), database.job(job_id)
        images = database.images(job_id)
        run.kept_of = {image["storage_key"].split("/")[1] for image in images}
        # An attempt that has died before its claim has no line, and no bill.
        del run.bills[: len(run.bills) - len(run.lines)]
        return run

    def _submit(self, accepted: str) -> UUID:
        new = new_job(n=PICTURES, max_attempts=ATTEMPTS)
        params = {**new.params, "size": "1024x1024", "on_unknown_charge": accepted}
        return self._jobs.insert(replace(new, params=params)).id

    def _attempt(self, handler: GenerationHandler, job_id: UUID, run: Run) -> None:
        before = self._biller.count()
        with suppress(Killed):
            handler.handle(str(job_id), Deadline(60))
        run.bills.append(self._biller.count() - before)

    def _handler(self, url: str, life: Life) -> GenerationHandler:
        values = {name: _with(value, url) for name, value in self._biller.settings.items()}
        settings = build_settings(ai_mock_mode=False, image_provider=self._biller.name, **values)
        declared = registered()[self._biller.name]
        charges = ChargePolicy("retry")
        later = [declared.name] if declared.makes_later else []
        store = AttemptStore(
            self._engine,
            runtime="celery",
            owner="host:1",
            lease_seconds=30,
            time_limit_seconds=120,
            models=settings.models.providers,
            later=later,
        )
        attempts: Any = Mortal(store, life)
        images: Any = Mortal(self._images, life)
        publisher: Any = Mortal(self._publisher, life)
        announcer = Announcer(self._jobs, self._publisher)
        providers = {declared.name: declared.connect(settings)}
        return GenerationHandler(
            attempts,
            publisher,
            LeaseKeeper(store, 30, MainThreadInterrupt()),
            settings.models,
            ImageService(providers),
            images,
            charges,
            AttemptEnding(attempts, announcer, RetryPolicy(0, 0), charges, settings.models),
            RuntimeTraits((), lambda: False),
            OpenBills(store, providers),
        )


def _with(value: Any, url: str) -> Any:
    return value.format(url=url) if isinstance(value, str) else value
