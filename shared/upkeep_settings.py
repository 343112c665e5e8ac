"""The settings of metrics, traces, old images and the audit, a part of `shared.settings`."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from shared.setting_types import STRICT, BaseAddress


class UpkeepSettings(BaseSettings):
    """Where operators read metrics and traces; how long images and the audit are kept."""

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
    otel_exporter_otlp_endpoint: BaseAddress | None = Field(
        None,
        description="Collector of OpenTelemetry that receives traces by OTLP over HTTP, as "
        "`http://host:4318`; empty for none.",
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        None,
        description="Headers that the collector asks for, as `name=value`, separated by commas.",
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
