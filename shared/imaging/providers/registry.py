"""The registry of providers. To add one to Darkroom, add its module here: see docs/providers.md.

A provider outside Darkroom is registered by the setting IMAGE_PROVIDER_MODULES instead.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, get_args

from pydantic import SecretStr

from shared.errors import ConfigurationError, one_line
from shared.imaging.providers import flux, gemini, mock, openai
from shared.imaging.providers.declaration import ProviderDeclaration

AnyProvider = ProviderDeclaration[Any]

BUILT_IN: tuple[AnyProvider, ...] = (
    mock.PROVIDER,
    openai.PROVIDER,
    gemini.PROVIDER,
    flux.PROVIDER,
)


@cache
def registered(modules: tuple[str, ...] = ()) -> Mapping[str, AnyProvider]:
    """Return all providers by their names, also those that `outside` returns."""
    return {provider.name: provider for provider in (*BUILT_IN, *outside(modules))}


def outside(modules: Iterable[str]) -> list[AnyProvider]:
    """Return the providers that these modules declare, each as `PROVIDER`.

    Raises:
        ConfigurationError: A module cannot be imported, or what it declares does not fit.
    """
    found: list[AnyProvider] = []
    for module in modules:
        refused = f"settings: IMAGE_PROVIDER_MODULES: {module}"
        try:
            provider = import_module(module).PROVIDER
            name = provider.name
        except (ImportError, AttributeError, ValueError) as error:
            line = one_line(f"{refused} declares no provider: {error}")
            raise ConfigurationError(line) from error
        if name in {other.name for other in (*BUILT_IN, *found)}:
            raise ConfigurationError(f"{refused} declares {name!r}, which is taken")
        found.append(provider)
    return found


def join_settings(providers: Iterable[AnyProvider], *bases: type) -> type[Any]:
    """Return a class with the settings of all these providers, and of the bases."""
    return type("Settings", (*(provider.settings for provider in providers), *bases), {})


def secret_names(providers: Iterable[AnyProvider] = BUILT_IN) -> tuple[str, ...]:
    """Return the settings of these providers that are secrets."""
    fields = join_settings(providers).model_fields.items()
    return tuple(name for name, field in fields if _is_secret(field.annotation))


def _is_secret(annotation: object) -> bool:
    """Return whether a setting is a secret, checked further or not; it may be absent."""
    return SecretStr in {getattr(each, "__origin__", each) for each in get_args(annotation)}
