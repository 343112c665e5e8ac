"""What the statements of the stores cost: pages and milliseconds, as PostgreSQL counts them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from sqlalchemy import Engine, event

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Cost:
    """One run of a statement."""

    pages: int
    milliseconds: float


class StatementCosts:
    """Explains each statement that an engine runs, right before it runs.

    Attributes:
        of: The runs of each statement, by its file, such as `jobs/claim`.
    """

    def __init__(self, engine: Engine) -> None:
        self._names = {_normal(path.read_text("utf-8")): name for name, path in files().items()}
        self.of: defaultdict[str, list[Cost]] = defaultdict(list)
        self._engine = engine
        event.listen(engine, "before_cursor_execute", self._explain)

    def close(self) -> None:
        """Explain nothing more."""
        event.remove(self._engine, "before_cursor_execute", self._explain)

    @property
    def worst(self) -> dict[str, Cost]:
        """The most pages and the longest run of each statement."""
        return {
            name: Cost(max(c.pages for c in costs), max(c.milliseconds for c in costs))
            for name, costs in sorted(self.of.items())
        }

    def _explain(
        self, connection: Any, _cursor: Any, sql: str, parameters: Any, *_others: Any
    ) -> None:
        dbapi = connection.connection.dbapi_connection
        is_idle = dbapi.info.transaction_status == TRANSACTION_STATUS_IDLE
        begin, undo = ("BEGIN", "ROLLBACK") if is_idle else ("SAVEPOINT s", "ROLLBACK TO s")
        with dbapi.cursor() as cursor:
            for statement in sql.split(";\n"):
                name = self._names.get(_normal(statement))
                if name is None:
                    continue
                cursor.execute(begin)
                try:
                    cursor.execute(
                        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters
                    )
                    [explained] = cursor.fetchone()[0]
                finally:
                    cursor.execute(undo)
                self.of[name].append(_cost_of(explained))


def files() -> dict[str, Path]:
    """Return the files of all statements, by names such as `jobs/claim`."""
    found = PROJECT.glob("shared/*/sql/*.sql")
    return {f"{path.parts[-3]}/{path.stem}": path for path in found}


def _normal(sql: str) -> str:
    return "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))


def _cost_of(explained: Mapping[str, Any]) -> Cost:
    plan = explained["Plan"]
    scanned = {node.get("CTE Name") for node in _nodes(plan)}
    pages = _pages(plan)
    for node in _nodes(plan):
        # What changes rows and is read by nothing runs after the rest, and is not in its sum.
        name = str(node.get("Subplan Name", ""))
        if name.startswith("CTE ") and name[4:] not in scanned:
            pages += _pages(node)
    return Cost(pages, explained["Planning Time"] + explained["Execution Time"])


def _pages(node: Mapping[str, Any]) -> int:
    return int(node["Shared Hit Blocks"]) + int(node["Shared Read Blocks"])


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
