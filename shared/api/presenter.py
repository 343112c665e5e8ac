"""Jobs and assets as clients see them: with attempts, images and signed addresses.

The fields of a job are those of `shared.api.schemas.JobBody`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.access.signatures import AddressSigner
from shared.api.schemas import AssetBody, JobBody, QuoteBody
from shared.generation.submit import Quote
from shared.imaging.provider import ChargeState
from shared.jobs.asset_store import StoredAsset
from shared.jobs.model import Job, Priority
from shared.jobs.views import JobView, Place
from shared.settings import Settings
from shared.status import JobStatus


class Presenter:
    """Shows jobs and assets; signs the addresses that browsers open without headers.

    Args:
        signs: False for addresses that need an API key.
    """

    def __init__(self, settings: Settings, *, signs: bool = True) -> None:
        self.base = f"{settings.public_base_url or ''}/v1"
        self.signers: Mapping[str, AddressSigner] = {}
        if not signs:
            return
        kinds = {"job": ("events", settings.event_token_seconds)}
        for kind in ("asset", "image", "preview"):
            kinds[kind] = kind, settings.image_token_seconds
        self.signers = {
            kind: AddressSigner(settings.signing_secret, salt, seconds)
            for kind, (salt, seconds) in kinds.items()
        }

    def path_of_task(self, job_id: UUID) -> str:
        """Return the address of a job as a task."""
        return f"{self.base}/images/tasks/{job_id}"

    def path_of(self, job_id: UUID) -> str:
        """Return the address of a job."""
        return f"{self.base}/generations/{job_id}"

    def path_of_asset(self, asset_id: UUID) -> str:
        """Return the address of an asset."""
        return f"{self.base}/assets/{asset_id}"

    def show_asset(self, asset: StoredAsset) -> AssetBody:
        """Return an asset as clients see it."""
        url = f"{self.path_of_asset(asset.id)}/content{self._query('asset', asset.id)}"
        return AssetBody.model_validate({**asdict(asset), "url": url})

    def show(self, view: JobView) -> JobBody:
        """Return a job as clients see it.

        A field of the body is the column of the row by that name, else the parameter of the
        request, unless it is made here.
        """
        job, path = view.job, self.path_of(view.job.id)
        fields = {name: getattr(job, name, job.params.get(name)) for name in JobBody.model_fields}
        made = {
            "images": list(self._with_urls("image", view.images)),
            "previews": list(self._with_urls("preview", view.previews)),
            "missing": (job.result or {}).get("missing", 0),
            "attempts": view.attempts,
            "model": job.model or next(iter(_models_of(view.attempts)[::-1]), None),
            "receipt": _receipt_of(view.attempts),
            "retry": _retry_of(job),
            "priority": Priority(job.priority).name.lower(),
            "queue": None if view.place is None else _queue_of(view.place),
            "urls": {
                "self": path,
                "events": f"{path}/events{self._query('job', job.id)}",
                "cancel": f"{path}/cancel",
            },
        }
        return JobBody.model_validate(fields | made)

    def _with_urls(
        self, kind: str, pictures: Sequence[Mapping[str, Any]]
    ) -> Iterator[Mapping[str, Any]]:
        for picture in pictures:
            # Each newer preview has another address, so that browsers load it.
            more = f"number={picture['number']}" if kind == "preview" else ""
            query = self._query(kind, UUID(picture["id"]), more)
            yield {**picture, "url": f"{self.base}/{kind}s/{picture['id']}{query}"}

    def _query(self, kind: str, thing_id: UUID, more: str = "") -> str:
        token = f"token={self.signers[kind].sign(thing_id)}" if self.signers else ""
        query = "&".join(filter(None, (more, token)))
        return f"?{query}" if query else ""


def quote_body(quote: Quote) -> QuoteBody:
    """Return a quote as clients see it."""
    refusal = quote.standing.refusal
    return QuoteBody.model_validate(
        {
            "models": [
                {"model": model.name, "provider": model.provider, "price_microdollars": price}
                for model, price in quote.prices
            ],
            "limits": [asdict(quota) for quota in quote.standing.quotas],
            "refusal": None if refusal is None else refusal.code,
        }
    )


def _receipt_of(lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    states = [line["charge_state"] for line in lines]
    prices = [
        line["price_microdollars"] for line in lines if line["charge_state"] == ChargeState.CHARGED
    ]
    return {
        "price_microdollars": sum(price for price in prices if price is not None),
        "charged_calls": len(prices),
        "unknown_calls": states.count(ChargeState.UNKNOWN),
        "unpriced_calls": prices.count(None),
        "models": _models_of(lines),
    }


def _models_of(lines: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    return list(dict.fromkeys(line["model"] for line in lines if line["model"] is not None))


def _retry_of(job: Job) -> Mapping[str, Any] | None:
    if job.status is not JobStatus.PENDING or job.next_attempt_at is None or job.error is None:
        return None
    return {
        "attempt": job.attempt + 1,
        "max_attempts": job.max_attempts,
        "code": job.error["code"],
        "reason": job.error["message"],
        "next_attempt_at": job.next_attempt_at,
    }


def _queue_of(place: Place) -> Mapping[str, Any]:
    now, seconds = datetime.now(UTC), place.seconds
    return {
        "position": None if place.ahead is None else place.ahead + 1,
        "estimated_start_at": None if seconds is None else now + timedelta(seconds=seconds),
    }
