"""A provider that Darkroom does not know: one file, registered by one setting."""

import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from PIL import Image as Picture

from shared.errors import InvalidRequest
from tests.support.api import http_get
from tests.support.runtime import Runtime
from tests.support.story import outcomes

FOLDER = Path(__file__).parents[1] / "support" / "outside"
KEY = "key-of-the-paint-shop"
SHADE = 12
PRICE = 30


@pytest.fixture(scope="module")
def own_settings() -> Iterator[Mapping[str, str]]:
    """Have workers whose images the provider makes; this process imports it, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield {
            "PYTHONPATH": str(FOLDER),
            "AI_MOCK_MODE": "false",
            "IMAGE_PROVIDER_MODULES": "stencil",
            "IMAGE_PROVIDER": "stencil",
            "STENCIL_KEY": KEY,
            "STENCIL_SHADE": str(SHADE),
            "STENCIL_PRICE": str(PRICE),
        }
    sys.modules.pop("stencil", None)


def test_it_makes_the_images_of_a_job(own_runtime: Runtime) -> None:
    """By its settings; the ledger names it, its model, its units and its price."""
    job = own_runtime.submit("a stencilled mug", n=2, size="512x512")
    rows = own_runtime.finish(job)
    assert rows.job["status"] == "COMPLETED"
    assert {(image["provider"], image["model"]) for image in rows.images} == {
        ("stencil", "stencil-large")
    }
    [line] = rows.attempts
    assert (line["provider"], line["model"]) == ("stencil", "stencil-large")
    assert (line["charge_state"], line["units"]) == ("charged", {"litres": 2})
    assert line["price_microdollars"] == 2 * PRICE
    assert line["provider_request_id"] == f"paint-{job.id}-1"
    shown = own_runtime.api.get(job)
    assert shown["receipt"]["price_microdollars"] == 2 * PRICE
    shades = []
    for image in shown["images"]:
        data = http_get(f"{own_runtime.api.url}{image['url']}").content
        with Picture.open(io.BytesIO(data)) as picture:
            assert picture.size == (512, 512)
            shades.append(picture.getpixel((0, 0)))
    assert shades == [SHADE + 40, SHADE + 41]
    assert KEY not in str(own_runtime.log_lines())


def test_its_errors_are_retried_as_it_declares(own_runtime: Runtime) -> None:
    """An unavailable provider is called again; a refused prompt is not."""
    busy, refused = (
        own_runtime.submit(f"a stencilled mug <<{word}>>") for word in ("busy", "refused")
    )
    rows = own_runtime.finish(busy)
    assert outcomes(rows) == ["failed", "completed"]
    assert [line["charge_state"] for line in rows.attempts] == ["none", "charged"]
    rows = own_runtime.finish(refused)
    assert outcomes(rows) == ["failed"]
    error = rows.job["error"]
    assert (error["code"], error["provider_code"]) == ("prompt_rejected", "taste")


def test_a_job_that_would_cost_too_much_is_refused(own_runtime: Runtime) -> None:
    """By its price, before a job is accepted."""
    with pytest.raises(InvalidRequest, match=f"max_cost: 3 images cost {3 * PRICE} micro-dollars"):
        own_runtime.submit("a dear mug", n=3, max_cost=3 * PRICE - 1)
