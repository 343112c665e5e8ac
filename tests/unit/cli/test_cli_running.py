"""Which servers `darkroom demo` and `up` take as given, where files hold what leads to them."""

from pathlib import Path

import pytest

from devkit.running import with_addresses
from shared.errors import ConfigurationError

ADDRESS = "redis://:s3cret@elsewhere:6379/0"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give an empty file."""
    path = tmp_path / "redis_url"
    path.touch()
    return path


def test_an_address_in_a_file_is_given_like_any_other(file: Path) -> None:
    """And only once, so that the settings do not find it twice."""
    file.write_text(f"{ADDRESS}\n")
    given = {"REDIS_URL_FILE": str(file), "HOME": "/"}
    assert with_addresses(given) == {"REDIS_URL": ADDRESS, "HOME": "/"}
    assert with_addresses({**given, "REDIS_URL": ""}) == {"REDIS_URL": ADDRESS, "HOME": "/"}


@pytest.mark.parametrize("given", [{}, {"REDIS_URL": ""}, {"REDIS_URL": ADDRESS}], ids=str)
def test_an_empty_file_changes_nothing(given: dict[str, str], file: Path) -> None:
    """Such as the one that docker-compose.yml puts where none is named."""
    assert with_addresses({**given, "REDIS_URL_FILE": str(file)}) == given
    assert with_addresses({**given, "REDIS_URL_FILE": ""}) == given


def test_an_address_that_is_given_twice_is_refused(file: Path) -> None:
    """With the words of the settings, and without the address."""
    file.write_text(ADDRESS)
    with pytest.raises(ConfigurationError) as caught:
        with_addresses({"REDIS_URL": "redis://here", "REDIS_URL_FILE": str(file)})
    assert str(caught.value).startswith("settings: REDIS_URL and REDIS_URL_FILE are both set")
    assert "s3cret" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before anything is started."""
    with pytest.raises(ConfigurationError, match=r"REDIS_URL_FILE names .*gone, which cannot be"):
        with_addresses({"REDIS_URL_FILE": str(tmp_path / "gone")})


def test_a_password_goes_with_an_address() -> None:
    """The address of a database that is started here holds its own."""
    password = {"DATABASE_PASSWORD_FILE": "/run/secrets/password"}
    address = {"DATABASE_URL": "postgresql://shop@elsewhere/shop"}
    assert with_addresses({**password, **address}) == {**password, **address}
    assert with_addresses(password) == {}
    assert with_addresses({**password, "DATABASE_URL": ""}) == {"DATABASE_URL": ""}
