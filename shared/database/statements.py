"""Running one SQL statement as one transaction, for the stores; the statements are `.sql` files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from shared.database.session import reporting_unavailability

Parameters = Mapping[str, Any]


class SqlFiles(dict[str, str]):
    """The statements in the folder `sql` beside a module, each read once, at its first use.

    They go to psycopg2 as they are, with `%(name)s` parameters: for each job, the compilation of
    an expression would cost more than the statement.
    """

    def __init__(self, module_file: str) -> None:
        super().__init__()
        self._folder = Path(module_file).with_name("sql")

    def __missing__(self, name: str) -> str:
        text = (self._folder / f"{name}.sql").read_text(encoding="utf-8")
        # Comments are for readers: PostgreSQL would parse them, psycopg2 their percent signs.
        lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
        self[name] = "\n".join(lines)
        return self[name]


def execute(engine: Engine, sql: str, parameters: Parameters) -> int:
    """Run one statement in a transaction of its own and return how many rows it changed.

    Raises:
        ServiceUnavailable: PostgreSQL cannot be reached, or did not answer in time.
    """
    with reporting_unavailability(), engine.connect() as connection:
        return connection.exec_driver_sql(sql, parameters).rowcount


def fetch_one(engine: Engine, sql: str, parameters: Parameters) -> Any | None:
    """Run one statement in a transaction of its own and return its first row, if any.

    Raises:
        ServiceUnavailable: PostgreSQL cannot be reached, or did not answer in time.
    """
    with reporting_unavailability(), engine.connect() as connection:
        return connection.exec_driver_sql(sql, parameters).first()


def fetch_all(engine: Engine, sql: str, parameters: Parameters) -> Sequence[Any]:
    """Run one statement in a transaction of its own and return its rows.

    Raises:
        ServiceUnavailable: PostgreSQL cannot be reached, or did not answer in time.
    """
    with reporting_unavailability(), engine.connect() as connection:
        return connection.exec_driver_sql(sql, parameters).all()
