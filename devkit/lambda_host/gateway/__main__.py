"""`python -m devkit.lambda_host.gateway`: settings from the environment, then serve."""

import os
from typing import Annotated

import typer

from devkit.environment import adopt, with_aws_variables
from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.gateway.server import HttpGateway
from local.web.program import run_program
from local.web.server import check_exposure, listen
from shared.settings import Settings


def main(
    host: Annotated[str | None, typer.Option(help="Default: API_HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Default: API_PORT.")] = None,
    handler: Annotated[str, typer.Option(metavar="HANDLER")] = "functions.api.handler",
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 20,
    # An integration of an HTTP API may take 30 s (API Gateway, "Quotas for HTTP APIs").
    timeout_seconds: Annotated[float, typer.Option(min=0.001, help="Of the function.")] = 29.0,
    freeze: Annotated[bool, typer.Option(help="Stop processes between invocations.")] = True,
) -> None:
    """Serve an HTTP API with one function behind its `$default` route."""

    def build(settings: Settings) -> HttpGateway:
        address = host or settings.api_host, settings.api_port if port is None else port
        check_exposure(settings, address[0])
        adopt(with_aws_variables(os.environ, settings.queue_url))
        function = LambdaFunction(handler, timeout_seconds, os.environ, freezes=freeze)
        # Listens before it is ready: clients that connect early wait.
        return HttpGateway(function, concurrency, listen(*address))

    raise typer.Exit(run_program("lambda_host", build))


if __name__ == "__main__":
    typer.run(main)
