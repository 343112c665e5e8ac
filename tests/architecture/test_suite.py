"""The suite itself: what makes it quick must not be lost without a word."""

import pytest


def test_processes_that_share_the_suite_are_given_whole_groups(
    request: pytest.FixtureRequest,
) -> None:
    """Or each of them starts servers and runtimes for every group. xdist notes the group here."""
    is_grouped = request.node.nodeid.endswith("@tests/architecture/test_suite.py")
    assert is_grouped == getattr(request.config.option, "loadgroup", False)
