"""Errors on the command line: one line and an exit code, never a traceback."""

import pytest

from local.cli.errors import explained
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
