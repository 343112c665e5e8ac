"""template.yaml as its real readers see it: SAM's translator, moto's CloudFormation parser."""

import copy
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from moto.cloudformation.parsing import ResourceMap, clean_json, parse_condition
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

PROJECT = Path(__file__).parents[2]
TEMPLATE = PROJECT / "template.yaml"
DATA_TEMPLATE = PROJECT / "cloud/data.yaml"
REGION, ACCOUNT = "us-east-1", "123456789012"
FUNCTIONS = ("Worker", "Api", "Reaper", "Migrate")

Document = dict[str, Any]


@cache
def read_template(path: Path = TEMPLATE) -> Document:
    """Return a template as it is written, with the long forms of all functions."""
    template: Document = yaml_parse(path.read_text())
    return template


def translate(document: Document | None = None) -> Document:
    """Return the CloudFormation that a template becomes once its bundles are on S3.

    Args:
        document: What `read_template` gives, changed or not; None takes template.yaml.
    """
    template = copy.deepcopy(read_template() if document is None else document)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": "bundles", "Key": "bundle"}
    translator = Translator({}, Parser(), [], boto3.Session(region_name=REGION))
    translated: Document = translator.translate(template, {})
    return translated


def deployments() -> dict[str, dict[str, str]]:
    """Return the parameters of each environment of samconfig.toml."""
    configurations = tomllib.loads((PROJECT / "samconfig.toml").read_text())
    words = {
        name: configuration["global"]["parameters"]["parameter_overrides"]
        for name, configuration in configurations.items()
        if name != "version"
    }
    return {name: dict(word.split("=", 1) for word in given) for name, given in words.items()}


class _Name(str):
    """A resource that was not created: it stands for itself, as `Queue` or `Queue.Arn`."""

    __slots__ = ()

    @property
    def physical_resource_id(self) -> str:
        return str(self)

    def get_cfn_attribute(self, attribute: str) -> str:
        return f"{self}.{attribute}"


class _Reader(ResourceMap):
    """moto's parser, without its creation of resources."""

    def __init__(self, template: Document, parameters: Mapping[str, str]) -> None:
        super().__init__("id", "darkroom", dict(parameters), {}, REGION, ACCOUNT, template, {})
        self.load()

    def __getitem__(self, name: str) -> Any:
        return _Name(name) if name in self.resources else super().__getitem__(name)


class Stack:
    """A template as CloudFormation would deploy it with these parameters.

    Args:
        parameters: Values of parameters, in place of their defaults.
        document: What `read_template` gives, changed or not; None takes template.yaml.
    """

    def __init__(self, parameters: Mapping[str, str], document: Document | None = None) -> None:
        template = translate(document)
        self._reader = _Reader(template, parameters)
        self._resources = {
            name: without_absent(clean_json(resource, self._reader))
            for name, resource in template["Resources"].items()
            if self._holds(resource.get("Condition"))
        }

    def of_type(self, *types: str) -> dict[str, dict[str, Any]]:
        """Return the properties of all resources of these types by their names."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self._resources.items()
            if resource["Type"] in types
        }

    def properties(self, name: str) -> dict[str, Any]:
        """Return the properties of a resource."""
        found: dict[str, Any] = self._resources[name]["Properties"]
        return found

    def variables(self, function: str) -> dict[str, str]:
        """Return the environment of a function."""
        found: dict[str, str] = self.properties(f"{function}Function")["Environment"]["Variables"]
        return found

    def broken_rules(self) -> set[str]:
        """Return the names of the rules that keep this from being deployed."""
        return {
            name
            for name, rule in read_template()["Rules"].items()
            if self._is_true(rule.get("RuleCondition", True))
            and not all(self._is_true(one["Assert"]) for one in rule["Assertions"])
        }

    def statements_of(self, function: str) -> list[dict[str, Any]]:
        """Return all that the role of a function says, itself and by its managed policies."""
        role = self.properties(f"{function}Role")
        documents = [one["PolicyDocument"] for one in role["Policies"]]
        documents += [self.properties(p)["PolicyDocument"] for p in role["ManagedPolicyArns"]]
        return [statement for document in documents for statement in document["Statement"]]

    def allowed_to(self, function: str, action: str) -> set[str]:
        """Return the resources on which a function may do something, whatever is denied to it."""
        return {
            resource
            for statement in self.statements_of(function)
            if statement["Effect"] == "Allow" and action in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
        }

    def _holds(self, condition: str | None) -> bool:
        return condition is None or bool(self._reader.lazy_condition_map[condition])

    def _is_true(self, condition: Any) -> bool:
        return parse_condition(condition, self._reader, self._reader.lazy_condition_map)


def environment_of(function: str) -> dict[str, Any]:
    """Return the variables that the template gives a function, as they are written."""
    template = read_template()
    common = template["Globals"]["Function"]["Environment"]["Variables"]
    properties = template["Resources"][f"{function}Function"]["Properties"]
    own = properties.get("Environment", {}).get("Variables", {})
    return {**common, **own}


def as_list(value: Any) -> list[Any]:
    """Return what a policy says, which need not be a list where it is one thing."""
    return value if isinstance(value, list) else [value]


def without_absent(value: Any) -> Any:
    """Return a value without the items of lists that are AWS::NoValue; moto leaves None there."""
    if isinstance(value, list):
        return [without_absent(item) for item in value if item is not None]
    if isinstance(value, dict):
        return {name: without_absent(item) for name, item in value.items()}
    return value
