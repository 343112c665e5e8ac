"""Jobs that are based on several pictures in an order, and on a mask of the first."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.imaging.params import REFERENCES_MAX
from tests.support.api import OTHER_WORKSPACE
from tests.support.cli import darkroom
from tests.support.images_api import png
from tests.support.pictures import mask_file
from tests.support.runtime import Runtime

SIZE_PX = (60, 40)
NONE: dict[str, Any] = {"source_asset_id": None, "reference_asset_ids": [], "mask_asset_id": None}
MINI = {"model": "mock-mini", "size": "256x256"}
UNFIT = "mask_asset_id: must be a PNG with transparency, of the size of the first picture (60 x 40)"


@dataclass(frozen=True)
class Pictures:
    """The ids of three pictures, and of a mask of each of them."""

    ids: list[str]
    mask: str

    @property
    def order(self) -> dict[str, Any]:
        """The fields of a request with all of them."""
        first, *others = self.ids
        return {
            "source_asset_id": first,
            "reference_asset_ids": others,
            "mask_asset_id": self.mask,
        }


@pytest.fixture
def pictures(runtime: Runtime) -> Pictures:
    """Upload three pictures and a mask."""
    files = [png(*SIZE_PX, shade) for shade in (20, 120, 220)]
    return Pictures(
        [runtime.api.upload(data) for data in files], runtime.api.upload(mask_file(SIZE_PX))
    )


def test_images_show_all_pictures_in_their_order(runtime: Runtime, pictures: Pictures) -> None:
    """Also without the first field; a retry of the job keeps pictures and mask."""
    api, (first, second, third) = runtime.api, pictures.ids
    orders: list[dict[str, Any]] = [
        {"source_asset_id": first},
        {"source_asset_id": first, "reference_asset_ids": [second, third]},
        {"source_asset_id": first, "reference_asset_ids": [third, second]},
        {"reference_asset_ids": [first, second, third]},
        {"reference_asset_ids": [first, first]},
        pictures.order,
    ]
    jobs = [api.finish(api.submit("a mug", seed=7, **order)) for order in orders]
    for job, order in zip(jobs, orders, strict=True):
        shown = {name: job[name] for name in pictures.order}
        nothing: dict[str, Any] = {
            "source_asset_id": None,
            "reference_asset_ids": [],
            "mask_asset_id": None,
        }
        assert shown == nothing | order
    images = [job["images"][0]["sha256"] for job in jobs]
    assert images[1] == images[3]
    assert len(set(images)) == 5
    again = api.client.post(f"/v1/generations/{jobs[-1]['id']}/retry")
    assert again.status_code == 202, again.text
    assert {name: again.json()[name] for name in pictures.order} == pictures.order
    assert api.finish(again.json())["images"][0]["sha256"] == images[-1]


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (mask_file(SIZE_PX, kind="WEBP"), "image/webp"),
        (mask_file(SIZE_PX, mode="RGB"), "image/png"),
        (mask_file((40, 60)), "image/png"),
    ],
    ids=["webp", "opaque", "size"],
)
def test_a_mask_must_fit_its_picture(runtime: Runtime, data: bytes, media_type: str) -> None:
    """One sentence says how; nothing is accepted. A row of the shop's own fails with the same."""
    first, mask = runtime.api.upload(png(*SIZE_PX)), runtime.api.upload(data, media_type)
    order = {"prompt": "a mug", "source_asset_id": first, "mask_asset_id": mask}
    refused = runtime.api.client.post("/v1/generations", json=order)
    assert runtime.api.problem(refused) == (422, "invalid_request")
    assert refused.json()["detail"] == UNFIT
    rows = runtime.finish(written(runtime, [first], mask))
    assert (rows.job["error"]["code"], rows.job["error"]["message"]) == ("invalid_request", UNFIT)
    assert rows.attempts[0]["charge_state"] == "none"


def written(runtime: Runtime, references: list[str], mask: str | None = None) -> Any:
    """Write the row of a job as a foreign producer does, unchecked."""
    with runtime.database() as cursor:
        cursor.execute(
            "INSERT INTO generation_jobs (workspace_id, params, reference_asset_ids, mask_asset_id)"
            """ VALUES ('default', '{"prompt": "a mug"}', %s::uuid[], %s) RETURNING id""",
            (references, mask),
        )
        return runtime.services.get(UUID(str(cursor.fetchone()["id"])))


def test_pictures_of_another_workspace_are_none(runtime: Runtime, pictures: Pictures) -> None:
    """As those that do not exist; also where a foreign producer names them in a row."""
    api = runtime.api
    with api.client_of(OTHER_WORKSPACE) as stranger:
        headers = {"Content-Type": "image/png"}
        own = stranger.post("/v1/assets", content=png(*SIZE_PX), headers=headers).json()["id"]
        for unknown in (str(uuid4()), pictures.mask):
            details = []
            for more in ({"mask_asset_id": unknown}, {"reference_asset_ids": [unknown]}):
                body = {"prompt": "a mug", "source_asset_id": own, **more}
                refused = stranger.post("/v1/generations", json=body)
                assert api.problem(refused) == (422, "invalid_request")
                details.append(refused.json()["detail"])
            assert details == [
                f"mask_asset_id: no asset '{unknown}'",
                "reference_asset_ids: not every picture or mask is an asset of workspace "
                f"{OTHER_WORKSPACE!r}",
            ]
    error = runtime.finish(written(runtime, [pictures.ids[0], own])).job["error"]
    assert (error["code"], error["message"]) == (
        "invalid_request",
        f"reference_asset_ids: no asset '{own}'",
    )


def test_a_model_takes_so_many_pictures(runtime: Runtime, pictures: Pictures) -> None:
    """More are refused, and so is a mask without a picture; `GET /v1/models` says how many."""
    api, first = runtime.api, pictures.ids[0]
    for order, detail in (
        ({**MINI, "source_asset_id": first}, "takes no reference pictures"),
        ({"source_asset_id": first, "reference_asset_ids": [first] * REFERENCES_MAX}, "at most 16"),
        ({"reference_asset_ids": [first] * (REFERENCES_MAX + 1)}, "at most 16"),
        ({"mask_asset_id": pictures.mask}, "mask_asset_id: needs a picture in source_asset_id"),
    ):
        refused = api.client.post("/v1/generations", json={"prompt": "a mug", **order})
        assert api.problem(refused) == (422, "invalid_request")
        assert detail in refused.json()["detail"]
    offers = {each["id"]: each for each in api.client.get("/v1/models").json()["data"]}
    assert (offers["mock-1"]["references_max"], offers["mock-1"]["takes_mask"]) == (16, True)
    assert (offers["mock-mini"]["references_max"], offers["mock-mini"]["takes_mask"]) == (0, False)


def test_pictures_that_a_job_waits_for_are_not_deleted(
    runtime: Runtime, pictures: Pictures
) -> None:
    """Afterwards they are; a retry is then refused, instead of showing something else."""
    api = runtime.api
    paths = [f"/v1/assets/{each}" for each in (*pictures.ids, pictures.mask)]
    with runtime.paused():
        job = api.submit("a mug", **pictures.order)
        for path in paths:
            assert api.problem(api.client.delete(path)) == (409, "asset_in_use")
    assert api.finish(job)["status"] == "completed"
    single = api.finish(api.submit("a mug", source_asset_id=pictures.ids[0]))
    assert api.client.delete(paths[0]).status_code == 204
    for ended in (job, single):
        again = api.client.post(f"/v1/generations/{ended['id']}/retry")
        assert api.problem(again) == (422, "invalid_request")
    assert api.get(job)["reference_asset_ids"] == pictures.ids
    assert {api.client.delete(path).status_code for path in paths[1:]} == {204}
    assert list(runtime.image_dir.glob("assets/*")) == []
    assert api.client.delete(f"/v1/generations/{job['id']}").status_code == 204


def test_command_uploads_the_pictures_of_an_order(
    runtime: Runtime, pictures: Pictures, tmp_path: Path
) -> None:
    """Files, or the ids of assets; a file that is none is named."""
    api = runtime.api
    environment = {
        **runtime.environment,
        "DARKROOM_URL": api.url,
        "DARKROOM_API_KEY": api.keys["default"],
    }
    (tmp_path / "first.png").write_bytes(png(*SIZE_PX))
    (tmp_path / "mask.png").write_bytes(mask_file(SIZE_PX))
    files = ["--reference", "first.png", "--reference", pictures.ids[1], "--mask", "mask.png"]
    done = darkroom(environment, "generate", "a mug", "--size", "256x256", *files, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [job] = api.client.get("/v1/generations").json()["items"]
    assert job["reference_asset_ids"] == [pictures.ids[1]]
    assert None not in (job["source_asset_id"], job["mask_asset_id"])
    done = darkroom(environment, "generate", "a mug", "--mask", "none.png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "darkroom: cannot read none.png: No such file or directory\n",
    )
