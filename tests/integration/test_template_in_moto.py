"""The stacks of the cloud runtime, created in moto as far as it knows their resources."""

import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.cloudformation.parsing import get_model_map

from tests.support.template import (
    ACCOUNT,
    DATA_TEMPLATE,
    PROJECT,
    REGION,
    read_template,
    translate,
)

# moto says so of each resource that it passes over.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning")

SECRET_ARN = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:darkroom-abcdef"
PROVIDER_SECRET_ARN = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:openai-abcdef"
PARAMETERS = {
    "Environment": "staging",
    "AiMockMode": "true",
    "SecretArn": SECRET_ARN,
    "ProviderSecretArn": PROVIDER_SECRET_ARN,
    "SubnetIds": "subnet-1,subnet-2",
    "SecurityGroupIds": "sg-1",
    "SecretsVersion": "2",
    "ApiConcurrency": "25",
    "MaxStreams": "50",
    "RetentionDays": "30",
    "AlarmEmail": "shop@example.com",
}


@pytest.fixture(scope="module")
def aws() -> Iterator[None]:
    """Give an account of AWS with a bucket that holds the bundles."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        boto3.client("s3").create_bucket(Bucket="bundles")
        boto3.client("s3").put_object(Bucket="bundles", Key="bundle", Body=b"")
        yield


def unsupported(template: dict[str, Any]) -> set[str]:
    """Return the types of a template that moto does not create."""
    types = {resource["Type"] for resource in template["Resources"].values()}
    # moto would call the function, in a container.
    return {name for name in types if name not in get_model_map() or name.startswith("Custom::")}


def create(name: str, template: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    """Create what moto supports of a template, which passes over the rest; return their ids."""
    resources = {
        logical_id: {key: value for key, value in resource.items() if key != "DependsOn"}
        for logical_id, resource in template["Resources"].items()
        if not resource["Type"].startswith("Custom::")
    }
    kept = {key: template[key] for key in ("Parameters", "Conditions") if key in template}
    client = boto3.client("cloudformation")
    client.create_stack(
        StackName=name,
        TemplateBody=json.dumps({**kept, "Resources": resources}),
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    [stack] = client.describe_stacks(StackName=name)["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    pages = client.get_paginator("list_stack_resources").paginate(StackName=name)
    found = [resource for page in pages for resource in page["StackResourceSummaries"]]
    left_out = unsupported(template)
    expected = {name for name, one in resources.items() if one["Type"] not in left_out}
    created = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}
    assert expected - {"Data"} <= set(created)
    return created


@pytest.fixture(scope="module")
def stack(aws: None) -> dict[str, Any]:
    """Give the resources of the stack."""
    return create("darkroom", translate(), PARAMETERS)


def test_the_worker_is_fed_by_the_queue_and_not_by_the_dead_letters(stack: dict[str, Any]) -> None:
    """What is received too often lies in the other queue."""
    client = boto3.client("sqs")
    queue = read_template()["Resources"]["JobQueue"]["Properties"]
    attributes = client.get_queue_attributes(QueueUrl=stack["JobQueue"], AttributeNames=["All"])[
        "Attributes"
    ]
    dead = client.get_queue_attributes(
        QueueUrl=stack["DeadLetterQueue"], AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    assert attributes["VisibilityTimeout"] == str(queue["VisibilityTimeout"])
    assert json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"] == dead
    [mapping] = boto3.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert mapping["EventSourceArn"] == attributes["QueueArn"]
    assert mapping["BatchSize"] == 1


def test_functions_have_their_variables_and_no_secret(stack: dict[str, Any]) -> None:
    """They name the queue, the bucket and the secrets: the provider's to the worker alone."""
    client = boto3.client("lambda")
    for name in ("Worker", "Api", "Reaper", "Migrate"):
        found = client.get_function_configuration(FunctionName=stack[f"{name}Function"])
        variables = found["Environment"]["Variables"]
        own = f",{PROVIDER_SECRET_ARN}" if name == "Worker" else ""
        assert variables["SECRET_ARNS"] == SECRET_ARN + own
        assert variables["SECRETS_VERSION"] == "2"
        assert variables["QUEUE_URL"] == stack["JobQueue"]
        assert variables["IMAGE_BUCKET"] == stack["ImagesBucket"]
        assert variables["DATABASE_URL"] == variables["REDIS_URL"] == ""
        assert not {"SIGNING_KEY", "OPENAI_API_KEY"} & set(variables)


def test_no_role_but_the_worker_s_speaks_of_the_provider_s_secret(stack: dict[str, Any]) -> None:
    """Nor do the policies that all have; moto does not attach them."""
    client = boto3.client("iam")
    speaking = {
        name
        for name in ("Worker", "Api", "Reaper", "Migrate")
        if PROVIDER_SECRET_ARN
        in str(client.get_role_policy(RoleName=stack[f"{name}Role"], PolicyName=name.lower()))
    }
    assert speaking == {"Worker"}
    for policy in ("BasicPolicy", "NetworkPolicy"):
        found = str(client.get_policy_version(PolicyArn=stack[policy], VersionId="v1"))
        assert (SECRET_ARN in found) == (policy == "BasicPolicy")
        assert PROVIDER_SECRET_ARN not in found


def test_the_api_has_its_limits(stack: dict[str, Any]) -> None:
    """The ones that were given; another is not set."""
    client, name = boto3.client("lambda"), stack["ApiFunction"]
    variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    assert (str(variables["MAX_STREAMS"]), str(variables["MAX_OPEN_JOBS"])) == ("50", "")
    found = client.get_function_concurrency(FunctionName=name)
    assert int(found["ReservedConcurrentExecutions"]) == 25


def test_the_bucket_is_encrypted(stack: dict[str, Any]) -> None:
    """With keys of S3 itself."""
    client, bucket = boto3.client("s3"), stack["ImagesBucket"]
    encryption = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    assert "AES256" in json.dumps(encryption)


def test_the_data_stack_is_created_as_well(aws: None) -> None:
    """Its secret holds the three settings that the functions cannot do without."""
    stack = create("data", read_template(DATA_TEMPLATE), {"Environment": "production"})
    assert {"Network", "Database", "DatabaseSubnets", "DataGroup"} <= set(stack)
    text = read_template(DATA_TEMPLATE)["Resources"]["Settings"]["Properties"]["SecretString"]
    assert set(json.loads(text["Fn::Sub"])) == {"DATABASE_URL", "REDIS_URL", "SIGNING_KEY"}


def test_what_moto_does_not_support_is_listed() -> None:
    """The docs do not claim more than was tried."""
    page = (PROJECT / "docs/cloud.md").read_text()
    section = page.partition("## What moto creates")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`((?:AWS|Custom)::[\w:]+)`", section))
    assert listed == unsupported(translate()) | unsupported(read_template(DATA_TEMPLATE))
