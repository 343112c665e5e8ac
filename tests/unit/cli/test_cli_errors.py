"""Errors on the command line: one line and an exit code, never a traceback."""

import pytest

from cli.errors import ApiProblem, ApiUnreachable, explained
from shared.errors import (
    ConfigurationError,
    DarkroomError,
    InvalidRequest,
    JobFailed,
    ServiceUnavailable,
)


@pytest.mark.parametrize(
    ("error", "line", "exit_code"),
    [
        (ConfigurationError("X is not set"), "darkroom: X is not set\n", 2),
        (InvalidRequest("prompt is empty"), "darkroom: prompt is empty\n", 2),
        (ServiceUnavailable("Redis:\n  gone"), "darkroom: Redis: gone\n", 1),
        (
            JobFailed("cancelled", "Cancelled"),
            "darkroom: the job failed: Cancelled (cancelled)\n",
            1,
        ),
        (ApiProblem(404, "not_found", "no job"), "darkroom: no job (not_found)\n", 1),
        (ApiProblem(422, "invalid_request", "n"), "darkroom: n (invalid_request)\n", 2),
        (
            ApiProblem(401, "unauthorized", "not valid"),
            "darkroom: not valid (unauthorized); set DARKROOM_API_KEY\n",
            2,
        ),
        (
            ApiUnreachable("http://a", "no answer", was_sent=False),
            "darkroom: the API at http://a cannot be reached: no answer "
            '(is "darkroom up" running? DARKROOM_URL says where)\n',
            1,
        ),
    ],
)
def test_error_becomes_one_line(
    error: DarkroomError, line: str, exit_code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """2 asks the caller to change something; 1 says that it did not work."""
    with pytest.raises(SystemExit) as end, explained():
        raise error
    assert end.value.code == exit_code
    assert capsys.readouterr().err == line
