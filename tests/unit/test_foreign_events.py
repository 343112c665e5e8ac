"""Which events a function takes for its own."""

from typing import Any

import pytest

from functions.foreign_events import is_envelope, is_request, reject
from tests.support.foreign_events import FOREIGN_EVENTS


@pytest.mark.parametrize(("event", "source"), FOREIGN_EVENTS)
def test_an_event_that_is_not_ours_is_one_line(
    event: Any, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither handler passes it on."""
    assert not is_envelope(event)
    assert not is_request(event)
    assert reject(event) == {"outcome": "rejected", "source": source}
    [line] = capsys.readouterr().out.splitlines()
    assert "event rejected" in line


@pytest.mark.parametrize(
    "event",
    [{"job_id": None}, {"Records": []}, {"Records": [{"messageId": "1", "body": "no json"}]}],
)
def test_envelopes_are_passed_on_whatever_they_hold(event: Any) -> None:
    """The worker says what is wrong with them."""
    assert is_envelope(event)
