"""How large the functions' bundles are, and how long a cold start takes in Lambda's container."""

import json
import os
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).parents[2]
SAM = PROJECT / ".venv-sam/bin/sam"
BUILT = PROJECT / ".aws-sam/build"
SETTINGS = ["Environment=local", "AiMockMode=true", "Architecture=x86_64"]
PAIRS = 5
PROVIDERS = ("httpx", "httpcore", "h11", "anyio", "certifi")
"""The HTTP client with what nothing else in the worker's bundle needs."""
DRAWING = ("PIL", "pillow")

_BARE_TEMPLATE = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Resources": {
        "Bare": {
            "Type": "AWS::Serverless::Function",
            "Properties": {
                "Runtime": "python3.13",
                "Architectures": ["x86_64"],
                "Handler": "bare.handler",
                "CodeUri": "code",
                "MemorySize": 1024,
                "Timeout": 30,
            },
        }
    },
}
_ENVIRONMENT = {
    **os.environ,
    "SAM_CLI_TELEMETRY": "0",
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclass(frozen=True)
class BundleSizes:
    """Megabytes of each bundle, unzipped, with the compiled files."""

    worker: float
    without_provider: float
    without_drawing: float
    api: float
    reaper: float
    migrate: float

    def describe(self) -> str:
        """Return the figures as a line."""
        return (
            f"worker {self.worker:.0f} MB, {self.without_provider:.0f} without the provider SDK,"
            f" {self.without_drawing:.0f} without the drawing library as well;"
            f" API {self.api:.0f} MB; reaper {self.reaper:.0f} MB; migration {self.migrate:.0f} MB"
        )


@dataclass(frozen=True)
class ColdStarts:
    """Seconds of whole `sam local invoke` commands, run by run."""

    worker: list[float]
    bare: list[float]

    def describe(self) -> str:
        """Return the figures as a line."""
        ratios = [ours / base for ours, base in zip(self.worker, self.bare, strict=True)]
        return (
            f"ratio {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f},"
            f" {len(ratios)} pairs); worker {statistics.median(self.worker):.1f} s, bare handler"
            f" {statistics.median(self.bare):.1f} s, each with its container"
        )


def why_no_containers() -> str | None:
    """Return why no cold start can be measured, or None."""
    if shutil.which("docker") is None or not _succeeds("docker", "version"):
        return "skipped: there is no Docker engine"
    return None


def measure_bundles() -> BundleSizes:
    """Build all bundles as `sam build` does, and weigh them."""
    _sam("build", "--parameter-overrides", *SETTINGS)
    worker = _megabytes(BUILT / "WorkerFunction")
    provider, drawing = (_megabytes_of(names) for names in (PROVIDERS, DRAWING))
    return BundleSizes(
        worker=worker,
        without_provider=worker - provider,
        without_drawing=worker - provider - drawing,
        api=_megabytes(BUILT / "ApiFunction"),
        reaper=_megabytes(BUILT / "ReaperFunction"),
        migrate=_megabytes(BUILT / "MigrateFunction"),
    )


def measure_cold_starts(pairs: int = PAIRS) -> ColdStarts:
    """Invoke the worker with an empty batch and a bare handler, in turn, each in a new container.

    The bundles must have been built.
    """
    times = ColdStarts([], [])
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "code").mkdir()
        (folder / "code/bare.py").write_text("def handler(event, context):\n    return {}\n")
        (folder / "template.json").write_text(json.dumps(_BARE_TEMPLATE))
        (folder / "event.json").write_text('{"Records": []}')
        bare = ["Bare", "--template", str(folder / "template.json"), "--no-event"]
        worker = ["WorkerFunction", "--event", str(folder / "event.json")]
        worker += ["--parameter-overrides", *SETTINGS]
        _invoke(bare, "{}")  # Builds the image that both run in.
        for _ in range(pairs):
            times.worker.append(_invoke(worker, '{"batchItemFailures": []}'))
            times.bare.append(_invoke(bare, "{}"))
    return times


def _invoke(arguments: list[str], answer: str) -> float:
    begin = time.monotonic()
    said = _sam("local", "invoke", *arguments, "--skip-pull-image")
    seconds = time.monotonic() - begin
    if said.strip().splitlines()[-1] != answer:
        raise RuntimeError(f"sam local invoke {arguments[0]} answered: {said[-500:]}")
    return seconds


def _sam(*arguments: str) -> str:
    done = subprocess.run(
        [str(SAM), *arguments],
        cwd=PROJECT,
        env=_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"sam {arguments[0]}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _megabytes_of(names: tuple[str, ...]) -> float:
    """Return what packages weigh in the worker's bundle, with their descriptions and libraries."""
    folder = BUILT / "WorkerFunction"
    found = {path for name in names for path in (folder / name, *folder.glob(f"{name}[-.]*"))}
    return sum(_megabytes(path) for path in found)


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
