"""What must stay inside: keys, passwords and prompts, whatever a provider or a server says."""

from collections.abc import Iterator, Mapping

import pytest

from tests.support.hostile_api import HostileApi
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

KEY = "canary-of-the-provider"
PLANTED = {
    "SIGNING_KEY": "canary-of-the-signatures-with-32-bytes",
    "DARKROOM_API_KEY": "canary-of-the-client",
    "AWS_SESSION_TOKEN": "canary-of-aws",
}
CANARY = "canary"

REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE 'birds are refused' USING DETAIL = NEW.params::text; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON generation_jobs FOR EACH ROW EXECUTE FUNCTION refuse();
"""

FAULTS = {
    "echo-400": ("request_rejected", "The provider answered 400: no Bearer ***"),
    "echo-401": ("provider_authentication", "The image provider refused the API key"),
    "echo-429": ("rate_limited", "The image provider was too busy"),
    "echo-500": ("provider_unavailable", "The provider answered 500: no Bearer ***"),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileApi]:
    """Give a provider that repeats the key."""
    with HostileApi() as api:
        yield api


@pytest.fixture(scope="module")
def own_settings(provider: HostileApi) -> Mapping[str, str]:
    """Have secrets everywhere, and the most talkative log."""
    return {**PLANTED, **provider.environment(KEY), "LOG_LEVEL": "DEBUG", "MAX_ATTEMPTS": "2"}


def everything(runtime: Runtime) -> str:
    """Return all rows and all of Redis as one text."""
    with runtime.database() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema='public'"
        )
        tables = [row["table_name"] for row in cursor.fetchall()]
        texts = []
        for table in tables:
            cursor.execute(f'SELECT to_jsonb(t)::text AS line FROM "{table}" AS t')
            texts += [row["line"] for row in cursor.fetchall()]
    redis = runtime.redis_client
    texts += [repr(redis.dump(key)) for key in redis.scan_iter()]
    return "\n".join(texts)


def logged(runtime: Runtime) -> str:
    """Return all that the runtime and its APIs have logged."""
    return "\n".join(log.text() for log in (runtime.log, *(api.log for api in runtime.apis)))


@pytest.mark.parametrize("images", [1, 2])
def test_key_that_a_provider_repeats_stays_inside(own_runtime: Runtime, images: int) -> None:
    """In message, code, id and type of its error: none reaches a row, Redis, a client or a log."""
    api, shown = own_runtime.api, []
    for fault, (code, message) in FAULTS.items():
        job = api.submit(f"a mug <<{fault}>>", n=images, size="1024x1024")
        found = api.finish(job)
        assert (found["error"]["code"], found["error"]["message"]) == (code, message)
        answer = api.client.get(f"/v1/generations/{job['id']}")
        shown += [answer.text, *own_runtime.channel.of(job["task_id"])]
    for text in (*shown, everything(own_runtime), logged(own_runtime)):
        assert CANARY not in text


def test_statement_that_is_refused_is_logged_without_its_values(own_runtime: Runtime) -> None:
    """The client is answered 500, and neither it nor the log sees the prompt."""
    api = own_runtime.api
    with own_runtime.database() as cursor:
        cursor.execute(REFUSING)
        try:
            answer = api.client.post("/v1/generations", json={"prompt": f"a {CANARY}"})
        finally:
            cursor.execute("DROP FUNCTION refuse CASCADE")
    assert api.problem(answer) == (500, "internal")
    wait_until(lambda: "birds are refused" in logged(own_runtime), 10, "the fault to be logged")
    for text in (answer.text, logged(own_runtime)):
        assert CANARY not in text


def test_server_that_is_unavailable_is_not_described(own_runtime: Runtime) -> None:
    """Neither its address nor its user; operators find both in the log."""
    api, folder = own_runtime.api, str(own_runtime.postgres.folder)
    own_runtime.postgres.kill()
    answers = [
        api.client.post("/v1/generations", json={"prompt": "a mug"}),
        api.client.get("/v1/generations"),
        api.client.get("/readyz"),
    ]
    own_runtime.postgres.start()
    for answer in answers:
        assert answer.status_code == 503
        assert folder not in answer.text
        assert "PostgreSQL" not in answer.text
    assert folder in logged(own_runtime)
