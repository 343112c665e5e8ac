"""How `darkroom doctor` reads docker-compose.yml and template.yaml."""

from pathlib import Path
from typing import Any

import pytest

from cli.doctor.compose_file import ComposeFile, load_compose
from cli.doctor.interpolation import interpolate
from cli.doctor.intrinsics import Resolver, Unresolved, parse
from cli.doctor.quantities import bytes_of, period_of, seconds_of
from cli.doctor.template_file import Template, load_template
from shared.errors import ConfigurationError

COMPOSE = """
x-ours: &ours
  build: .
  image: ours:1
  environment: &environment
    REDIS_URL: ${REDIS_URL:-redis://redis:6379/0}
    PUBLIC_BASE_URL:
    REQUIRE_API_KEYS: true
services:
  api:
    <<: *ours
    command: python -m local.api --name "a b"
    ports: [8000:8000, "127.0.0.1:1:1", {target: 5, published: "6", host_ip: 127.0.0.1}]
    depends_on: [redis]
  worker:
    image: ours:1
    environment: [REDIS_URL=redis://a/0, LOG_LEVEL]
    command: [celery, worker, --concurrency=4, --loglevel, INFO]
    stop_grace_period: 1m30s
    depends_on: {redis: {condition: service_healthy}}
    deploy: {resources: {limits: {memory: 512M}}}
  redis:
    image: redis:8-alpine
    mem_limit: 256m
"""

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: {Type: String, Default: local}
  Limit: {Type: Number, Default: 330}
  Patience: {Type: Number, Default: 12500}
Conditions:
  IsLocal: !Equals [!Ref Stage, local]
  IsAbroad: !Not [!Condition IsLocal]
Globals:
  Function:
    Runtime: python3.13
    Environment: {Variables: {TIME_LIMIT: !Ref Limit, QUEUE_URL: !Ref Jobs}}
Resources:
  Jobs:
    Type: AWS::SQS::Queue
  Extra:
    Type: AWS::SQS::Queue
    Condition: IsAbroad
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      Handler: functions.worker.handler
      Events:
        Open: {Type: HttpApi, Properties: {TimeoutInMillis: !Ref Patience}}
        Unlimited: {Type: HttpApi}
        Slow: {Type: HttpApi, Properties: {TimeoutInMillis: !ImportValue patience}}
      Environment:
        Variables:
          ENVIRONMENT: !Ref Stage
          IMAGE_DIR: !If [IsLocal, /mnt/images, !Ref AWS::NoValue]
          AI_MOCK_MODE: true
  Feed:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      EventSourceArn: !GetAtt Jobs.Arn
      FunctionName: !Ref Worker
      BatchSize: 1
  Clock:
    Type: AWS::Events::Rule
    Properties:
      ScheduleExpression: rate(5 minutes)
      Targets: [{Arn: !GetAtt Worker.Arn, Id: one}]
  Nested:
    Type: AWS::CloudFormation::Stack
    Condition: IsAbroad
    Properties:
      TemplateURL: nested.yaml
      Parameters: {Kind: !Ref Stage}
"""

NESTED = """
Parameters: {Kind: {Type: String}}
Resources:
  Cache:
    Type: AWS::ElastiCache::ReplicationGroup
    Properties: {Description: !Sub "for ${Kind}"}
"""


@pytest.fixture
def compose(tmp_path: Path) -> ComposeFile:
    """Give a compose file, started where LOG_LEVEL is set."""
    path = tmp_path / "docker-compose.yml"
    path.write_text(COMPOSE)
    loaded = load_compose(path, {"LOG_LEVEL": "DEBUG"})
    assert loaded is not None
    return loaded


def template(folder: Path, **parameters: str) -> Template:
    """Return the template as these parameters make it."""
    (folder / "template.yaml").write_text(TEMPLATE)
    (folder / "nested.yaml").write_text(NESTED)
    loaded = load_template(folder / "template.yaml", parameters)
    assert loaded is not None
    return loaded


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("$A and ${A}", "a and a"),
        ("${B}${MISSING}", ""),
        ("${B:-b}${B-c}${MISSING-d}", "bd"),
        ("${MISSING:-${A}}s", "as"),
        ("${MISSING:-${ALSO:-x}}", "x"),
        ("${A:+set}${B:+set}${B+set}", "setset"),
        ("${MISSING:?must be set}", ""),
        ("$$A costs 5$", "$A costs 5$"),
    ],
)
def test_variables_are_filled_in_as_compose_does(text: str, filled: str) -> None:
    """Defaults may hold variables; a doubled dollar is one dollar."""
    assert interpolate([{"key": text}], {"A": "a", "B": ""}) == [{"key": filled}]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1m30s", 90), ("1h", 3600), (15, 15), ("500ms", 0.5)]
)
def test_durations_are_read(text: object, seconds: float) -> None:
    """As the Compose Specification writes them."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("256mb", 2**28), ("1g", 2**30), ("512M", 2**29), (4096, 4096), ("1GiB", 2**30)],
)
def test_sizes_are_read(text: object, size: int) -> None:
    """As compose and redis.conf write them."""
    assert bytes_of(text) == size


def test_what_is_no_quantity_is_none() -> None:
    """A rule then says that it cannot be read."""
    assert (seconds_of("soon"), bytes_of("much"), period_of("cron(0 3 * * ? *)")) == (None,) * 3
    assert (period_of("rate(1 minute)"), period_of("rate(2 hours)")) == (60, 7200)


def test_our_services_are_those_of_our_image(compose: ComposeFile) -> None:
    """Built here, or of the image that is; a server's own variables are nobody's settings."""
    assert [service.name for service in compose.ours] == ["api", "worker"]


def test_environments_are_read_in_both_forms(compose: ComposeFile) -> None:
    """A name without a value is handed on where it is set, and is a name all the same."""
    api, worker = compose.ours
    assert api.environment == {"REDIS_URL": "redis://redis:6379/0", "REQUIRE_API_KEYS": "true"}
    assert api.names == ("REDIS_URL", "PUBLIC_BASE_URL", "REQUIRE_API_KEYS")
    assert worker.environment == {"REDIS_URL": "redis://a/0", "LOG_LEVEL": "DEBUG"}


def test_options_of_services_are_read_in_every_form(compose: ComposeFile) -> None:
    """Compose takes a text or a list, a list or a map."""
    api, worker, redis = compose.services
    assert api.command == ["python", "-m", "local.api", "--name", "a b"]
    assert api.ports == [":8000:8000", "127.0.0.1:1:1", "127.0.0.1:6:5"]
    assert api.waits_for == {"redis": "service_started"}
    assert worker.waits_for == {"redis": "service_healthy"}
    assert (api.stop_grace_seconds, worker.stop_grace_seconds) == (10, 90)
    assert (worker.find_option("concurrency"), worker.find_option("loglevel")) == ("4", "INFO")
    assert (worker.memory_bytes, redis.memory_bytes, api.memory_bytes) == (2**29, 2**28, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!Ref Stage", "local"),
        ("!Sub '${Stage}-${Limit}-${!Stage}'", "local-330-${Stage}"),
        ("!If [IsLocal, 1, 2]", 1),
        ("!If [Far, 1, 2]", 2),
        ("[1, !Ref AWS::NoValue, 2]", [1, 2]),
        ("{a: !Ref AWS::NoValue, b: !Join ['-', [a, !Ref Stage]]}", {"b": "a-local"}),
        ("!FindInMap [Sizes, !Ref Stage, memory]", 512),
        ("{Fn::Or: [{Condition: Far}, !Equals [true, 'true']]}", True),
        ("!And [!Condition IsLocal, !Not [!Condition Far]]", True),
        ("2012-10-17", "2012-10-17"),
    ],
)
def test_functions_of_cloudformation_are_computed(text: str, value: Any) -> None:
    """In their short form and in their long one."""
    document = parse(
        "{Parameters: {Stage: {Default: local}, Limit: {Default: 330}}, Conditions: {IsLocal: "
        "!Equals [!Ref Stage, local], Far: !Not [!Condition IsLocal]}, "
        "Mappings: {Sizes: {local: {memory: 512}}}}"
    )
    assert Resolver(document, {}).resolve(parse(text)) == value


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("!GetAtt Jobs.Arn", {"Jobs"}),
        ("!Ref Jobs", {"Jobs"}),
        ("!Sub '${Jobs.Arn}/*'", {"Jobs"}),
        ("!Sub ['${X}/*', {X: !GetAtt Jobs.Arn}]", {"Jobs"}),
        ("!If [Unknown, !Ref Jobs, !Ref Other]", {"Jobs", "Other"}),
        ("!Select [0, !Split [',', !Ref Jobs]]", {"Jobs"}),
        ("!Sub '{{resolve:secretsmanager:x}}'", set()),
    ],
)
def test_what_a_deployment_decides_stays_open(text: str, names: set[str]) -> None:
    """But names the resources that it is made of."""
    document = parse("{Conditions: {Unknown: !Equals [!Ref Stage, local]}}")
    value = Resolver(document, {}).resolve(parse(text))
    assert isinstance(value, Unresolved)
    assert value.names == names


def test_functions_have_what_globals_give_them(tmp_path: Path) -> None:
    """Their own variables come on top; what is absent is absent."""
    [worker] = template(tmp_path).functions
    assert worker.properties["Runtime"] == "python3.13"
    [part] = template(tmp_path).parts
    assert part.variables == {
        "TIME_LIMIT": "330",
        "QUEUE_URL": Unresolved("Jobs", frozenset({"Jobs"})),
        "ENVIRONMENT": "local",
        "IMAGE_DIR": "/mnt/images",
        "AI_MOCK_MODE": "true",
        "AWS_LAMBDA_FUNCTION_NAME": "Worker",
    }


def test_what_starts_a_function_may_be_a_resource_of_its_own(tmp_path: Path) -> None:
    """Not only an event of the function."""
    loaded = template(tmp_path)
    [worker] = loaded.functions
    [(source, queue)] = loaded.queues_of(worker)
    assert (queue.name, source.properties["BatchSize"]) == ("Jobs", 1)
    assert list(loaded.schedules(worker)) == ["rate(5 minutes)"]


def test_gateways_say_how_long_they_wait_for_a_function(tmp_path: Path) -> None:
    """As far as the template says so."""
    loaded = template(tmp_path)
    [worker] = loaded.functions
    assert list(loaded.gateway_timeouts(worker)) == [12.5]


def test_conditions_and_nested_stacks_are_followed(tmp_path: Path) -> None:
    """With the parameters that the stack is given."""
    assert template(tmp_path).of_type("AWS::ElastiCache::ReplicationGroup") == ()
    assert template(tmp_path).find("Extra") is None
    abroad = template(tmp_path, Stage="production", Limit="100")
    [cache] = abroad.of_type("AWS::ElastiCache::ReplicationGroup")
    assert (cache.where, cache.properties) == (
        "template Nested Cache",
        {"Description": "for production"},
    )
    assert abroad.find("Extra") is not None
    assert abroad.parts[0].find_number("TIME_LIMIT") == 100
    assert "IMAGE_DIR" not in abroad.parts[0].variables


@pytest.mark.parametrize("text", ["a: [", "services: 3", "- a"])
def test_a_file_that_cannot_be_read_is_refused(text: str, tmp_path: Path) -> None:
    """In one line that names it; one that is absent is None."""
    for name, load in (("docker-compose.yml", load_compose), ("template.yaml", load_template)):
        path = tmp_path / name
        assert load(path, {}) is None
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=name):
            load(path, {})
