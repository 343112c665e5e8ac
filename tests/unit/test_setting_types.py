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
