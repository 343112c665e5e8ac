"""The settings that say which providers make images, and with which models. Part of `Settings`."""

from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from shared.imaging.models import Models, read_models
from shared.imaging.providers import mock, registry
from shared.imaging.providers.declaration import ProviderSettings
from shared.setting_types import Names

_MOCK = mock.PROVIDER.name


class ImageSettings(ProviderSettings):
    """Who makes the images."""

    ai_mock_mode: bool | None = Field(
        None, description="Draw images here instead of calling a provider. Local default true."
    )
    image_provider: str = Field(
        "openai", description="Provider of the default model if AI_MOCK_MODE=false."
    )
    image_provider_modules: Names = Field(
        (), description="Python modules of further providers, separated by commas."
    )
    image_models: Names = Field(
        (),
        description="Models that requests may name besides the default one, separated by commas; "
        "`provider:model` where the name does not say whose it is.",
    )
    on_unknown_charge: Literal["retry", "fail"] = Field(
        "retry", description="What follows a provider call that may have been billed in vain."
    )

    @model_validator(mode="after")
    def _check_provider(self) -> Self:
        choices = sorted({*registry.registered(self.image_provider_modules)} - {_MOCK})
        if self.image_provider not in choices:
            raise ValueError(f"IMAGE_PROVIDER must be one of {', '.join(choices)}")
        return self

    @cached_property
    def mocks_provider(self) -> bool:
        """Whether pictures are drawn here instead of by a provider."""
        return self.environment == "local" if self.ai_mock_mode is None else self.ai_mock_mode

    @cached_property
    def provider(self) -> registry.AnyProvider:
        """What the provider of the default model has declared."""
        name = _MOCK if self.mocks_provider else self.image_provider
        return registry.registered(self.image_provider_modules)[name]

    @cached_property
    def models(self) -> Models:
        """The models that requests may name, the default one first.

        Raises:
            ConfigurationError: IMAGE_MODELS names one that no provider has.
        """
        own = self.provider
        if self.mocks_provider:
            return read_models(self, own, names=[offer.model for offer in own.offers])
        known = registry.registered(self.image_provider_modules).values()
        others = [each for each in known if each.name not in (own.name, _MOCK)]
        return read_models(self, own, others, self.image_models)

    @cached_property
    def providers(self) -> tuple[registry.AnyProvider, ...]:
        """What the providers of these models have declared, that of the default one first."""
        known = registry.registered(self.image_provider_modules)
        return tuple(known[name] for name in dict.fromkeys(self.models.providers.values()))
