"""What the models of OpenAI are said to offer, against the types of its newest SDK."""

from typing import Any, get_args, get_type_hints

from openai.types import ImageModel
from openai.types.image_edit_params import ImageEditParamsBase
from openai.types.image_generate_params import ImageGenerateParamsBase

from shared.imaging.params import AUTO
from shared.imaging.providers.declaration import Offer
from shared.imaging.providers.openai import NOT_SENT, OFFERS, PROVIDER, SENT, OpenAISettings

STREAMED = {"stream"}
"""Stands beside the base, in the types of the two forms of an answer."""

NOT_KEPT = {"gif", "svg"}
"""Formats that are no pictures of ours."""


def parameters() -> dict[str, Any]:
    """Return the type of each parameter, of generations and edits together."""
    return {**get_type_hints(ImageEditParamsBase), **get_type_hints(ImageGenerateParamsBase)}


def words_of(name: str) -> set[str]:
    """Return the texts that the SDK names for a parameter."""

    def words(kind: Any) -> set[str]:
        found = {each for each in get_args(kind) if isinstance(each, str)}
        return found.union(*(words(each) for each in get_args(kind) if not isinstance(each, str)))

    return words(parameters()[name])


def named(field: str) -> set[str]:
    """Return every value that some model of OpenAI's own offers."""
    own = [offer for offer in OFFERS if offer.model != "*"]
    return {value for offer in own for value in getattr(offer, field)}


def test_every_parameter_is_sent_or_known_not_to_be() -> None:
    """A parameter that a new SDK has must be put into one of the two lists."""
    known = {*parameters()} | STREAMED
    assert known == SENT | NOT_SENT
    assert not SENT & NOT_SENT


def test_values_are_those_of_the_sdk() -> None:
    """Each can be chosen with some model, and there are no others."""
    assert named("qualities") | {AUTO} == words_of("quality")
    assert named("backgrounds") | {AUTO} == words_of("background")
    assert named("moderations") | {AUTO} == words_of("moderation")
    assert named("output_formats") | NOT_KEPT == words_of("output_format")
    assert named("sizes") == words_of("size")


def test_every_model_of_the_sdk_has_its_offer() -> None:
    """None is taken for one of another server."""
    settings = OpenAISettings()
    unknown: Offer = OFFERS[-1]
    for model in get_args(ImageModel):
        assert PROVIDER.knows(settings, model), model
        assert PROVIDER.offer(settings, model).qualities != unknown.qualities
