"""The OpenAPI document, tried out against both runtimes: what it says is what happens."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.runtime import Runtime

EXAMPLES = "12"
"""Requests that are generated for each operation and phase."""

FUZZ_SECONDS = int(os.environ.get("FUZZ_SECONDS", "0"))
"""How long `make fuzz` generates requests."""

CHECKS = ",".join(
    [
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_headers_conformance", "response_schema_conformance"),
        *("negative_data_rejection", "ignored_auth", "use_after_free"),
    ]
)


@pytest.mark.timeout(300 + FUZZ_SECONDS)
def test_generated_requests_find_no_fault(runtime: Runtime, tmp_path: Path) -> None:
    """No 5xx, and no answer that the document does not describe."""
    api = runtime.api
    # It waits 10 s for a document, which a sandbox on a busy machine may not keep.
    document = tmp_path / "openapi.json"
    document.write_bytes(api.client.get("/openapi.json").content)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(document), "--url", api.url),
        *("--header", f"Authorization: Bearer {api.keys['default']}"),
        *("--checks", CHECKS, "--max-examples", EXAMPLES, "--seed", "7"),
        *("--phases", "examples,coverage,fuzzing,stateful", "--no-color"),
        *("--generation-database", "none", "--request-timeout", "60"),
    ]
    if FUZZ_SECONDS:
        command += ["--max-time", str(FUZZ_SECONDS)]
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
        "/v1/generations/{job_id}/retry",
        "/v1/images/{image_id}",
        "/v1/options",
        "/v1/previews/{preview_id}",
        "/v1/tokens",
        "/v1/webhooks",
        "/v1/webhooks/{webhook_id}",
        "/v1/webhooks/{webhook_id}/deliveries",
        "/v1/webhooks/deliveries/{delivery_id}/resend",
        "/v1/operator/overview",
        "/v1/operator/costs",
        "/v1/operator/queue",
        "/v1/operator/jobs",
        "/v1/operator/jobs/{job_id}",
        "/v1/operator/jobs/{job_id}/cancel",
        "/v1/operator/jobs/{job_id}/retry",
        "/v1/operator/workspaces",
        "/v1/operator/providers",
        "/v1/operator/audit",
        "/healthz",
        "/readyz",
    }
    post = document["paths"]["/v1/generations"]["post"]
    assert post["requestBody"]["content"]["application/json"]["examples"]
    assert {"202", "400", "401", "413", "415", "422", "429", "503"} <= set(post["responses"])
    assert "application/problem+json" in post["responses"]["422"]["content"]
    assert "HTTPValidationError" not in json.dumps(document)
