"""`darkroom metrics`: once for people and programs, or over HTTP for Prometheus."""

import sys
from contextlib import suppress

from cli.output import say_lines
from cli.rows import say_items
from shared.database.session import refusals_named
from shared.errors import ConfigurationError
from shared.logs import configure_logging
from shared.metrics.exposition import render
from shared.metrics.server import Exporter, MetricsServer
from shared.settings import load_settings
from shared.wiring import build_services


def print_metrics(*, is_json: bool) -> None:
    """Print all metrics once."""
    with build_services(load_settings()) as services, refusals_named():
        samples = services.metrics.read()
    if is_json:
        say_items([sample._asdict() for sample in samples])
    else:
        say_lines(render(samples).splitlines())


def serve_metrics() -> None:
    """Serve them until Ctrl-C.

    Raises:
        ConfigurationError: METRICS_PORT is not set.
        ServiceUnavailable: The port cannot be opened.
    """
    settings = load_settings()
    if settings.metrics_port is None:
        raise ConfigurationError("settings: METRICS_PORT is not set")
    configure_logging("metrics", settings.log_level, sys.stderr)
    with build_services(settings) as services, suppress(KeyboardInterrupt):
        exporter = Exporter(services.metrics.read)
        MetricsServer(settings.metrics_host, settings.metrics_port, exporter).serve()
