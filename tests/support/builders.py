"""Settings, jobs, pictures and stand-ins for ports, as tests need them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from shared.errors import ServiceUnavailable, StorageUnavailable
from shared.imaging.provider import (
    ChargeState,
    GeneratedImage,
    ProviderAnswer,
    ProviderCall,
)
from shared.imaging.store import ImageStore, StoredImage
from shared.jobs.acceptance import NewJob
from shared.jobs.model import LedgerFacts
from shared.jobs.release_store import OpenEnvelope
from shared.settings import Settings

Work = Callable[[ProviderCall], None]

UNPAID = LedgerFacts("none")
PAID = LedgerFacts("charged", "req_1", {"images": 1}, 40_000)


def build_settings(
    database_url: str = "postgresql://darkroom@localhost/darkroom",
    redis_url: str = "redis://localhost/0",
    **others: Any,
) -> Settings:
    """Return settings of the local environment, with short times."""
    values = {"mock_step_seconds": 0, "retry_backoff": 0, "lease_seconds": 30, **others}
    return Settings(database_url=database_url, redis_url=redis_url, **values)


def new_job(*, n: int = 1, max_attempts: int = 3, **owners: str) -> NewJob:
    """Return a request for n small pictures of a mug, ready to be inserted."""
    params = {"prompt": "a mug", "size": "256x256", "n": n, "seed": 7}
    return NewJob(
        workspace_id=owners.get("workspace_id", "default"),
        user_id=owners.get("user_id"),
        product_id=owners.get("product_id"),
        params=params,
        max_attempts=max_attempts,
        provider=owners.get("provider"),
        models=[owners["model"]] if "model" in owners else [],
    )


def image_row(position: int, image_id: UUID) -> dict[str, Any]:
    """Return the columns of one row of `images`, but for its job's."""
    return {
        "id": str(image_id),
        "position": position,
        "url": f"/v1/images/{image_id}",
        "storage_key": f"key/{position}",
        "media_type": "image/png",
        "width_px": 256,
        "height_px": 256,
        "size_bytes": 9,
        "sha256": "0" * 64,
        "seed": 7,
        "provider": "scripted",
        "model": "scripted-1",
    }


def picture(position: int) -> GeneratedImage:
    """Return a picture whose bytes begin like a PNG's."""
    data = b"\x89PNG\r\n\x1a\n" + bytes([position])
    return GeneratedImage(position, data, "image/png", 256, 256, 7, "scripted", "scripted-1")


class ScriptedProvider:
    """A provider that does, call by call, what its test says; then it makes every picture.

    Args:
        works: What happens inside each call, before it answers; may raise.
        makes: How many pictures each call makes, one number a call; all that are asked for
            once the numbers are used up.
    """

    def __init__(self, *works: Work, makes: tuple[int, ...] = ()) -> None:
        self.calls: list[ProviderCall] = []
        self._works = works
        self._makes = makes

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Make the pictures that this call's script leaves."""
        number = len(self.calls)
        self.calls.append(call)
        call.step(0.5)
        if number < len(self._works):
            self._works[number](call)
        call.step(1.0)
        made = self._makes[number] if number < len(self._makes) else len(call.positions)
        images = tuple(picture(position) for position in call.positions[:made])
        return ProviderAnswer(images, ChargeState.CHARGED)


class LateProvider(ScriptedProvider):
    """A provider during whose answer something happens."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Make every picture; then let it happen, and answer."""
        answer = super().generate(call)
        self._meanwhile()
        return answer


def fail(error: BaseException) -> Work:
    """Return work that raises."""

    def work(_call: ProviderCall) -> None:
        raise error

    return work


class FaultyImageStore:
    """An image store whose first `save` calls fail, as if it were unavailable for a moment."""

    def __init__(self, store: ImageStore, failures: int) -> None:
        self._store = store
        self._failures = failures

    @property
    def origin(self) -> str | None:
        """Say where addresses lead."""
        return self._store.origin

    def save(self, job_id: UUID, attempt: int, image: GeneratedImage) -> StoredImage:
        """Fail while there are failures left, then save."""
        if self._failures > 0:
            self._failures -= 1
            raise StorageUnavailable("the store is unavailable")
        return self._store.save(job_id, attempt, image)

    def put(self, storage_key: str, data: bytes, media_type: str) -> None:
        """Keep it."""
        self._store.put(storage_key, data, media_type)

    def remove(self, *storage_keys: str) -> None:
        """Delete what was kept."""
        self._store.remove(*storage_keys)

    def find_saved(self, job_id: UUID) -> list[StoredImage]:
        """Find what was saved."""
        return self._store.find_saved(job_id)

    def load(self, storage_key: str) -> bytes:
        """Load what was saved."""
        return self._store.load(storage_key)

    def find_address(self, storage_key: str, headers: Mapping[str, str]) -> str | None:
        """Find where a client may fetch it."""
        return self._store.find_address(storage_key, headers)

    def delete(self, job_id: UUID) -> None:
        """Delete what was saved."""
        self._store.delete(job_id)


class ListDispatcher:
    """A dispatcher that keeps the envelopes in a list, or refuses them while it is unavailable."""

    def __init__(self) -> None:
        self.sent: list[tuple[UUID, str]] = []
        self.lost: set[UUID] = set()
        self.asked = 0
        self.is_down = False

    def dispatch(self, job_id: UUID, envelope_id: str) -> None:
        """Keep the envelope."""
        self.asked += 1
        if self.is_down:
            raise ServiceUnavailable("the queue is unavailable")
        self.sent.append((job_id, envelope_id))

    def find_lost(self, envelopes: Sequence[OpenEnvelope], running: int) -> list[OpenEnvelope]:
        """Return those of the jobs that the test names."""
        return [envelope for envelope in envelopes if envelope.job_id in self.lost]

    def check(self) -> None:
        """Find everything in order."""
