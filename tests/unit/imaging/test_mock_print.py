"""The prints of the mock provider."""

import io
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageColor, ImageStat

from shared.imaging.mock_print import MockPrint, draw_png
from shared.imaging.params import PROMPT_MAX_CHARS, SIZE_NAMES
from shared.imaging.styles import STYLES

MUG = MockPrint("A ceramic mug", "minimal", 256, 256, 1)

ODD_PROMPTS = {
    "one letter": "a",
    "German": "Größe, Übermaß und „Anführung“: Weißkäse",
    "Cyrillic": "Керамическая кружка на подоконнике",
    "Chinese": "窓辺の陶器のマグカップ、朝の光",
    "Arabic": "كوب خزفي",
    "emoji": "🎉 a mug 🐈‍⬛",
    "marks alone": "\u0301\u200b",
    "lines and tabs": "a mug\n\n\ton a sill",
    "a word without end": "W" * PROMPT_MAX_CHARS,
    "a text without end": "a mug on a sill, " * 300,
}


def open_print(wanted: MockPrint) -> Image.Image:
    """Return the decoded print in full colour; raises where the file is broken."""
    image = Image.open(io.BytesIO(draw_png(wanted)))
    assert image.format == "PNG"
    return image.convert("RGB")


def picture_file(colour: str, kind: str = "PNG", size: tuple[int, int] = (300, 200)) -> bytes:
    """Return the file of a picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of the pixels, from 0 to 255."""
    means = ImageStat.Stat(ImageChops.difference(one, other)).mean
    return sum(means) / len(means)


@pytest.mark.parametrize("style", STYLES)
def test_every_style_has_a_print_of_its_own(style: str) -> None:
    """It has many colours, and differs clearly from the prints of all other styles."""
    image = open_print(replace(MUG, style=style))
    assert image.size == (256, 256)
    colours = image.getcolors(256 * 256)
    assert colours is not None
    assert len(colours) > 50
    others = [open_print(replace(MUG, style=other)) for other in STYLES if other != style]
    assert min(difference(image, other) for other in others) > 8


@pytest.mark.parametrize("size", SIZE_NAMES)
def test_every_size_is_exact_to_the_pixel(size: str) -> None:
    """Width and height are those of the request."""
    width, height = map(int, size.split("x"))
    assert open_print(replace(MUG, width_px=width, height_px=height)).size == (width, height)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "A ceramic cup"},
        {"style": "outdoor"},
        {"seed": 2},
        {"position": 1},
        {"attempt": 2},
        {"references": (picture_file("red"),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_field_changes_the_print(change: dict[str, Any]) -> None:
    """No two of them have the same bytes."""
    assert draw_png(replace(MUG, **change)) != draw_png(MUG)


def test_position_and_attempt_change_only_the_upper_corner() -> None:
    """Style and seed alone decide the scene."""
    other = open_print(replace(MUG, position=3, attempt=2))
    box = ImageChops.difference(open_print(MUG), other).getbbox()
    assert box is not None
    left, _, _, bottom = box
    assert (left > 128, bottom < 32) == (True, True)


def test_same_print_has_the_same_bytes_in_every_process() -> None:
    """Nothing depends on the process, such as its hash seed."""
    program = (
        "import sys; from shared.imaging.mock_print import MockPrint, draw_png;"
        "sys.stdout.buffer.write(draw_png(MockPrint('a red sneaker', 'flat-lay', 256, 256, 77)))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert other.stdout == draw_png(MockPrint("a red sneaker", "flat-lay", 256, 256, 77))


@pytest.mark.parametrize("style", STYLES)
def test_small_print_is_the_large_one_scaled_down(style: str) -> None:
    """As previews show it: the lines of the prompt break at the same words."""
    prompt = "A leather weekender bag on an oak bench beside an umbrella, rain outside"
    large = MockPrint(prompt, style, 1024, 1024, 5, references=(picture_file("teal"),))
    scaled = open_print(large).resize((128, 128), Image.Resampling.BOX)
    small = replace(large, width_px=128, height_px=128)
    assert difference(scaled, open_print(small)) < 7
    assert difference(scaled, open_print(replace(small, seed=6))) > 14


def test_edges_are_smooth() -> None:
    """The disc of the minimal style has tones between its own and that of the wall."""
    colours = open_print(MUG).getcolors(256 * 256)
    assert colours is not None
    between = [count for count, _ in colours if count < 200]
    assert len(between) > 20


@pytest.mark.parametrize("prompt", ODD_PROMPTS.values(), ids=list(ODD_PROMPTS))
def test_odd_text_is_shown_as_far_as_the_font_goes(prompt: str) -> None:
    """Something stands below the scene, inside the margins, whatever the script."""
    image = open_print(replace(MUG, prompt=prompt))
    ground = image.getpixel((2, 254))
    assert isinstance(ground, tuple)
    below = image.crop((0, 168, 256, 256))
    ink = ImageChops.difference(below, Image.new("RGB", below.size, ground)).getbbox()
    assert ink is not None
    left, _, right, bottom = ink
    assert (left >= 14, right <= 244, bottom <= 84) == (True, True, True)


def test_letters_of_each_script_differ() -> None:
    """German and Cyrillic letters are set as such; letters that are missing become blocks."""
    pairs = (("Größe", "Grose"), ("кружка", "чашка"))
    for one, other in pairs:
        assert draw_png(replace(MUG, prompt=one)) != draw_png(replace(MUG, prompt=other))
    missing = [draw_png(replace(MUG, prompt=prompt)) for prompt in ("窓辺の光", "朝朝朝朝")]
    assert missing[0] == missing[1]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [(300, 200), (2, 900), (1, 1)])
def test_reference_is_visible_in_its_own_colour(kind: str, size: tuple[int, int]) -> None:
    """In the upper right of the print, framed in white."""
    image = open_print(replace(MUG, references=(picture_file("teal", kind, size),)))
    corner = image.crop((128, 24, 256, 140))
    plain = open_print(MUG).crop((128, 24, 256, 140))
    teal = [
        count
        for picture in (corner, plain)
        for count in [sum(n for n, (r, g, b) in _colours(picture) if r < 40 and 90 < g < 160)]
    ]
    assert teal[0] > teal[1] == 0
    assert sum(n for n, colour in _colours(corner) if colour == (255, 255, 255)) > 30


def test_transparent_reference_shows_paper() -> None:
    """Nothing of the scene shines through it."""
    buffer = io.BytesIO()
    Image.new("RGBA", (300, 300), (0, 0, 0, 0)).save(buffer, "PNG")
    image = open_print(replace(MUG, references=(buffer.getvalue(),)))
    assert image.getpixel((200, 80)) == (255, 255, 255)


def test_several_references_are_shown_in_their_order() -> None:
    """From left to right and from above, each in its own colour."""
    colours = ("teal", "red", "blue")
    image = open_print(replace(MUG, references=tuple(map(picture_file, colours))))
    swapped = open_print(replace(MUG, references=tuple(map(picture_file, colours[::-1]))))
    for place, colour, other in zip(
        ((170, 50), (220, 50), (170, 85)), colours, colours[::-1], strict=True
    ):
        for print_, name in ((image, colour), (swapped, other)):
            found, wanted = print_.getpixel(place), ImageColor.getrgb(name)
            assert isinstance(found, tuple)
            assert max(abs(a - b) for a, b in zip(found, wanted, strict=False)) < 40, (place, name)


def test_a_mask_leaves_out_what_is_changed_of_the_first_reference() -> None:
    """Its other half stays; the second reference is whole."""
    mask = Image.new("RGBA", (300, 200), "black")
    mask.paste((0, 0, 0, 0), (0, 0, 150, 200))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    plain = replace(MUG, references=(picture_file("teal"),))
    image, before = open_print(replace(plain, mask=buffer.getvalue())), open_print(plain)
    assert image.getpixel((165, 50)) == (255, 255, 255)
    assert image.getpixel((225, 50)) == before.getpixel((225, 50)) == before.getpixel((165, 50))


def _colours(image: Image.Image) -> list[tuple[int, tuple[int, int, int]]]:
    colours: Any = image.getcolors(256 * 256)
    assert colours is not None
    return list(colours)
