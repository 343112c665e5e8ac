"""How many streams a workspace may have where each takes a sandbox."""

import pytest

from shared.access.stream_slots import streams_on_sandboxes


@pytest.mark.parametrize(
    ("limit", "sandboxes", "streams"),
    [(1_000, 20, 10), (1_000, 1, 1), (4, 20, 4), (1_000, None, 500)],
)
def test_a_workspace_leaves_half_of_the_sandboxes_to_others(
    limit: int, sandboxes: int | None, streams: int
) -> None:
    """Without a bound of its own the API has those of the account."""
    assert streams_on_sandboxes(limit, sandboxes) == streams
