"""The samples of the page without jobs."""

from io import BytesIO

from PIL import Image, ImageChops, ImageStat

from shared.imaging.mock_print import draw_png
from tests.support.samples import SEEDS, samples


def test_samples_are_what_the_mock_provider_makes_now() -> None:
    """Three prints, each of the prompt and style that a click fills in."""
    found = list(samples())
    assert [path.name for path, _ in found] == list(SEEDS)
    for path, wanted in found:
        shown = Image.open(path).convert("RGB")
        made = Image.open(BytesIO(draw_png(wanted))).convert("RGB")
        # Another release of FreeType may set the text a little differently.
        assert max(ImageStat.Stat(ImageChops.difference(shown, made)).mean) < 1, "make pictures"
