"""README says what the code says."""

from tests.support.readme import README, replace_section, settings_table


def test_table_of_settings_is_the_generated_one() -> None:
    """`make readme` was run after the last change of a setting."""
    page = README.read_text()
    assert replace_section(page, "settings", settings_table()) == page
