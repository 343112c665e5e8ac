"""The SAM CLI takes the template, and builds every bundle from it."""

import subprocess
from pathlib import Path

import pytest

from tests.support.sam_ground import PROJECT, SAM, sam, sam_environment
from tests.support.template import FUNCTIONS

pytestmark = pytest.mark.timeout(600)


def test_the_template_is_valid() -> None:
    """As SAM and its linter see it."""
    done = sam("validate", "--lint")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is a valid SAM Template" in done.stdout


def test_both_templates_are_clean_to_the_linter() -> None:
    """Of CloudFormation; no warning either."""
    done = subprocess.run(
        [SAM.with_name("cfn-lint"), "template.yaml", "cloud/data.yaml"],
        cwd=PROJECT,
        env=sam_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("architecture", "machine"),
    [("arm64", b"\xb7\x00"), ("x86_64", b"\x3e\x00")],
    ids=["arm64", "x86_64"],
)
def test_bundles_are_built_for_the_architecture(
    tmp_path: Path, architecture: str, machine: bytes
) -> None:
    """Whatever machine builds them: each library in them says which one it is for."""
    done = sam(
        *("build", "--build-dir", str(tmp_path), "--parameter-overrides"),
        *("Environment=local", "AiMockMode=true", f"Architecture={architecture}"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for function in FUNCTIONS:
        bundle = tmp_path / f"{function}Function"
        libraries = list(bundle.rglob("*.so"))
        # ELF: the machine stands at byte 18, 0xb7 is AArch64 and 0x3e x86-64.
        assert {path.read_bytes()[18:20] for path in libraries} == {machine}
        assert (bundle / "shared/api").is_dir() == (function == "Api")
        assert not (bundle / "celery").exists()
        assert not (bundle / "boto3").exists()
