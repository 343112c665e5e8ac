"""Programs in an installation that lacks the extras they need: one line says what to install."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.installations import PROJECT, make_environment

LOCAL = ("local",)
SETTINGS = {
    "DATABASE_URL": "postgresql://nowhere/none",
    "REDIS_URL": "redis://:hidden@nowhere/0",
    "QUEUE_URL": "http://127.0.0.1:9/1/jobs",
    "PATH": os.environ["PATH"],
}


@pytest.fixture(scope="module")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Path]:
    """Give the Python of each installation: with these extras, and no other."""
    folder = tmp_path_factory.mktemp("installations")
    return {
        extras: make_environment(folder / "-".join(("base", *extras)), *extras)
        for extras in ((), LOCAL)
    }


def run(python: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a module from the folder of the project, or a program after `-c`."""
    return subprocess.run(
        [str(python), *(words if words[0] == "-c" else ("-m", *words))],
        cwd=PROJECT,
        env={**SETTINGS, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("installed", "words", "package", "extra"),
    [
        ((), ("cli",), "typer", "local"),
        ((), ("cli", "doctor", "--json"), "typer", "local"),
        ((), ("local.api",), "uvicorn", "local"),
        (LOCAL, ("cli", "demo"), "psutil", "embedded"),
        (LOCAL, ("cli", "up", "--runtime", "lambda"), "psutil", "embedded"),
        (LOCAL, ("cli", "parity"), "psutil", "embedded"),
        (LOCAL, ("cli", "sweep"), "boto3", "cloud"),
        (LOCAL, ("local.api",), "boto3", "cloud"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(
    pythons: dict[tuple[str, ...], Path],
    installed: tuple[str, ...],
    words: tuple[str, ...],
    package: str,
    extra: str,
) -> None:
    """No traceback; the exit code asks for a change."""
    done = run(pythons[installed], *words)
    assert done.stdout == ""
    line = f"the Python package {package} is not installed: pip install 'darkroom[{extra}]'\n"
    assert done.stderr.removeprefix("darkroom: ") == line
    assert done.returncode == 2


def test_a_worker_needs_the_extra_that_brings_celery(
    pythons: dict[tuple[str, ...], Path],
) -> None:
    """With it alone the options of the application can be read; without it there is no Celery."""
    words = ("celery", "-A", "local.celery_app", "report")
    assert "No module named celery" in run(pythons[()], *words).stderr
    report = run(pythons[LOCAL], *words)
    assert (report.returncode, report.stderr) == (0, "")
    assert "results:darkroom+redis://:**@nowhere/0" in report.stdout
    assert "hidden" not in report.stdout


def test_traces_are_left_out_where_their_extra_is_missing(
    pythons: dict[tuple[str, ...], Path],
) -> None:
    """They fail nothing; the log says what to install."""
    program = (
        "from shared import tracing; from shared.settings import load_settings;"
        " from shared.wiring import Services; Services(load_settings()); print(tracing.is_on())"
    )
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    done = run(pythons[LOCAL], "-c", program, **endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("False\n")
    assert "pip install 'darkroom[tracing]'" in done.stdout
