"""Reading YAML: by libyaml where PyYAML brings it, which is some ten times as quick."""

from typing import TYPE_CHECKING, Any

import yaml

# PyYAML: "use the LibYAML versions of the classes, if available".
if TYPE_CHECKING:
    from yaml import SafeLoader
else:
    SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

__all__ = ["SafeLoader", "parse_yaml"]


def parse_yaml(text: str) -> Any:
    """Return the document that a text of plain YAML holds.

    Raises:
        yaml.YAMLError: It is no YAML.
    """
    return yaml.load(text, SafeLoader)  # noqa: S506 - no other than the safe one
