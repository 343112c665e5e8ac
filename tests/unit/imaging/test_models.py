"""Which models requests may name, by the settings; and whose each is."""

from typing import Any

import pytest

from shared.errors import ConfigurationError, InvalidRequest
from tests.support.builders import build_settings

FLARE = "gpt-image-2.5-flare"
BANANA = "gemini-3.1-flash-image"


def models_of(**settings: Any) -> dict[str, str]:
    """Return the provider of each model, the default model first."""
    return dict(build_settings(ai_mock_mode=False, **settings).models.providers)


@pytest.mark.parametrize(
    ("settings", "models"),
    [
        ({}, {FLARE: "openai"}),
        ({"image_models": f"gpt-image-2, {BANANA}"}, {"gpt-image-2": "openai", BANANA: "gemini"}),
        ({"image_models": f"{FLARE},azure/gpt-image-2"}, {"azure/gpt-image-2": "openai"}),
        ({"image_models": "sdxl-turbo"}, {"sdxl-turbo": "openai"}),
        ({"image_models": "flux-2-pro"}, {"flux-2-pro": "flux"}),
        ({"image_models": f"openai:{BANANA}"}, {BANANA: "openai"}),
        ({"image_models": "a:b"}, {"a:b": "openai"}),
        (
            {"image_provider": "gemini", "image_models": "gpt-image-2"},
            {BANANA: "gemini", "gpt-image-2": "openai"},
        ),
        (
            {"image_provider": "gemini", "gemini_model": "gemini-9-image"},
            {"gemini-9-image": "gemini"},
        ),
    ],
)
def test_a_name_goes_to_the_provider_that_knows_it(
    settings: dict[str, Any], models: dict[str, str]
) -> None:
    """First to the one of the default model; `provider:name` says whose it is."""
    found = models_of(**settings)
    if "image_provider" not in settings:
        models = {FLARE: "openai", **models}
    assert (list(found.items())) == list(models.items())


def test_a_model_that_no_provider_has_is_named() -> None:
    """In one line, at the start."""
    line = "settings: IMAGE_MODELS: no provider has 'gemini:gpt-image-2'"
    with pytest.raises(ConfigurationError, match=line):
        models_of(image_models="gemini:gpt-image-2")


def test_in_mock_mode_the_mock_has_its_own_models() -> None:
    """Whatever else may be named otherwise."""
    settings = build_settings(image_models="gpt-image-2")
    assert dict(settings.models.providers) == {"mock-1": "mock", "mock-mini": "mock"}
    assert [provider.name for provider in settings.providers] == ["mock"]


def test_what_is_not_offered_is_refused_with_the_list() -> None:
    """The default model stands for no name."""
    models = build_settings().models
    assert models.get(None).name == "mock-1"
    with pytest.raises(InvalidRequest, match="model: must be one of mock-1, mock-mini"):
        models.get("gpt-image-2")
