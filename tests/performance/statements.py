"""What each statement costs among a million ended and 100,000 waiting jobs.

Once as it is, and once while another program holds a transaction open since three hours, so that
PostgreSQL keeps all versions of the rows of the jobs that have run since.
"""

import sys
from contextlib import closing
from dataclasses import dataclass

from devkit.stack import embedded_stack
from shared.database.session import create_pooled_engine
from shared.jobs.migration import migrate
from tests.support.builders import build_settings
from tests.support.crowd import fill, live_on
from tests.support.database import Database
from tests.support.every_statement import EveryStatement
from tests.support.statement_costs import Cost, StatementCosts

ENDED, WAITING = 1_000_000, 100_000
RUN_SINCE = 20_000
"""Jobs that have run since the transaction began: two a second."""

SHOWN_PAGES, SHOWN_MILLISECONDS = 200, 5.0


@dataclass(frozen=True)
class StatementFigures:
    """The worst run of each statement, alone and beside an old transaction."""

    alone: dict[str, Cost]
    beside: dict[str, Cost]

    def describe(self) -> str:
        """Return a line for each statement that costs something."""
        return "\n    ".join(
            f"{name}: {_describe(alone)}; beside an old transaction {_describe(self.beside[name])}"
            for name, alone in self.alone.items()
            if _is_shown(alone) or _is_shown(self.beside[name])
        )


def measure_statements(
    ended: int = ENDED, waiting: int = WAITING, run_since: int = RUN_SINCE
) -> StatementFigures:
    """Fill a database and explain every statement of the stores; takes some minutes."""
    with embedded_stack() as stack:
        url = stack.environment["DATABASE_URL"]
        migrate(build_settings(url).database_url)
        with closing(Database(url)) as database, database.cursor() as cursor:
            fill(cursor, ended, waiting)
            alone = _measure(database)
            with database.transaction() as old:
                old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1")
                live_on(cursor, run_since)
                return StatementFigures(alone, _measure(database))


def _measure(database: Database) -> dict[str, Cost]:
    engine = create_pooled_engine(build_settings(database.url).database_url, "bench")
    with closing(StatementCosts(engine)) as costs:
        EveryStatement(engine, database).run()
    engine.dispose()
    return costs.worst


def _is_shown(cost: Cost) -> bool:
    return cost.pages > SHOWN_PAGES or cost.milliseconds > SHOWN_MILLISECONDS


def _describe(cost: Cost) -> str:
    return f"{cost.pages} pages, {cost.milliseconds:.1f} ms"


if __name__ == "__main__":
    print(measure_statements(*map(int, sys.argv[1:])).describe())
