"""Settings: each rule, broken once, gives one line that names the variable."""

from pathlib import Path
from urllib.parse import quote

import pytest

from shared.errors import ConfigurationError
from shared.imaging.providers.mock import MockSettings
from shared.imaging.providers.openai import OpenAISettings
from shared.secret_files import has_password
from shared.settings import Settings, load_database, load_settings

DATABASE_URL = "postgresql://shop:s3cret-pw@db/shop"
REDIS_URL = "redis://:s3cret-pw@cache:6379/0"
SIGNING_KEY = "s3cret-key-of-at-least-32-characters"
STAGING = {"ENVIRONMENT": "staging", "AI_MOCK_MODE": "true", "SIGNING_KEY": SIGNING_KEY}
NUMBERS = [
    name.upper()
    for name, field in Settings.model_fields.items()
    if field.annotation in (int, float)
]

BROKEN = [
    ({"DATABASE_URL": "mysql://shop:s3cret-pw@db/shop"}, "DATABASE_URL"),
    ({"DATABASE_URL": "shop:s3cret-pw@db/shop"}, "DATABASE_URL"),
    ({"DATABASE_URL": "postgresql+asyncpg://shop:s3cret-pw@db"}, "DATABASE_URL"),
    ({"REDIS_URL": "amqp://:s3cret-pw@cache"}, "REDIS_URL"),
    ({"REDIS_URL": "redis+socket:///tmp/redis.sock"}, "REDIS_URL"),
    ({"ENVIRONMENT": "dev"}, "ENVIRONMENT"),
    ({"AI_MOCK_MODE": "perhaps"}, "AI_MOCK_MODE"),
    ({"SOFT_TIME_LIMIT": "0"}, "SOFT_TIME_LIMIT"),
    ({"SOFT_TIME_LIMIT": "330"}, "SOFT_TIME_LIMIT"),
    ({"TIME_LIMIT": "2700"}, "TIME_LIMIT"),
    ({"LEASE_SECONDS": "330"}, "LEASE_SECONDS"),
    ({"LEASE_SECONDS": "-1"}, "LEASE_SECONDS"),
    ({"MAX_ATTEMPTS": "0"}, "MAX_ATTEMPTS"),
    ({"MAX_ATTEMPTS": "21"}, "MAX_ATTEMPTS"),
    ({"MAX_ATTEMPTS": "many"}, "MAX_ATTEMPTS"),
    ({"SWEEP_SECONDS": "0"}, "SWEEP_SECONDS"),
    ({"DISPATCH_GRACE_SECONDS": "0"}, "DISPATCH_GRACE_SECONDS"),
    ({"RETRY_BACKOFF": "-1"}, "RETRY_BACKOFF"),
    ({"RETRY_BACKOFF_MAX": "901"}, "RETRY_BACKOFF_MAX"),
    ({"SHUTDOWN_GRACE_SECONDS": "-1"}, "SHUTDOWN_GRACE_SECONDS"),
    ({"MOCK_STEP_SECONDS": "61"}, "MOCK_STEP_SECONDS"),
    ({"EVENT_TTL_SECONDS": "1"}, "EVENT_TTL_SECONDS"),
    ({"EVENT_STREAM_MAX_LENGTH": "1"}, "EVENT_STREAM_MAX_LENGTH"),
    ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
    ({"OPENAI_PRICES": "{40000}"}, "OPENAI_PRICES"),
    ({"MAX_PROVIDER_CALLS_PER_MINUTE": '{"opnai": 1}'}, "MAX_PROVIDER_CALLS: no provider opnai"),
    ({"OPENAI_PRICES": "[40000]"}, "OPENAI_PRICES"),
    ({"OPENAI_PRICES": '{"*": -1}'}, "OPENAI_PRICES"),
    ({"OPENAI_PRICES": '{"*": "much"}'}, "OPENAI_PRICES"),
    ({"PUBLIC_BASE_URL": "images.example.com"}, "PUBLIC_BASE_URL"),
    ({"PUBLIC_BASE_URL": "https://x/?q=1"}, "PUBLIC_BASE_URL"),
    ({"CORS_ORIGINS": "https://a.example, *"}, "CORS_ORIGINS"),
    ({"CORS_ORIGINS": "https://a.example/path"}, "CORS_ORIGINS"),
    ({"API_PORT": "65536"}, "API_PORT"),
    ({"MAX_OPEN_JOBS": "0"}, "MAX_OPEN_JOBS"),
    ({"MAX_STREAMS": "0"}, "MAX_STREAMS"),
    ({"EVENT_TOKEN_SECONDS": "0"}, "EVENT_TOKEN_SECONDS"),
    ({"IMAGE_TOKEN_SECONDS": "0"}, "IMAGE_TOKEN_SECONDS"),
    ({"EVENT_WINDOW_SECONDS": "29"}, "EVENT_WINDOW_SECONDS"),
    ({"TRUSTED_NETWORKS": "10.0.0.1/8"}, "TRUSTED_NETWORKS"),
    ({"TRUSTED_NETWORKS": "gateways"}, "TRUSTED_NETWORKS"),
    ({"TRUSTED_NETWORKS": "gateway, 0.0.0.0/0"}, "TRUSTED_NETWORKS"),
    ({"TRUSTED_NETWORKS": "::/0"}, "TRUSTED_NETWORKS"),
    ({"DATABASE_PASSWORD": "s3cret"}, "DATABASE_PASSWORD is set, and DATABASE_URL holds"),
    ({"DATABASE_PASSWORD": "s3cret", "DATABASE_URL": "postgresql://h/d"}, "a DATABASE_URL with a"),
    ({"DATABASE_URL": "postgresql://u:s3cret@s3cret@h/d"}, "DATABASE_URL must write @ as %40"),
    ({"DATABASE_URL": "postgresql://u:s@s3cret?s3cret@h/d"}, "DATABASE_URL must write @ as %40"),
    ({"REDIS_URL": "redis://:s3cret@s3cret@h"}, "REDIS_URL must write @ as %40"),
    ({"REDIS_URL": "redis://:s3cret/s3cret@h"}, "/ as %2F"),
    ({"DATABASE_URL": "postgresql://u:s3cret/s3cret@h/d"}, "DATABASE_URL must write @ as %40"),
    ({"DATABASE_URL": "postgresql://u:s3cret#s3cret@h/d"}, "# as %23"),
    ({"REDIS_URL": "redis://:s3cret@h/0?db=x"}, "REDIS_URL must have a number for its db"),
    ({"REDIS_URL": "redis://:s3cret@h?colour=s3cret"}, "an option that is not known: colour"),
    ({"REDIS_URL": "rediss://:s3cret@h?ssl_cert_reqs=some"}, "none, optional or required"),
    ({"REDIS_URL": "redis://:s3cret@h?ssl_cert_reqs=none"}, "must begin with rediss://"),
    ({"REDIS_URL": "redis://:s3cret#s3cret@h"}, "# as %23"),
    ({"SIGNING_KEY_FILE": "/nowhere"}, "SIGNING_KEY_FILE names /nowhere"),
    ({"SIGNING_KEY_FILE": "/nowhere", "SIGNING_KEY": SIGNING_KEY}, "SIGNING_KEY_FILE"),
    ({"SIGNING_KEY": "s3cret-of-31-bytes-............"}, "SIGNING_KEY must have at least 32 bytes"),
    ({**STAGING, "REQUIRE_API_KEYS": "false"}, "REQUIRE_API_KEYS"),
    ({"AWS_LAMBDA_FUNCTION_NAME": "worker"}, "ENVIRONMENT"),
    ({"ENVIRONMENT": "staging", "SIGNING_KEY": SIGNING_KEY}, "AI_MOCK_MODE"),
    ({"ENVIRONMENT": "production", "SIGNING_KEY": SIGNING_KEY}, "AI_MOCK_MODE"),
    ({**STAGING, "ENVIRONMENT": "production", "MOCK_SCRIPTS": "true"}, "MOCK_SCRIPTS"),
]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Give an environment with the two settings that have no default."""
    monkeypatch.setenv("DATABASE_URL", DATABASE_URL)
    monkeypatch.setenv("REDIS_URL", REDIS_URL)
    return monkeypatch


def load_with(environment: pytest.MonkeyPatch, variables: dict[str, str]) -> Settings:
    """Load the settings of an environment with more variables."""
    for name, value in variables.items():
        environment.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize(("variables", "name"), BROKEN, ids=str)
def test_a_broken_rule_is_one_line_that_names_the_variable(
    environment: pytest.MonkeyPatch, variables: dict[str, str], name: str
) -> None:
    """The line says which variable to change, and shows no secret."""
    with pytest.raises(ConfigurationError) as caught:
        load_with(environment, variables)
    message = str(caught.value)
    assert message.startswith("settings: ")
    assert name in message
    assert "\n" not in message
    assert "s3cret" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_number_that_is_none_is_refused(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Infinity would fail much later, inside a timer or an interval of PostgreSQL."""
    with pytest.raises(ConfigurationError, match=name):
        load_with(environment, {name: value})


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_a_missing_server_is_named(environment: pytest.MonkeyPatch, name: str) -> None:
    """The two settings without a default are named when they are not set."""
    environment.delenv(name)
    with pytest.raises(ConfigurationError, match=f"^settings: {name} is not set$"):
        load_settings()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_variable_is_not_set(environment: pytest.MonkeyPatch, name: str) -> None:
    """Its setting has its default, wherever the empty text stands; a server has none."""
    environment.setenv(name.upper(), "")
    if Settings.model_fields[name].is_required():
        with pytest.raises(ConfigurationError, match=f"{name.upper()} is not set"):
            load_settings()
    else:
        default = Settings.model_fields[name].get_default()
        assert getattr(load_settings(), name) == default
        environment.delenv(name.upper())
        assert getattr(load_settings({name.upper(): ""}), name) == default


def test_every_wrong_setting_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    """One start shows all that is to be mended."""
    environment.delenv("REDIS_URL")
    with pytest.raises(ConfigurationError) as caught:
        load_with(environment, {"MAX_ATTEMPTS": "0", "LOG_LEVEL": "loud"})
    for name in ("REDIS_URL is not set", "MAX_ATTEMPTS", "LOG_LEVEL"):
        assert name in str(caught.value)


def test_two_addresses_are_enough(environment: pytest.MonkeyPatch) -> None:
    """Everything else has a default, which draws pictures here."""
    settings = load_settings()
    assert settings.environment == "local"
    assert settings.mocks_provider
    assert MockSettings.of(settings).obeys_scripts


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"]
)
def test_every_usual_address_of_postgresql_names_our_driver(
    environment: pytest.MonkeyPatch, scheme: str
) -> None:
    """SQLAlchemy would look for another driver, or know no `postgres` at all."""
    settings = load_with(environment, {"DATABASE_URL": f"{scheme}://u:p@h/d?host=/tmp/a"})
    assert settings.database_url == "postgresql+psycopg2://u:p@h/d?host=/tmp/a"


@pytest.mark.parametrize("url", ["redis://h:1/2", "rediss://:p@h", "unix:///tmp/r.sock?db=1"])
def test_every_address_of_redis_is_kept(environment: pytest.MonkeyPatch, url: str) -> None:
    """redis-py reads all three schemes itself."""
    assert load_with(environment, {"REDIS_URL": url}).redis_url == url


def test_no_secret_is_shown_with_the_settings(environment: pytest.MonkeyPatch) -> None:
    """What is printed or logged of the settings holds no password and no key."""
    settings = load_with(environment, STAGING)
    for shown in (repr(settings), str(settings), f"{settings}"):
        assert "s3cret" not in shown
        assert quote("s3cret") not in shown
    assert settings.signing_key is not None
    assert settings.signing_key.get_secret_value() == SIGNING_KEY


def test_on_lambda_the_environment_must_be_said(environment: pytest.MonkeyPatch) -> None:
    """`local` is accepted there if it is set explicitly."""
    variables = {"AWS_LAMBDA_FUNCTION_NAME": "worker", "ENVIRONMENT": "local"}
    assert load_with(environment, variables).environment == "local"


@pytest.mark.parametrize(
    ("variables", "mocks", "obeys"),
    [
        ({}, True, True),
        ({"AI_MOCK_MODE": "false"}, False, True),
        ({"MOCK_SCRIPTS": "false"}, True, False),
        (STAGING, True, False),
        ({**STAGING, "MOCK_SCRIPTS": "true"}, True, True),
        ({**STAGING, "ENVIRONMENT": "production", "AI_MOCK_MODE": "false"}, False, False),
    ],
)
def test_mocking_and_scripts_follow_the_environment(
    environment: pytest.MonkeyPatch, variables: dict[str, str], mocks: bool, obeys: bool
) -> None:
    """Local means drawn pictures and scripts; elsewhere each must be asked for."""
    settings = load_with(environment, variables)
    assert (settings.mocks_provider, MockSettings.of(settings).obeys_scripts) == (mocks, obeys)


def test_unknown_variables_are_ignored(environment: pytest.MonkeyPatch) -> None:
    """The environment belongs to others, too."""
    load_with(environment, {"SOFT_TIME_LIMITS": "1", "PATH_OF_ANOTHER": "x"})


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name: str) -> None:
    """The table of settings in the docs is made of these sentences."""
    description = Settings.model_fields[name].description
    assert description
    assert description.endswith(".")


def test_addresses_are_signed_alike_by_all_processes_of_a_database(
    environment: pytest.MonkeyPatch,
) -> None:
    """Without a key of their own, locally; with one, by that."""
    first, second = load_settings(), load_settings()
    assert first.signing_secret == second.signing_secret
    assert DATABASE_URL not in first.signing_secret
    environment.setenv("SIGNING_KEY", SIGNING_KEY)
    assert load_settings().signing_secret == SIGNING_KEY


@pytest.mark.parametrize("where", [{"REQUIRE_API_KEYS": "true"}, STAGING], ids=["keys", "staging"])
def test_where_api_keys_are_needed_addresses_are_signed_with_a_key(
    environment: pytest.MonkeyPatch, where: dict[str, str]
) -> None:
    """A process that signs nothing starts without one."""
    settings = load_with(environment, {**where, "SIGNING_KEY": ""})
    with pytest.raises(ConfigurationError, match="SIGNING_KEY of at least 32"):
        _ = settings.signing_secret


def test_a_signing_key_is_measured_in_bytes(environment: pytest.MonkeyPatch) -> None:
    """Half as many characters of two bytes each are enough."""
    assert load_with(environment, {"SIGNING_KEY": "ü" * 16}).signing_secret == "ü" * 16


def test_api_keys_are_needed_everywhere_but_locally(environment: pytest.MonkeyPatch) -> None:
    """Unless they are asked for there too."""
    assert not load_settings().needs_api_keys
    environment.setenv("REQUIRE_API_KEYS", "true")
    environment.setenv("SIGNING_KEY", SIGNING_KEY)
    assert load_settings().needs_api_keys
    environment.delenv("REQUIRE_API_KEYS")
    for name, value in STAGING.items():
        environment.setenv(name, value)
    assert load_settings().needs_api_keys


def test_origins_are_listed_with_commas(environment: pytest.MonkeyPatch) -> None:
    """Spaces and a slash at the end do not matter."""
    environment.setenv("CORS_ORIGINS", "https://a.example, http://localhost:3000/,")
    assert load_settings().cors_origins == ("https://a.example", "http://localhost:3000")


@pytest.mark.parametrize("prices", ['{"*": 40000}', {"*": 40000}], ids=["text", "object"])
def test_prices_are_json_wherever_they_stand(
    environment: pytest.MonkeyPatch, prices: object
) -> None:
    """A secret may hold them as text, as the environment does, or as an object."""
    assert OpenAISettings.of(load_settings({"OPENAI_PRICES": prices})).openai_prices == {"*": 40000}
    environment.setenv("OPENAI_PRICES", '{"*": 50000}')
    assert OpenAISettings.of(load_settings()).openai_prices == {"*": 50000}
    environment.setenv("OPENAI_PRICES", "")
    assert OpenAISettings.of(load_settings()).openai_prices == {}


def test_trusted_networks_are_listed_with_commas(environment: pytest.MonkeyPatch) -> None:
    """Single addresses are networks, too."""
    environment.setenv("TRUSTED_NETWORKS", "gateway, 10.1.2.0/24,10.9.9.9,")
    assert load_settings().trusted_networks == ("gateway", "10.1.2.0/24", "10.9.9.9")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://shop@db/shop", "postgresql+psycopg2://shop:{}@db/shop"),
        ("postgresql://shop@db:5432", "postgresql+psycopg2://shop:{}@db:5432"),
        ("postgresql://shop@/?host=/run/pg", "postgresql+psycopg2://shop:{}@/?host=/run/pg"),
    ],
)
def test_password_of_the_database_comes_from_a_setting_of_its_own(
    environment: pytest.MonkeyPatch, url: str, expected: str
) -> None:
    """Whatever characters it holds; also where nothing but the database is needed."""
    environment.setenv("DATABASE_URL", url)
    environment.setenv("DATABASE_PASSWORD", "s3cret/@:%")
    settings = load_settings()
    assert settings.database_url == expected.format("s3cret%2F%40%3A%25")
    assert load_database().database_url == settings.database_url
    assert "s3cret" not in repr(settings)


def test_secrets_may_stand_in_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A line end does not belong to the secret; an empty file holds none."""
    files = {
        "DATABASE_PASSWORD": "s3cret-pw\n",
        "REDIS_URL": REDIS_URL,
        "SIGNING_KEY": f"{SIGNING_KEY}\n",
        "OPENAI_API_KEY": "\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        environment.setenv(f"{name}_FILE", str(tmp_path / name))
    environment.delenv("REDIS_URL")
    environment.setenv("DATABASE_URL", "postgresql://shop@db/shop")

    settings = load_settings()

    assert settings.database_url == "postgresql+psycopg2://shop:s3cret-pw@db/shop"
    assert settings.redis_url == REDIS_URL
    assert settings.signing_secret == SIGNING_KEY
    assert OpenAISettings.of(settings).openai_api_key is None


def test_password_in_an_address_needs_no_file(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in docker-compose.yml, whose own server has a password in a file: another is given."""
    (tmp_path / "password").write_text("made-up")
    environment.setenv("DATABASE_PASSWORD_FILE", str(tmp_path / "password"))
    assert load_settings().database_url == "postgresql+psycopg2://shop:s3cret-pw@db/shop"
    assert load_database().database_url == "postgresql+psycopg2://shop:s3cret-pw@db/shop"


def test_an_address_comes_from_one_place(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty file, or an empty variable, leaves it to the other; two are refused."""
    path = tmp_path / "redis_url"
    path.touch()
    environment.setenv("REDIS_URL_FILE", str(path))
    assert load_settings().redis_url == REDIS_URL
    path.write_text("redis://:s3cret-other@elsewhere\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value) == (
        "settings: REDIS_URL and REDIS_URL_FILE are both set: leave one of them empty, as "
        "REDIS_URL="
    )
    environment.setenv("REDIS_URL", "")
    assert load_settings().redis_url == "redis://:s3cret-other@elsewhere"


@pytest.mark.parametrize(
    ("url", "is_there"),
    [
        ("postgresql://u:p@host/d", True),
        ("redis://:p@host:6379/0", True),
        ("redis://host:6379/0", False),
        ("postgresql://u@host:5432/d?x=a:b@c", False),
        ("postgresql://u:p@[::1/d", True),
    ],
)
def test_a_password_in_an_address_is_seen(url: str, is_there: bool) -> None:
    """Wherever it stands, and however wrong the rest is."""
    assert has_password(url) is is_there
