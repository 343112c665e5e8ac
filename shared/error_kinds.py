"""The codes that the row of a job may hold, with what each means. `shared.errors` raises them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """What the row of a job may hold.

    Attributes:
        title: Short text for a person; empty for errors that no row holds.
        stage: What the provider rejected: `input` or `output`; else None.
        retryable: Whether the retry policy may open another attempt after this error.
        fails_over: Whether a job that names another model goes on with it, if nothing was charged.
        is_private: Whether its text is for the log alone: it is a server's, or speaks of keys and
            accounts. Clients read the title.
    """

    title: str = ""
    stage: str | None = None
    retryable: bool = False
    is_private: bool = False
    fails_over: bool = False


KINDS = {
    "invalid_request": Kind("The request was not valid"),
    "service_unavailable": Kind("A server was unavailable", retryable=True, is_private=True),
    "provider_unavailable": Kind(
        "The image provider was unavailable", retryable=True, fails_over=True
    ),
    "provider_overloaded": Kind(
        "The image provider was overloaded", retryable=True, fails_over=True
    ),
    "provider_timeout": Kind(
        "The image provider did not answer in time", retryable=True, fails_over=True
    ),
    "rate_limited": Kind(
        "The image provider was too busy", retryable=True, is_private=True, fails_over=True
    ),
    "quota_exceeded": Kind(
        "The account with the image provider is used up", is_private=True, fails_over=True
    ),
    "provider_authentication": Kind(
        "The image provider refused the API key", is_private=True, fails_over=True
    ),
    "prompt_rejected": Kind("The prompt was rejected", stage="input"),
    "request_rejected": Kind(
        "The image provider did not accept the request", stage="input", fails_over=True
    ),
    "output_rejected": Kind(
        "The image provider withheld the image", stage="output", retryable=True
    ),
    "empty_result": Kind("The image provider sent no image", stage="output", retryable=True),
    "corrupt_image": Kind(
        "The image provider sent an incomplete image", stage="output", retryable=True
    ),
    "unusable_image": Kind("The image provider sent an image that cannot be used", stage="output"),
    "images_missing": Kind("Some images were not made", stage="output", retryable=True),
    "charge_unknown": Kind("Not tried again, because the last call may have been billed"),
    "cost_limit": Kind("Another call could cost more than the request allows"),
    "budget_exceeded": Kind("The workspace has used up its budget"),
    "storage_unavailable": Kind("The image store was unavailable", retryable=True),
    "internal": Kind("An unexpected error occurred"),
    "soft_time_limit": Kind("The job took too long"),
    "time_limit": Kind("The job took too long and was stopped"),
    "worker_lost": Kind("The worker was lost", retryable=True),
    "cancelled": Kind("Cancelled"),
}
