"""What each function on AWS may do and which secrets it may read: no more than it needs."""

from fnmatch import fnmatchcase
from typing import Any
from uuid import uuid4

import pytest

from shared.imaging.store import asset_key, preview_key
from tests.support.template import ACCOUNT, FUNCTIONS, REGION, Stack, as_list, translate

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:"
OURS, PROVIDERS = f"{ARN}darkroom-abcdef", f"{ARN}openai-abcdef"
STAGING = {"Environment": "staging", "AiMockMode": "false"}
BOTH = {**STAGING, "SecretArn": OURS, "ProviderSecretArn": PROVIDERS}
WITH_DATA = {**BOTH, "DataStack": "true"}
MADE = {**STAGING, "DataStack": "true"}
IN_NETWORK = {**BOTH, "SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1"}

READ = "secretsmanager:GetSecretValue"
BUCKET = "ImagesBucket.Arn"
INTERFACE_CALLS = {
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
}
CALLS_ON_ANYTHING = {
    *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
    *("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"),
}
"""AWS knows no resources for these (Service Authorization Reference)."""


def test_no_function_has_more_than_its_own_role() -> None:
    """SAM adds policies for all resources of the account to roles that it makes itself."""
    resources = translate()["Resources"]
    roles = {name for name, found in resources.items() if found["Type"] == "AWS::IAM::Role"}
    assert roles == {f"{function}Role" for function in FUNCTIONS}
    anywhere = {
        action
        for found in resources.values()
        for action in actions_on_everything(found.get("Properties", {}))
    }
    assert anywhere == CALLS_ON_ANYTHING


def actions_on_everything(properties: Any) -> set[str]:
    """Return the actions that statements in these properties allow on any resource."""
    if isinstance(properties, list):
        return set().union(*map(actions_on_everything, properties))
    if not isinstance(properties, dict):
        return set()
    if properties.get("Effect") == "Allow" and properties.get("Resource") == "*":
        return set(as_list(properties["Action"]))
    return set().union(*map(actions_on_everything, properties.values()))


@pytest.mark.parametrize("given", [BOTH, WITH_DATA], ids=["given", "made"])
def test_the_worker_alone_reads_the_provider_s_secret(given: dict[str, str]) -> None:
    """Last, so that its key wins; the others neither name it nor may read it."""
    stack = Stack(given)
    assert PROVIDERS in stack.allowed_to("Worker", READ)
    assert stack.variables("Worker")["SECRET_ARNS"].endswith(f",{PROVIDERS}")
    for function in set(FUNCTIONS) - {"Worker"}:
        assert PROVIDERS not in stack.allowed_to(function, READ)
        assert PROVIDERS not in stack.variables(function)["SECRET_ARNS"]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("given", "secrets"),
    [
        ({**STAGING, "SecretArn": OURS}, {OURS}),
        (MADE, {"Data.Outputs.SecretArn"}),
        ({**MADE, "SecretArn": OURS}, {OURS, "Data.Outputs.SecretArn"}),
    ],
    ids=["given", "made", "both"],
)
def test_a_function_may_read_the_secrets_that_it_names(
    function: str, given: dict[str, str], secrets: set[str]
) -> None:
    """With no secret of the provider, these are the same for all."""
    stack = Stack(given)
    assert stack.allowed_to(function, READ) == secrets
    assert set(stack.variables(function)["SECRET_ARNS"].split(",")) == secrets


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_of_sam_local_names_no_secret(function: str) -> None:
    """It has no role that could read one."""
    stack = Stack({**BOTH, "Environment": "local"})
    assert stack.variables(function)["SECRET_ARNS"] == ""


@pytest.mark.parametrize(
    ("given", "broken"),
    [
        ({**STAGING, "DataStack": "true", "AiMockMode": "true"}, set()),
        (MADE, {"KeyIsGiven"}),
        ({**MADE, "ProviderSecretArn": PROVIDERS}, set()),
        ({**MADE, "SecretArn": OURS}, set()),
        ({**STAGING, "ProviderSecretArn": PROVIDERS}, {"AddressesAreGiven"}),
        ({**BOTH, "ProviderSecretArn": OURS}, {"KeyIsApart"}),
        ({**BOTH, "Environment": "local"}, {"LocalIsNotDeployed"}),
    ],
)
def test_what_cannot_work_is_not_deployed(given: dict[str, str], broken: set[str]) -> None:
    """Without a key no provider is asked; one in a secret that all read is not apart."""
    assert Stack(given).broken_rules() == broken


@pytest.mark.parametrize(
    ("function", "action", "objects"),
    [
        ("Worker", "s3:PutObject", {"*"}),
        ("Worker", "s3:GetObject", {"*"}),
        ("Worker", "s3:DeleteObject", {"*.preview"}),
        ("Api", "s3:PutObject", {"assets/*"}),
        ("Api", "s3:GetObject", {"*"}),
        ("Api", "s3:DeleteObject", {"*"}),
        ("Reaper", "s3:PutObject", set()),
        ("Reaper", "s3:GetObject", {"*"}),
        ("Reaper", "s3:DeleteObject", {"*"}),
        ("Migrate", "s3:PutObject", set()),
        ("Migrate", "s3:GetObject", set()),
        ("Migrate", "s3:DeleteObject", set()),
    ],
)
def test_a_function_touches_the_objects_that_are_its_business(
    function: str, action: str, objects: set[str]
) -> None:
    """The API keeps uploads and deletes what clients want deleted; the worker makes pictures."""
    allowed = Stack(BOTH).allowed_to(function, action)
    assert allowed == {f"{BUCKET}/{name}" for name in objects}


def test_uploads_and_previews_lie_where_the_roles_say() -> None:
    """And pictures do not, so that the API makes none and the worker deletes none."""
    upload, preview, picture = asset_key(uuid4()), preview_key(uuid4(), 1, 0), f"{uuid4()}/1/0"
    keys = {upload, preview, picture}
    assert {key for key in keys if fnmatchcase(key, "assets/*")} == {upload}
    assert {key for key in keys if fnmatchcase(key, "*.preview")} == {preview}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_lambda_may_bring_a_function_into_a_network_and_its_code_may_not(function: str) -> None:
    """Within this account and region; without a network no function may."""
    interfaces = f"arn:aws:ec2:{REGION}:{ACCOUNT}:*/*"
    stack = Stack(IN_NETWORK)
    for action in INTERFACE_CALLS:
        assert stack.allowed_to(function, action) == {interfaces}
        assert Stack(BOTH).allowed_to(function, action) == set()
    [denial] = [one for one in stack.statements_of(function) if one["Effect"] == "Deny"]
    assert (denial["Action"], denial["Resource"]) == ("ec2:*", "*")
    # Only these functions have the role, so that any function is one of them.
    [(key, pattern)] = denial["Condition"]["ArnLike"].items()
    assert key == "lambda:SourceFunctionArn"
    assert str(pattern).endswith(":function:*")
