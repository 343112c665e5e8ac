"""The jobs that clients of one process follow, and the subscriptions of each."""

from collections.abc import Callable

import structlog

from shared.events.event import Event, follows

Deliver = Callable[[Event], None]

log = structlog.get_logger(__name__)


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
        silent_ticks: Counted up by the watcher of jobs, and set to 0 with each event.
    """

    __slots__ = ("_deliver", "after_id", "is_live", "silent_ticks", "topic")

    def __init__(self, topic: Topic, after_id: str, deliver: Deliver) -> None:
        self.topic = topic
        self.after_id = after_id
        self.is_live = False
        self.silent_ticks = 0
        self._deliver: Deliver | None = deliver

    @property
    def is_over(self) -> bool:
        """Whether nothing more is delivered."""
        return self._deliver is None

    def deliver(self, event: Event) -> None:
        """Deliver an event unless it was delivered before; nothing after the last."""
        deliver = self._deliver
        # An id that a client made up may be greater than that of the last event.
        if deliver is None or not (event.is_last or follows(event.id, self.after_id)):
            return
        self.after_id = event.id
        self.silent_ticks = 0
        if event.is_last:
            self.stop()
        try:
            deliver(event)
        except Exception:  # One broken follower must not keep the others from their events.
            log.exception("event not delivered", task_id=self.topic.task_id)
            self.stop()

    def stop(self) -> None:
        """Deliver nothing more."""
        self._deliver = None
