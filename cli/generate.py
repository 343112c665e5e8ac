"""`darkroom generate` and `follow`: a job over HTTP, shown live to its end, then files."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from cli.api_client import ApiClient, connect
from cli.display import Display, display
from cli.errors import ApiProblem, ApiUnreachable
from cli.following import JobFollower
from cli.output import say, say_json, say_lines
from shared.api.schemas import JobBody
from shared.errors import ConfigurationError, InvalidRequest, JobFailed
from shared.status import JobStatus

SUBMIT_TRIES = 5
FIRST_WAIT_SECONDS = 0.5

_UNKNOWN = "stopped before the API answered; `darkroom jobs` shows whether it took the job"
_LEFT_RUNNING = """the job goes on; to see or to end it:
    darkroom follow {0}
    darkroom cancel {0}"""


def run_generate(
    order: Mapping[str, Any],
    out: Path | None,
    references: Sequence[str] = (),
    mask: str | None = None,
    *,
    is_json: bool,
) -> None:
    """Submit a job, follow it and leave its images in the folder; without one, only quote it.

    Pictures are uploaded before a job is submitted, and not for a quote.
    """
    if out is None:
        _show_quote(order, is_json=is_json)
        return
    prepare_folder(out)
    with connect() as client:
        pictures = upload_pictures(client, references, mask)
        with _said_at_a_signal(_UNKNOWN):
            job = submit(client, {**order, **pictures})
        with display(is_quiet=is_json) as shown:
            job, paths = _follow_to_files(client, job, out, shown)
    if is_json:
        say_json(job.model_dump_json())
    _finish(job, [] if is_json else paths)


def _show_quote(order: Mapping[str, Any], *, is_json: bool) -> None:
    """Show what an order would cost, and what is left of the limits."""
    with connect() as client:
        quote = client.quote(order)
    if is_json:
        say_json(quote.model_dump_json())
        return
    for model in quote.models:
        price = model.price_microdollars
        shown = "price not known" if price is None else f"{price} micro-dollars"
        say(f"{model.model} ({model.provider}): {shown}")
    for limit in quote.limits:
        say(f"{limit.policy}: {limit.remaining} of {limit.limit} left")
    if quote.refusal is not None:
        say(f"darkroom: it would be refused now: {quote.refusal}", err=True)


def run_follow(job_id: UUID, out: Path | None, *, is_json: bool) -> None:
    """Show the events of a job from its first; with a folder, leave its images there."""
    if out is not None:
        prepare_folder(out)
    with connect() as client:
        job = client.get(job_id)
        with display(is_json=is_json) as shown:
            job, paths = _follow_to_files(client, job, out, shown)
    _finish(job, [] if is_json else paths)


def _follow_to_files(
    client: ApiClient, job: JobBody, out: Path | None, shown: Display
) -> tuple[JobBody, list[Path]]:
    with _said_at_a_signal(_LEFT_RUNNING.format(job.id)):
        shown.head(f"job {job.id}")
        follower = JobFollower(client, job, shown)
        job = follower.finish()
        return job, [] if out is None else download(follower, job, out)


def _finish(job: JobBody, paths: Sequence[Path]) -> None:
    check_completed(job)
    if job.missing:
        say(f"darkroom: {job.missing} of {job.n} images never came", err=True)
    for path in paths:
        say(path)


def submit(client: ApiClient, order: Mapping[str, Any]) -> JobBody:
    """Submit a job, again if no answer came; the key makes it one job in any case.

    Raises:
        ApiProblem: The API refuses the request.
        ApiUnreachable: No answer came.
    """
    key = uuid4().hex
    may_be_taken = False
    for number in range(1, SUBMIT_TRIES + 1):
        try:
            return client.submit(order, key)
        except ApiUnreachable as error:
            may_be_taken = may_be_taken or error.was_sent
            if not may_be_taken or number == SUBMIT_TRIES:
                raise
        except ApiProblem as problem:
            if problem.status < 500 or number == SUBMIT_TRIES:
                raise
        time.sleep(FIRST_WAIT_SECONDS * 2 ** (number - 1))
    raise AssertionError("the last try returns or raises")


def upload_pictures(
    client: ApiClient, references: Sequence[str], mask: str | None
) -> Mapping[str, Any]:
    """Upload the files that an order names; return its fields. The id of an asset is kept.

    Raises:
        ConfigurationError: A file cannot be read.
        ApiProblem, ApiUnreachable: The API does not take one.
    """
    ids = [_asset_of(client, each) for each in references]
    fields: dict[str, Any] = {"source_asset_id": ids[0]} if ids else {}
    if ids[1:]:
        fields["reference_asset_ids"] = ids[1:]
    if mask is not None:
        fields["mask_asset_id"] = _asset_of(client, mask)
    return fields


def _asset_of(client: ApiClient, text: str) -> str:
    with suppress(ValueError):
        return str(UUID(text))
    try:
        data = Path(text).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {text}: {error.strerror}") from error
    return str(client.upload(data).id)


def metadata_of(pairs: Sequence[str]) -> dict[str, str]:
    """Read `key=value` pairs.

    Raises:
        InvalidRequest: One has no `=`.
    """
    for pair in pairs:
        if "=" not in pair:
            raise InvalidRequest(f"metadata: must be key=value, not {pair[:64]!r}")
    return dict(pair.split("=", 1) for pair in pairs)


def models_of(names: Sequence[str]) -> dict[str, object]:
    """Return what an order says of these models: of one, of several in their order, or nothing."""
    if len(names) > 1:
        return {"models": list(names)}
    return {"model": names[0]} if names else {}


def check_completed(job: JobBody) -> None:
    """Raise JobFailed, with the reason, unless the job has its images."""
    if job.status is JobStatus.FAILED:
        code = job.error.code if job.error else "internal"
        raise JobFailed(code, job.error.message if job.error else job.message)


def prepare_folder(folder: Path) -> None:
    """Make the folder if need be.

    Raises:
        ConfigurationError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
        raise ConfigurationError(f"cannot make the folder {folder}: {reason}") from error


def download(follower: JobFollower, job: JobBody, folder: Path) -> list[Path]:
    """Write the images of a job into the folder; return their paths, by position.

    Raises:
        ConfigurationError: A file cannot be written.
    """
    paths = []
    for image in job.images:
        suffix = re.sub("[^a-z0-9]", "", image.media_type.rpartition("/")[2])
        path = folder / f"{job.id}-{image.position}.{suffix}"
        data = follower.load(image)
        try:
            path.write_bytes(data)
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
        paths.append(path)
    return paths


@contextmanager
def _said_at_a_signal(text: str) -> Iterator[None]:
    """Print the text on standard error when a signal ends the program in this block."""
    try:
        yield
    except SystemExit:
        say_lines(f"darkroom: {text}".split("\n"), err=True)
        raise
