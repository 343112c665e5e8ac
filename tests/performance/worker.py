"""Jobs a second through the Celery worker, against the hand-written task, run by run in turn."""

import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg2

from devkit.runtimes import RuntimeProcess
from devkit.stack import embedded_stack
from shared.imaging.request import GenerationRequest
from shared.jobs.acceptance import NewJob
from shared.jobs.migration import migrate
from shared.settings import load_settings
from shared.wiring import Services
from tests.support.wait import wait_until

JOBS = 800
WARM_UP = 60
"""Jobs of each run that are not counted: the children's first ones open connections."""

RUNS = 7
CONCURRENCY = 2


@dataclass(frozen=True)
class Comparison:
    """Jobs a second of both, run by run."""

    ours: list[float]
    handwritten: list[float]

    @property
    def ratios(self) -> list[float]:
        """Ours against the hand-written task, of neighbouring runs."""
        return [ours / other for ours, other in zip(self.ours, self.handwritten, strict=True)]

    def describe(self) -> str:
        """Return the figures as a line."""
        return (
            f"ratio {statistics.median(self.ratios):.2f}"
            f" (from {min(self.ratios):.2f} to {max(self.ratios):.2f}, {len(self.ratios)} pairs);"
            f" ours {statistics.median(self.ours):.0f} jobs/s,"
            f" hand-written {statistics.median(self.handwritten):.0f} jobs/s"
        )


def compare_workers(runs: int = RUNS) -> Comparison:
    """Run the same jobs through both, in turn, against the same servers."""
    comparison = Comparison([], [])
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_stack() as stack,
    ):
        os.environ.update(stack.environment)
        os.environ.update(
            MOCK_STEP_SECONDS="0",
            IMAGE_DIR=f"{folder}/images",
            LOG_LEVEL="INFO",
            SWEEP_SECONDS="15",
        )
        migrate(load_settings().database_url)
        for _ in range(runs):
            comparison.ours.append(_run_ours(Path(folder)))
            comparison.handwritten.append(_run_handwritten(Path(folder)))
    return comparison


def _run_ours(folder: Path) -> float:
    settings = load_settings()
    with Services(settings) as services:
        for job_id, task_id in _accept(services):
            services.dispatcher.dispatch(job_id, task_id)
        with RuntimeProcess("celery", os.environ, folder / "ours.log", CONCURRENCY).running():
            return _rate_when_done()


def _run_handwritten(folder: Path) -> float:
    from tests.performance.handwritten import handwritten_task

    with Services(load_settings()) as services:
        for job_id, _ in _accept(services):
            handwritten_task.apply_async((str(job_id),))
    command = (*(sys.executable, "-W", "ignore", "-m", "celery", "--quiet"),)
    options = ("-A", "tests.performance.handwritten", "worker", "-c", str(CONCURRENCY))
    with (folder / "handwritten.log").open("ab") as log:
        worker = subprocess.Popen(
            [*command, *options, "--without-mingle", "--without-gossip", "-l", "INFO"],
            stdout=log,
            stderr=log,
        )
    try:
        return _rate_when_done()
    finally:
        worker.terminate()
        worker.wait()


def _accept(services: Services) -> list[tuple[UUID, str]]:
    request = GenerationRequest(prompt="a red mug", size="256x256", style="minimal", seed=7)
    with closing(psycopg2.connect(os.environ["DATABASE_URL"])) as connection:
        connection.autocommit = True
        connection.cursor().execute("TRUNCATE generation_jobs CASCADE")
    new = NewJob("default", None, None, request.params().as_row(), 3)
    jobs = [services.jobs.insert(new) for _ in range(JOBS)]
    return [(job.id, job.task_id) for job in jobs]


def _rate_when_done() -> float:
    with closing(psycopg2.connect(os.environ["DATABASE_URL"])) as connection:
        connection.autocommit = True
        cursor = connection.cursor()

        def is_done() -> bool:
            cursor.execute("SELECT count(*) FROM generation_jobs WHERE announced_at IS NOT NULL")
            return bool((cursor.fetchone() or (0,))[0] == JOBS)

        wait_until(is_done, 120, f"{JOBS} jobs to end")
        cursor.execute(
            "SELECT extract(epoch FROM max(announced_at) - (SELECT announced_at FROM"
            " generation_jobs ORDER BY announced_at OFFSET %s LIMIT 1))::float"
            " FROM generation_jobs",
            (WARM_UP - 1,),
        )
        seconds = float((cursor.fetchone() or (1.0,))[0])
    return (JOBS - WARM_UP) / seconds
