"""The embedded servers: they start, survive what they promise to survive, and leave nothing."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import psycopg2
import pytest
from redis import AuthenticationError, Redis

from devkit.environment import adopted
from devkit.stack import (
    EmbeddedPostgres,
    EmbeddedRedis,
    EmbeddedServer,
    EmbeddedSqs,
    StackOptions,
    embedded_stack,
    private_folder,
)
from shared.adapters.sqs_queue import SqsDispatcher
from shared.errors import ServiceUnavailable
from tests.support.builders import build_settings

PROJECT = Path(__file__).parents[2]
GONE_WITHIN_SECONDS = 20

PARENT_PROGRAM = """
import json, sys
from devkit.stack import StackOptions, embedded_stack
with embedded_stack(options=StackOptions(with_sqs=True)) as stack:
    pids = [server.pid for server in stack.servers]
    print(json.dumps({"folder": str(stack.folder), "pids": pids}), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a private folder for one server."""
    with private_folder() as path:
        yield path


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """Give a PostgreSQL that the tests of this module share."""
    with private_folder() as path, EmbeddedPostgres(path / "postgres").running() as server:
        yield server


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run one statement in its own connection and return its rows."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall() if cursor.description else []
        connection.commit()
        return rows


def living(pids: list[int]) -> list[psutil.Process]:
    """Return the processes of these ids and their descendants that live now."""
    roots = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return [process for root in roots for process in (root, *root.children(recursive=True))]


def still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Wait until all have ended and return those that have not (the unreaped dead are gone)."""
    _, alive = psutil.wait_procs(processes, timeout=GONE_WITHIN_SECONDS)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_stack_gives_settings_of_servers_that_answer() -> None:
    """Every server of a stack answers under the address in its environment."""
    with embedded_stack(options=StackOptions(with_sqs=True)) as stack:
        environment = stack.environment
        assert stack.sqs is not None
        with closing(stack.sqs.client()) as client:
            queues = client.list_queues()["QueueUrls"]

        assert query(environment["DATABASE_URL"], "SELECT current_database()") == [("darkroom",)]
        with Redis.from_url(environment["REDIS_URL"]) as redis:
            assert redis.ping()
        assert environment["QUEUE_URL"] in queues


def test_sqs_serves_its_own_key_alone() -> None:
    """And no page of a browser; what is refused changes nothing."""
    given = {"DATABASE_URL": "postgresql://a@b/c", "REDIS_URL": "redis://d"}
    with embedded_stack(given, StackOptions(with_sqs=True)) as stack:
        assert stack.sqs is not None
        url, key = stack.sqs.url, stack.environment["AWS_ACCESS_KEY_ID"]
        signed = f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/sqs/aws4_request"
        page = {"Authorization": signed, "Origin": "http://evil.example"}
        rebound = {"Authorization": signed, "Host": "evil.example"}
        for headers in ({}, {"Authorization": signed.replace(key, "AKIA")}, page, rebound):
            for method, path in (
                ("POST", "/moto-api/reset"),
                ("GET", "/moto-api/data.json"),
                ("GET", "/?Action=ListQueues"),
                ("OPTIONS", "/"),
            ):
                refused = httpx.request(method, f"{url}{path}", headers=headers)
                assert refused.status_code == 403
                assert not [name for name in refused.headers if name.startswith("access-control")]
        with closing(stack.sqs.client()) as client:
            assert len(client.list_queues()["QueueUrls"]) == 2
        files = (stack.sqs.folder / "key").stat()
        assert files.st_mode & 0o077 == 0
        assert key not in " ".join(psutil.Process(stack.sqs.pid).cmdline())


def test_stack_leaves_no_process_and_no_folder() -> None:
    """After the block, also after an error in it, there is nothing left."""
    processes: list[psutil.Process] = []
    folders: list[Path] = []

    def fail() -> None:
        with embedded_stack(options=StackOptions(with_sqs=True)) as stack:
            processes.extend(living([server.pid for server in stack.servers]))
            folders.append(stack.folder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert len(processes) > 3
    assert still_running(processes) == []
    assert not folders[0].exists()


def test_stack_uses_given_servers_instead_of_its_own() -> None:
    """DATABASE_URL and REDIS_URL stand in the environment as given, and nothing is started."""
    given = {"DATABASE_URL": "postgresql://a@b/c", "REDIS_URL": "redis://d", "HOME": "/"}

    with embedded_stack(given) as stack:
        assert stack.servers == []
        assert stack.environment == {key: given[key] for key in ("DATABASE_URL", "REDIS_URL")}


def test_stack_takes_an_empty_setting_for_none() -> None:
    """An empty REDIS_URL means the embedded server."""
    with embedded_stack({"DATABASE_URL": "postgresql://a@b/c", "REDIS_URL": ""}) as stack:
        assert stack.postgres is None
        assert stack.redis is not None
        assert stack.redis.is_running


def test_killed_parent_leaves_no_server_and_its_folder_goes_at_the_next_start() -> None:
    """SIGKILL of the process that started a stack ends all its servers."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT_PROGRAM],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        report = json.loads(parent.stdout.readline())
        processes = living(report["pids"])
        parent.kill()

    assert len(processes) > 3
    assert still_running(processes) == []
    with private_folder():
        assert not Path(report["folder"]).exists()


def test_folder_in_use_is_not_taken_for_abandoned(folder: Path) -> None:
    """A second stack of the same user leaves the first one's folder alone."""
    with private_folder() as second:
        assert second != folder
        assert folder.exists()


def test_no_other_user_can_look_into_the_folder(folder: Path) -> None:
    """Others have no right to the folder; as root, one group may pass through it."""
    mode = stat.S_IMODE(folder.stat().st_mode)

    assert mode == (0o710 if os.geteuid() == 0 else 0o700)


def test_ctrl_c_at_the_terminal_does_not_reach_the_servers(folder: Path) -> None:
    """A server is in a session of its own, so that workers can still use it while they stop."""
    with EmbeddedRedis(folder / "redis").running() as redis:
        assert os.getsid(redis.pid) != os.getsid(0)


@pytest.mark.parametrize("end", [EmbeddedServer.stop, EmbeddedServer.kill])
def test_restarted_postgres_keeps_its_address_and_data(
    postgres: EmbeddedPostgres, end: Callable[[EmbeddedServer], None]
) -> None:
    """What was committed is there after a stop and after a kill."""
    url = postgres.create_database(f"restart_{end.__name__}")
    query(url, "CREATE TABLE kept AS SELECT 7 AS number")

    end(postgres)
    assert not postgres.answers()
    postgres.start()

    assert query(url, "SELECT number FROM kept") == [(7,)]


def test_killed_postgres_leaves_none_of_its_processes(postgres: EmbeddedPostgres) -> None:
    """SIGKILL ends the children of the server as well."""
    processes = living([postgres.pid])

    postgres.kill()

    assert still_running(processes) == []
    postgres.start()


def test_postgres_refuses_a_wrong_password(postgres: EmbeddedPostgres) -> None:
    """The socket alone opens nothing."""
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(postgres.url, password="guessed")


def test_database_made_from_a_template_has_its_rows(postgres: EmbeddedPostgres) -> None:
    """Tests migrate one database and copy it."""
    query(postgres.create_database("pattern"), "CREATE TABLE kept AS SELECT 7 AS number")

    url = postgres.create_database("a copy", template="pattern")

    assert query(url, "SELECT number FROM kept") == [(7,)]


def test_database_is_dropped_under_a_live_connection(postgres: EmbeddedPostgres) -> None:
    """Dropping cuts connections, and dropping what is not there is no error."""
    with closing(psycopg2.connect(postgres.create_database("dropped"))):
        postgres.drop_database("dropped")
        postgres.drop_database("dropped")

    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        psycopg2.connect(postgres.url_of("dropped"))


@pytest.mark.parametrize(("persistent", "kept"), [(True, b"7"), (False, None)])
def test_killed_redis_keeps_data_only_if_persistent(
    folder: Path, persistent: bool, kept: bytes | None
) -> None:
    """What was acknowledged survives SIGKILL with `persistent`, and is gone without."""
    server = EmbeddedRedis(folder / "redis", persistent=persistent)

    with server.running(), Redis.from_url(server.url) as redis:
        redis.set("number", 7)
        server.kill()
        server.start()

        assert redis.get("number") == kept


def test_paused_redis_answers_again_when_resumed(folder: Path) -> None:
    """A paused server is silent; a resumed one has forgotten nothing."""
    with EmbeddedRedis(folder / "redis").running() as server:
        server.pause()
        assert not server.answers()

        server.resume()
        assert server.answers()


def test_paused_server_can_be_stopped(folder: Path) -> None:
    """Stopping a frozen server does not wait for the force of SIGKILL."""
    with EmbeddedRedis(folder / "redis").running() as server:
        process = psutil.Process(server.pid)
        server.pause()
        server.stop()

        assert not process.is_running()
        assert "ready to exit" in server.log_path.read_text()


def test_redis_on_a_port_needs_its_password(folder: Path) -> None:
    """On a port every user of the machine can knock, so a random password is required."""
    with EmbeddedRedis(folder / "redis", tcp=True).running() as server:
        address = server.url.partition("@")[2]
        with (
            Redis.from_url(f"redis://{address}") as stranger,
            pytest.raises(AuthenticationError),
        ):
            stranger.ping()
        assert server.answers()


def test_starting_a_running_server_changes_nothing(folder: Path) -> None:
    """A second start keeps the process."""
    with EmbeddedRedis(folder / "redis").running() as server:
        pid = server.pid
        server.start()

        assert server.pid == pid


def test_server_that_cannot_start_says_why_in_one_line(folder: Path) -> None:
    """The error names the server and ends with the last line of its log."""
    server = EmbeddedRedis(folder / "redis", tcp=True)
    port = int(server.url.rpartition(":")[2].partition("/")[0])

    with socket.create_server(("127.0.0.1", port)), pytest.raises(ServiceUnavailable) as caught:
        server.start()

    assert str(caught.value).startswith("Redis (Valkey) did not start: ")
    assert "listen" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sqs_moves_an_unhandled_message_to_the_dead_letter_queue(folder: Path) -> None:
    """A message received too often lands in the second queue; a restart empties both."""
    server = EmbeddedSqs(folder / "sqs", visibility_timeout_seconds=0, max_receive_count=2)

    with server.running(), closing(server.client()) as client:
        client.send_message(QueueUrl=server.queue_url, MessageBody="poison")
        received = [client.receive_message(QueueUrl=server.queue_url) for _ in range(3)]
        dead = client.receive_message(QueueUrl=server.dead_letter_queue_url)
        address = server.queue_url
        server.kill()
        server.start()

        assert [len(answer.get("Messages", [])) for answer in received] == [1, 1, 0]
        assert [message["Body"] for message in dead["Messages"]] == ["poison"]
        assert server.queue_url == address
        assert "Messages" not in client.receive_message(QueueUrl=address)


def test_servers_ignore_the_environment_of_their_user(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables for another PostgreSQL or AWS account change nothing."""
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGOPTIONS", "-c no_such_setting=1")
    monkeypatch.setenv("AWS_PROFILE", "of-another")
    with EmbeddedSqs(folder / "sqs").running() as sqs:
        assert sqs.answers()
    monkeypatch.delenv("PGOPTIONS")
    with EmbeddedPostgres(folder / "postgres").running() as postgres:
        assert postgres.answers()


def test_each_queue_is_used_with_its_own_key(folder: Path) -> None:
    """By clients of one process, as demo, parity and tests make them: boto3 remembers keys."""
    for name in ("first", "second"):
        with (
            EmbeddedSqs(folder / name).running() as sqs,
            adopted({**os.environ, **sqs.environment}),
        ):
            SqsDispatcher(build_settings(queue_url=sqs.queue_url)).check()


def test_server_ended_from_outside_is_not_running(folder: Path) -> None:
    """A server that another process killed is seen as down, and can be started again."""
    with EmbeddedRedis(folder / "redis").running() as server:
        process = psutil.Process(server.pid)
        process.send_signal(signal.SIGKILL)
        process.wait(GONE_WITHIN_SECONDS)

        assert not server.is_running
        server.start()
        assert server.answers()
