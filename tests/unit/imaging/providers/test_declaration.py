"""What a declaration refuses, and how a provider outside Darkroom is registered."""

import sys
from pathlib import Path

import pytest

from shared.errors import ConfigurationError, InvalidRequest
from shared.imaging.providers import mock
from shared.imaging.providers.mock import MockSettings
from shared.imaging.providers.openai import OpenAISettings
from shared.imaging.providers.registry import BUILT_IN, registered, secret_names
from shared.settings import load_settings

OUTSIDE = Path(__file__).parents[3] / "support" / "outside"

SOURCE = """
from pydantic import Field
from shared.imaging.providers.declaration import Offer
from shared.imaging.providers.declaration import ProviderDeclaration, ProviderSettings

class OwnSettings(ProviderSettings):
    {setting}: int = Field(1, ge=0, description="A number.")

def build(settings):
    import a_package_that_is_not_there

PROVIDER = ProviderDeclaration(
    name="{name}", settings=OwnSettings, offers=(Offer("one"),), build=build,
    default_model=lambda settings: "one", price=lambda *order: None,
)
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Give an environment in which modules of the folder can be imported."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@localhost/d")
    monkeypatch.setenv("REDIS_URL", "redis://localhost/0")
    for folder in (str(OUTSIDE), str(tmp_path)):
        monkeypatch.syspath_prepend(folder)
    return monkeypatch


def write_module(folder: Path, module: str, *, name: str, setting: str) -> str:
    """Write a module with a declaration; return how the setting names it."""
    (folder / f"{module}.py").write_text(SOURCE.format(name=name, setting=setting))
    sys.modules.pop(module, None)
    return module


def test_a_provider_outside_darkroom_is_registered_by_a_setting(
    environment: pytest.MonkeyPatch,
) -> None:
    """Its settings are read and checked with all others."""
    environment.setenv("IMAGE_PROVIDER_MODULES", "stencil")
    environment.setenv("IMAGE_PROVIDER", "stencil")
    environment.setenv("AI_MOCK_MODE", "false")
    environment.setenv("STENCIL_SHADE", "12")
    settings = load_settings()
    assert settings.provider.name == "stencil"
    own = settings.provider.settings.of(settings)
    assert own.stencil_shade == 12
    assert settings.provider.offer(settings).price_of("1024x1024", 2) == 14
    with pytest.raises(ConfigurationError, match=r"^settings: STENCIL_KEY is not set \(or"):
        settings.provider.connect(settings)
    environment.setenv("STENCIL_SHADE", "300")
    with pytest.raises(ConfigurationError, match=r"^settings: STENCIL_SHADE should be less"):
        load_settings()


def test_the_mock_makes_the_images_in_mock_mode(environment: pytest.MonkeyPatch) -> None:
    """Whatever IMAGE_PROVIDER says."""
    environment.setenv("IMAGE_PROVIDER_MODULES", "stencil")
    environment.setenv("IMAGE_PROVIDER", "stencil")
    assert load_settings().provider is mock.PROVIDER


@pytest.mark.parametrize("name", ["stencil", "mock"])
def test_a_provider_that_is_not_registered_is_refused(
    environment: pytest.MonkeyPatch, name: str
) -> None:
    """The mock is chosen by AI_MOCK_MODE alone."""
    environment.setenv("IMAGE_PROVIDER", name)
    known = ", ".join(sorted({*registered()} - {"mock"}))
    with pytest.raises(
        ConfigurationError, match=rf"^settings: IMAGE_PROVIDER must be one of {known}$"
    ):
        load_settings()


def test_a_module_that_does_not_fit_is_refused_in_one_line(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The line names the module and the reason."""
    (tmp_path / "empty.py").touch()
    (tmp_path / "other.py").write_text("PROVIDER = 1")
    write_module(tmp_path, "taken", name="openai", setting="openai_number")
    for module, reason in {
        "nowhere": "declares no provider: No module named 'nowhere'",
        "empty": "declares no provider: module 'empty' has no attribute 'PROVIDER'",
        "other": "declares no provider: 'int' object has no attribute 'name'",
        "taken": "declares 'openai', which is taken",
    }.items():
        environment.setenv("IMAGE_PROVIDER_MODULES", module)
        with pytest.raises(ConfigurationError) as raised:
            load_settings()
        assert str(raised.value) == f"settings: IMAGE_PROVIDER_MODULES: {module} {reason}"


def test_a_package_that_is_missing_is_named(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At the start of a worker, as a setting that is missing."""
    module = write_module(tmp_path, "needing", name="needing", setting="needing_number")
    environment.setenv("IMAGE_PROVIDER_MODULES", module)
    settings = load_settings()
    with pytest.raises(ConfigurationError, match="needing needs the Python package a_package_that"):
        registered((module,))["needing"].connect(settings)


def test_a_model_that_the_provider_lacks_is_refused() -> None:
    """In the words of a request's error."""
    with pytest.raises(InvalidRequest, match=r"^model: mock has no model 'gpt-image-2'$"):
        mock.PROVIDER.offer(MockSettings(), "gpt-image-2")


def test_settings_that_were_read_without_a_provider_are_not_its() -> None:
    """A fault in the code, not in a setting."""
    with pytest.raises(TypeError, match="MockSettings lacks OpenAISettings"):
        OpenAISettings.of(MockSettings())


def test_secrets_are_known_by_their_type() -> None:
    """Whatever lists secrets takes them from here."""
    assert "openai_api_key" in secret_names()
    assert secret_names([mock.PROVIDER]) == ()


def test_every_provider_of_darkroom_is_registered_under_its_name() -> None:
    """In the order of the list."""
    assert [*registered()] == [provider.name for provider in BUILT_IN]
    assert tuple(registered().values()) == BUILT_IN
