"""The settings of metrics, old images and the audit, a part of `shared.settings`."""

from pydantic import Field
from pydantic_settings import BaseSettings

from shared.setting_types import STRICT


class UpkeepSettings(BaseSettings):
    """Where operators read metrics, and how long images and the audit are kept."""

    model_config = STRICT

    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="Port on which the API or a worker serves `/metrics` for Prometheus; empty for "
        "none.",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address that `/metrics` listens on; it asks for no key.",
    )
    image_retention_days: float | None = Field(
        None,
        gt=0,
        description="Delete the images of ended jobs after so many days; the jobs stay, with their "
        "receipts.",
    )
    audit_retention_days: float = Field(
        365,
        gt=0,
        description="Delete what is noted of the actions of operators after so many days.",
    )
