"""No statement reads more pages because more jobs have ended or wait: none scans a table.

The full size is measured by `make bench`, see docs/performance.md.
"""

from contextlib import closing

from sqlalchemy import Engine

from tests.support.crowd import fill
from tests.support.database import Database
from tests.support.every_statement import EveryStatement
from tests.support.statement_costs import StatementCosts, files

ENDED, WAITING = 30_000, 2_000
"""A scan of the jobs reads 1,800 pages or more."""

PAGES = 400

MORE_PAGES = {
    "jobs/find_views": 1_700,  # A page of 100 jobs, with the ledger and the images of each.
    "jobs/list_newest": 700,  # The newest 100 of each of 20 workspaces, in each status.
    "jobs/find_place": 1_600,  # Up to 500 jobs are compared, in 50 workspaces.
    "jobs/release_jobs": 1_700,  # The heads of 20 workspaces, each with 24 that may be locked.
    "jobs/forget_keys": 900,  # 100 keys are deleted.
    "jobs/end_late": 900,  # 19 jobs are changed, each in ten indexes.
    "jobs/withdraw_jobs": 700,  # 6 to 20 envelopes are taken back.
    "webhooks/take_deliveries": 600,  # 10 are taken or put off.
    "webhooks/forget_deliveries": 800,  # Up to 100 are deleted.
    "access/forget_audit": 600,  # The same.
    "metrics/count_metrics": 1_000,  # 100 jobs and their attempts are counted.
}

COUNTS_ALL = {
    "metrics/read_metrics": "counts all open jobs and waiting deliveries, for Prometheus",
    "jobs/show_queue": "counts all open jobs, in an index",
    "jobs/show_queue_by": "counts all open jobs, for a command",
    "jobs/purge_rejected": "deletes all of at most 1,000 rows",
}


def test_every_statement_is_flat(engine: Engine, database: Database) -> None:
    """Measured by pages, which do not depend on the machine; a new statement is measured, too."""
    with database.cursor() as cursor:
        fill(cursor, ENDED, WAITING)
    with closing(StatementCosts(engine)) as costs:
        EveryStatement(engine, database).run()
    assert set(costs.of) == set(files()), "not measured: add it to EveryStatement"
    assert {
        name: cost.pages
        for name, cost in costs.worst.items()
        if cost.pages > MORE_PAGES.get(name, PAGES) and name not in COUNTS_ALL
    } == {}
