"""The optional extras of the package: which one holds a Python package that is missing."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import structlog

from shared.errors import ConfigurationError

log = structlog.get_logger(__name__)

_BROUGHT_ALONG = {"botocore": "boto3", "billiard": "celery"}


def require(*modules: str) -> None:
    """Check that modules of extras can be imported.

    Raises:
        ConfigurationError: One cannot; the line says which extra brings it.
    """
    for module in modules:
        if find_spec(module) is None:
            raise ConfigurationError(_describe(module))


@contextmanager
def naming_extras() -> Iterator[None]:
    """Turn the failed import of a package of an extra into ConfigurationError."""
    try:
        yield
    except ModuleNotFoundError as error:
        if _find_extra(error.name or "") is None:
            raise
        raise ConfigurationError(_describe(error.name or "")) from error


@contextmanager
def going_without(extra: str) -> Iterator[None]:
    """Log that an extra which fails nothing is left out, where a package of it is missing."""
    try:
        yield
    except ImportError as error:
        how = f"pip install 'darkroom[{extra}]'"
        log.warning("left out", extra=extra, reason=f"{error}: {how}")


def _describe(module: str) -> str:
    extra = _find_extra(module)
    how = f"pip install 'darkroom[{extra}]'" if extra else "see pyproject.toml"
    return f"the Python package {module.partition('.')[0]} is not installed: {how}"


def _find_extra(module: str) -> str | None:
    # Imported here, because every cold start imports this module.
    from importlib.metadata import PackageNotFoundError, requires

    name = module.partition(".")[0]
    wanted = _BROUGHT_ALONG.get(name, name).replace("_", "-")
    try:
        lines = requires("darkroom") or []
    except PackageNotFoundError:
        return None
    pattern = re.compile(rf"{re.escape(wanted)}(?![\w.-]).*extra == ['\"](\w+)", re.IGNORECASE)
    return next((found[1] for line in lines if (found := pattern.match(line))), None)
