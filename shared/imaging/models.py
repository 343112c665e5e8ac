"""The models that requests may name: which provider makes each, and what it offers.

`shared.imaging.image_settings` makes the list; submission, workers and the API read it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic_settings import BaseSettings

from shared.errors import ConfigurationError, InvalidRequest
from shared.imaging.providers.declaration import Offer
from shared.imaging.providers.registry import AnyProvider


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """One model, with what it offers, and the name of its provider.

    Attributes:
        makes_later: As its provider declares.
    """

    provider: str
    offer: Offer
    makes_later: bool = False

    @property
    def name(self) -> str:
        """What requests, rows and the provider call it."""
        return self.offer.model


class Models:
    """The models of an installation, the default one first; of two of one name, the first counts.

    Args:
        offered: At least one.
    """

    def __init__(self, offered: Iterable[OfferedModel]) -> None:
        self._by_name: dict[str, OfferedModel] = {}
        for model in offered:
            self._by_name.setdefault(model.name, model)
        self.default = next(iter(self))

    def __iter__(self) -> Iterator[OfferedModel]:
        """Yield all models, the default one first."""
        return iter(self._by_name.values())

    @property
    def providers(self) -> Mapping[str, str]:
        """The provider of each model, by the names of both."""
        return {model.name: model.provider for model in self}

    def get(self, name: str | None) -> OfferedModel:
        """Return a model; None means the default one.

        Raises:
            InvalidRequest: There is none; the message lists the models.
        """
        if name is None:
            return self.default
        if name not in self._by_name:
            raise InvalidRequest(f"model: must be one of {', '.join(self._by_name)}")
        return self._by_name[name]


def read_models(
    settings: BaseSettings,
    default: AnyProvider,
    others: Sequence[AnyProvider] = (),
    names: Iterable[str] = (),
) -> Models:
    """Return the default model of a provider, and the models that a setting names.

    A name goes to the provider whose models it fits, first to `default`; last to one that takes
    every name. `provider:name` says which.

    Raises:
        ConfigurationError: No provider has a model of such a name.
    """
    offered = [OfferedModel(default.name, default.offer(settings), default.makes_later)]
    by_name = {provider.name: provider for provider in (default, *others)}
    for text in names:
        prefix, _, rest = text.partition(":")
        named = by_name.get(prefix) if rest else None
        name, candidates = (rest, [named]) if named else (text, list(by_name.values()))
        known = [each for each in candidates if each.knows(settings, name)]
        for provider in (*known, *candidates):
            try:
                offer = provider.offer(settings, name)
                offered.append(OfferedModel(provider.name, offer, provider.makes_later))
                break
            except InvalidRequest:
                continue
        else:
            raise ConfigurationError(f"settings: IMAGE_MODELS: no provider has {text[:64]!r}")
    return Models(offered)
