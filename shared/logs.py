"""Logging set-up: one JSON object a line, on every runtime, from every library.

Each entry point calls `configure_logging` once. The ids of a running job are bound by the
handler (`structlog.contextvars`) and so stand in every line of its thread, from any library.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from shared.redaction import redact

_QUERY = re.compile(r"((?:\w+://|/)[^\s?\"']*)\?[^\s\"']+")

# psycopg2 puts values into a statement; a refused one is quoted, and so is its row.
_ROW_VALUES = re.compile(r"^(LINE \d+|DETAIL|CONTEXT|QUERY): .*$", re.MULTILINE)

_QUIET_LOGGERS = (
    *("botocore", "boto3", "urllib3", "PIL", "kombu", "amqp", "alembic", "mangum"),
    # Their lines name whole addresses, or what was asked for.
    *("httpx", "httpx2", "httpcore", "httpcore2", "openai", "sqlalchemy"),
)


def configure_logging(runtime: str, level: str, stream: TextIO | None = None) -> None:
    """Send every line of this process, ours or a library's, to one stream as JSON.

    Args:
        runtime: `celery`, `lambda` or the name of a tool; stands in every line.
        level: Least level written, as a word. Libraries write nothing below INFO: their details
            hold prompts, statements and headers.
        stream: Where to; None means standard output as it is now.
    """
    target = stream or sys.stdout
    enrich = _enrich(runtime)
    structlog.configure(
        processors=[*enrich, *_RENDER],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=enrich,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_RENDER],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.getLevelNamesMapping()[level], logging.INFO))
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def _enrich(runtime: str) -> list[Processor]:
    def add_runtime(
        _logger: Any, _method: str, line: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        line.setdefault("runtime", runtime)
        return line

    return [
        structlog.contextvars.merge_contextvars,
        add_runtime,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]


def _scrub(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take secrets, query strings and values of rows out of a line, wherever they stand."""
    for key, value in line.items():
        line[key] = _scrubbed(value)
    return line


def _scrubbed(value: Any) -> Any:
    match value:
        case str():
            text = redact(_ROW_VALUES.sub(r"\1: ***", value))
            return _QUERY.sub(r"\1", text) if "/" in text else text
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {redact(str(name)): _scrubbed(part) for name, part in value.items()}
        case list() | tuple():
            return [_scrubbed(part) for part in value]
        case _:
            return _scrubbed(repr(value))


def _as_json(line: Any, **options: Any) -> str:
    # The one control character that `json` writes as it is.
    return json.dumps(line, **options).replace("\x7f", "\\u007f")


# ASCII only: a lone surrogate, or an output in a narrow encoding, must not fail a line.
_RENDER: list[Processor] = [_scrub, structlog.processors.JSONRenderer(_as_json)]
