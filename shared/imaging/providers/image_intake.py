"""Takes in the pictures of one call as they come: each is billed, received and kept.

One picture that cannot be read never harms those beside it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from shared.errors import (
    AttemptError,
    CorruptImage,
    ProviderTimeout,
    ProviderUnavailable,
    UnusableImage,
)
from shared.imaging.provider import (
    ChargeState,
    GeneratedImage,
    ProviderAnswer,
    ProviderCall,
    Receipt,
)
from shared.imaging.providers.answers import SentPicture
from shared.imaging.providers.declaration import PriceOf
from shared.imaging.providers.fetching import ImageFetcher
from shared.imaging.providers.sent_pictures import decode, picture_of, receive

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ImageIntake:
    """The pictures of one call.

    Attributes:
        provider: For the ledger and the images.
        price_of: Of the model that was asked.
        fetcher: For pictures that come as addresses.
        request_id: The provider's own id of the call.
    """

    call: ProviderCall
    provider: str
    price_of: PriceOf
    fetcher: ImageFetcher
    request_id: str | None = None
    _tokens: dict[str, int] = field(default_factory=dict)
    _billed: int = 0
    _receipt: Receipt | None = None
    _images: list[GeneratedImage] = field(default_factory=list)
    _failures: list[AttemptError] = field(default_factory=list)

    @property
    def taken(self) -> int:
        """How many pictures have come, received or not."""
        return len(self._images) + len(self._failures)

    @property
    def images(self) -> tuple[GeneratedImage, ...]:
        """Those that were kept."""
        return tuple(self._images)

    @property
    def is_full(self) -> bool:
        """Whether each position has had its picture."""
        return self.taken >= len(self.call.positions)

    def take(self, pictures: Iterable[SentPicture], tokens: Mapping[str, int]) -> None:
        """Bill some pictures, with the tokens that they took, and keep those that can be read."""
        coming = list(pictures)[: len(self.call.positions) - self.taken]
        self._bill(len(coming), tokens)
        for sent in coming:
            try:
                self.receive(self.call.positions[self.taken], sent)
            except (CorruptImage, UnusableImage, ProviderTimeout, ProviderUnavailable) as error:
                self._failures.append(error)

    def receive(self, position: int, sent: SentPicture) -> None:
        """Keep a picture of one position; it is billed elsewhere.

        Raises:
            AttemptError: It cannot be read, or cannot be fetched now.
        """
        try:
            found = receive(position, sent, self.fetcher, self.call.deadline)
        except AttemptError as error:
            log.warning("picture not received", code=error.code, reason=str(error))
            raise
        image = self.call.finished(found, self.provider)
        self.call.keep(image)
        self._images.append(image)

    def note_next_call(self) -> None:
        """Note that another call begins, which may be billed: what was known is in doubt again."""
        if self._receipt is not None:
            self.call.bill(ChargeState.UNKNOWN, self._receipt)

    def show(self, sent: SentPicture) -> None:
        """Pass on a preview of the next picture; skip one that cannot be read."""
        try:
            preview = picture_of(self.call.positions[self.taken], decode(sent.base64 or ""))
        except (CorruptImage, UnusableImage) as error:
            log.warning("preview not shown", reason=str(error))
        else:
            self.call.preview(preview)

    def answer(self, charge_state: ChargeState = ChargeState.CHARGED) -> ProviderAnswer:
        """Return what was received.

        Args:
            charge_state: `unknown` where more was asked for, which may have been billed in vain.

        Raises:
            AttemptError: Nothing was; of several reasons one that another call may mend.
        """
        if not self._images:
            raise next((each for each in self._failures if each.retryable), self._failures[0])
        return ProviderAnswer(tuple(self._images), charge_state, self._receipt)

    def _bill(self, images: int, tokens: Mapping[str, int]) -> None:
        self._billed += images
        for name, count in tokens.items():
            self._tokens[name] = self._tokens.get(name, 0) + count
        self._receipt = Receipt(
            self.provider,
            self.call.model,
            self.request_id,
            {"images": self._billed, **self._tokens},
            self.price_of(self.call.params.size, self._billed),
        )
        self.call.bill(ChargeState.CHARGED, self._receipt)
