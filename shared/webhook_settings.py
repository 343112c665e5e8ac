"""The settings of webhooks, a part of `shared.settings`."""

from pydantic import Field
from pydantic_settings import BaseSettings

from shared.setting_types import STRICT, Seconds


class WebhookSettings(BaseSettings):
    """How deliveries are tried, where they may go, and how long they are kept."""

    model_config = STRICT

    webhook_retry_seconds: Seconds = Field(
        # 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h after the first try.
        (5, 295, 1_500, 5_400, 10_800, 18_000, 14_400, 21_600, 14_400),
        description="Waits between two tries of a webhook's delivery, separated by commas; then it "
        "is given up.",
    )
    webhook_timeout_seconds: float = Field(
        20, gt=0, le=30, description="How long a receiver of webhooks may take to answer."
    )
    webhook_private_networks: bool = Field(
        False, description="Allow receivers of webhooks in private networks, and plain HTTP."
    )
    webhook_retention_days: float = Field(
        7, gt=0, description="Delete deliveries of webhooks after so many days."
    )
