"""The migration function: by hand, and as a resource for which CloudFormation waits."""

import http.server
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import structlog
from sqlalchemy import create_engine, text

from devkit.stack import EmbeddedPostgres
from functions.migrate import handler
from functions.stack_answer import MARGIN_SECONDS
from shared.access.api_keys import ApiKeyStore
from shared.access.audit import AuditStore
from shared.database.session import create_unpooled_engine
from shared.errors import ConfigurationError, InvalidRequest, SchemaConflict, ServiceUnavailable
from shared.jobs.migration import MIGRATION_LOCK, newest_revision
from tests.architecture.test_imports import run
from tests.support.builders import build_settings
from tests.support.wait import wait_until

PLENTY_MS = 600_000


@dataclass
class Context:
    """What the function may ask of its invocation."""

    remaining_ms: int = PLENTY_MS
    log_stream_name: str = "2026/02/01/[1]stream"

    def get_remaining_time_in_millis(self) -> int:
        """Return what is left."""
        return self.remaining_ms


class CloudFormation:
    """Waits for answers at an address; each is kept, with its content type."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.content_types: list[str | None] = []
        owner = self

        class Listener(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner.answers.append(json.loads(body))
                owner.content_types.append(self.headers["Content-Type"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def request(self, request_type: str) -> dict[str, Any]:
        """Return the event of a request that is answered here."""
        return {
            "RequestType": request_type,
            "ResponseURL": f"http://127.0.0.1:{self._server.server_port}/answer?signature=s3cret",
            "StackId": "arn:aws:cloudformation:us-east-1:1:stack/darkroom/1",
            "RequestId": "a-request",
            "LogicalResourceId": "Migration",
            "ResourceProperties": {"Revision": newest_revision()},
        }

    def close(self) -> None:
        """Stop waiting."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what the function does to its process, which is not its own here."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def cloudformation() -> Iterator[CloudFormation]:
    """Give a server that waits for an answer."""
    waiting = CloudFormation()
    yield waiting
    waiting.close()


@pytest.fixture
def url(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the address of an empty database, which the function uses."""
    name = f"function-migrate-{uuid4().hex[:8]}"
    address = build_settings(postgres.create_database(name)).database_url
    monkeypatch.setenv("DATABASE_URL", address)
    yield address
    postgres.drop_database(name)


def test_by_hand_it_answers_with_the_revision(url: str) -> None:
    """As often as anybody likes."""
    assert handler({}, Context()) == handler({}, Context()) == {"revision": newest_revision()}


def test_by_hand_it_refuses_tables_of_another_application(url: str) -> None:
    """And leaves its history alone."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num varchar(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('0007')"))
        connection.execute(text("CREATE TABLE products (id int)"))
    with pytest.raises(SchemaConflict, match=r"the schema public already holds .*: products"):
        handler({}, Context())
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE products"))
    assert handler({}, Context()) == {"revision": newest_revision()}
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "0007"
    engine.dispose()


def test_by_hand_it_makes_the_first_key(url: str) -> None:
    """In a database that was empty; only the answer holds the key, the log its id."""
    program = (
        "import json, pathlib, sys; from functions.migrate import handler;"
        " event = json.loads(pathlib.Path(sys.argv[1]).read_text());"
        " print(json.dumps(handler(event, None)))"
    )
    done = run("-c", program, "events/migrate-create-key.json", DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    answer = json.loads(last)
    assert (answer["revision"], answer["workspace_id"]) == (newest_revision(), "default")
    assert answer["name"] == "first"
    keys = ApiKeyStore(create_unpooled_engine(url, "darkroom-test"))
    assert keys.find(answer["key"]).workspace_id == "default"
    said = "".join([*lines, done.stderr])
    assert answer["id"] in said
    assert answer["key"].removeprefix(f"dk_{answer['id']}_") not in said


def test_by_hand_it_makes_a_workspace_with_its_key(url: str) -> None:
    """If that is said; otherwise a name that was misspelt would get a workspace of its own."""
    order = {"workspace": "shop", "name": "shop front"}
    with pytest.raises(InvalidRequest, match=r"^workspace: no workspace 'shop'$"):
        handler({"create_key": order}, Context())
    answer = handler({"create_key": {**order, "create_workspace": True}}, Context())
    assert (answer["workspace_id"], answer["scopes"]) == ("shop", ["submit", "read", "cancel"])
    answer = handler({"create_key": {**order, "scopes": ["admin"]}}, Context())
    assert answer["scopes"] == ["admin"]
    entries = AuditStore(create_unpooled_engine(url, "darkroom-test")).list(3)
    assert [(entry.who, entry.action, entry.target, entry.error) for entry in entries] == [
        ("function migrate", "create key", "workspace shop", error)
        for error in (None, None, "invalid_request")
    ]
    assert entries[0].details == {"name": "shop front", "scopes": ["admin"]}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"create_keys": {}}, "event: create_keys is not a known field"),
        ({"create_key": "shop"}, "event: create_key should be "),
        ({"create_key": {}}, "create_key.workspace is missing; create_key.name is missing"),
        ({"create_key": {"workspace": "shop", "name": 1}}, "create_key.name should be "),
        (
            {"create_key": {"workspace": "a", "name": "b", "create_workspace": "yes"}},
            "create_key.create_workspace should be a valid boolean",
        ),
        ({"create_key": {"workspace": "a", "name": "b", "scopes": ["all"]}}, "create_key.scopes"),
        ({"create_key": {"workspace": "default", "name": "b", "scopes": []}}, "scopes: must name"),
        ({"create_key": {"workspace": "a b", "name": "c"}}, "workspace: must be 1 to 64"),
        ({"create_key": {"workspace": "default", "name": " "}}, "name: must be 1 to 255"),
    ],
)
def test_a_wrong_event_is_named_in_one_line(url: str, event: dict[str, Any], reason: str) -> None:
    """With the field that is wrong."""
    with pytest.raises(InvalidRequest) as caught:
        handler(event, Context())
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_a_deployment_receives_success(
    url: str, cloudformation: CloudFormation, request_type: str
) -> None:
    """With the ids of its request, and without the content type that would break the signature."""
    handler(cloudformation.request(request_type), Context())
    [answer] = cloudformation.answers
    assert answer["Status"] == "SUCCESS"
    assert answer["Data"] == {"Revision": newest_revision()}
    assert answer["PhysicalResourceId"] == "database-schema"
    assert (answer["RequestId"], answer["LogicalResourceId"]) == ("a-request", "Migration")
    assert cloudformation.content_types == [""]


def test_deleting_the_stack_touches_no_data(
    cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it need the database, which may be gone."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    event = {**cloudformation.request("Delete"), "PhysicalResourceId": "as-it-was-named"}
    assert handler(event, Context()) == {"revision": "kept"}
    [answer] = cloudformation.answers
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "as-it-was-named")


@pytest.mark.parametrize(
    ("address", "error", "reason"),
    [
        ("postgresql://u:s3cret-pw@127.0.0.1:1/d", ServiceUnavailable, "PostgreSQL: "),
        ("mysql://u:s3cret-pw@h/d", ConfigurationError, "settings: DATABASE_URL must begin"),
    ],
)
def test_a_deployment_receives_the_reason_of_a_failure(
    cloudformation: CloudFormation,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    error: type[Exception],
    reason: str,
) -> None:
    """Settings that are wrong are an answer as well; no password is in it."""
    monkeypatch.setenv("DATABASE_URL", address)
    with pytest.raises(error):
        handler(cloudformation.request("Create"), Context())
    [answer] = cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith(reason)
    assert "stream" in answer["Reason"]
    assert "s3cret" not in json.dumps(answer)


def test_a_migration_that_takes_too_long_is_answered_in_time(
    url: str, cloudformation: CloudFormation
) -> None:
    """It waits inside PostgreSQL, where nothing of ours can interrupt it. One answer is sent."""
    engine = create_engine(url)
    context = Context(remaining_ms=int(MARGIN_SECONDS * 1000) + 300)
    event = cloudformation.request("Update")
    running = threading.Thread(target=handler, args=(event, context))
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        running.start()
        wait_until(lambda: cloudformation.answers, 20, "an answer in spite of the lock")
        assert running.is_alive()
    engine.dispose()
    running.join(30)
    [answer] = cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith("It was not done within 0 s")
