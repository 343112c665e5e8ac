"""Style presets."""

from typing import get_args

from shared.imaging.styles import DEFAULT_STYLE, STYLES, StyleId


def test_every_style_id_has_its_preset() -> None:
    """The ids that the type allows are exactly the presets."""
    assert set(get_args(StyleId)) == set(STYLES)
    assert DEFAULT_STYLE in STYLES


def test_every_preset_is_described() -> None:
    """A person choosing a style has a title and a description to read."""
    assert all(style.title and style.description for style in STYLES.values())
