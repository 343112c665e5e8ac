"""What the token of a user changes of an order: it is that user's, whatever the body says."""

from dataclasses import replace
from hashlib import sha256

from shared.access.user_tokens import UserGrant
from shared.imaging.request import ImageOrder
from shared.jobs.acceptance import Terms


def order_of(order: ImageOrder, user: UserGrant | None) -> ImageOrder:
    """Return the order as the user may give it."""
    if user is None:
        return order
    costs = [cost for cost in (order.max_cost, user.max_cost) if cost is not None]
    return order.model_copy(update={"user_id": user.user_id, "max_cost": min(costs, default=None)})


def terms_for(terms: Terms, user: UserGrant | None) -> Terms:
    """Return the terms for the user, whose idempotency keys are no others'."""
    if user is None:
        return terms
    key = terms.key and sha256(f"{user.user_id} {terms.key}".encode()).hexdigest()
    return replace(terms, key=key, keeps_owners=True, user_open_jobs=user.max_open_jobs)
