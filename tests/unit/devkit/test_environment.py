"""The environment of the runtimes: no setting of the user's own AWS account gets in."""

from cli.up import exports
from devkit.environment import without_aws


def test_aws_settings_of_the_user_are_left_out() -> None:
    """Neither variables nor configuration files of an account reach a runtime."""
    given = {"AWS_PROFILE": "shop", "AWS_SESSION_TOKEN": "x", "QUEUE_URL": "y", "HOME": "/home/a"}
    cleaned = without_aws(given)
    assert cleaned["HOME"] == "/home/a"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "QUEUE_URL"} & cleaned.keys()
    assert cleaned["AWS_CONFIG_FILE"] == cleaned["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"


def test_no_proxy_is_asked_for_the_loopback() -> None:
    """Exceptions that the user made stay."""
    assert without_aws({})["NO_PROXY"] == "127.0.0.1"
    assert without_aws({"no_proxy": "intranet"})["no_proxy"] == "intranet,127.0.0.1"


def test_exports_survive_the_shell() -> None:
    """Addresses hold characters that a shell would read."""
    lines = exports({"DATABASE_URL": "postgresql://a@/b?host=/tmp/c d"}).splitlines()
    assert lines == [
        "unset QUEUE_URL REDIS_URL_FILE",
        "export DATABASE_URL='postgresql://a@/b?host=/tmp/c d'",
    ]
