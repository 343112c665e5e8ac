"""Statuses and steps, as wire and rows name them."""

import json

import pytest

from shared.status import (
    COMPLETED,
    PREPARING,
    QUEUED,
    SAVING,
    STARTING,
    JobStatus,
    Step,
    failed,
    rendering,
    waiting,
)


def test_the_names_go_into_rows_and_the_values_onto_the_wire() -> None:
    """These eight words are fixed."""
    assert {status.name: status.value for status in JobStatus} == {
        "PENDING": "pending",
        "PROCESSING": "processing",
        "COMPLETED": "completed",
        "FAILED": "failed",
    }
    assert isinstance(JobStatus.PENDING, str)


def test_two_of_the_states_are_final() -> None:
    """A job that is completed or failed never changes again."""
    assert {status for status in JobStatus if status.is_terminal} == {
        JobStatus.COMPLETED,
        JobStatus.FAILED,
    }


@pytest.mark.parametrize(
    ("step", "status", "progress", "message"),
    [
        (QUEUED, "pending", 0, "Queued"),
        (STARTING, "processing", 5, "Starting..."),
        (PREPARING, "processing", 10, "Processing..."),
        (rendering(50), "processing", 50, "Rendering..."),
        (SAVING, "processing", 95, "Saving..."),
        (COMPLETED, "completed", 100, "Completed"),
        (failed(50, "No luck"), "failed", 50, "No luck"),
        (waiting(1, 3), "pending", 0, "Queued"),
        (waiting(2, 3), "pending", 0, "Retrying (attempt 2 of 3)"),
    ],
)
def test_the_steps_of_a_job_are_those_of_the_documentation(
    step: Step, status: str, progress: int, message: str
) -> None:
    """Clients show these words."""
    assert step.as_dict() == {"status": status, "progress": progress, "message": message}


def test_a_message_on_the_wire_has_exactly_three_keys_in_order() -> None:
    """The published bytes are the same in every runtime."""
    assert rendering(50).as_json() == (
        '{"status": "processing", "progress": 50, "message": "Rendering..."}'
    )


def test_a_message_keeps_its_letters() -> None:
    """Text of any language goes onto the wire as itself."""
    assert "né 像" in failed(0, "né 像").as_json()
    assert json.loads(failed(0, '"\n\\').as_json())["message"] == '"\n\\'
