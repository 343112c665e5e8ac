"""template.yaml as CloudFormation gets it: read, and translated by the SAM translator."""

from functools import cache
from pathlib import Path
from typing import Any

import boto3
import yaml
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

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
