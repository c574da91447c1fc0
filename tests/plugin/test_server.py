"""The plugin as the engine calls it, over gRPC."""

import json
import subprocess
import sys
import threading
import time
import tomllib
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2

from castai_stack.plugin import VERSION, messages, server, values
from castai_stack.plugin.handler import (
    GONE,
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    Handler,
    Property,
    ReadResult,
    UpdateResult,
)
from castai_stack.plugin.run import ResourceError, Settings
from castai_stack.plugin.values import UNKNOWN
from castai_stack.stack.resource_types import RESOURCE_TYPES

REPOSITORY = Path(__file__).parents[2]
URN = "urn:pulumi:dev::castai-eks::castai-stack:index:Thing::thing"

provider_pb2, engine_pb2 = messages.load("provider_pb2", "engine_pb2")


class Thing(Handler):
    """A resource type of the tests."""

    name = "Thing"
    properties = {
        "size": Property("integer"),
        "pass_word": Property("string", required=False, secret=True),
        "note": Property("string", required=False, in_outputs=False),
        "made_at": Property("string", computed=True),
    }

    def check(self, olds, news):
        failures = [CheckFailure("pass_word", "is too short")] if news.get("note") == "bad" else []
        if news.get("note") == "warn":
            self.run.warn("a warning")
        return CheckResult(news, failures)

    def diff(self, id_, olds, news):
        changed = olds.get("size") != news["size"]
        return DiffResult(changed, ["pass_word"] if news.get("note") == "replace" else [])

    def create(self, props):
        match props.get("note"):
            case "refuse":
                raise ResourceError("The service refuses it; do that.")
            case "fault":
                raise KeyError("absent")
            case "wait":
                self.run.wait("a thing", 600).until(lambda: None)
        return CreateResult("an-id", {"size": props["size"], "pass_word": "p", "made_at": "now"})

    def read(self, id_, props):
        return GONE if props["size"] == 0 else ReadResult(id_, {**props, "size": 7})

    def update(self, id_, olds, news):
        return UpdateResult({**olds, "size": news["size"]})


class Engine:
    """Takes log lines like an engine."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str, str]] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        log = grpc.unary_unary_rpc_method_handler(
            self._log,
            request_deserializer=engine_pb2.LogRequest.FromString,
            response_serializer=lambda response: response.SerializeToString(),
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("pulumirpc.Engine", {"Log": log}),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _log(self, request: Any, context: Any) -> Any:
        self.lines.append((request.severity, request.message, request.urn))
        return empty_pb2.Empty()

    def stop(self) -> None:
        self._server.stop(None)


@pytest.fixture
def engine():
    running = Engine()
    yield running
    running.stop()


class Client:
    """Calls a plugin by the names of the protocol."""

    def __init__(self, engine: Engine) -> None:
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        self._server.add_generic_rpc_handlers((server.Plugin([Thing], engine.address).calls(),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def call(self, name: str, request: Any, response: Any) -> Any:
        return self._channel.unary_unary(
            f"/pulumirpc.ResourceProvider/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )(request, timeout=20)

    def check(self, **news: Any) -> Any:
        request = provider_pb2.CheckRequest(urn=URN, news=values.message(news))
        return self.call("Check", request, provider_pb2.CheckResponse)

    def create(self, *, preview: bool = False, secrets: tuple[str, ...] = (), **inputs: Any) -> Any:
        request = provider_pb2.CreateRequest(
            urn=URN, properties=values.message(inputs, secrets), preview=preview
        )
        return self.call("Create", request, provider_pb2.CreateResponse)

    def refusal(self, **inputs: Any) -> str:
        with pytest.raises(grpc.RpcError) as failure:
            self.create(**inputs)
        return failure.value.details()

    def close(self) -> None:
        self._channel.close()
        self._server.stop(None)


@pytest.fixture
def client(engine):
    result = Client(engine)
    yield result
    result.close()


def test_an_error_of_a_resource_is_its_sentence_and_nothing_else(client):
    assert client.refusal(size=1, note="refuse") == "The service refuses it; do that."


def test_a_fault_of_the_plugin_is_named_with_its_place(client):
    refusal = client.refusal(size=1, note="fault")

    assert refusal.startswith("This is a fault of the plugin castai-stack, at test_server.py:")
    assert refusal.endswith("KeyError: 'absent'")


def test_secrets_stay_marked_by_their_nature_and_by_their_input(client):
    by_nature = client.create(size=1).properties
    assert values.secret_names(by_nature) == {"pass_word"}

    by_input = client.create(size=1, secrets=("size",)).properties
    assert values.secret_names(by_input) == {"pass_word", "size"}


def test_a_preview_writes_nothing_and_leaves_open_what_the_create_computes(client):
    planned = values.properties(client.create(preview=True, size=UNKNOWN, note="fault").properties)

    assert planned == {"size": UNKNOWN, "made_at": UNKNOWN}


def test_missing_and_unknown_inputs_are_refused_by_their_names(client):
    failures = {one.property: one.reason for one in client.check(colour="red").failures}

    assert failures == {
        "colour": "is no property; allowed: note, pass_word, size; this plugin is version "
        f"{VERSION}: a program for another version needs the plugin of that one",
        "size": "is required",
    }


def test_a_check_refuses_and_warns_in_the_name_of_its_resource(client, engine):
    [failure] = client.check(size=1, note="bad").failures
    assert (failure.property, failure.reason) == ("passWord", "is too short")

    assert not client.check(size=1, note="warn").failures
    assert engine.lines == [(engine_pb2.WARNING, "a warning", URN)]


def test_a_read_refreshes_keeps_the_inputs_and_reports_what_is_gone(client):
    def read(state: dict[str, Any], inputs: dict[str, Any]) -> Any:
        request = provider_pb2.ReadRequest(
            id="i", urn=URN, properties=values.message(state), inputs=values.message(inputs)
        )
        return client.call("Read", request, provider_pb2.ReadResponse)

    response = read({"size": 1, "pass_word": "p"}, {"size": 1})
    assert values.properties(response.properties) == {"size": 7, "pass_word": "p"}
    assert values.secret_names(response.properties) == {"pass_word"}
    assert values.properties(response.inputs) == {"size": 1}
    assert read({}, {"size": 3}).id == "i", "a create that was interrupted has inputs only"
    assert read({"size": 0}, {"size": 0}).id == ""


def test_an_import_is_refused_with_what_to_do_instead(client):
    with pytest.raises(grpc.RpcError, match="Thing is not imported: `pulumi up` creates it"):
        client.call("Read", provider_pb2.ReadRequest(id="i", urn=URN), provider_pb2.ReadResponse)


def test_a_difference_replaces_by_the_names_on_the_wire(client):
    request = provider_pb2.DiffRequest(
        urn=URN,
        olds=values.message({"size": 1}),
        news=values.message({"size": 1, "note": "replace"}),
    )
    response = client.call("Diff", request, provider_pb2.DiffResponse)

    assert response.changes == provider_pb2.DiffResponse.DIFF_NONE
    assert list(response.replaces) == ["passWord"]


def test_a_cancellation_ends_a_wait_at_once_and_stops_what_has_not_begun(client):
    refusals: list[str] = []
    waiting = threading.Thread(target=lambda: refusals.append(client.refusal(size=1, note="wait")))
    waiting.start()
    time.sleep(0.3)
    started = time.monotonic()

    client.call("Cancel", empty_pb2.Empty(), empty_pb2.Empty)
    waiting.join()

    assert time.monotonic() - started < 15
    assert refusals == ["The wait for a thing was cancelled; run the same command again."]
    assert client.refusal(size=1) == "The run was cancelled before this began."


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({"api_url": "https://x", "api_key": "k", "version": "1"}, None),
        ({"kubeconfig": '{"users": [{"user": {"token": "t"}}]}'}, "keep (users[0].user.token)"),
        ({"kubeconfig": "{hush\n]"}, "is not YAML or JSON"),
        ({"kubeconfig": "/home/password/token:1"}, None),
        ({"colour": "red"}, "is no property"),
    ],
)
def test_settings_of_the_provider_are_checked_and_no_secret_is_printed(client, inputs, problem):
    request = provider_pb2.CheckRequest(news=values.message(inputs))
    failures = client.call("CheckConfig", request, provider_pb2.CheckResponse).failures

    assert [problem in one.reason for one in failures] == ([True] if problem else [])
    assert all(one.property != "kubeconfig" for one in failures), "its value would be printed"


def test_another_setting_updates_the_provider_and_replaces_nothing(client):
    def difference(news: dict[str, Any]) -> Any:
        olds = {"api_key": "a", "version": "1"}
        request = provider_pb2.DiffRequest(olds=values.message(olds), news=values.message(news))
        return client.call("DiffConfig", request, provider_pb2.DiffResponse)

    same, other = provider_pb2.DiffResponse.DIFF_NONE, provider_pb2.DiffResponse.DIFF_SOME
    assert difference({"api_key": "a", "version": "2"}).changes == same
    assert (difference({"api_key": "b"}).changes, list(difference({}).replaces)) == (other, [])


def test_the_environment_comes_before_the_inputs_of_the_provider():
    environment = {"CASTAI_API_KEY": "new", "CASTAI_API_URL": "https://new"}
    inputs = {"api_key": "old", "api_url": "https://old", "override_guards": "caller,size"}

    assert Settings.of(inputs, environment) == Settings(
        api_key="new", api_url="https://new", override_guards=("caller", "size")
    )
    assert Settings.of(inputs, {}).api_key == "old"
    assert "old" not in repr(Settings.of({"api_key": "old"}, {})), "a key in a log"


def test_the_schema_names_every_type_its_properties_and_secrets():
    schema = server.schema(RESOURCE_TYPES)

    hand_over = schema["resources"]["castai-stack:index:HandOver"]
    assert hand_over["inputProperties"]["secretAccessKey"] == {"type": "string", "secret": True}
    assert "secretAccessKey" not in hand_over["properties"]
    assert "credentialsId" in hand_over["required"]
    assert "credentialsId" not in hand_over["inputProperties"]
    assert schema["provider"]["inputProperties"]["apiKey"]["secret"]
    assert all(resource["description"] for resource in schema["resources"].values())
    assert len(schema["resources"]) == len(RESOURCE_TYPES)


def test_the_version_is_the_repository_s():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

    assert project["version"] == VERSION


def started(engine: Engine, folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "plugin"), engine.address],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip().isdigit()
    return process


def test_the_plugin_starts_from_any_folder_and_ends_with_its_engine(engine, tmp_path):
    with started(engine, tmp_path) as process:
        engine.stop()

        assert process.wait(15) == 0


class ComponentModule:
    """Stands for the module of the components, which takes long to import."""

    imported = 0

    def __call__(self):
        self.imported += 1
        return self

    def construct(self, request, engine):
        return provider_pb2.ConstructResponse(urn=f"{request.type} {request.name} {engine}")


def test_components_are_imported_when_a_program_asks_for_one_and_not_before():
    module = ComponentModule()
    plugin = server.Plugin([Thing], "an-engine", module)

    package = json.loads(plugin.get_schema(provider_pb2.GetSchemaRequest()).schema)
    assert {"castai-stack:index:Thing", "castai-stack:index:CastaiCluster"} <= set(
        package["resources"]
    )
    assert "castai-stack:index:AgentSettings" in package["types"]
    assert module.imported == 0

    request = provider_pb2.ConstructRequest(name="a", type="castai-stack:index:AgentComponent")
    assert plugin.construct(request).urn == "castai-stack:index:AgentComponent a an-engine"
    assert module.imported == 1


def test_a_plugin_without_components_says_so():
    request = provider_pb2.ConstructRequest(name="a", type="castai-stack:index:AgentComponent")

    with pytest.raises(ResourceError, match="AgentComponent is no component of the plugin"):
        server.Plugin([Thing]).construct(request)
