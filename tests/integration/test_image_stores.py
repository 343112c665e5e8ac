"""What every image store promises: one suite for the folder and for S3."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from urllib.request import urlopen
from uuid import UUID, uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from shared.adapters.disk_images import DiskImageStore
from shared.adapters.s3_images import S3ImageStore
from shared.errors import StorageUnavailable
from shared.imaging.provider import GeneratedImage
from shared.imaging.store import ImageStore, asset_key, preview_key
from tests.support.builders import build_settings

BUCKET = "darkroom-images"
DATA = b"\x89PNG\r\n\x1a\n" + b"x" * 2000


def build_image(position: int = 0, data: bytes = DATA) -> GeneratedImage:
    """Return an image of a position."""
    return GeneratedImage(position, data, "image/png", 256, 320, 11, "openai", "gpt-image-2")


@pytest.fixture(scope="module")
def s3() -> Iterator[ThreadedMotoServer]:
    """Give S3, for the module."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3_store(s3: ThreadedMotoServer, monkeypatch: pytest.MonkeyPatch) -> S3ImageStore:
    """Give a store in an empty bucket."""
    host, port = s3.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return S3ImageStore(build_settings(image_bucket=BUCKET))


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    """Give each store."""
    if request.param == "disk":
        return DiskImageStore(tmp_path / "images")
    found: S3ImageStore = request.getfixturevalue("s3_store")
    return found


@pytest.fixture
def job_id() -> UUID:
    """Give a job that has no pictures yet."""
    return uuid4()


def test_a_store_lists_the_jobs_that_have_something_in_it(store: ImageStore, job_id: UUID) -> None:
    """Images or previews; assets are of no job."""
    others = set(store.list_jobs())  # Of the tests before it: they share a bucket.
    other_id = uuid4()
    store.save(job_id, 1, build_image())
    store.put(preview_key(other_id, 1, 0), DATA, "image/png")
    store.put(asset_key(uuid4()), DATA, "image/png")
    assert set(store.list_jobs()) - others == {job_id, other_id}
    store.delete(job_id)
    assert set(store.list_jobs()) - others == {other_id}


def test_saved_picture_is_described_found_and_loaded(store: ImageStore, job_id: UUID) -> None:
    """Facts and bytes come back exactly."""
    saved = store.save(job_id, 2, build_image(3))
    assert saved.storage_key == f"{job_id}/2/3"
    assert (saved.size_bytes, saved.sha256) == (len(DATA), sha256(DATA).hexdigest())
    assert (saved.position, saved.width_px, saved.height_px, saved.seed) == (3, 256, 320, 11)
    assert (saved.provider, saved.model) == ("openai", "gpt-image-2")
    assert store.find_saved(job_id) == [saved]
    assert store.load(saved.storage_key) == DATA
    with store.open(saved.storage_key) as reader:
        assert reader.read() == DATA


def test_saving_the_same_again_changes_nothing(store: ImageStore, job_id: UUID) -> None:
    """Repeating a save whose answer was lost does no harm."""
    first = store.save(job_id, 1, build_image())
    assert store.save(job_id, 1, build_image()) == first
    assert store.find_saved(job_id) == [first]


def test_attempts_are_merged_by_position_and_the_earlier_wins(
    store: ImageStore, job_id: UUID
) -> None:
    """By their numbers, not by their digits."""
    store.save(job_id, 10, build_image(0))
    early = store.save(job_id, 2, build_image(0))
    other = store.save(job_id, 3, build_image(1))
    store.save(uuid4(), 1, build_image(2))
    assert store.find_saved(job_id) == [early, other]


def test_deleted_pictures_are_gone_with_all_attempts(store: ImageStore, job_id: UUID) -> None:
    """And those of other jobs are not; repeating it is harmless."""
    mine = [store.save(job_id, attempt, build_image()) for attempt in (1, 2)]
    other = store.save(uuid4(), 1, build_image())
    store.delete(job_id)
    store.delete(job_id)
    assert store.find_saved(job_id) == []
    for saved in mine:
        with pytest.raises(StorageUnavailable):
            store.load(saved.storage_key)
    assert store.load(other.storage_key) == DATA


def test_uploaded_picture_is_kept_until_it_is_deleted(store: ImageStore) -> None:
    """Under a key of its own; no job's deletion touches it."""
    asset_id = uuid4()
    key = asset_key(asset_id)
    store.put(key, DATA, "image/png")
    store.delete(uuid4())
    assert store.load(key) == DATA
    store.remove(key)
    store.remove(key)
    with pytest.raises(StorageUnavailable, match=str(asset_id)):
        store.load(key)


def test_preview_takes_the_place_of_the_one_before_and_is_no_picture(
    store: ImageStore, job_id: UUID
) -> None:
    """Each under the key of its attempt and position; deleting it leaves the picture alone."""
    key, other = preview_key(job_id, 2, 3), preview_key(job_id, 1, 3)
    for kept, data in ((key, b"first"), (key, b"second"), (other, b"other")):
        store.put(kept, data, "image/png")
    assert store.find_saved(job_id) == []
    saved = store.save(job_id, 2, build_image(3))
    assert store.find_saved(job_id) == [saved]
    assert (store.load(key), store.load(other)) == (b"second", b"other")
    for _ in range(2):
        store.remove(key)
        with pytest.raises(StorageUnavailable):
            store.load(key)
    assert (store.load(other), store.load(saved.storage_key)) == (b"other", DATA)


def test_previews_are_deleted_with_their_job(store: ImageStore, job_id: UUID) -> None:
    """Also where there is nothing else of it."""
    key = preview_key(job_id, 1, 3)
    store.put(key, b"mine", "image/png")
    store.delete(job_id)
    with pytest.raises(StorageUnavailable):
        store.load(key)


@pytest.mark.parametrize("key", ["", "../x", "a/b/c", f"{UUID(int=1)}/1", f"{UUID(int=1)}/1/0/.."])
def test_key_that_is_none_is_refused(store: ImageStore, key: str) -> None:
    """Wherever it comes from."""
    with pytest.raises(StorageUnavailable, match="is not a storage key"):
        store.load(key)


def test_missing_picture_cannot_be_loaded(store: ImageStore, job_id: UUID) -> None:
    """With one line that names it."""
    with pytest.raises(StorageUnavailable, match=f"{job_id}/1/0"):
        store.load(f"{job_id}/1/0")


# -- what only S3 has ------------------------------------------------------------------------


def test_objects_are_private_and_say_what_they_are(s3_store: S3ImageStore, job_id: UUID) -> None:
    """Readable by a signed address alone, which may name the file."""
    key = s3_store.save(job_id, 1, build_image()).storage_key
    headers = {"Content-Type": "image/png", "Content-Disposition": 'attachment; filename="m.png"'}
    address = s3_store.find_address(key, headers)
    assert address is not None
    with urlopen(address) as answer:  # noqa: S310 - our own address
        assert answer.read() == DATA
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["content-disposition"] == 'attachment; filename="m.png"'
    grants = boto3.client("s3").get_object_acl(Bucket=BUCKET, Key=key)["Grants"]
    assert all("URI" not in grant["Grantee"] for grant in grants)


def test_preview_is_read_by_a_signed_address_that_forbids_keeping_it(
    s3_store: S3ImageStore, job_id: UUID
) -> None:
    """As the API redirects to it."""
    key = preview_key(job_id, 1, 3)
    s3_store.put(key, DATA, "image/png")
    headers = {"Content-Type": "image/png", "Cache-Control": "no-store"}
    address = s3_store.find_address(key, headers)
    assert address is not None
    with urlopen(address) as answer:  # noqa: S310 - our own address
        assert answer.read() == DATA
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (None, "https://shop-images.s3.eu-central-1.amazonaws.com/"),
        ("http://minio:9000", "http://minio:9000/shop-images/"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/shop-images/"),
    ],
)
def test_addresses_lead_to_where_the_bucket_is(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, expected: str
) -> None:
    """On AWS to its region's own host, which answers for a bucket from its first minute on."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    if endpoint is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    store = S3ImageStore(build_settings(image_bucket="shop-images"))
    address = store.find_address(f"{uuid4()}/1/0", {})
    assert address is not None
    assert address.startswith(expected)
    assert expected.startswith(f"{store.origin}/")


def test_s3_that_is_down_is_storage_unavailable(
    monkeypatch: pytest.MonkeyPatch, job_id: UUID
) -> None:
    """Without naming the address in a line that a client may read."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    store = S3ImageStore(build_settings(image_bucket=BUCKET))
    asks: list[Callable[[], object]] = [
        lambda: store.save(job_id, 1, build_image()),
        lambda: store.put(preview_key(job_id, 1, 0), DATA, "image/png"),
        lambda: store.remove(preview_key(job_id, 1, 0)),
        lambda: store.find_saved(job_id),
        lambda: store.load(f"{job_id}/1/0"),
        lambda: store.delete(job_id),
    ]
    for ask in asks:
        with pytest.raises(StorageUnavailable) as raised:
            ask()
        assert "127.0.0.1" not in str(raised.value)


def test_bucket_that_is_not_there_is_storage_unavailable(
    s3_store: S3ImageStore, job_id: UUID
) -> None:
    """With S3's own word."""
    store = S3ImageStore(build_settings(image_bucket="no-such-bucket"))
    with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
        store.save(job_id, 1, build_image())
