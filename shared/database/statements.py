"""Running one SQL statement as one transaction: what the stores stand on."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine

from shared.database.session import reporting_unavailability

Parameters = Mapping[str, Any]


def execute(engine: Engine, sql: str, parameters: Parameters) -> int:
    """Run one statement in a transaction of its own and return how many rows it changed.

    The SQL goes to psycopg2 as it is (`%(name)s` parameters): on the way of every job, the
    compilation of an expression would cost more than the statement.

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
