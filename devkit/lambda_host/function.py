"""What a Lambda function is to its host: a handler, its limits and its environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devkit.environment import DEFAULT_REGION

ACCOUNT_ID = "123456789012"
TASK_ROOT = Path(__file__).resolve().parents[2]
"""The folder from which `functions` is imported, as /var/task on AWS."""


@dataclass(frozen=True, slots=True)
class LambdaFunction:
    """One function's configuration.

    Attributes:
        handler: Dotted path of the handler, as `functions.worker.handler`.
        timeout_seconds: After which the process of an invocation is killed.
        environment: All variables of its process, except those that Lambda itself sets.
        init_timeout_seconds: How long a new process may take to import the handler.
    """

    handler: str
    timeout_seconds: float
    environment: Mapping[str, str]
    init_timeout_seconds: float = 30.0

    @property
    def name(self) -> str:
        """The module's own name: `worker` for `functions.worker.handler`."""
        return self.handler.split(".")[-2] if "." in self.handler else self.handler

    @property
    def arn(self) -> str:
        """The ARN that the function reads from its context."""
        region = self.environment.get("AWS_REGION", DEFAULT_REGION)
        return f"arn:aws:lambda:{region}:{ACCOUNT_ID}:function:{self.name}"

    def process_environment(self, runtime_api: str) -> dict[str, str]:
        """Return the variables of one runtime process.

        Lambda Developer Guide, "Defined runtime environment variables".

        Args:
            runtime_api: host:port of the process's own Runtime API, and its key: host:port/key.
        """
        import_path = [str(TASK_ROOT), self.environment.get("PYTHONPATH", "")]
        return {
            **self.environment,
            "ENVIRONMENT": self.environment.get("ENVIRONMENT", "local"),
            "PYTHONPATH": os.pathsep.join(filter(None, import_path)),
            "_HANDLER": self.handler,
            "AWS_EXECUTION_ENV": "AWS_Lambda_python{}.{}".format(*sys.version_info),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_RUNTIME_API": runtime_api,
            "LAMBDA_TASK_ROOT": str(TASK_ROOT),
        }
