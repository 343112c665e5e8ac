"""The SAM CLI takes the template, and builds every bundle from it."""

from pathlib import Path

from tests.support.sam_ground import sam
from tests.support.template import FUNCTIONS

X86_64, ARM64 = b"\x3e\x00", b"\xb7\x00"
"""The machine in the head of an ELF file [elf(5), e_machine]."""


def test_the_template_is_valid() -> None:
    """As SAM and its linter see it."""
    done = sam("validate", "--lint")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is a valid SAM Template" in done.stdout


def assert_is_built_for(machine: bytes, folder: Path) -> None:
    """Each library of a bundle says which machine it is for: ELF, byte 18."""
    for function in FUNCTIONS:
        bundle = folder / f"{function}Function"
        libraries = list(bundle.rglob("*.so"))
        assert {path.read_bytes()[18:20] for path in libraries} == {machine}
        # The reaper sends webhooks, whose bodies are those of the API.
        assert (bundle / "shared/api").is_dir() == (function in ("Api", "Reaper"))
        assert (bundle / "shared/api/page").is_dir() == (function == "Api")
        assert not (bundle / "celery").exists()
        assert not (bundle / "boto3").exists()


def test_bundles_for_sam_local_are_built(bundles: Path) -> None:
    """The rest of the suite runs them."""
    assert_is_built_for(X86_64, bundles.parent)


def test_bundles_are_built_for_graviton_whatever_machine_builds_them(tmp_path: Path) -> None:
    """As staging and prod ask for them."""
    done = sam(
        *("build", "--build-dir", str(tmp_path), "--parameter-overrides"),
        *("Environment=local", "AiMockMode=true", "Architecture=arm64"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert_is_built_for(ARM64, tmp_path)
