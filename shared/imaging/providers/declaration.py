"""What a provider declares of itself. `registry` lists the declarations.

A declaration is read at the start of every process, so its module imports no SDK and no
drawing library: `build` does, in the processes that run jobs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Generic, Literal, Self, TypeVar

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from shared.errors import ConfigurationError, InvalidRequest
from shared.imaging.offers import Offer
from shared.imaging.provider import ImageProvider
from shared.imaging.providers.error_rules import ErrorRule
from shared.setting_types import STRICT


class ProviderSettings(BaseSettings):
    """Settings of one provider, each with the provider's name before it; part of `Settings`.

    A field of type `SecretStr` is a secret; a field `{name}_file` beside it names its file.
    """

    model_config = STRICT

    environment: Literal["local", "staging", "production"] = Field(
        "local", description="Where this runs; on AWS Lambda it must be set."
    )

    @classmethod
    def of(cls, settings: BaseSettings) -> Self:
        """Return all settings as those of this provider, which are a part of them.

        Raises:
            TypeError: They were read without this provider.
        """
        if not isinstance(settings, cls):
            raise TypeError(f"{type(settings).__name__} lacks {cls.__name__}")
        return settings


S = TypeVar("S", bound=ProviderSettings)


@dataclass(frozen=True)
class ProviderDeclaration(Generic[S]):
    """One provider.

    Attributes:
        name: For settings, ledger and logs.
        settings: The class of its settings.
        offers: What each model offers; the first whose pattern fits a name counts.
        default_model: Returns the model that is asked.
        build: Returns the provider itself; may import an SDK.
        price: Returns what some images of a model and size cost, in micro-dollars.
        units: What it bills by, as receipts name it, with the meaning of each.
        errors: Every error that it raises.
        required: Settings without which it cannot be built.
    """

    name: str
    settings: type[S]
    offers: Sequence[Offer]
    default_model: Callable[[S], str]
    build: Callable[[S], ImageProvider]
    price: Callable[[S, str, str, int], int | None]
    units: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[ErrorRule] = ()
    required: Sequence[str] = ()

    def offer(self, settings: BaseSettings, model: str | None = None) -> Offer:
        """Return what a model offers, with its prices; None means the default model.

        Raises:
            InvalidRequest: The provider has no such model.
        """
        own = self.settings.of(settings)
        name = model or self.default_model(own)
        for offer in self.offers:
            if fnmatchcase(name, offer.model):
                return replace(offer, model=name, price_of=partial(self.price, own, name))
        raise InvalidRequest(f"model: {self.name} has no model {name[:64]!r}")

    def connect(self, settings: BaseSettings) -> ImageProvider:
        """Return the provider itself.

        Raises:
            ConfigurationError: A setting or a package that it needs is missing.
        """
        own = self.settings.of(settings)
        for name in self.required:
            value = getattr(own, name)
            if not (value.get_secret_value() if isinstance(value, SecretStr) else value):
                raise ConfigurationError(
                    f"settings: {name.upper()} is not set (or set AI_MOCK_MODE=true)"
                )
        try:
            return self.build(own)
        except ImportError as error:
            raise ConfigurationError(
                f"the provider {self.name} needs the Python package {error.name}: install it "
                "(or set AI_MOCK_MODE=true)"
            ) from error
