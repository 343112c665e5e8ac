"""The docs say what the code says."""

from tests.support.readme import (
    DOCTOR_PAGE,
    README,
    SCENARIOS,
    replace_section,
    rules_table,
    scenarios_page,
    settings_table,
)


def test_table_of_settings_is_the_generated_one() -> None:
    """`make readme` was run after the last change of a setting."""
    page = README.read_text()
    assert replace_section(page, "settings", settings_table()) == page


def test_tables_of_scenarios_are_the_generated_ones() -> None:
    """Each tag and each fault is there."""
    page = SCENARIOS.read_text()
    assert scenarios_page(page) == page


def test_table_of_rules_is_the_generated_one() -> None:
    """`make readme` was run after the last change of a rule."""
    page = DOCTOR_PAGE.read_text()
    assert replace_section(page, "rules", rules_table()) == page
