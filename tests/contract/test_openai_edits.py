"""Forms that clients send to `/v1/images/edits`: names and types of their files vary."""

import pytest

from tests.support.runtime import Runtime
from tests.support.tracker_answers import FORMS, MASK, ONE


@pytest.mark.parametrize("name", FORMS)
def test_an_edit_is_based_on_the_files_of_its_form(runtime: Runtime, name: str) -> None:
    """Whatever their fields are called, in their order, and by their bytes alone."""
    api, files = runtime.api, FORMS[name]
    media_type = "application/octet-stream" if name == "untyped" else "image/png"
    answer = api.client.post(
        "/v1/images/edits",
        data={"prompt": "a mug", "size": "256x256", "model": "gpt-image-2", "quality": "low"},
        files=[(field, ("a.png", data, media_type)) for field, data in files],
    )
    assert answer.status_code == 200, answer.text
    [job] = api.client.get("/v1/generations").json()["items"]
    pictures = [job["source_asset_id"], *job["reference_asset_ids"]]
    kept = [(runtime.image_dir / "assets" / each).read_bytes() for each in pictures]
    assert kept == [data for field, data in files if field.startswith("image")]
    assert (job["mask_asset_id"] is not None) == any(field.startswith("mask") for field, _ in files)


def test_two_masks_are_refused(runtime: Runtime) -> None:
    """By the name of the field; so is a mask that no picture goes with."""
    for files, line in (
        ([("image", ONE), ("mask", MASK), ("mask", MASK)], "mask: only one can be used"),
        ([("mask", MASK)], "image: is missing"),
    ):
        answer = runtime.api.client.post(
            "/v1/images/edits",
            data={"prompt": "a mug"},
            files=[(field, ("a.png", data, "image/png")) for field, data in files],
        )
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, line)
    assert list(runtime.image_dir.glob("assets/*")) == []
