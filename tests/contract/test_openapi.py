"""The OpenAPI document, tried out against both runtimes: what it says is what happens."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.runtime import Runtime

EXAMPLES = "12"
"""Requests that are generated for each operation and phase."""

CHECKS = ",".join(
    [
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_headers_conformance", "response_schema_conformance"),
        *("negative_data_rejection", "ignored_auth"),
    ]
)


@pytest.mark.timeout(300)
def test_generated_requests_find_no_fault(runtime: Runtime, tmp_path: Path) -> None:
    """No 5xx, and no answer that the document does not describe."""
    api = runtime.api
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {api.keys['default']}"),
        *("--checks", CHECKS, "--max-examples", EXAMPLES, "--seed", "7"),
        *("--phases", "examples,coverage,fuzzing", "--no-color"),
        *("--generation-database", "none"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    runtime.forget_jobs()


def test_document_describes_every_route(runtime: Runtime) -> None:
    """With examples, and problems where there can be any."""
    document = runtime.api.client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/assets",
        "/v1/assets/{asset_id}",
        "/v1/assets/{asset_id}/content",
        "/v1/generations",
        "/v1/generations/{job_id}",
        "/v1/generations/{job_id}/cancel",
        "/v1/generations/{job_id}/events",
        "/v1/images/{image_id}",
        "/v1/options",
        "/v1/previews/{preview_id}",
        "/v1/styles",
        "/healthz",
        "/readyz",
    }
    post = document["paths"]["/v1/generations"]["post"]
    assert post["requestBody"]["content"]["application/json"]["examples"]
    assert {"202", "400", "401", "413", "415", "422", "429", "503"} <= set(post["responses"])
    assert "application/problem+json" in post["responses"]["422"]["content"]
    assert "HTTPValidationError" not in json.dumps(document)
