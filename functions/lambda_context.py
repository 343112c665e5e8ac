"""What a Lambda handler reads from the context of its invocation."""

from typing import Protocol


class LambdaContext(Protocol):
    """The part of `awslambdaric.lambda_context.LambdaContext` that the handlers use."""

    @property
    def log_stream_name(self) -> str:
        """The CloudWatch log stream that holds the lines of this invocation."""
        ...

    def get_remaining_time_in_millis(self) -> int:
        """Return how long this invocation may still run."""
        ...
