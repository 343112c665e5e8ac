"""House rules that no linter knows, held against the code itself."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGES = ("shared", "local", "functions", "cli", "devkit")
FILES = sorted(
    path.relative_to(PROJECT)
    for folder in (*PACKAGES, "tests")
    for path in (PROJECT / folder).rglob("*.py")
)
PRODUCT_FILES = [path for path in FILES if path.parts[0] in PACKAGES]
JOB_FILES = [path for path in PRODUCT_FILES if path.parts[0] in ("shared", "functions")]
TEST_FILES = [path for path in FILES if path.name.startswith("test_")]

FILE_MAX_LINES = 400
FUNCTION_MAX_LINES = 49
ENTRY_MAX_LINES = 20

BLIND_EXCEPTS = {
    ("shared/generation/handler.py", "Exception"): "the attempt boundary",
    ("shared/generation/attempt_previews.py", "Exception"): "an extra never fails its job",
    ("shared/generation/purchases.py", "Exception"): "a bill of another job never fails one",
    ("shared/generation/handler.py", "BaseException"): "hands the job back, and raises on",
    ("local/worker/sweeping.py", "Exception"): "no error ends the sweep",
    ("shared/imaging/pictures.py", "Exception"): "decoders of foreign bytes raise anything",
    ("shared/generation/sweep.py", "Exception"): "one broken job must not keep the others",
    ("shared/webhooks/sender.py", "Exception"): "one broken delivery must not stop the others",
    ("shared/adapters/open_telemetry.py", "Exception"): "an extra never fails its job",
    ("shared/adapters/open_telemetry.py", "BaseException"): "marks the span, and raises on",
    ("shared/events/background.py", "Exception"): "a background task begins anew",
    ("shared/events/topics.py", "Exception"): "one broken follower must not keep the others",
    ("functions/worker.py", "Exception"): "one broken record must not fail its batch",
    ("functions/stack_answer.py", "BaseException"): "answers FAILED, and raises on",
    ("devkit/child_process.py", "BaseException"): "ends the process, and raises on",
    ("devkit/lambda_host/event_source.py", "Exception"): "is raised in the event loop",
}

ENVIRONMENT_WORDS = {"environ", "environb", "getenv"}
VAGUE_NAME = re.compile(
    r"^(utils?|helpers?|common|base|manager|impl|misc)(_|$|\.)|_(utils?|impl)\."
)

ENTRIES = {
    "local/worker/tasks.py": "generate_images_task",
    "functions/worker.py": "handler",
    "functions/reaper.py": "handler",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
T = TypeVar("T")


def text_of(path: Path) -> str:
    """Return the source of a file."""
    return (PROJECT / path).read_text(encoding="utf-8")


@cache
def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(text_of(path))


def nodes_of(path: Path, kind: type[T]) -> Iterator[T]:
    """Yield every node of one kind in a file."""
    return (node for node in ast.walk(parse(path)) if isinstance(node, kind))


def functions_of(path: Path) -> Iterator[Function]:
    """Yield every function and method of a file."""
    yield from nodes_of(path, ast.FunctionDef)
    yield from nodes_of(path, ast.AsyncFunctionDef)


def length(function: Function) -> int:
    """Return the lines from `def` to the end."""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def names_in(handler: ast.ExceptHandler) -> set[str]:
    """Return the names that an except clause catches."""
    if handler.type is None:
        return {"BaseException"}
    return {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}


def test_no_file_is_too_long() -> None:
    """Most are under 250 lines; at 400 it is two files."""
    lengths = {path: len(text_of(path).splitlines()) for path in FILES}
    assert [path for path, lines in lengths.items() if lines > FILE_MAX_LINES] == []


def test_no_function_is_too_long() -> None:
    """A function that needs 50 lines has steps with names of their own."""
    long = [
        (str(path), function.name)
        for path in FILES
        for function in functions_of(path)
        if length(function) > FUNCTION_MAX_LINES
    ]
    assert long == []


@pytest.mark.parametrize(("path", "name"), ENTRIES.items())
def test_an_entry_only_hands_over(path: str, name: str) -> None:
    """What a task or a handler does is written once, in `shared`."""
    (entry,) = (f for f in functions_of(Path(path)) if f.name == name)
    body = entry.body[1:] if ast.get_docstring(entry) else entry.body
    assert body[-1].end_lineno is not None
    assert body[-1].end_lineno - body[0].lineno < ENTRY_MAX_LINES


def test_errors_are_caught_blindly_in_known_places_only() -> None:
    """Everywhere else a fault of ours must be seen; what is no boundary raises on."""
    blind = {
        (str(path), name): node
        for path in PRODUCT_FILES
        for node in nodes_of(path, ast.ExceptHandler)
        for name in names_in(node) & {"Exception", "BaseException"}
    }
    assert set(blind) == set(BLIND_EXCEPTS)
    for (path, name), node in blind.items():
        assert name == "Exception" or isinstance(node.body[-1], ast.Raise), path


def test_what_runs_jobs_logs_and_does_not_print() -> None:
    """A printed line is no JSON object."""
    printing = [
        str(path)
        for path in JOB_FILES
        for call in nodes_of(path, ast.Call)
        if isinstance(call.func, ast.Name) and call.func.id == "print"
    ]
    assert printing == []


def test_the_environment_is_read_in_the_settings_alone() -> None:
    """One place says what there is to set, and checks it."""
    readers = {
        str(path)
        for path in JOB_FILES
        if {node.attr for node in nodes_of(path, ast.Attribute)} & ENVIRONMENT_WORDS
        or {name.name for node in nodes_of(path, ast.ImportFrom) for name in node.names}
        & ENVIRONMENT_WORDS
    }
    assert readers == set()


def test_files_are_named_after_the_product() -> None:
    """A drawer for everything soon holds everything."""
    vague = [path for path in FILES if any(VAGUE_NAME.search(part) for part in path.parts)]
    assert vague == []


def test_every_module_says_what_it_is() -> None:
    """Its docstring comes first."""
    assert [path for path in PRODUCT_FILES if not ast.get_docstring(parse(path))] == []


def test_every_test_is_a_sentence() -> None:
    """Its name says what holds, its docstring why."""
    poor = [
        function.name
        for path in TEST_FILES
        for function in functions_of(path)
        if function.name.startswith("test_")
        and (function.name.count("_") < 2 or not ast.get_docstring(function))
    ]
    assert poor == []


def test_no_test_sleeps() -> None:
    """It waits for facts, not for time."""
    sleeping = [
        (str(path), node.lineno)
        for path in TEST_FILES
        for node in nodes_of(path, ast.Attribute)
        if node.attr == "sleep"
    ]
    assert sleeping == []


def test_nothing_is_left_to_be_done_later() -> None:
    """What is missing stands in an issue."""
    unfinished = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
    assert [path for path in FILES if unfinished.search(text_of(path))] == []
