"""The OpenAPI document: valid, with true examples, and fit for generators of clients."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from shared.api.problem_codes import PROBLEMS
from shared.imaging.request import ImageOrder
from tests.support.application import build_application

OPERATIONS = """
    createGeneration listGenerations getGeneration cancelGeneration deleteGeneration
    followGeneration createAsset getAsset getAssetContent listAssets deleteAsset getImage getPreview
    listOptions getHealth getReadiness
    createWebhook listWebhooks getWebhook changeWebhook deleteWebhook listDeliveries resendDelivery
    retryGeneration createToken
    getOverview listQueueByProvider listCosts listJobsOfWorkspace getAnyJob cancelAnyJob retryAnyJob
    getWorkspaceLimits changeWorkspace changeProvider listAudit
"""
"""Names of functions in generated clients: they never change."""


def document_of(**settings: Any) -> dict[str, Any]:
    """Return the document of an application, which is connected to nothing."""
    return build_application(**settings).openapi()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Give the document."""
    return document_of()


def operations_of(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield every operation."""
    for path in document["paths"].values():
        yield from path.values()


def contents_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the operation, the status and the content of every response that has a body."""
    for operation in operations_of(document):
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                if "json" in media_type:
                    yield operation["operationId"], status, content


def test_the_document_is_valid() -> None:
    """By the specification of OpenAPI 3.1, but for the schema of an event, which is of 3.2."""
    document = document_of()
    content = document["paths"]["/v1/generations/{job_id}/events"]["get"]["responses"]["200"]
    assert content["content"]["text/event-stream"].pop("itemSchema")["required"] == ["data"]
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_operations_have_the_names_of_functions(document: dict[str, Any]) -> None:
    """Each once; a summary says what it does, and a description more than that."""
    operations = list(operations_of(document))
    assert sorted(each["operationId"] for each in operations) == sorted(OPERATIONS.split())
    assert all(each["summary"] and each["description"] for each in operations)


def test_every_json_body_has_true_examples(document: dict[str, Any]) -> None:
    """Each is what its schema describes; a problem has the status and a code of its response."""
    for operation, status, content in contents_of(document):
        if operation == "getHealth":
            continue
        schema = {**content["schema"], "components": document["components"]}
        values = [shown["value"] for shown in content["examples"].values()]
        assert values, (operation, status)
        for value in values:
            OAS31Validator(schema).validate(value)
            if int(status) >= 400:
                assert PROBLEMS[value["code"]] == (int(status), value["title"])


def test_requests_have_true_examples(document: dict[str, Any]) -> None:
    """Each can be sent."""
    body = document["paths"]["/v1/generations"]["post"]["requestBody"]["content"]
    for shown in body["application/json"]["examples"].values():
        ImageOrder.model_validate(shown["value"])


@pytest.mark.parametrize(
    ("operation", "status", "description"),
    [
        ("deleteAsset", "409", "An open job needs the asset."),
        ("deleteGeneration", "409", "The job has not ended."),
        ("createAsset", "415", "The type of the body is not accepted."),
        (
            "createGeneration",
            "429",
            "The workspace has too many open jobs, or "
            "the workspace has submitted too many jobs in a minute, or "
            "the budget of the workspace is used up, or "
            "the API key has sent too many requests in a minute.",
        ),
    ],
)
def test_a_problem_is_described_as_its_route_has_it(
    document: dict[str, Any], operation: str, status: str, description: str
) -> None:
    """One status means different things on different routes."""
    [found] = [each for each in operations_of(document) if each["operationId"] == operation]
    assert found["responses"][status]["description"] == description


def test_only_the_prompt_of_a_request_is_required(document: dict[str, Any]) -> None:
    """Generators take a property with a default for a required one, so there is none."""
    order = document["components"]["schemas"]["ImageOrder"]
    assert order["required"] == ["prompt"]
    assert not any("default" in field for field in order["properties"].values())
    assert "Default: 1." in order["properties"]["n"]["description"]


def test_words_with_few_values_are_enumerations(document: dict[str, Any]) -> None:
    """Each has one name, which all of its uses refer to."""
    schemas = document["components"]["schemas"]
    for name, word in {
        "ErrorCode": "prompt_rejected",
        "ProblemCode": "job_running",
        "Style": "lifestyle",
        "JobStatus": "completed",
    }.items():
        assert word in schemas[name]["enum"]
    assert set(schemas["ProblemCode"]["enum"]) == set(PROBLEMS)
    references = re.findall(r"schemas/(\w+)", str(schemas))
    assert {"ErrorCode", "ProblemCode", "Size", "Style", "JobStatus"} <= set(references)


def test_events_are_described_by_their_data(document: dict[str, Any]) -> None:
    """With the three keys of the wire."""
    [follow] = [each for each in operations_of(document) if "follow" in each["operationId"]]
    content = follow["responses"]["200"]["content"]["text/event-stream"]
    data = content["itemSchema"]["properties"]["data"]
    assert data["contentSchema"] == {"$ref": "#/components/schemas/EventBody"}
    event = document["components"]["schemas"]["EventBody"]
    assert event["required"] == ["status", "progress", "message"]


def test_the_server_is_that_of_the_document_or_the_public_one() -> None:
    """Generated clients know where to send requests."""
    assert document_of()["servers"] == [{"url": "/"}]
    public = document_of(public_base_url="https://images.example")
    assert public["servers"] == [{"url": "https://images.example"}]
