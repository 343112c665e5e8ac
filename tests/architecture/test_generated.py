"""The generated parts of docs, docker-compose.yml and template.yaml are as the code has them."""

import pytest

from tests.support.generated import SECTIONS, Section


@pytest.mark.parametrize(
    "section", SECTIONS, ids=lambda section: f"{section.file.stem}-{section.name}"
)
def test_what_is_generated_is_up_to_date(section: Section) -> None:
    """`make docs` was run after the last change of the code that it comes from."""
    text = section.file.read_text()
    assert section.applied_to(text) == text, "run: make docs"
