"""Pictures that clients upload, and jobs that show them."""

import time
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from PIL import Image

from tests.support.api import OTHER_WORKSPACE, Api
from tests.support.images_api import png
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

CASES = Path(__file__).parents[1] / "cases" / "uploads"
UPLOAD_MAX_BYTES = 4 * 1024 * 1024


def upload(api: Api, data: bytes, media_type: str = "image/png", **query: str) -> httpx.Response:
    """Upload a picture."""
    headers = {"Content-Type": media_type}
    return api.client.post("/v1/assets", content=data, headers=headers, params=query)


def uploaded(api: Api, data: bytes, media_type: str = "image/png") -> dict[str, Any]:
    """Upload a picture and return the asset."""
    answer = upload(api, data, media_type)
    assert answer.status_code == 201, answer.text
    asset: dict[str, Any] = answer.json()
    return asset


def noise(size: tuple[int, int], kind: str = "PNG", **options: Any) -> bytes:
    """Return a picture that does not compress."""
    buffer = BytesIO()
    Image.effect_noise(size, 100).save(buffer, kind, **options)
    return buffer.getvalue()


def many_pixels() -> bytes:
    """Return a small file of a large picture."""
    buffer = BytesIO()
    Image.new("1", (8_000, 6_300)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def asset(runtime: Runtime) -> dict[str, Any]:
    """Give an uploaded picture."""
    return uploaded(runtime.api, png(300, 200))


def test_uploaded_picture_can_be_had_again(runtime: Runtime, asset: dict[str, Any]) -> None:
    """As it is described; its address needs no key."""
    api = runtime.api
    assert (asset["width_px"], asset["height_px"], asset["media_type"]) == (300, 200, "image/png")
    described = api.client.get(f"/v1/assets/{asset['id']}").json()
    assert {**described, "url": None} == {**asset, "url": None}
    content = httpx.get(f"{api.url}{described['url']}")
    assert content.status_code == 200
    assert sha256(content.content).hexdigest() == asset["sha256"]
    assert len(content.content) == asset["size_bytes"]
    tag = {"If-None-Match": content.headers["etag"]}
    assert httpx.get(f"{api.url}{described['url']}", headers=tag).status_code == 304
    with Image.open(BytesIO(content.content)) as picture:
        assert picture.size == (300, 200)


def test_assets_are_listed_the_newest_first(runtime: Runtime) -> None:
    """In pages, of the own workspace alone; each address opens its picture."""
    api = runtime.api
    assets = [uploaded(api, png(32 + number, 32)) for number in range(3)]
    first = api.client.get("/v1/assets", params={"limit": 2}).json()
    assert [each["id"] for each in first["items"]] == [assets[2]["id"], assets[1]["id"]]
    assert httpx.get(f"{api.url}{first['items'][0]['url']}").status_code == 200
    rest = {"limit": 2, "cursor": first["next_cursor"]}
    second = api.client.get("/v1/assets", params=rest).json()
    assert [each["id"] for each in second["items"]] == [assets[0]["id"]]
    assert second["next_cursor"] is None
    assert api.client.get("/v1/assets", params={"product_id": "none"}).json()["items"] == []
    with api.client_of(OTHER_WORKSPACE) as stranger:
        assert stranger.get("/v1/assets").json() == {"items": [], "next_cursor": None}


def test_a_workspace_keeps_so_many_assets(runtime: Runtime) -> None:
    """One more is refused, and leaves nothing; a deletion makes room."""
    api = runtime.open_api
    kept = [uploaded(api, png(32, 32)) for _ in range(4)]
    files = len(list(runtime.image_dir.glob("assets/*")))
    refused = upload(api, png(32, 32))
    assert api.problem(refused) == (429, "too_many_assets")
    assert refused.headers["ratelimit-policy"] == '"assets";q=4'
    assert len(list(runtime.image_dir.glob("assets/*"))) == files
    assert api.client.delete(f"/v1/assets/{kept[0]['id']}").status_code == 204
    assert upload(api, png(32, 32)).status_code == 201


def test_asset_of_another_workspace_does_not_exist(runtime: Runtime, asset: dict[str, Any]) -> None:
    """Neither to be seen, nor deleted, nor shown in a picture."""
    api = runtime.api
    path = f"/v1/assets/{asset['id']}"
    with api.client_of(OTHER_WORKSPACE) as stranger:
        assert api.problem(stranger.get(path)) == (404, "not_found")
        assert api.problem(stranger.get(f"{path}/content")) == (404, "not_found")
        assert api.problem(stranger.delete(path)) == (404, "not_found")
        body = {"prompt": "a mug", "source_asset_id": asset["id"]}
        refused = stranger.post("/v1/generations", json=body)
    assert api.problem(refused) == (422, "invalid_request")
    assert "source_asset_id: no asset" in refused.json()["detail"]
    assert api.problem(httpx.get(f"{api.url}{path}/content?token=x.y")) == (401, "invalid_token")
    assert api.client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("make", "media_type", "problem"),
    [
        (lambda: b"", "image/png", (422, "invalid_request")),
        (lambda: b"<svg/>", "image/png", (422, "invalid_request")),
        (lambda: noise((99, 99))[:-300], "image/png", (422, "invalid_request")),
        (lambda: noise((99, 99), "GIF"), "image/png", (422, "invalid_request")),
        (lambda: many_pixels(), "image/png", (422, "invalid_request")),
        (lambda: noise((99, 99), "GIF"), "image/gif", (415, "unsupported_media_type")),
        (lambda: b"{}", "application/json", (415, "unsupported_media_type")),
        (lambda: bytes(UPLOAD_MAX_BYTES + 1), "image/png", (413, "payload_too_large")),
    ],
    ids=["empty", "text", "cut", "gif", "pixels", "declared-gif", "json", "bytes"],
)
def test_what_is_no_picture_is_refused(
    runtime: Runtime, make: Callable[[], bytes], media_type: str, problem: tuple[int, str]
) -> None:
    """With one line that says why; nothing is kept."""
    api = runtime.api
    assert api.problem(upload(api, make(), media_type)) == problem
    assert list(runtime.image_dir.glob("assets/*")) == []


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("two-pictures.jpg", (64, 48)),
        ("exif-minus-one-over-zero.jpg", (48, 64)),
        ("exif-garbage.png", (64, 48)),
        ("ztxt-2mb.png", (64, 64)),
        ("icc-orient6.jpg", (48, 64)),
        ("icc-orient6.png", (48, 64)),
        ("icc-orient6.webp", (48, 64)),
        ("orient6.jpg", (48, 64)),
        ("trns-icc.png", (64, 64)),
    ],
)
def test_pictures_of_every_phone_and_camera_are_taken_upright(
    runtime: Runtime, name: str, size: tuple[int, int]
) -> None:
    """Whatever lies beside their pixels; the type `image/jpg` means `image/jpeg`."""
    suffix = name.rpartition(".")[2]
    asset = uploaded(runtime.api, (CASES / name).read_bytes(), f"image/{suffix}")
    assert (asset["width_px"], asset["height_px"]) == size
    content = httpx.get(f"{runtime.api.url}{asset['url']}").content
    with Image.open(BytesIO(content)) as picture:
        assert picture.size == size


def test_a_picture_that_is_costly_to_decode_delays_no_other(runtime: Runtime) -> None:
    """Refused by what its header says: 50,000 empty scans, 49 million pixels in 40 bytes."""
    started_at = time.monotonic()
    buffer = BytesIO()
    Image.new("RGB", (3000, 2000), "red").save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    scan = data[data.rindex(b"\xff\xda") : -2]
    pixels = BytesIO()
    Image.new("RGB", (7000, 7000)).save(pixels, "WEBP", lossless=True, quality=0, method=0)
    for bomb, media_type, reason in (
        (data[:-2] + scan * 50_000 + data[-2:], "image/jpeg", "has more than 100 scans"),
        (pixels.getvalue(), "image/webp", "has 7000 x 7000 pixels"),
    ):
        refused = upload(runtime.api, bomb, media_type)
        assert runtime.api.problem(refused) == (422, "invalid_request")
        assert refused.json()["detail"] == f"asset: {reason}"
    assert time.monotonic() - started_at < 20


def test_largest_picture_is_taken(runtime: Runtime) -> None:
    """Four mebibytes to the byte, through everything that lies between."""
    data = noise((1500, 1500), "JPEG", quality=97)
    assert len(data) < UPLOAD_MAX_BYTES
    # Bytes after the end of a JPEG belong to no picture.
    padded = data + bytes(UPLOAD_MAX_BYTES - len(data))
    asset = uploaded(runtime.api, padded, "image/jpeg")
    assert (asset["width_px"], asset["media_type"]) == (1500, "image/jpeg")
    assert asset["size_bytes"] < UPLOAD_MAX_BYTES


def test_product_must_exist(runtime: Runtime) -> None:
    """And be of the same workspace; nothing is kept of what is refused."""
    api = runtime.api
    refused = upload(api, png(9, 9), product_id="unknown")
    assert api.problem(refused) == (422, "invalid_request")
    assert refused.json()["detail"] == "product_id: no product 'unknown' in workspace 'default'"
    assert list(runtime.image_dir.glob("assets/*")) == []


def test_picture_shows_its_reference(runtime: Runtime, asset: dict[str, Any]) -> None:
    """Another picture than without it; the job says which it was."""
    api = runtime.api
    plain = api.finish(api.submit("a red mug"))
    job = api.finish(api.submit("a red mug", source_asset_id=asset["id"]))
    assert job["status"] == "completed"
    assert (job["source_asset_id"], plain["source_asset_id"]) == (asset["id"], None)
    assert job["images"][0]["sha256"] != plain["images"][0]["sha256"]


def test_picture_shows_an_asset_that_the_shop_wrote_by_itself(runtime: Runtime) -> None:
    """Its row says where the bytes lie: here, those of a picture that was made before."""
    api = runtime.api
    plain = api.finish(api.submit("a red mug"))
    asset_id = uuid4()
    with runtime.database() as cursor:
        cursor.execute(
            "INSERT INTO assets (id, workspace_id, storage_key, media_type, size_bytes)"
            " SELECT %s, 'default', storage_key, media_type, size_bytes FROM images"
            " WHERE job_id = %s",
            (str(asset_id), plain["id"]),
        )
    job = api.finish(api.submit("a red mug", source_asset_id=str(asset_id)))
    assert job["status"] == "completed"
    assert job["images"][0]["sha256"] != plain["images"][0]["sha256"]


def test_asset_that_a_job_waits_for_is_not_deleted(runtime: Runtime, asset: dict[str, Any]) -> None:
    """Afterwards it is; the job that showed it forgets it."""
    api = runtime.api
    path = f"/v1/assets/{asset['id']}"
    with runtime.paused():
        job = api.submit("a mug", source_asset_id=asset["id"])
        assert api.problem(api.client.delete(path)) == (409, "asset_in_use")
    assert api.finish(job)["status"] == "completed"
    assert api.client.delete(path).status_code == 204
    assert api.problem(api.client.delete(path)) == (404, "not_found")
    assert api.problem(httpx.get(f"{api.url}{asset['url']}")) == (404, "not_found")
    assert api.get(job)["source_asset_id"] is None
    assert list(runtime.image_dir.glob("assets/*")) == []


def test_unknown_asset_is_refused(runtime: Runtime) -> None:
    """Before anything is accepted; also by the Python API."""
    api = runtime.api
    body = {"prompt": "a mug", "source_asset_id": str(uuid4())}
    assert api.problem(api.client.post("/v1/generations", json=body)) == (422, "invalid_request")
    assert api.client.get("/v1/generations").json()["items"] == []


def test_open_jobs_wait_for_a_store_that_is_unavailable(
    runtime: Runtime, asset: dict[str, Any]
) -> None:
    """Nothing is paid for before the reference is there."""
    api = runtime.api
    folder = runtime.image_dir / "assets"
    away = folder.with_name("assets-away")
    with runtime.paused():
        job = api.submit("a mug", source_asset_id=asset["id"])
        folder.rename(away)
    wait_until(lambda: api.get(job)["attempt"] >= 1 and api.get(job)["retry"], 20, "a retry")
    away.rename(folder)
    ended = api.finish(job)
    assert ended["status"] == "completed"
    first = ended["attempts"][0]
    assert (first["error"]["code"], first["charge_state"]) == ("storage_unavailable", "none")
