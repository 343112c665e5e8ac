"""CloudFormation's functions, in their short and their long form, as far as parameters decide them.

What only a deployment knows (the address of a queue, a secret) stays `Unresolved`, and says which
resources it names.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from cli.doctor.yaml_text import SafeLoader

_NO_VALUE = "AWS::NoValue"
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A value that only a deployment knows.

    Attributes:
        text: How the template names it.
        names: The resources, parameters and pseudo parameters that it is made of.
    """

    text: str
    names: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return self.text


class _Loader(SafeLoader):
    """YAML with CloudFormation's short tags, and texts that stay texts."""


def _construct(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.MappingNode):
        return {name: loader.construct_mapping(node, deep=True)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    text = str(node.value)
    return {name: text.split(".", 1) if suffix == "GetAtt" else text}


def _construct_text(_loader: _Loader, node: yaml.Node) -> str:
    return str(node.value)


_Loader.add_multi_constructor("!", _construct)
# A date such as the version of a policy is a text in CloudFormation.
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _construct_text)


def parse(text: str) -> Any:
    """Return the document of a template, its short tags written out.

    Raises:
        yaml.YAMLError: It is no YAML.
    """
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader, with more tags


class Resolver:
    """Computes values with the given parameters.

    Args:
        document: A template.
        parameters: Values of parameters, in place of their defaults.
    """

    def __init__(self, document: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        self._parameters: dict[str, Any] = {}
        for name, declared in (document.get("Parameters") or {}).items():
            if name in parameters:
                self._parameters[name] = parameters[name]
            elif "Default" in declared and not str(declared.get("Type")).startswith("AWS::SSM"):
                self._parameters[name] = declared["Default"]
        self._conditions = document.get("Conditions") or {}
        self._mappings = document.get("Mappings") or {}

    def resolve(self, value: Any) -> Any:
        """Return the value with all functions computed that can be, and empty ones left out."""
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not _ABSENT]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name in ("Ref", "Condition") or str(name).startswith("Fn::"):
                return self._compute(str(name), argument)
        resolved = {name: self.resolve(item) for name, item in value.items()}
        return {name: item for name, item in resolved.items() if item is not _ABSENT}

    def holds(self, condition: str) -> bool | None:
        """Return whether a condition holds; None if only a deployment knows."""
        value = self.resolve(self._conditions.get(condition, False))
        return value if isinstance(value, bool) else None

    def _compute(self, name: str, argument: Any) -> Any:
        functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Condition": self._condition,
            "Fn::GetAtt": self._attribute,
            "Fn::Sub": self._substitute,
            "Fn::If": self._choose,
            "Fn::Equals": self._equals,
            "Fn::Not": self._negate,
            "Fn::And": self._all,
            "Fn::Or": self._any,
            "Fn::Join": self._join,
            "Fn::FindInMap": self._find,
        }
        compute = functions.get(name)
        return _unresolved(name, self.resolve(argument)) if compute is None else compute(argument)

    def _ref(self, name: str) -> Any:
        if name == _NO_VALUE:
            return _ABSENT
        return self._parameters.get(name, Unresolved(name, frozenset({name})))

    def _condition(self, name: Any) -> Any:
        known = self.holds(name) if isinstance(name, str) else None
        return _unresolved("Condition", name) if known is None else known

    def _attribute(self, path: Any) -> Unresolved:
        words = str(path).split(".", 1) if isinstance(path, str) else [str(word) for word in path]
        return Unresolved(".".join(words), frozenset({words[0]}))

    def _substitute(self, argument: Any) -> Any:
        pattern, given = argument if isinstance(argument, list) else (argument, {})
        names: set[str] = set()

        def fill(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            value = self.resolve(given[name]) if name in given else self._ref(name)
            if isinstance(value, Unresolved):
                names.update({part.partition(".")[0] for part in value.names})
                return f"${{{value}}}"
            return _as_text(value)

        text = _PLACEHOLDER.sub(fill, str(pattern))
        # What is fetched at deployment is not in the template.
        is_dynamic = "{{resolve:" in text
        return Unresolved(text, frozenset(names)) if names or is_dynamic else text

    def _choose(self, argument: list[Any]) -> Any:
        condition, yes, no = argument
        known = self.holds(str(condition))
        if known is None:
            return _unresolved("Fn::If", self.resolve([yes, no]))
        return self.resolve(yes if known else no)

    def _equals(self, argument: list[Any]) -> Any:
        left, right = (self.resolve(value) for value in argument)
        if isinstance(left, Unresolved) or isinstance(right, Unresolved):
            return _unresolved("Fn::Equals", [left, right])
        return _as_text(left) == _as_text(right)

    def _negate(self, argument: list[Any]) -> Any:
        value = self.resolve(argument[0])
        return not value if isinstance(value, bool) else value

    def _all(self, argument: list[Any]) -> Any:
        values = self.resolve(argument)
        known = [value for value in values if isinstance(value, bool)]
        if not all(known):
            return False
        return True if len(known) == len(values) else _unresolved("Fn::And", values)

    def _any(self, argument: list[Any]) -> Any:
        values = self.resolve(argument)
        known = [value for value in values if isinstance(value, bool)]
        if any(known):
            return True
        return False if len(known) == len(values) else _unresolved("Fn::Or", values)

    def _join(self, argument: list[Any]) -> Any:
        separator, values = argument[0], self.resolve(argument[1])
        if isinstance(values, list) and not any(isinstance(v, Unresolved | dict) for v in values):
            return str(separator).join(map(_as_text, values))
        return _unresolved("Fn::Join", values)

    def _find(self, argument: list[Any]) -> Any:
        words = [self.resolve(word) for word in argument[:3]]
        found: Any = self._mappings
        for word in words:
            found = found.get(_as_text(word)) if isinstance(found, dict) else None
        return _unresolved("Fn::FindInMap", words) if found is None else self.resolve(found)


class _Absent:
    """The value of AWS::NoValue: the property is not there."""


_ABSENT = _Absent()


def names_in(value: Any) -> frozenset[str]:
    """Return the names of all resources that a resolved value speaks of."""
    if isinstance(value, Unresolved):
        return value.names
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return frozenset().union(*(names_in(item) for item in items))


def _unresolved(name: str, argument: Any) -> Unresolved:
    return Unresolved(f"{name} of {_as_text(argument)}", names_in(argument))


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
