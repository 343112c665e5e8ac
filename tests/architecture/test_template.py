"""template.yaml agrees with the code, and is what CloudFormation takes."""

import ast
import json
import re
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint_file

from shared.settings import Settings
from tests.architecture.test_imports import AWS, SERVERS, modules_after
from tests.support.deployment_settings import ADDRESSES, SECRETS
from tests.support.template import (
    DATA_TEMPLATE,
    FUNCTIONS,
    PROJECT,
    REGION,
    TEMPLATE,
    Stack,
    deployments,
    environment_of,
    read_template,
    translate,
)

RUNTIME_PACKAGES = {
    "boto3",
    "botocore",
    "jmespath",
    "s3transfer",
    "python-dateutil",
    "six",
    "urllib3",
}
"""What Lambda's own Python runtime holds."""


def resource(name: str) -> dict[str, Any]:
    """Return the properties of a resource, as they are written."""
    properties: dict[str, Any] = read_template()["Resources"][name].get("Properties", {})
    return properties


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_setting_that_is_not_chosen_has_the_default_of_the_code(function: str) -> None:
    """The parameter is empty, which means not set, or its default is generated."""
    parameters = read_template()["Parameters"]
    for name, value in environment_of(function).items():
        parameter = parameters.get(value.get("Ref")) if isinstance(value, dict) else None
        if parameter is not None and "Default" in parameter:
            default = Settings.model_fields[name.lower()].default
            assert parameter["Default"] in ("", default), name


def test_a_workspace_may_be_given_other_limits() -> None:
    """By parameters, which only the API's function reads."""
    variables = environment_of("Api")
    assert variables["MAX_OPEN_JOBS"] == {"Ref": "MaxOpenJobs"}
    assert variables["MAX_STREAMS"] == {"Ref": "MaxStreams"}
    assert variables["API_CONCURRENCY"] == {"Ref": "ApiConcurrency"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_restarts_with_a_changed_secret(function: str) -> None:
    """A variable that has changed ends its sandboxes, which would keep what they have read."""
    assert environment_of(function)["SECRETS_VERSION"] == {"Ref": "SecretsVersion"}


@pytest.mark.parametrize(("given", "bound"), [({}, None), ({"ApiConcurrency": "25"}, "25")])
def test_the_api_is_bounded_where_a_bound_is_given(
    given: dict[str, str], bound: str | None
) -> None:
    """Without one it may have all that the account has left, as the other functions always do."""
    stack = Stack({**deployments()["staging"], **given})
    reserved = {
        function: stack.properties(f"{function}Function").get("ReservedConcurrentExecutions")
        for function in FUNCTIONS
    }
    assert reserved == {"Worker": None, "Api": bound, "Reaper": None, "Migrate": None}


@pytest.mark.parametrize("text", ["0", "-1", "25 ", "many"])
def test_no_bound_switches_the_api_off(text: str) -> None:
    """Zero would; and a word would only be refused in the middle of a deployment."""
    pattern = read_template()["Parameters"]["ApiConcurrency"]["AllowedPattern"]
    assert re.search(pattern, text) is None


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_name_of_every_function_is_an_output(function: str) -> None:
    """CloudFormation makes it up, and commands need it."""
    output = read_template()["Outputs"][f"{function}FunctionName"]
    assert output["Value"] == {"Ref": f"{function}Function"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_secret_stands_in_the_environment_of_a_deployed_function(function: str) -> None:
    """Addresses are there for `sam local` alone, which a rule keeps from being deployed."""
    for name, parameters in deployments().items():
        variables = Stack(parameters).variables(function)
        secrets = {name for name in variables if name.lower() in SECRETS | ADDRESSES}
        assert secrets == {"DATABASE_URL", "REDIS_URL"}
        assert name in ("default", "local") or {variables[name] for name in secrets} == {""}


def test_a_handler_that_is_not_there_is_noticed() -> None:
    """By the import in the test of its bundle."""
    with pytest.raises(AssertionError, match="cannot import name 'run'"):
        modules_after("from functions.reaper import run", **SERVERS, **AWS)


def test_the_migration_can_be_tried_by_hand() -> None:
    """With the revision that the template names, and it comes before the functions that need it."""
    event = json.loads((PROJECT / "events/migrate-create.json").read_text())
    assert event["ResourceProperties"]["Revision"] == resource("Migration")["Revision"]
    for function in ("Worker", "Api", "Reaper"):
        assert read_template()["Resources"][f"{function}Function"]["DependsOn"] == "Migration"


def test_every_function_has_a_bundle_for_its_python_on_both_architectures() -> None:
    """The makefiles know each function, and the version that the template names."""
    rules = (PROJECT / "cloud/bundle.mk").read_text()
    runtime = read_template()["Globals"]["Function"]["Runtime"]
    assert re.search(r"^VERSION := (\S+)$", rules, re.MULTILINE)[1] == runtime[len("python") :]  # type: ignore[index]
    for function in FUNCTIONS:
        assert f"build-{function}Function:" in rules
    for folder in read_template()["Parameters"]["Architecture"]["AllowedValues"]:
        assert "include cloud/bundle.mk" in (PROJECT / f"cloud/{folder}/Makefile").read_text()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_bundle_holds_what_its_function_imports(function: str) -> None:
    """And neither Celery, nor the API's packages in a function that serves no HTTP."""
    handler = resource(f"{function}Function")["Handler"]
    assert handler == f"functions.{function.lower()}.handler"
    lock = (PROJECT / f"cloud/requirements/{function.lower()}.lock").read_text()
    packages = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    loaded = modules_after(f"from functions.{function.lower()} import handler", **SERVERS, **AWS)
    ours = [name for name in loaded if name.startswith(("functions.", "shared."))]
    imported = set().union(*map(imports_of, ours))
    assert {"pydantic-settings", "structlog", "boto3"} <= imported
    assert imported - RUNTIME_PACKAGES <= packages
    assert not packages & {"celery", "kombu", "uvicorn", "moto", "boto3"}
    assert ("fastapi" in packages) == (function == "Api")
    assert ("httpx" in packages) == (function in ("Worker", "Reaper"))
    assert ("pillow" in packages) == (function in ("Worker", "Api"))
    assert ("alembic" in packages) == (function == "Migrate")


def test_events_name_the_functions_that_there_are() -> None:
    """Each function has at least one event to be tried with."""
    tried = {path.name.partition("-")[0] for path in (PROJECT / "events").glob("*.json")}
    assert tried == {function.lower() for function in FUNCTIONS}


def test_configurations_give_what_the_template_asks_for() -> None:
    """Every parameter that they name exists, and those without a default are named."""
    parameters = read_template()["Parameters"]
    required = {name for name, parameter in parameters.items() if "Default" not in parameter}
    configurations = tomllib.loads((PROJECT / "samconfig.toml").read_text())
    configurations.pop("version")
    assert set(configurations) == {"default", "local", "staging", "prod"}
    for configuration in configurations.values():
        words = configuration["global"]["parameters"]["parameter_overrides"]
        given = dict(word.split("=", 1) for word in words)
        assert required <= set(given) <= set(parameters)
        for name, value in given.items():
            assert value in parameters[name].get("AllowedValues", [value])
        if "deploy" in configuration:
            capabilities = configuration["deploy"]["parameters"]["capabilities"]
            assert capabilities == ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]


@pytest.mark.parametrize("path", [TEMPLATE, DATA_TEMPLATE], ids=lambda path: path.name)
def test_the_linter_has_nothing_to_say(path: Path) -> None:
    """Of CloudFormation, as AWS describes it: no error and no warning."""
    assert [str(match) for match in lint_file(path, {"regions": [REGION]})] == []


def test_the_template_translates() -> None:
    """What SAM makes of it is CloudFormation alone."""
    resources = translate()["Resources"]
    types = {found["Type"] for found in resources.values()}
    assert not [name for name in types if name.startswith("AWS::Serverless")]
    for function in FUNCTIONS:
        properties = resources[f"{function}Function"]["Properties"]
        assert properties["Architectures"] == [{"Ref": "Architecture"}]
    mapping = next(
        found for found in resources.values() if found["Type"] == "AWS::Lambda::EventSourceMapping"
    )
    assert mapping["Properties"]["ScalingConfig"] == {
        "MaximumConcurrency": {"Ref": "WorkerConcurrency"}
    }


def test_the_bucket_is_private_and_cleans_up() -> None:
    """Nothing in it can be made public; invisible versions do not stay for ever."""
    bucket = resource("ImagesBucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    uploads, versions = rules.pop("unfinished-uploads"), rules.pop("old-versions")
    assert uploads["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert versions["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert versions["ExpiredObjectDeleteMarker"] is True
    # A rule that ends current versions would delete pictures that rows still name.
    assert rules == {}
    assert "ExpirationInDays" not in {*uploads, *versions}


def test_what_is_kept_on_deletion_is_not_kept_by_a_first_deployment_that_fails() -> None:
    """It would cost money, and be in the way of the next one."""
    kept = {
        name: found
        for path in (TEMPLATE, DATA_TEMPLATE)
        for name, found in read_template(path)["Resources"].items()
        if str(found.get("DeletionPolicy")).startswith("Retain")
    }
    secrets = {"DatabasePassword", "CachePassword", "SigningKey", "Settings"}
    assert set(kept) == {"Data", "ImagesBucket", *secrets}
    assert {found["DeletionPolicy"] for found in kept.values()} == {"RetainExceptOnCreate"}
    assert {found["UpdateReplacePolicy"] for found in kept.values()} == {"Retain"}


def test_the_data_stack_is_given_all_that_can_be_chosen() -> None:
    """With the same defaults, for this stack on its own."""
    parameters, given = read_template()["Parameters"], dict(resource("Data")["Parameters"])
    for name, parameter in read_template(DATA_TEMPLATE)["Parameters"].items():
        assert given.pop(name) == {"Ref": name}
        if name != "AlarmTopic":  # that is a resource
            assert parameters[name].get("Default") == parameter.get("Default")
    assert given == {}


@pytest.mark.parametrize("version", ["17", "16.10", "18.4", "17.11-rds.1"])
def test_another_major_version_is_refused_at_once(version: str) -> None:
    """And not in the middle of a deployment, which would have to allow it."""
    parameter = read_template()["Parameters"]["DatabaseVersion"]
    assert re.search(parameter["AllowedPattern"], parameter["Default"])
    assert re.search(parameter["AllowedPattern"], version) is None


def imports_of(module: str) -> set[str]:
    """Return the distributions that a module of ours imports, at once or later."""
    path = PROJECT / (module.replace(".", "/") + ".py")
    tree = ast.parse(path.read_text() if path.is_file() else "")
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    owners = installed()
    return {
        re.sub(r"[-_.]+", "-", distribution).lower()
        for name in names
        for distribution in owners.get(name.partition(".")[0], ())
    } - {"darkroom"}


@cache
def installed() -> dict[str, list[str]]:
    """Return the distributions that each importable name belongs to."""
    return dict(packages_distributions())
