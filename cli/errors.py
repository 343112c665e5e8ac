"""How errors look on the terminal: one line, and an exit code that says who can fix them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.errors import (
    ConfigurationError,
    DarkroomError,
    InvalidRequest,
    JobFailed,
    ServiceUnavailable,
    one_line,
)
from shared.extras import naming_extras
from shared.terminal import printable

if TYPE_CHECKING:
    from shared.api.schemas import ErrorBody

FAILURE_EXIT_CODE = 1
USAGE_EXIT_CODE = 2
"""Settings or arguments are to be changed; typer ends with the same code."""

_USAGE_PROBLEMS = frozenset({"invalid_request", "unauthorized", "insufficient_scope"})


class ApiProblem(DarkroomError):
    """The API answered with a problem.

    Attributes:
        problem_code: Its stable word, as `not_found`.
        detail: Its reason, for a person.
        retry_after_seconds: When to ask again; None if the answer does not say.
    """

    code = "api_problem"

    def __init__(
        self, status: int, problem_code: str, detail: str, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(f"{detail} ({problem_code})")
        self.status = status
        self.problem_code = problem_code
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status == 429 or self.status >= 500


class ApiUnreachable(ServiceUnavailable):
    """No answer came: nothing listens there, or the connection was lost.

    Attributes:
        detail: What cannot be reached, and why.
        was_sent: Whether the request may have reached the API.
    """

    code = "api_unreachable"
    title = ""  # No job has it.
    retry_after_seconds = None

    def __init__(self, address: str, reason: str, *, was_sent: bool) -> None:
        self.detail = f"the API at {address} cannot be reached: {reason}"
        self.was_sent = was_sent
        super().__init__(f'{self.detail} (is "darkroom up" running? DARKROOM_URL says where)')


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error of the body into a line on standard error and the end of the program."""
    try:
        with naming_extras():
            yield
    except DarkroomError as error:
        sys.stderr.write(f"darkroom: {printable(describe(error))}\n")
        sys.exit(exit_code_of(error))


def describe(error: DarkroomError) -> str:
    """Return the error as one line for a person."""
    if isinstance(error, JobFailed):
        return one_line(f"the job failed: {error.message} ({error.failure_code})")
    if isinstance(error, ApiProblem) and error.problem_code == "unauthorized":
        return one_line(f"{error}; set DARKROOM_API_KEY")
    return one_line(str(error))


def describe_error(error: "ErrorBody") -> str:
    """Return why an attempt or a job failed, as one line."""
    return one_line(f"{error.message} ({error.code})")


def exit_code_of(error: DarkroomError) -> int:
    """Return 2 for what the caller must change, 1 for everything else."""
    is_usage = isinstance(error, ConfigurationError | InvalidRequest)
    if isinstance(error, ApiProblem):
        is_usage = error.problem_code in _USAGE_PROBLEMS
    return USAGE_EXIT_CODE if is_usage else FAILURE_EXIT_CODE
