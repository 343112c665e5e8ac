"""How many streams and uploads a workspace may have where each takes a sandbox."""

import pytest

from shared.access.stream_slots import streams_on_sandboxes, uploads_on_sandboxes


@pytest.mark.parametrize(
    ("limit", "sandboxes", "streams"),
    [(1_000, 20, 10), (1_000, 1, 1), (4, 20, 4), (1_000, None, 500)],
)
def test_a_workspace_leaves_half_of_the_sandboxes_to_others(
    limit: int, sandboxes: int | None, streams: int
) -> None:
    """Without a bound of its own the API has those of the account."""
    assert streams_on_sandboxes(limit, sandboxes) == streams


@pytest.mark.parametrize(("sandboxes", "uploads"), [(20, 5), (1, 1), (None, 32)])
def test_streams_and_uploads_together_leave_some(sandboxes: int | None, uploads: int) -> None:
    """A quarter of the sandboxes, wherever there are several."""
    assert uploads_on_sandboxes(32, sandboxes) == uploads
