"""The codes of all problems that the API may answer with; those of jobs: `shared.errors`."""

from collections.abc import Mapping

PROBLEMS: Mapping[str, tuple[int, str]] = {
    "malformed_json": (400, "The body is not JSON"),
    "malformed_host": (400, "The Host is not valid"),
    "unauthorized": (401, "An API key is needed"),
    "invalid_token": (401, "The address is not valid"),
    "expired_token": (401, "The address has expired"),
    "forbidden": (403, "Not allowed from here"),
    "insufficient_scope": (403, "The API key may not be used for this"),
    "not_found": (404, "Not found"),
    "method_not_allowed": (405, "The method is not allowed here"),
    "request_timeout": (408, "The body has not arrived in time"),
    "job_running": (409, "The job has not ended"),
    "asset_in_use": (409, "An open job needs the asset"),
    "job_deleted": (410, "The job of the Idempotency-Key was deleted"),
    "payload_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The type of the body is not accepted"),
    "invalid_request": (422, "The request is not valid"),
    "idempotency_key_reused": (422, "The Idempotency-Key belongs to another request"),
    "too_many_open_jobs": (429, "The workspace has too many open jobs"),
    "too_many_submissions": (429, "The workspace has submitted too many jobs in a minute"),
    "budget_exceeded": (429, "The budget of the workspace is used up"),
    "too_many_streams": (429, "The workspace has too many open event streams"),
    "too_many_requests": (429, "The API key has sent too many requests in a minute"),
    "too_many_assets": (429, "The workspace has too many assets"),
    "internal": (500, "An unexpected error occurred"),
    "service_unavailable": (503, "A server is unavailable"),
    "too_many_uploads": (503, "The workspace has too many uploads under way"),
    "storage_unavailable": (503, "The image store is unavailable"),
}
"""The HTTP status and the title of each code."""
