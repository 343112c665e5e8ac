"""What settings of each type take."""

import pytest

from shared.errors import ConfigurationError
from shared.imaging.providers.openai import OpenAISettings
from shared.settings import load_settings


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Give an environment with what is required."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@localhost/d")
    monkeypatch.setenv("REDIS_URL", "redis://localhost/0")
    return monkeypatch


@pytest.mark.parametrize("around", [" {} ", "{}\n", "\ufeff{}\r\n", "\u200b{}"])
def test_a_key_is_cleaned_of_what_an_editor_adds(
    environment: pytest.MonkeyPatch, around: str
) -> None:
    """No provider would understand it."""
    environment.setenv("OPENAI_API_KEY", around.format("sk-1"))
    key = OpenAISettings.of(load_settings()).openai_api_key
    assert key is not None
    assert key.get_secret_value() == "sk-1"


@pytest.mark.parametrize("key", ["sk 1", "sk-1\nsk-2", "sk-ä", "sk\x7f1"])
def test_a_key_that_no_header_can_hold_is_refused_at_the_start(
    environment: pytest.MonkeyPatch, key: str
) -> None:
    """In one line that does not show it, before anything is sent."""
    environment.setenv("OPENAI_API_KEY", key)
    with pytest.raises(
        ConfigurationError, match=r"^settings: OPENAI_API_KEY must be one word"
    ) as e:
        load_settings()
    assert key not in str(e.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_SCHEMA", 'a"b'),
        ("DATABASE_SCHEMA", "1a"),
        ("DATABASE_SCHEMA", "a, public"),
        ("REDIS_PREFIX", "shop"),
        ("REDIS_PREFIX", "a*:"),
        ("QUEUE_PREFIX", "a b"),
    ],
)
def test_a_name_that_could_mean_something_else_is_refused(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """It goes into SQL, patterns of keys and the names of queues."""
    environment.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^settings: {name} must be "):
        load_settings()


def test_prefixes_are_empty_unless_they_are_set(environment: pytest.MonkeyPatch) -> None:
    """The fixed names are those of an installation without them."""
    settings = load_settings()
    assert (settings.redis_prefix, settings.queue_prefix, settings.database_schema) == (
        "",
        "",
        None,
    )
    environment.setenv("REDIS_PREFIX", "shop:dark.")
    assert load_settings().redis_keys.channel("t") == "shop:dark.task_updates:t"
