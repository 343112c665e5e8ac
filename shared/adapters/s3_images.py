"""The image store on S3: objects `{job}/{attempt}/{position}` in one bucket, facts as metadata.

Used by the cloud runtime, and wherever IMAGE_BUCKET is set. Objects are private: clients read
them through addresses that are signed on request.
"""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from typing import Any, BinaryIO
from urllib.parse import urlsplit
from uuid import UUID

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import ConfigurationError, StorageUnavailable
from shared.imaging.provider import GeneratedImage
from shared.imaging.store import IMAGE_KEY, StoredImage, asset_key, check_key, describe, earliest
from shared.settings import Settings

# One try: the caller repeats a save until its own deadline. A picture is some megabytes, so one
# PUT holds it (up to 5 GB, S3 User Guide, "Uploading objects"): there are no parts to be lost.
_CLIENT_CONFIG = Config(
    connect_timeout=2,
    read_timeout=10,
    retries={"total_max_attempts": 1},
    signature_version="s3v4",
)

# Else addresses are signed for s3.amazonaws.com, which sends readers on to the region of a new
# bucket, under another name than the signed one (github.com/boto/boto3/pull/4768).
_AWS_CONFIG = _CLIENT_CONFIG.merge(Config(s3={"addressing_style": "virtual"}))

_METADATA = ("width_px", "height_px", "sha256", "seed", "provider", "model")
"""What an object says of itself besides its key, type and length."""

_DELETED_AT_ONCE = 1000
"""Keys of one DeleteObjects (S3 API Reference)."""


class S3ImageStore:
    """Keeps images in IMAGE_BUCKET; implements `shared.imaging.store.ImageStore`."""

    def __init__(self, settings: Settings) -> None:
        if settings.image_bucket is None:
            raise ConfigurationError("settings: IMAGE_BUCKET is not set")
        self._bucket = settings.image_bucket
        self._address_seconds = settings.image_token_seconds

    @cached_property
    def _client(self) -> Any:
        # Made after a fork, at the first use: it holds connections.
        client = boto3.client("s3", config=_CLIENT_CONFIG)
        host = urlsplit(client.meta.endpoint_url).hostname or ""
        if host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
            return boto3.client("s3", config=_AWS_CONFIG)
        return client  # Other servers have the bucket in the path, and no name for each.

    @cached_property
    def origin(self) -> str | None:
        """Where signed addresses lead; see `ImageStore`."""
        address = urlsplit(self.find_address(asset_key(UUID(int=0)), {}) or "")
        return f"{address.scheme}://{address.netloc}"

    def save(self, job_id: UUID, attempt: int, image: GeneratedImage) -> StoredImage:
        """Keep one picture; see `ImageStore.save`."""
        facts = describe(job_id, attempt, image)
        known = {name.replace("_", "-"): str(getattr(facts, name)) for name in _METADATA}
        self._put(facts.storage_key, image.data, image.media_type, known)
        return facts

    def put(self, storage_key: str, data: bytes, media_type: str) -> None:
        """Keep a preview or an asset; see `ImageStore.put`."""
        self._put(storage_key, data, media_type, {})

    def remove(self, *storage_keys: str) -> None:
        """Delete previews or assets; see `ImageStore.remove`."""
        for key in storage_keys:
            with _storage_errors("delete", key):
                self._client.delete_object(Bucket=self._bucket, Key=key)

    def find_saved(self, job_id: UUID) -> list[StoredImage]:
        """Return a job's pictures, one a position; see `ImageStore.find_saved`."""
        with _storage_errors("read", str(job_id)):
            keys = filter(IMAGE_KEY.fullmatch, self._keys_of(job_id))
            return earliest(map(self._facts_of, keys))

    def load(self, storage_key: str) -> bytes:
        """Return the bytes of a picture; see `ImageStore.load`."""
        check_key(storage_key)
        with _storage_errors("read", storage_key):
            found = self._client.get_object(Bucket=self._bucket, Key=storage_key)
            data: bytes = found["Body"].read()
            return data

    def open(self, storage_key: str) -> BinaryIO:
        """Return a reader of the bytes, which were read; see `ImageStore.open`."""
        return BytesIO(self.load(storage_key))

    def find_address(self, storage_key: str, headers: Mapping[str, str]) -> str | None:
        """Return a signed address of the bytes; see `ImageStore.find_address`."""
        parameters = {
            "Bucket": self._bucket,
            "Key": storage_key,
            "ResponseContentType": headers.get("Content-Type"),
            "ResponseContentDisposition": headers.get("Content-Disposition"),
            "ResponseCacheControl": headers.get("Cache-Control"),
        }
        with _storage_errors("sign the address of", storage_key):
            address: str = self._client.generate_presigned_url(
                "get_object",
                Params={name: value for name, value in parameters.items() if value is not None},
                ExpiresIn=self._address_seconds,
            )
            return address

    def delete(self, job_id: UUID) -> None:
        """Forget all pictures of a job; see `ImageStore.delete`."""
        with _storage_errors("delete", str(job_id)):
            keys = list(self._keys_of(job_id))
            for start in range(0, len(keys), _DELETED_AT_ONCE):
                some = [{"Key": key} for key in keys[start : start + _DELETED_AT_ONCE]]
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": some, "Quiet": True}
                )
                if answer.get("Errors"):
                    code = answer["Errors"][0].get("Code", "unknown")
                    raise StorageUnavailable(f"could not delete images of {job_id}: {code}")

    def list_jobs(self) -> Iterator[UUID]:
        """Yield the jobs of the store; see `ImageStore.list_jobs`."""
        with _storage_errors("list", "folders"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Delimiter="/"):
                for entry in page.get("CommonPrefixes", ()):
                    with suppress(ValueError):
                        yield UUID(entry["Prefix"].rstrip("/"))

    def _put(self, key: str, data: bytes, media_type: str, metadata: Mapping[str, str]) -> None:
        with _storage_errors("keep", key):
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=data,
                ContentType=media_type,
                # S3 refuses what did not arrive as it was sent.
                ChecksumSHA256=base64.b64encode(sha256(data).digest()).decode(),
                Metadata=metadata,
            )

    def _keys_of(self, job_id: UUID) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=f"{job_id}/"):
            for entry in page.get("Contents", ()):
                yield entry["Key"]

    def _facts_of(self, key: str) -> StoredImage:
        head = self._client.head_object(Bucket=self._bucket, Key=key)
        known = head["Metadata"]
        return StoredImage(
            position=int(key.rpartition("/")[2]),
            storage_key=key,
            media_type=head["ContentType"],
            width_px=int(known["width-px"]),
            height_px=int(known["height-px"]),
            size_bytes=int(head["ContentLength"]),
            sha256=known["sha256"],
            seed=int(known["seed"]),
            provider=known["provider"],
            model=known["model"],
        )


@contextmanager
def _storage_errors(verb: str, key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        raise StorageUnavailable(f"could not {verb} image {key}: {code}") from error
    except (BotoCoreError, KeyError, ValueError, OSError) as error:
        # The text of an error of botocore would name the endpoint.
        raise StorageUnavailable(f"could not {verb} image {key}: {type(error).__name__}") from error
