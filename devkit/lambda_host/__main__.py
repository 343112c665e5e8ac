"""`python -m devkit.lambda_host`: settings from the environment, then serve."""

import os
from typing import Annotated

import typer

from devkit.environment import adopt, with_aws_variables
from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.host import LambdaHost
from local.web.program import run_program
from shared.settings import Settings


def main(
    concurrency: Annotated[int, typer.Option(min=1, help="Worker invocations at once.")] = 2,
    worker: Annotated[str, typer.Option(metavar="HANDLER")] = "functions.worker.handler",
    reaper: Annotated[str, typer.Option(metavar="HANDLER")] = "functions.reaper.handler",
    freeze: Annotated[bool, typer.Option(help="Stop processes between invocations.")] = True,
) -> None:
    """Run a worker function on the queue of QUEUE_URL, and a reaper on a schedule."""

    def build(settings: Settings) -> LambdaHost:
        adopt(with_aws_variables(os.environ, settings.queue_url))
        functions = [
            LambdaFunction(handler, settings.time_limit, os.environ, freezes=freeze)
            for handler in (worker, reaper)
        ]
        return LambdaHost(settings, functions[0], functions[1], concurrency)

    raise typer.Exit(run_program("lambda_host", build))


if __name__ == "__main__":
    typer.run(main)
