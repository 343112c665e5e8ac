"""template.yaml as CloudFormation gets it: read, and translated by the SAM translator."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import yaml
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from cli.doctor.intrinsics import Resolver, names_in
from cli.doctor.template_file import Template, load_template

PROJECT = Path(__file__).parents[2]
TEMPLATE = PROJECT / "template.yaml"
DATA_TEMPLATE = PROJECT / "cloud/data.yaml"
REGION = "us-east-1"
FUNCTIONS = ("Worker", "Api", "Reaper", "Migrate")


class _Loader(yaml.SafeLoader):
    """Reads the short forms of CloudFormation's functions as their long ones."""


def _long_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = str(value).split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {name: value}


_Loader.add_multi_constructor("!", _long_form)


@cache
def read_template(path: Path = TEMPLATE) -> dict[str, Any]:
    """Return a template as it is written, with the long forms of all functions."""
    template: dict[str, Any] = yaml.load(path.read_text(), _Loader)  # noqa: S506 - a SafeLoader
    return template


def translate(architecture: str = "x86_64") -> dict[str, Any]:
    """Return the CloudFormation that the template becomes once its bundles are on S3."""
    template: dict[str, Any] = yaml.load(TEMPLATE.read_text(), _Loader)  # noqa: S506 - the same
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": "bundles", "Key": "bundle"}
    translator = Translator({}, Parser(), [], boto3.Session(region_name=REGION))
    translated: dict[str, Any] = translator.translate(template, {"Architecture": architecture})
    return translated


def environment_of(function: str) -> dict[str, Any]:
    """Return the variables that the template gives a function, as they are written."""
    template = read_template()
    common = template["Globals"]["Function"]["Environment"]["Variables"]
    properties = template["Resources"][f"{function}Function"]["Properties"]
    own = properties.get("Environment", {}).get("Variables", {})
    return {**common, **own}


def decide(given: Mapping[str, str]) -> Template:
    """Return the template as these parameters make it, and the defaults of the others."""
    declared = read_template()["Parameters"].items()
    # What CloudFormation splits, the doctor leaves as it is.
    lists: dict[str, Any] = {
        name: given.get(name, parameter["Default"]).split(",")
        for name, parameter in declared
        if parameter["Type"] == "CommaDelimitedList"
    }
    template = load_template(TEMPLATE, {**given, **lists})
    assert template is not None
    return template


def statements_of(function: str, given: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return all that the role of a function says, itself and by its managed policies."""
    template = decide(given)
    [role] = [one for one in template.resources if one.name == f"{function}Role"]
    policies = names_in(role.properties["ManagedPolicyArns"])
    managed = [one.properties for one in template.resources if one.name in policies]
    # Whatever else is attached to the role, this would not see it.
    assert len(managed) == len(role.properties["ManagedPolicyArns"])
    documents = [one["PolicyDocument"] for one in (*role.properties["Policies"], *managed)]
    return [statement for document in documents for statement in document["Statement"]]


def allowed_to(function: str, action: str, given: Mapping[str, str]) -> set[str]:
    """Return the resources on which a function may do something, whatever is denied to it."""
    found: set[str] = set()
    for statement in statements_of(function, given):
        if statement["Effect"] == "Allow" and action in as_list(statement["Action"]):
            found |= {str(resource) for resource in as_list(statement["Resource"])}
    return found


def as_list(value: Any) -> list[Any]:
    """Return what a policy says, which need not be a list where it is one thing."""
    return value if isinstance(value, list) else [value]


def broken_rules(given: Mapping[str, str]) -> set[str]:
    """Return the names of the rules that keep these parameters from being deployed."""
    template = read_template()
    resolver = Resolver(template, given)
    return {
        name
        for name, rule in template["Rules"].items()
        if resolver.resolve(rule.get("RuleCondition", True)) is True
        and not all(resolver.resolve(one["Assert"]) is True for one in rule["Assertions"])
    }
