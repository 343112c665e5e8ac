"""The jobs that clients of one process follow, and the subscriptions of each."""

from collections.abc import Callable

from shared.events.event import Event, follows

Deliver = Callable[[Event], None]


class Topic:
    """A followed job.

    Attributes:
        after_id: The last event that was read from its stream; None until one subscription
            has caught up.
        is_subscribed: Whether its channel reports new events.
        read_at: When its stream was last read, in the loop's time.
    """

    __slots__ = ("after_id", "is_subscribed", "read_at", "subscriptions", "task_id")

    def __init__(self, task_id: str, now: float) -> None:
        self.task_id = task_id
        self.after_id: str | None = None
        self.is_subscribed = False
        self.read_at = now
        self.subscriptions: list[Subscription] = []


class Subscription:
    """One follower of one job.

    Attributes:
        after_id: The last event that was delivered.
        is_live: Whether it has caught up with the stream.
    """

    __slots__ = ("_deliver", "after_id", "is_live", "topic")

    def __init__(self, topic: Topic, after_id: str, deliver: Deliver) -> None:
        self.topic = topic
        self.after_id = after_id
        self.is_live = False
        self._deliver = deliver

    def deliver(self, event: Event) -> None:
        """Deliver an event, unless it was delivered before."""
        if follows(event.id, self.after_id):
            self.after_id = event.id
            self._deliver(event)
