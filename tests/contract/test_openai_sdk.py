"""OpenAI's own SDK for Python, unmodified, makes images here."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from typing import Any
from uuid import UUID

import openai
import pytest
from PIL import Image

from tests.support.api import OTHER_WORKSPACE, http_get
from tests.support.images_api import png, width_of
from tests.support.pictures import mask_file
from tests.support.runtime import Runtime

PNG = {"media_type": "image/png", "width_px": 256, "height_px": 256}


@contextmanager
def sdk_of(runtime: Runtime, workspace_id: str = "default") -> Iterator[openai.OpenAI]:
    """Give the SDK, with its own defaults and the key of a workspace."""
    api = runtime.api
    key = api.keys[workspace_id]
    with openai.OpenAI(api_key=key, base_url=f"{api.url}/v1") as sdk:
        yield sdk


@pytest.fixture
def sdk(runtime: Runtime) -> Iterator[openai.OpenAI]:
    """Give the SDK."""
    with sdk_of(runtime) as sdk:
        yield sdk


def jobs_of(runtime: Runtime) -> list[dict[str, Any]]:
    """Return all jobs, newest first."""
    items: list[dict[str, Any]] = runtime.api.client.get("/v1/generations").json()["items"]
    return items


def read(image: openai.types.Image) -> bytes:
    """Return the picture of an answer."""
    data = base64.b64decode(image.b64_json or "")
    width_of(data)
    return data


def test_sdk_makes_images(runtime: Runtime, sdk: openai.OpenAI) -> None:
    """With the parameters that OpenAI's models take, and the id of the job in a header."""
    raw = sdk.images.with_raw_response.generate(
        prompt="a red mug", model="gpt-image-1", n=2, size="256x256", quality="high",
        background="opaque", output_format="png", moderation="low", user="7",
    )  # fmt: skip
    answer = raw.parse()
    [job] = jobs_of(runtime)
    assert raw.headers["x-darkroom-job"] == job["id"]
    assert answer._request_id is not None
    assert answer._request_id.startswith("req_")
    assert answer.data is not None
    first, second = (read(image) for image in answer.data)
    assert first != second
    for image, data, known in zip(answer.data, (first, second), job["images"], strict=True):
        assert len(data) == known["size_bytes"]
        assert http_get(image.url or "").content == data
    assert (answer.size, answer.output_format) == ("256x256", "png")
    assert (answer.quality, answer.background) == ("high", "opaque")
    assert answer.created >= 1_700_000_000
    assert answer.usage is not None
    assert answer.usage.total_tokens == 0


@pytest.mark.parametrize(("wanted", "has_bytes"), [("b64_json", True), ("url", False)])
def test_answer_has_the_form_that_was_asked_for(
    sdk: openai.OpenAI, wanted: Any, has_bytes: bool
) -> None:
    """Bytes as base64, or an address that needs no key."""
    answer = sdk.images.generate(prompt="a mug", size="256x256", response_format=wanted)
    [image] = answer.data or []
    assert (image.b64_json is not None, image.url is not None) == (has_bytes, not has_bytes)
    data = read(image) if has_bytes else http_get(image.url or "").content
    assert width_of(data) == 256


def test_size_auto_is_the_default_size(runtime: Runtime, sdk: openai.OpenAI) -> None:
    """As LibreChat asks for it; our own fields may stand beside those of OpenAI."""
    extra = {"seed": 7, "metadata": {"order": "A-17"}, "style": "vivid", "a_new_field": True}
    answer = sdk.images.generate(prompt="a mug", size="auto", extra_body=extra)
    [job] = jobs_of(runtime)
    assert answer.size == "1024x1024"
    assert (job["seed"], job["metadata"]) == (7, {"order": "A-17"})


def test_sdk_chooses_the_form_of_the_images(runtime: Runtime, sdk: openai.OpenAI) -> None:
    """As with OpenAI's own models; what the model does not offer is refused."""
    answer = sdk.images.generate(
        prompt="a mug", size="256x256", output_format="webp", background="transparent",
        output_compression=50, moderation="low", response_format="b64_json",
    )  # fmt: skip
    assert (answer.output_format, answer.background) == ("webp", "transparent")
    assert jobs_of(runtime)[0]["output_compression"] == 50
    sdk.images.generate(prompt="a mug", size="256x256", output_format="png", output_compression=100)
    assert jobs_of(runtime)[0]["output_compression"] is None
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.images.generate(prompt="a mug", output_format="jpeg", background="transparent")
    assert (caught.value.code, caught.value.param) == ("invalid_value", "background")


def test_sdk_edits_a_picture(runtime: Runtime, sdk: openai.OpenAI) -> None:
    """The picture becomes the reference of the job, alone or in a list."""
    picture = ("mug.png", png(64, 48), "image/png")
    answers = [
        sdk.images.edit(image=image, prompt="a blue mug", size="256x256", n=1)
        for image in (picture, [picture])
    ]
    jobs = jobs_of(runtime)
    assert all(job["source_asset_id"] for job in jobs)
    assert len(jobs) == 2
    for answer in answers:
        [image] = answer.data or []
        read(image)


def test_sdk_edits_several_pictures_with_a_mask(runtime: Runtime, sdk: openai.OpenAI) -> None:
    """In their order; what does not fit is refused by OpenAI's names, and leaves nothing."""
    pictures = [("mug.png", png(64, 48, shade), "image/png") for shade in (20, 120, 220)]
    mask, small = (("mask.png", mask_file(size), "image/png") for size in ((64, 48), (9, 9)))
    edit = partial(sdk.images.edit, prompt="a blue mug", size="256x256")
    read((edit(image=pictures, mask=mask).data or [])[0])
    [job] = jobs_of(runtime)
    kept = [job["source_asset_id"], *job["reference_asset_ids"]]
    shades = [asset_of(runtime, each).getpixel((0, 0)) for each in kept]
    assert shades == [(shade, 90, 60) for shade in (20, 120, 220)]
    assert asset_of(runtime, job["mask_asset_id"]).mode == "RGBA"
    files = len(list(runtime.image_dir.glob("assets/*")))
    for more, param, line in (
        ({"image": pictures, "mask": small}, "mask", "mask: must be a PNG with transparency"),
        ({"image": pictures * 6}, "image", "image: at most 16 pictures, not 18"),
        ({"image": pictures, "model": "mock-mini"}, "image", "image: mock-mini takes no reference"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            edit(**more)
        assert (caught.value.code, caught.value.param) == ("invalid_value", param)
        assert line in caught.value.message
    assert len(list(runtime.image_dir.glob("assets/*"))) == files
    assert len(jobs_of(runtime)) == 1


def asset_of(runtime: Runtime, asset_id: str) -> Image.Image:
    """Return an uploaded picture."""
    asset = runtime.api.client.get(f"/v1/assets/{asset_id}").json()
    return Image.open(BytesIO(http_get(f"{runtime.api.url}{asset['url']}").content))


@pytest.mark.parametrize("is_edit", [False, True], ids=["generation", "edit"])
def test_sdk_streams_partial_images(sdk: openai.OpenAI, is_edit: bool) -> None:
    """At most as many as it asks for, then the image itself with the usage."""
    wanted: dict[str, Any] = {"prompt": "a mug [[preview]] [[slow:2]]", "size": "256x256"}
    picture: Any = {"image": ("mug.png", png(64, 48), "image/png")} if is_edit else {}
    ask: Callable[..., Any] = sdk.images.edit if is_edit else sdk.images.generate
    events = list(ask(**wanted, **picture, stream=True, partial_images=2))
    kind = "image_edit" if is_edit else "image_generation"
    *partial, completed = events
    assert [event.type for event in partial] == [f"{kind}.partial_image"] * 2
    assert [event.partial_image_index for event in partial] == [0, 1]
    sizes = [width_of(base64.b64decode(event.b64_json)) for event in partial]
    assert sizes == sorted(sizes)
    assert completed.type == f"{kind}.completed"
    assert completed.size == "256x256"
    assert width_of(base64.b64decode(completed.b64_json)) == 256
    assert completed.usage.input_tokens_details.text_tokens == 0


def test_stream_says_why_a_job_failed(sdk: openai.OpenAI) -> None:
    """As an event that the SDK raises."""
    with pytest.raises(openai.APIError) as caught:
        list(sdk.images.generate(prompt="a mug [[reject]]", stream=True))
    assert caught.value.code == "moderation_blocked"


Ask = Callable[[openai.OpenAI], Any]

UNAVAILABLE = "provider_unavailable"


def _generate(**wanted: Any) -> Ask:
    return lambda sdk: sdk.images.generate(**{"prompt": "a mug", "size": "256x256", **wanted})


def _models(name: str) -> Ask:
    return lambda sdk: sdk.models.retrieve(name)


def _chat(sdk: openai.OpenAI) -> object:
    return sdk.chat.completions.create(model="gpt-9", messages=[])


def _edit(*files: bytes, **wanted: Any) -> Ask:
    pictures: Any = [("mug.png", data, "image/png") for data in files]
    return lambda sdk: sdk.images.edit(image=pictures, prompt="a mug", **wanted)


@pytest.mark.parametrize(
    ("ask", "kind", "code", "param", "jobs"),
    [
        (_generate(prompt=""), openai.BadRequestError, "invalid_value", "prompt", 0),
        (_generate(n=11), openai.BadRequestError, "invalid_value", "n", 0),
        (_generate(size="17x17"), openai.BadRequestError, "invalid_value", "size", 0),
        (_generate(partial_images=4), openai.BadRequestError, "invalid_value", "partial_images", 0),
        (_edit(b"no picture"), openai.BadRequestError, "invalid_value", "image", 0),
        (_generate(prompt="[[reject]] mug"), openai.BadRequestError, "moderation_blocked", None, 1),
        (_generate(prompt="[[fail:9]] mug"), openai.InternalServerError, UNAVAILABLE, None, 1),
        (_models("gpt-9"), openai.NotFoundError, "model_not_found", None, 0),
        (_chat, openai.NotFoundError, "unknown_url", None, 0),
    ],
)  # fmt: skip
def test_sdk_raises_what_it_raises_for_openai(
    runtime: Runtime,
    sdk: openai.OpenAI,
    ask: Ask,
    kind: type[openai.APIStatusError],
    code: str,
    param: str | None,
    jobs: int,
) -> None:
    """With OpenAI's code where there is one; an error that stays is met once."""
    with pytest.raises(kind) as caught:
        ask(sdk)
    error = caught.value
    assert (error.code, error.param) == (code, param)
    assert error.request_id is not None
    found = jobs_of(runtime)
    assert len(found) == jobs
    named = error.response.headers.get_list("x-darkroom-job")
    assert named == [job["id"] for job in found]


def test_route_that_does_not_exist_says_which_exist(sdk: openai.OpenAI) -> None:
    """A program that asks for a chat learns what this service makes."""
    with pytest.raises(openai.NotFoundError, match="POST /v1/images/generations"):
        sdk.embeddings.create(model="gpt-9", input="a mug")


def test_wrong_key_is_an_authentication_error(runtime: Runtime) -> None:
    """As the SDK calls it."""
    sdk = openai.OpenAI(api_key="sk-wrong", base_url=f"{runtime.api.url}/v1")
    with sdk, pytest.raises(openai.AuthenticationError) as caught:
        sdk.images.generate(prompt="a mug")
    assert caught.value.code == "invalid_api_key"


def test_any_key_will_do_where_none_is_needed(runtime: Runtime) -> None:
    """The SDK cannot leave it out."""
    with openai.OpenAI(api_key="unused", base_url=f"{runtime.open_api.url}/v1") as sdk:
        answer = sdk.images.generate(prompt="a mug", size="256x256")
    assert len(answer.data or []) == 1


def test_limit_of_open_jobs_is_a_rate_limit(runtime: Runtime) -> None:
    """The SDK waits and tries again, as Retry-After says."""
    api = runtime.open_api
    sdk = partial(openai.OpenAI, api_key="unused", base_url=f"{api.url}/v1")
    with runtime.paused(), sdk(max_retries=0) as impatient:
        for number in range(3):
            api.submit(f"mug {number}")
        with pytest.raises(openai.RateLimitError) as caught:
            impatient.images.generate(prompt="a mug", size="256x256")
        assert caught.value.code == "rate_limit_exceeded"
    with sdk(max_retries=5) as patient:
        assert patient.images.generate(prompt="a mug", size="256x256").data


def test_models_are_listed(runtime: Runtime, sdk: openai.OpenAI) -> None:
    """Each can be asked for by its name, and says what it offers; the default one is first."""
    models = sdk.models.list().data
    assert [model.id for model in models] == ["mock-1", "mock-mini"]
    small = models[1]
    assert sdk.models.retrieve(small.id) == small
    assert (small.model_extra or {})["sizes"] == ["256x256", "512x512"]
    assert sdk.images.generate(prompt="a mug", size="256x256", model=small.id).data
    assert jobs_of(runtime)[0]["model"] == small.id


def test_task_is_followed_by_polling(runtime: Runtime) -> None:
    """202 with its address, in both ways to ask; another workspace has no such task."""
    api = runtime.api
    asked = {"prompt": "a mug", "size": "256x256", "response_format": "url"}
    prefer = {"Prefer": "respond-async"}
    answers = [
        api.client.post("/v1/images/generations", json=asked, headers=prefer),
        api.client.post("/v1/images/generations/async", json=asked),
    ]
    for answer in answers:
        task = answer.json()
        assert (answer.status_code, task["object"]) == (202, "image.generation.task")
        assert task["poll_url"] == api.url + answer.headers["location"]
        assert int(answer.headers["retry-after"]) > 0
        assert task["id"] == answer.headers["x-darkroom-job"]
        api.finish(task)
        done = api.client.get(answer.headers["location"]).json()
        assert (done["status"], done["error"]) == ("completed", None)
        [image] = done["result"]["data"]
        assert width_of(http_get(image["url"]).content) == 256
        with api.client_of(OTHER_WORKSPACE) as stranger:
            assert stranger.get(answer.headers["location"]).json()["error"]["code"] == "not_found"


def test_task_of_a_failed_job_has_its_error(runtime: Runtime) -> None:
    """And no result."""
    api = runtime.api
    files = {"image": ("mug.png", png(64, 48), "image/png")}
    form = {"prompt": "a mug [[reject]]"}
    task = api.client.post("/v1/images/edits/async", data=form, files=files).json()
    api.finish(task)
    done = api.client.get(f"/v1/images/tasks/{UUID(task['id'])}").json()
    assert (done["status"], done["result"]) == ("failed", None)
    assert done["error"]["code"] == "moderation_blocked"
