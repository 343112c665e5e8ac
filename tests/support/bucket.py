"""An S3 bucket to keep images in, from moto's server in a thread of this process."""

from contextlib import AbstractContextManager
from typing import Any, Self
from uuid import uuid4

import boto3
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
_KEY = "embedded"
"""The same as of the embedded SQS: one process uses both."""


class Bucket(AbstractContextManager["Bucket"]):
    """One bucket, empty at first, in a server of its own.

    Its name is its own too: all of moto's servers in a process share what they hold.
    """

    def __init__(self) -> None:
        self.name = f"images-{uuid4().hex}"
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)

    def __enter__(self) -> Self:
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.origin = f"http://{host}:{port}"
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.origin,
            region_name=REGION,
            aws_access_key_id=_KEY,
            aws_secret_access_key=_KEY,
        )
        self.client.create_bucket(Bucket=self.name)
        return self

    def __exit__(self, *_error: object) -> None:
        self.client.close()
        self._server.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to keep images here."""
        return {
            "IMAGE_BUCKET": self.name,
            "AWS_ENDPOINT_URL_S3": self.origin,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def clear(self) -> None:
        """Delete all objects."""
        for key in self.keys:
            self.client.delete_object(Bucket=self.name, Key=key)

    @property
    def keys(self) -> list[str]:
        """The keys of all objects, in order."""
        listed = self.client.list_objects_v2(Bucket=self.name)
        return sorted(entry["Key"] for entry in listed.get("Contents", ()))
