"""Routes of webhooks: create, list, change, delete; their deliveries: list, send again."""

from asyncio import to_thread
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from shared.api.dependencies import Context, WorkspaceToManage, WorkspaceToRead
from shared.api.documentation import examples, problems, problems_of
from shared.api.webhook_bodies import (
    DeliveryBody,
    DeliveryListBody,
    WebhookBody,
    WebhookChangeOrder,
    WebhookListBody,
    WebhookOrder,
    WebhookSecretBody,
)
from shared.webhooks.store import Webhook, WebhookChange

DELIVERIES_MAX = 100

_BODY = ("malformed_json", "payload_too_large", "unsupported_media_type")

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


@router.post(
    "",
    status_code=201,
    summary="Create a webhook",
    responses={
        201: examples("The webhook, with its secret.", "webhook_secret"),
        **problems(*_BODY, invalid_request="events should have at least 1 item"),
    },
)
async def create_webhook(
    response: Response, api: Context, workspace_id: WorkspaceToManage, order: WebhookOrder
) -> WebhookSecretBody:
    """Send events of all jobs of the workspace to an address from now on."""
    store = api.services.webhooks
    webhook, secret = await to_thread(store.create, workspace_id, order.url, order.events)
    response.headers["Location"] = f"{api.presenter.base}/webhooks/{webhook.id}"
    return _with_secret(webhook, secret)


@router.get(
    "",
    summary="List webhooks",
    responses={200: examples("All webhooks of the workspace.", "webhooks"), **problems()},
)
async def list_webhooks(api: Context, workspace_id: WorkspaceToRead) -> WebhookListBody:
    """Return the webhooks of the workspace, oldest first, without their secrets."""
    found = await to_thread(api.services.webhooks.list, workspace_id)
    return WebhookListBody(items=[WebhookBody.model_validate(webhook) for webhook in found])


@router.get(
    "/{webhook_id}",
    summary="Get a webhook",
    responses={200: examples("The webhook.", "webhook"), **problems_of("webhook")},
)
async def get_webhook(api: Context, webhook_id: UUID, workspace_id: WorkspaceToRead) -> WebhookBody:
    """Return a webhook, without its secret."""
    found = await to_thread(api.services.webhooks.get, workspace_id, webhook_id)
    return WebhookBody.model_validate(found)


@router.patch(
    "/{webhook_id}",
    summary="Change a webhook",
    responses={
        200: examples("The webhook, with its secret if that is new.", "webhook_secret"),
        **problems_of("webhook", *_BODY),
    },
)
async def change_webhook(
    api: Context, webhook_id: UUID, workspace_id: WorkspaceToManage, order: WebhookChangeOrder
) -> WebhookSecretBody:
    """Change its address or events, enable or disable it, or give it a new secret."""
    change = WebhookChange(**dict(order))
    store = api.services.webhooks
    webhook, secret = await to_thread(store.change, workspace_id, webhook_id, change)
    return _with_secret(webhook, secret)


@router.delete(
    "/{webhook_id}",
    status_code=204,
    summary="Delete a webhook",
    responses={204: {"description": "The webhook is deleted."}, **problems_of("webhook")},
)
async def delete_webhook(api: Context, webhook_id: UUID, workspace_id: WorkspaceToManage) -> None:
    """Delete a webhook. What it has not sent yet is not sent any more."""
    await to_thread(api.services.webhooks.delete, workspace_id, webhook_id)


@router.get(
    "/{webhook_id}/deliveries",
    summary="List deliveries",
    responses={200: examples("Deliveries.", "deliveries"), **problems_of("webhook")},
)
async def list_deliveries(
    api: Context,
    webhook_id: UUID,
    workspace_id: WorkspaceToRead,
    limit: Annotated[int, Query(ge=1, le=DELIVERIES_MAX, description="Of a page.")] = 20,
    before: Annotated[
        int | None, Query(ge=1, lt=2**63, description="The `number` of the last one seen.")
    ] = None,
) -> DeliveryListBody:
    """Return deliveries of a webhook, newest first: delivered, waiting and given up."""
    store = api.services.webhooks
    found = await to_thread(store.deliveries, workspace_id, webhook_id, limit, before)
    return DeliveryListBody(items=[DeliveryBody.model_validate(each) for each in found])


@router.post(
    "/deliveries/{delivery_id}/resend",
    status_code=202,
    summary="Send a delivery again",
    responses={202: examples("It is sent soon.", "delivery"), **problems_of("delivery")},
)
async def resend_delivery(
    api: Context, delivery_id: UUID, workspace_id: WorkspaceToManage
) -> DeliveryBody:
    """Send an event again under the same id, with a schedule of its own."""
    found = await to_thread(api.services.webhooks.resend, workspace_id, delivery_id)
    return DeliveryBody.model_validate(found)


def _with_secret(webhook: Webhook, secret: str | None) -> WebhookSecretBody:
    shown = WebhookBody.model_validate(webhook)
    return WebhookSecretBody(**dict(shown), secret=secret)
