"""The docs say what the code says."""

from tests.support.readme import (
    COMPOSE,
    DOCTOR_PAGE,
    README,
    SCENARIOS,
    compose_file,
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


def test_compose_hands_on_every_setting() -> None:
    """`make readme` was run after the last change of a setting: what compose omits is not set."""
    text = COMPOSE.read_text()
    assert compose_file(text) == text
