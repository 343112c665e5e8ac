"""How long an operator waits for an answer, among a million ended and 100,000 waiting jobs.

Each question is asked by its command, as a process of its own, and by the request that the operator
page sends for it.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from devkit.stack import embedded_stack
from shared.jobs.migration import migrate
from tests.performance.statements import ENDED, WAITING
from tests.support.api import Api
from tests.support.builders import build_settings
from tests.support.cli import darkroom
from tests.support.crowd import fill
from tests.support.database import Database

ROUNDS = 5

QUESTIONS: Mapping[str, tuple[str, str | None]] = {
    "who waits, and since when?": ("queue", "overview"),
    "for which provider?": ("queue --by workspace,provider", "queue"),
    "what is stuck?": ("stuck", "overview"),
    "what fails, and why?": ("failures --since 1h --by code,provider", "overview"),
    "what did today cost?": ("costs --since today --by workspace,model", "costs"),
    "who works?": ("workers", "overview"),
    "who has limits of their own, what is paused?": ("limits show", "overview"),
    "what are the newest jobs of all?": ("jobs --all-workspaces", "overview"),
    "and of one workspace?": ("jobs --all-workspaces --limit 100", "jobs?workspace_id=w0"),
    "which jobs failed, and can be retried?": ("failed list --since 30d", "overview"),
    "what is known of a job?": ("failed show {job}", "jobs/{job}"),
    "which messages named no job?": ("rejected list", "overview"),
    "which webhooks fail?": ("webhooks list", "overview"),
    "who did what?": ("audit", "audit"),
    "what does Prometheus see?": ("metrics", None),
}
"""By question: the command, and the request of the page below /v1/operator."""


@dataclass(frozen=True)
class Answer:
    """The median and the slowest of several answers, in seconds."""

    median: float
    slowest: float

    def __str__(self) -> str:
        """Return both, as a table shows them."""
        return f"{self.median:.2f} / {self.slowest:.2f}"


def measure_questions(ended: int = ENDED, waiting: int = WAITING) -> Iterator[str]:
    """Fill a database and ask; yield lines of a Markdown table."""
    yield "| question | command | s, median / slowest | page | s |"
    yield "|---|---|---|---|---|"
    with _asked(ended, waiting) as (environment, api, job):
        for question, (command, request) in QUESTIONS.items():
            words = command.format(job=job).split()
            by_command = _timed(partial(_run, environment, words))
            page, by_page = "", ""
            if request is not None:
                path = f"/v1/operator/{request.format(job=job)}"
                by_page = str(_timed(partial(_get, api, path)))
                page = f"`{request}`"
            yield f"| {question} | `{command}` | {by_command} | {page} | {by_page} |"


@contextmanager
def _asked(ended: int, waiting: int) -> Iterator[tuple[Mapping[str, str], Api, str]]:
    with embedded_stack() as stack, TemporaryDirectory() as folder:
        environment = {**stack.environment, "AI_MOCK_MODE": "true"}
        migrate(build_settings(environment["DATABASE_URL"]).database_url)
        with closing(Database(environment["DATABASE_URL"])) as database:
            with database.cursor() as cursor:
                fill(cursor, ended, waiting)
            [row] = database.fetch("SELECT id FROM generation_jobs WHERE status = 'FAILED' LIMIT 1")
        with closing(Api("celery", environment, {}, Path(folder) / "api.log")) as api:
            yield environment, api, str(row["id"])


def _timed(ask: Callable[[], None]) -> Answer:
    seconds = []
    for _ in range(ROUNDS):
        began_at = time.monotonic()
        ask()
        seconds.append(time.monotonic() - began_at)
    return Answer(median(seconds), max(seconds))


def _run(environment: Mapping[str, str], words: list[str]) -> None:
    done = darkroom(environment, *words)
    assert done.returncode == 0, done.stderr


def _get(api: Api, path: str) -> None:
    answer = api.client.get(path)
    assert answer.status_code == 200, answer.text


if __name__ == "__main__":
    for line in measure_questions(*map(int, sys.argv[1:])):
        print(line, flush=True)
