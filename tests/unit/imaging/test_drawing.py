"""The drawn pictures."""

import io
import subprocess
import sys

import pytest
from PIL import Image

from shared.imaging.drawing.picture import draw_png
from shared.imaging.drawing.png import encode_png
from shared.imaging.drawing.products import PRODUCTS, choose_product
from shared.imaging.params import SIZE_NAMES
from shared.imaging.styles import STYLES


def open_png(data: bytes) -> Image.Image:
    """Return the decoded picture; raises where the file is broken."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_drawn_as_a_png_with_content(style: str) -> None:
    """Each style gives a real PNG of many colours, unlike those of the other styles."""
    image = open_png(draw_png("a mug", style, 256, 256, 1))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (256, 256))
    colours = image.getcolors(256 * 256)
    assert colours is not None
    assert len(colours) > 500


@pytest.mark.parametrize("size", SIZE_NAMES)
def test_every_size_is_drawn_to_the_pixel(size: str) -> None:
    """Width and height are those of the request."""
    width, height = map(int, size.split("x"))
    assert open_png(draw_png("a lamp", "dramatic", width, height, 1)).size == (width, height)


def test_prompt_style_and_seed_each_change_the_picture() -> None:
    """No two of them give the same bytes."""
    pictures = [
        draw_png(*arguments)
        for arguments in (
            ("a mug", "minimal", 256, 256, 1),
            ("a cup", "minimal", 256, 256, 1),
            ("a mug", "outdoor", 256, 256, 1),
            ("a mug", "minimal", 256, 256, 2),
        )
    ]
    assert len(set(pictures)) == len(pictures)


def test_same_arguments_give_the_same_bytes_in_every_process() -> None:
    """Nothing depends on the process, such as its hash seed."""
    program = (
        "import sys; from shared.imaging.drawing.picture import draw_png;"
        "sys.stdout.buffer.write(draw_png('a red sneaker', 'flat-lay', 256, 256, 77))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert other.stdout == draw_png("a red sneaker", "flat-lay", 256, 256, 77)


def test_encoded_pixels_come_back_exactly() -> None:
    """The PNG writer loses nothing, also in rows and columns of odd lengths."""
    image = Image.effect_noise((37, 23), 90).convert("RGB")
    image.putpixel((36, 22), (1, 2, 3))
    assert open_png(encode_png(image)).tobytes() == image.tobytes()


def test_prompt_that_names_a_product_gets_it() -> None:
    """The first product word counts; without one, the number picks."""
    bottle, _, _, mug, *_ = PRODUCTS
    assert choose_product("A Mug beside a bottle", 0) is mug
    assert choose_product("Bottles beside mugs", 3) is bottle
    assert choose_product("something new", 3) is mug
