"""The release step, on PostgreSQL: how many jobs get envelopes, in which order, at what cost."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from shared.database.statements import fetch_all
from shared.generation.release import Releaser
from shared.jobs.acceptance import Terms
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.job_store import JobStore
from shared.jobs.model import Claim
from shared.jobs.release_store import ReleaseRules, ReleaseStore
from shared.status import waiting
from tests.support.builders import UNPAID, ListDispatcher, new_job
from tests.support.database import Database, Insert
from tests.support.releases import RULES, SLOTS, finish, released, store_of_one_worker
from tests.support.wait import wait_until


@pytest.fixture
def store(engine: Engine, database: Database) -> ReleaseStore:
    """Give the store, with one worker of two slots."""
    return store_of_one_worker(engine)


def test_a_runtime_gets_two_envelopes_a_slot_and_no_more(
    store: ReleaseStore, insert: Insert, database: Database
) -> None:
    """One runs and one waits behind it; the rest waits in rows."""
    jobs = [insert() for _ in range(7)]
    assert released(store) == jobs[: 2 * SLOTS]
    assert released(store) == []
    row = database.job(jobs[0])
    assert (row["released_to"], row["dispatches"]) == ("celery", 1)
    finish(database, jobs[:1])
    assert released(store) == jobs[4:5]


def test_nothing_is_released_while_no_worker_is_there(store: ReleaseStore, insert: Insert) -> None:
    """Nor to one that has not been seen for long, or has stopped."""
    insert()
    store.forget_worker("host:1")
    assert (store.find_room(), released(store)) == (None, [])
    store.note_worker("host:2", SLOTS, "0", -1)
    assert (store.find_room(), released(store)) == (None, [])


def test_each_runtime_is_filled_by_itself(
    store: ReleaseStore, insert: Insert, engine: Engine
) -> None:
    """Both may use one database: what one runs takes no room of the other."""
    other = ReleaseStore(engine, ReleaseRules("lambda", "mock"))
    other.note_worker("lambda", 1, "0", 600)
    jobs = [insert() for _ in range(7)]
    assert released(store) == jobs[:4]
    assert released(other) == jobs[4:6]
    assert released(store) == released(other) == []


def test_due_retries_come_first_then_priority_then_age(store: ReleaseStore, insert: Insert) -> None:
    """A job that has begun is not sent behind the backlog; one that is not due yet waits."""
    normal, low, high = insert(), insert(priority=-1), insert(priority=1)
    insert(attempt=1, next_attempt_at="2099-01-01Z")
    retry = insert(attempt=1, next_attempt_at="2020-01-01Z")
    assert released(store) == [retry, high, normal, low]


def test_workspaces_take_turns(store: ReleaseStore, insert: Insert, database: Database) -> None:
    """The one that runs fewest goes first, however much the other has waiting."""
    north = [insert("north") for _ in range(6)]
    assert released(store) == north[:4]
    south = [insert("south") for _ in range(2)]
    finish(database, north[:2])
    assert released(store) == south
    finish(database, [*north[2:4], *south])
    assert released(store) == north[4:]


def test_paused_and_limited_workspaces_wait(
    store: ReleaseStore, insert: Insert, database: Database
) -> None:
    """Those behind them do not."""
    for name in ("paused", "limited", "free"):
        for _ in range(3):
            insert(name)
    database.fetch(
        "INSERT INTO workspace_limits (workspace_id, running_jobs, paused_at)"
        " VALUES ('paused', NULL, now()), ('limited', 1, NULL)"
    )
    rows = [database.job(job_id) for job_id in released(store)]
    assert sorted(row["workspace_id"] for row in rows) == ["free", "free", "free", "limited"]


def test_jobs_of_a_paused_provider_wait(
    store: ReleaseStore, jobs: JobStore, insert: Insert, database: Database
) -> None:
    """They are accepted all the same."""
    database.fetch("INSERT INTO paused_providers (provider) VALUES ('mock')")
    insert()
    assert released(store) == []
    assert jobs.accept(new_job(), Terms(release=RULES)).envelope is None


def test_a_default_limit_holds_for_every_workspace_without_one(
    engine: Engine, store: ReleaseStore, insert: Insert
) -> None:
    """MAX_RUNNING_JOBS."""
    for name in ("north", "north", "south"):
        insert(name)
    limited = ReleaseStore(engine, ReleaseRules("celery", "mock", running_limit=1))
    assert len(released(limited)) == 2


def test_an_accepted_job_is_released_at_once_where_there_is_room(
    store: ReleaseStore, jobs: JobStore, database: Database, insert: Insert
) -> None:
    """One commit; behind jobs that wait it takes its turn."""
    accepted = jobs.accept(new_job(), Terms(release=RULES))
    assert accepted.envelope is not None
    row = database.job(accepted.job.id)
    assert (row["envelope_id"], row["dispatches"], row["released_to"]) == (
        accepted.envelope.envelope_id, 1, "celery",
    )  # fmt: skip
    insert()
    assert jobs.accept(new_job(), Terms(release=RULES)).envelope is None
    assert jobs.accept(new_job(), Terms()).envelope is None


def test_submissions_at_once_never_fill_more_than_the_room(
    store: ReleaseStore, jobs: JobStore
) -> None:
    """They count the free slots one after another."""
    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(lambda _: jobs.accept(new_job(), Terms(release=RULES)), range(24)))
    assert sum(one.envelope is not None for one in accepted) <= 2 * SLOTS


def test_a_submission_counts_what_another_has_just_released(
    store: ReleaseStore, jobs: JobStore, database: Database
) -> None:
    """It waits for that one's commit: without the lock both would take the same slots."""
    with database.transaction() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('celery', 13))")
        for _ in range(2 * SLOTS):
            cursor.execute(
                "INSERT INTO generation_jobs (workspace_id, params, dispatched_at, released_to)"
                " VALUES ('default', '{}', now(), 'celery')"
            )
        accepting = pool.submit(jobs.accept, new_job(), Terms(release=RULES))
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory'"
        wait_until(lambda: database.fetch(waiting), 10, "the submission to wait for the lock")
        cursor.connection.commit()
        assert accepting.result(timeout=10).envelope is None


def test_due_retries_of_a_limited_workspace_hide_no_others(
    store: ReleaseStore, insert: Insert, database: Database
) -> None:
    """However many they are, and however long they are due."""
    database.fetch(
        "INSERT INTO workspaces (id, name) VALUES ('busy', 'x');"
        "INSERT INTO workspace_limits (workspace_id, running_jobs) VALUES ('busy', 0);"
        "INSERT INTO generation_jobs (workspace_id, params, attempt, next_attempt_at)"
        " SELECT 'busy', '{}', 1, '2020-01-01Z' FROM generate_series(1, 600)"
    )
    retry = insert(attempt=1, next_attempt_at="2020-01-02Z")
    fresh = insert()
    assert released(store) == [retry, fresh]


def test_workspaces_that_may_run_nothing_hide_no_others(
    store: ReleaseStore, insert: Insert, database: Database
) -> None:
    """More of them than one statement looks at; one release finds what lies behind."""
    database.fetch(
        "INSERT INTO workspaces (id, name) SELECT 'a' || n, 'x' FROM generate_series(1, 300) n;"
        "INSERT INTO workspace_limits (workspace_id, paused_at)"
        " SELECT id, now() FROM workspaces WHERE id LIKE 'a%%';"
        "INSERT INTO generation_jobs (workspace_id, params)"
        " SELECT id, '{}' FROM workspaces WHERE id LIKE 'a%%'"
    )
    job = insert("z")
    assert released(store) == [job]


def test_one_release_looks_at_all_workspaces(
    store: ReleaseStore, insert: Insert, database: Database
) -> None:
    """It goes on while there is room, also if the release before ended between two of them."""
    database.fetch(
        "INSERT INTO workspaces (id, name) SELECT 'a' || n, 'x' FROM generate_series(1, 300) n;"
        "INSERT INTO generation_jobs (workspace_id, params)"
        " SELECT id, '{}' FROM workspaces WHERE id LIKE 'a%%'"
    )
    store.note_worker("host:1", 200, "0", 600)
    dispatcher = ListDispatcher()
    assert Releaser(store, dispatcher).release() == 300
    assert not store.has_more


def test_several_releases_at_once_release_each_job_once(
    store: ReleaseStore, insert: Insert
) -> None:
    """Submissions, workers and sweeps call it whenever they like."""
    jobs = [insert() for _ in range(10)]
    with ThreadPoolExecutor(4) as pool:
        taken = [job for batch in pool.map(lambda _: released(store), range(4)) for job in batch]
    assert sorted(taken) == sorted(jobs[: 2 * SLOTS])


def test_a_locked_row_is_passed_over(
    store: ReleaseStore, insert: Insert, database: Database
) -> None:
    """It stops no other job, and is taken later."""
    first, second = insert(), insert()
    with database.transaction() as cursor:
        cursor.execute("SELECT 1 FROM generation_jobs WHERE id = %s FOR UPDATE", (str(first),))
        assert released(store) == [second]
    assert released(store) == [first]


def test_locked_rows_at_the_head_stop_no_job_behind_them(
    store: ReleaseStore, insert: Insert, database: Database
) -> None:
    """As many as there is room for are released all the same."""
    jobs = [insert() for _ in range(10)]
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT 1 FROM generation_jobs WHERE id = ANY(%s::uuid[]) FOR UPDATE",
            ([str(job_id) for job_id in jobs[:5]],),
        )
        assert released(store) == jobs[5:9]


def test_withdrawn_jobs_wait_again_unless_they_run(
    store: ReleaseStore, insert: Insert, attempts: AttemptStore, database: Database
) -> None:
    """A refused envelope is no fault of what already runs, or was released anew."""
    ids = [insert() for _ in range(3)]
    envelopes = store.release()
    assert isinstance(attempts.claim(ids[0]), Claim)
    database.update_job(ids[1], "envelope_id = 'another'")
    store.withdraw(envelopes, were_sent=False)
    assert [database.job(job_id)["dispatched_at"] is None for job_id in ids] == [False, False, True]
    assert database.job(ids[2])["dispatches"] == 0


def test_a_retry_keeps_no_room_while_it_waits(
    store: ReleaseStore, insert: Insert, attempts: AttemptStore
) -> None:
    """It waits in its row, not in a slot and not in a queue."""
    job_id = insert()
    store.release()
    claim = attempts.claim(job_id)
    assert isinstance(claim, Claim)
    attempts.retry(claim, waiting(2, 3), {"code": "x"}, UNPAID, 60)
    room = store.find_room()
    assert room is not None
    assert (room.free, room.has_waiting) == (2 * SLOTS, False)
    seconds = store.find_next_due_seconds()
    assert seconds is not None
    assert 50 < seconds <= 60
    assert store.set_alarm(60)
    assert not store.set_alarm(70)
    assert store.set_alarm(5)


def test_the_end_of_an_attempt_releases_in_batches(
    store: ReleaseStore, insert: Insert, database: Database
) -> None:
    """One statement serves several jobs: it waits until half of the room is free."""
    dispatcher = ListDispatcher()
    releaser = Releaser(store, dispatcher)
    jobs = [insert() for _ in range(8)]
    assert releaser.release(in_batches=True) == 4
    finish(database, jobs[:1])
    assert releaser.release(in_batches=True) == 0
    finish(database, jobs[1:2])
    assert releaser.release(in_batches=True) == 2
    assert [job_id for job_id, _ in dispatcher.sent] == jobs[:6]


def test_a_release_stays_flat_with_a_long_backlog(
    store: ReleaseStore, database: Database, engine: Engine
) -> None:
    """It reads the heads of the queues, whatever lies behind them."""
    database.fetch(
        "INSERT INTO workspaces (id, name) SELECT 'w' || n, 'x' FROM generate_series(1, 20) n;"
        "INSERT INTO generation_jobs (workspace_id, params) SELECT 'w' || 1 + n %% 20,"
        " '{}' FROM generate_series(1, 20000) n; ANALYZE generation_jobs"
    )
    before = rows_read(engine)
    assert len(store.release()) == 2 * SLOTS
    assert rows_read(engine) - before < 2000


def rows_read(engine: Engine) -> int:
    """Return how many rows of the table of jobs were read; a session reports them as it ends."""
    engine.dispose()
    sql = (
        "SELECT seq_tup_read + idx_tup_fetch AS rows FROM pg_stat_user_tables"
        " WHERE relname = 'generation_jobs'"
    )
    (row,) = fetch_all(engine, sql, {})
    return int(row.rows)
