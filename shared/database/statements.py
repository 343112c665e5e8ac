"""Running the SQL statements of the stores: one statement, one transaction, one round trip."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from shared.database.foreign import ForeignTransaction
from shared.database.session import reporting_unavailability

Parameters = Mapping[str, Any]
Run = Callable[[str, Parameters], Sequence[Any]]


class Statements:
    """Runs the statements of a store by name, from the folder `sql` beside its module.

    They go to psycopg2 as they are, with `%(name)s` parameters: for each job, the compilation of
    an expression would cost more than the statement.
    """

    def __init__(self, engine: Engine, store_file: str) -> None:
        self._engine = engine
        self._folder = Path(store_file).with_name("sql")

    def __call__(self, name: str, parameters: Parameters) -> Sequence[Any]:
        """Run one statement in a transaction of its own and return its rows, if it has any.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached, or did not answer in time.
        """
        return fetch_all(self._engine, _read(self._folder, name), parameters)

    def together(self, names: Sequence[str], parameters: Parameters) -> Sequence[Any]:
        """Run statements in one transaction and one round trip; return the rows of the last.

        Each sees what was committed before it began (PostgreSQL documentation, "Multiple
        Statements in a Simple Query").

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached, or did not answer in time.
        """
        sql = ";\n".join(_read(self._folder, name) for name in names)
        return fetch_all(self._engine, sql, parameters)

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        """Run the statements of the body in one transaction; an error undoes it.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached, or did not answer in time.
        """
        transactional = self._engine.execution_options(isolation_level="READ COMMITTED")
        with reporting_unavailability(), transactional.begin() as connection:

            def run(name: str, parameters: Parameters) -> Sequence[Any]:
                result = connection.exec_driver_sql(_read(self._folder, name), parameters)
                return result.all() if result.returns_rows else ()

            yield run

    @contextmanager
    def within(self, transaction: ForeignTransaction) -> Iterator[Run]:
        """Run the statements of the body in the caller's transaction; an error undoes them alone.

        Raises:
            ConfigurationError: The connection has no transaction.
        """
        with transaction.undone_alone():
            yield lambda name, parameters: transaction.execute(
                _read(self._folder, name), parameters
            )


def fetch_all(engine: Engine, sql: str, parameters: Parameters) -> Sequence[Any]:
    """Run one statement in a transaction of its own and return its rows, if it has any.

    Raises:
        ServiceUnavailable: PostgreSQL cannot be reached, or did not answer in time.
    """
    with reporting_unavailability(), engine.connect() as connection:
        result = connection.exec_driver_sql(sql, parameters)
        return result.all() if result.returns_rows else ()


@cache
def _read(folder: Path, name: str) -> str:
    text = (folder / f"{name}.sql").read_text(encoding="utf-8")
    # Comments are for readers: PostgreSQL would parse them, psycopg2 their percent signs.
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
