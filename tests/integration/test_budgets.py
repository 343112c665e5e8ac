"""Budgets of workspaces, on PostgreSQL: what was spent is counted once, and what is left kept."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from shared.errors import BudgetExceeded, InvalidRequest, MonthBudgetExceeded
from shared.jobs.acceptance import Terms
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.job_store import JobStore
from shared.jobs.model import BoughtImage, Claim, LedgerFacts
from shared.jobs.workspace_limits import Budget, LimitStore, Quota, SubmissionLimits
from shared.status import failed, waiting
from tests.support.builders import PAID, UNPAID, new_job
from tests.support.database import Database

PRICE = 40_000
ERROR = {"code": "x", "message": "x"}
NEW = replace(new_job(), quoted_microdollars=PRICE)
OF_TWO = Terms(SubmissionLimits(500, budget=Budget(cost_per_day=2 * PRICE)))


def spent(database: Database) -> int:
    """Return what the workspace has spent, on all days."""
    return sum(row["microdollars"] for row in database.fetch("SELECT * FROM workspace_costs"))


def claim(attempts: AttemptStore, job_id: UUID) -> Claim:
    """Begin an attempt of a job."""
    claimed = attempts.claim(job_id)
    assert isinstance(claimed, Claim), claimed
    return claimed


def test_a_call_counts_in_full_until_its_bill_is_known(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    """From the claim on; then it counts as what was charged, or not at all."""
    first = claim(attempts, jobs.insert(NEW).id)
    assert spent(database) == PRICE
    attempts.retry(first, waiting(2, 3), ERROR, UNPAID, 0)
    assert spent(database) == 0
    second = claim(attempts, first.job_id)
    attempts.retry(second, waiting(3, 3), ERROR, LedgerFacts("unknown"), 0)
    third = claim(attempts, first.job_id)
    assert spent(database) == 2 * PRICE
    attempts.fail(third, failed(10, "x"), ERROR, replace(PAID, price_microdollars=7))
    assert spent(database) == PRICE + 7
    attempts.fail(third, failed(10, "x"), ERROR, replace(PAID, price_microdollars=7))
    assert spent(database) == PRICE + 7
    jobs.mark_announced(first.job_id)
    jobs.delete(first.job_id)
    assert spent(database) == PRICE + 7


def test_a_claim_that_is_undone_costs_nothing(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    """As no provider was called."""
    claimed = claim(attempts, jobs.insert(NEW).id)
    attempts.release(claimed, waiting(1, 3))
    assert spent(database) == 0


def test_a_purchase_counts_when_it_is_noted(
    jobs: JobStore, engine: Engine, database: Database
) -> None:
    """Of a provider that makes images later; then as what it has cost."""
    attempts = AttemptStore(
        engine,
        runtime="celery",
        owner="host:1",
        lease_seconds=30,
        time_limit_seconds=100,
        models={"m": "flux"},
        later=["flux"],
    )
    claimed, purchase = claim(attempts, jobs.insert(NEW).id), uuid4()
    assert spent(database) == 0
    attempts.note_purchase(claimed, purchase, 0)
    attempts.name_purchase(claimed.job_id, BoughtImage(purchase, 0, "x", "x", 30_000))
    assert spent(database) == PRICE
    attempts.settle_purchase(claimed.job_id, purchase, "charged", None)
    assert spent(database) == 30_000


def test_a_budget_pays_for_waiting_jobs_too(jobs: JobStore, database: Database) -> None:
    """What they will cost is kept for them; a free job and another workspace need none."""
    assert jobs.accept(NEW, OF_TWO).quotas[1].remaining == PRICE
    last = jobs.accept(NEW, OF_TWO).quotas[1]
    assert replace(last, reset_seconds=1) == Quota("cost-per-day", 2 * PRICE, 0, 86_400, 1)
    with pytest.raises(BudgetExceeded, match="budget of 80000 micro-dollars: cost per day") as met:
        jobs.accept(NEW, OF_TWO)
    assert 1 <= met.value.retry_after_seconds <= 86_400
    assert jobs.accept(replace(NEW, quoted_microdollars=0), OF_TWO).is_new
    assert len(database.fetch("SELECT 1 FROM generation_jobs")) == 3


def test_requests_at_once_share_a_budget(jobs: JobStore) -> None:
    """They are counted one by one."""
    terms = Terms(SubmissionLimits(500, budget=Budget(cost_per_day=5 * PRICE)))

    def is_accepted(_number: int) -> bool:
        try:
            return jobs.accept(NEW, terms).is_new
        except BudgetExceeded:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(is_accepted, range(16))) == 5


def test_days_and_months_have_budgets_of_their_own(
    jobs: JobStore, limits: LimitStore, database: Database
) -> None:
    """A workspace's own wins over the settings; what was spent before counts no more."""
    database.fetch(
        "INSERT INTO workspace_costs SELECT 'default', day::date, 10 FROM generate_series("
        "date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 day',"
        " now() AT TIME ZONE 'UTC', '1 day') day RETURNING 1"
    )
    [month] = database.fetch(
        "SELECT this_month::int AS sum FROM workspace_spent WHERE workspace_id = 'default'"
    )
    limits.set("default", {"cost_per_month": month["sum"] + PRICE})
    terms = Terms(SubmissionLimits(500, budget=Budget(PRICE + 9, 0)))
    with pytest.raises(BudgetExceeded, match="per day"):
        jobs.accept(NEW, terms)
    limits.set("default", {"cost_per_day": PRICE + 10})
    assert [quota.remaining for quota in jobs.accept(NEW, terms).quotas[1:]] == [0, 0]
    limits.set("default", {"cost_per_day": 10 * PRICE})
    with pytest.raises(MonthBudgetExceeded, match="per month"):
        jobs.accept(NEW, terms)


def test_a_budget_pays_for_no_job_without_a_price(jobs: JobStore) -> None:
    """It could not say when it is used up."""
    with pytest.raises(InvalidRequest, match="the price is not known here"):
        jobs.accept(new_job(), OF_TWO)
    assert jobs.accept(new_job(), Terms(SubmissionLimits(500))).is_new


def test_a_claim_says_what_is_left(
    jobs: JobStore, attempts: AttemptStore, limits: LimitStore, database: Database
) -> None:
    """Of the day or of the month, whichever is less; nothing without a budget."""
    job_ids = [jobs.insert(NEW).id for _ in range(3)]
    assert claim(attempts, job_ids[0]).budget_left_microdollars is None
    limits.set("default", {"cost_per_day": 3 * PRICE, "cost_per_month": 9 * PRICE})
    assert claim(attempts, job_ids[1]).budget_left_microdollars == 2 * PRICE
    limits.set("default", {"cost_per_month": PRICE})
    assert claim(attempts, job_ids[2]).budget_left_microdollars == -PRICE
    assert spent(database) == 3 * PRICE


def test_a_quote_writes_nothing(jobs: JobStore, limits: LimitStore, database: Database) -> None:
    """It says what is left, and what a request would be refused with now."""
    terms = SubmissionLimits(500, 60, Budget(cost_per_day=2 * PRICE))
    standing = jobs.quote(NEW, terms)
    assert [quota.remaining for quota in standing.quotas] == [500, 60, 2 * PRICE]
    assert standing.refusal is None
    accepted = jobs.accept(NEW, Terms(terms))
    assert [quota.remaining for quota in accepted.quotas] == [499, 59, PRICE]
    assert jobs.quote(NEW, terms).quotas[1:] == accepted.quotas[1:]
    dear = replace(NEW, quoted_microdollars=PRICE + 1)
    assert isinstance(jobs.quote(dear, terms).refusal, BudgetExceeded)
    limits.set("default", {"models": []})
    with pytest.raises(InvalidRequest, match="may ask for none"):
        jobs.quote(replace(NEW, models=["mock-1"]), terms)
    assert len(database.fetch("SELECT 1 FROM generation_jobs")) == 1
