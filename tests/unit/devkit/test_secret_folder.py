"""The secrets of the containers: those that were given, and those that are made up."""

from pathlib import Path

import boto3
import pytest

from devkit.secret_folder import GIVEN_ONLY, KEPT, MADE_UP, SECRETS_OF, fill


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Give a folder in which no secret was chosen."""
    folder = tmp_path / "given"
    folder.mkdir()
    for name in (*MADE_UP, *GIVEN_ONLY):
        (folder / name).touch()
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Give the folders that are to be filled."""
    folders = tmp_path / "folders"
    for name in (KEPT, *SECRETS_OF):
        (folders / name).mkdir(parents=True)
    return folders


def secrets_in(folder: Path) -> dict[str, str]:
    """Return every secret by its name."""
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_secret_that_was_not_given_is_generated_once(given: Path, folders: Path) -> None:
    """Another start finds the same; otherwise PostgreSQL would refuse its own password."""
    fill(given, folders)
    first = secrets_in(folders / KEPT)
    assert set(first) == {*MADE_UP, *GIVEN_ONLY}
    assert all(len(first[name]) >= 32 for name in MADE_UP)
    assert len({first[name] for name in MADE_UP}) == len(MADE_UP)
    assert first["openai_api_key"] == ""
    fill(given, folders)
    assert secrets_in(folders / KEPT) == first


def test_what_was_given_is_used_and_may_change(given: Path, folders: Path) -> None:
    """Also after a secret was made up; a key that is taken back is gone."""
    fill(given, folders)
    (given / "signing_key").write_text("a key of my own\n")
    (given / "openai_api_key").write_text("sk-1")
    fill(given, folders)
    assert secrets_in(folders / KEPT)["signing_key"] == "a key of my own"
    assert secrets_in(folders / KEPT)["openai_api_key"] == "sk-1"
    (given / "openai_api_key").write_text("")
    fill(given, folders)
    assert secrets_in(folders / KEPT)["openai_api_key"] == ""


@pytest.mark.parametrize("service", SECRETS_OF)
def test_a_service_is_given_its_secrets_alone(given: Path, folders: Path, service: str) -> None:
    """Made up or given, they are those that the others have."""
    fill(given, folders)
    kept = secrets_in(folders / KEPT)
    assert secrets_in(folders / service) == {name: kept[name] for name in SECRETS_OF[service]}
    (given / "database_password").write_text("a password of my own\n")
    (given / "redis_url").write_text("redis://elsewhere\n")
    fill(given, folders)
    kept = secrets_in(folders / KEPT)
    assert kept["database_password"] == "a password of my own"
    assert secrets_in(folders / service) == {name: kept[name] for name in SECRETS_OF[service]}


def test_every_process_of_the_containers_may_read_them(given: Path, folders: Path) -> None:
    """They run under several user ids, none of them root."""
    fill(given, folders)
    files = [path for path in folders.glob("*/*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o444}


def test_boto3_reads_the_credentials_that_were_given(
    given: Path, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty file is no credentials, and no fault: it then looks where it would have anyway."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folders / "nowhere"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folders / "worker" / "aws_credentials"))
    fill(given, folders)
    assert boto3.Session().get_credentials() is None
    (given / "aws_credentials").write_text(
        "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = s3cret\n"
    )
    fill(given, folders)
    credentials = boto3.Session().get_credentials()
    assert credentials is not None
    assert (credentials.access_key, credentials.secret_key) == ("AKIA1", "s3cret")
