"""The pool of a Celery worker: what it remembers of its children after a fault."""

from dataclasses import dataclass, field
from multiprocessing import Pipe
from types import SimpleNamespace
from typing import Any

import pytest
from celery.concurrency.asynpool import AsynPool

from local.worker.pool import Children


@dataclass(eq=False)
class Child:
    """A child process as the pool sees it."""

    alive: bool
    inqW_fd: int = 0  # noqa: N815 - billiard's name

    def _is_alive(self) -> bool:
        return self.alive


@dataclass(eq=False)
class Job:
    """A job as the pool sees it, in the hands of a child or not yet."""

    _accepted: bool
    _write_to: Child | None
    is_ready: bool = False
    discarded: bool = field(default=False, init=False)

    def ready(self) -> bool:
        """Return whether its result is there."""
        return self.is_ready

    def discard(self) -> None:
        """Note that the pool has forgotten it."""
        self.discarded = True


@pytest.fixture
def pool() -> Children:
    """Give a pool that has not started any child."""
    pool = Children.__new__(Children)
    pool._state = None  # neither running nor terminated
    pool.synack = False
    pool._cache = {}
    pool._queues = {}
    pool._waiting_to_start = set()
    pool._active_writers, pool._active_writes = set(), set()
    pool._fileno_to_outq, pool._fileno_to_synq = {}, {}
    pool._busy_workers, pool._all_inqueues = set(), set()
    pool.outbound_buffer = []
    pool.maintain_pool = lambda: None
    pool.hub_remove = lambda _connection: None
    pool.on_inqueue_close = lambda _number, _child: None
    return pool


def queues_of_child() -> tuple[Any, ...]:
    """Return the two pipes of a child, in the shape that the pool keeps them in."""
    pairs = [Pipe(duplex=False) for _ in range(2)]
    return tuple(SimpleNamespace(_reader=reader, _writer=writer) for reader, writer in pairs)


def test_numbers_of_a_dead_childs_pipes_are_forgotten(pool: Children) -> None:
    """Celery keeps them, and listens to whatever is given the number next."""
    dead, living = Child(alive=False), Child(alive=True)
    queues = queues_of_child()
    pool._fileno_to_outq.update({7: dead, 9: living})
    pool._fileno_to_synq.update({8: dead, 10: living})
    assert pool.destroy_queues(queues, dead) == 0
    assert pool._fileno_to_outq == {9: living}
    assert pool._fileno_to_synq == {10: living}
    assert all(queue._reader.closed and queue._writer.closed for queue in queues)


def test_children_at_work_stay_busy_when_the_connection_is_lost(pool: Children) -> None:
    """Only children that accepted a job and have not ended it; no number without a child."""
    waiting = Job(False, Child(True, 13))
    jobs = [
        Job(True, Child(True, 11)),
        Job(True, Child(True, 12), is_ready=True),
        waiting,
        Job(True, None),
        Job(True, Child(True, 99)),
    ]
    pool._cache = dict(enumerate(jobs))
    pool._all_inqueues.update({11, 12, 13})
    pool._busy_workers.update({11, 12, 13})
    pool.flush()
    assert pool._busy_workers == {11}
    assert waiting.discarded


def test_celery_itself_still_has_the_faults(pool: Children) -> None:
    """When this fails, `local.worker.pool` may go."""
    dead = Child(alive=False)
    pool._fileno_to_outq[7] = dead
    AsynPool.destroy_queues(pool, queues_of_child(), dead)
    pool._cache = {0: Job(True, Child(True, 11))}
    pool._busy_workers.add(11)
    AsynPool.flush(pool)
    assert (pool._fileno_to_outq, pool._busy_workers) == ({7: dead}, set())
