"""The plugin's side of the engine's protocol, the same for every resource type.

The calls are described in `proto/pulumi/provider.proto` of `pulumi/pulumi`. Every failure reaches
the user as one sentence, without a traceback.
"""

import contextlib
import functools
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
from google.protobuf import empty_pb2

from castai_stack.kube.endpoint import KubeconfigError
from castai_stack.kube.kubeconfig_text import secret_keys
from castai_stack.plugin import NAME, SAME_VERSION, VERSION, messages
from castai_stack.plugin.handler import Handler, Property, PropertyType
from castai_stack.plugin.run import ResourceError, Run, Settings, Severity
from castai_stack.plugin.values import message, properties, secret_names
from castai_stack.spelling import camel

engine_pb2, plugin_pb2, provider_pb2 = messages.load("engine_pb2", "plugin_pb2", "provider_pb2")

_CALLS = 32
"""Calls at the same time."""
_LARGEST_MESSAGE = 400 * 1024 * 1024
_LOG_SECONDS = 10
_ENGINE_SECONDS = 2.0
"""Pause between two looks at the engine."""
_SETTINGS: Mapping[str, Property] = {
    "api_url": Property("string", required=False),
    "api_key": Property("string", required=False, secret=True),
    "kubeconfig": Property("string", required=False),
    "context": Property("string", required=False),
    "override_guards": Property("string", required=False),
}
_SDKS = ("csharp", "go", "nodejs", "python")
_OF_THE_ENGINE = frozenset({"version", "plugin_download_url", "__internal"})
_TYPES: Mapping[PropertyType, Mapping[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "strings": {"type": "array", "items": {"type": "string"}},
    "map": {"type": "object", "additionalProperties": {"type": "string"}},
    "objects": {"type": "array", "items": {"$ref": "pulumi.json#/Any"}},
}


Components = Callable[[], ModuleType]
"""Imports the module with `construct(request, engine)`, which is `components.host`."""
_COMPONENTS = Path(__file__).parents[1] / "components" / "schema.json"
"""The components' part of the schema; `make readme` writes it, because to infer it takes long."""


class Plugin:
    """Answers the engine for a set of resource types; one instance per process."""

    def __init__(
        self,
        handlers: Iterable[type[Handler]],
        engine: str = "",
        components: Components | None = None,
    ) -> None:
        """`components` is called when a program asks for one."""
        self._components = components
        self._handlers = {token(handler): handler for handler in handlers}
        self._settings = Settings()
        self._stopping = threading.Event()
        self._engine = engine
        self._channel: grpc.Channel | None = None
        self._connecting = threading.Lock()

    def calls(self) -> grpc.GenericRpcHandler:
        """Return the calls by their names in the protocol."""
        requests: dict[Callable[[Any], Any], Any] = {
            self.handshake: provider_pb2.ProviderHandshakeRequest,
            self.get_plugin_info: empty_pb2.Empty,
            self.get_schema: provider_pb2.GetSchemaRequest,
            self.check_config: provider_pb2.CheckRequest,
            self.diff_config: provider_pb2.DiffRequest,
            self.configure: provider_pb2.ConfigureRequest,
            self.check: provider_pb2.CheckRequest,
            self.diff: provider_pb2.DiffRequest,
            self.construct: provider_pb2.ConstructRequest,
            self.create: provider_pb2.CreateRequest,
            self.read: provider_pb2.ReadRequest,
            self.update: provider_pb2.UpdateRequest,
            self.delete: provider_pb2.DeleteRequest,
            self.cancel: empty_pb2.Empty,
        }
        return grpc.method_handlers_generic_handler(
            "pulumirpc.ResourceProvider",
            {
                "".join(word.capitalize() for word in call.__name__.split("_")): (
                    grpc.unary_unary_rpc_method_handler(
                        _explaining(call),
                        request_deserializer=request.FromString,
                        response_serializer=lambda response: response.SerializeToString(),
                    )
                )
                for call, request in requests.items()
            },
        )

    def handshake(self, request: Any) -> Any:
        """Take the engine's address."""
        self._engine = request.engine_address or self._engine
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def get_plugin_info(self, request: Any) -> Any:
        """Return the version."""
        del request
        return plugin_pb2.PluginInfo(version=VERSION)

    def get_schema(self, request: Any) -> Any:
        """Return the schema of the package, from which SDKs of other languages are generated."""
        del request
        package = schema(self._handlers.values())
        if self._components is not None:
            of_components = json.loads(_COMPONENTS.read_text())
            package["resources"] |= of_components["resources"]
            package["types"] = of_components["types"]
        return provider_pb2.GetSchemaResponse(schema=json.dumps(package))

    def construct(self, request: Any) -> Any:
        """Create a component of a program in another language."""
        if self._components is None:
            raise ResourceError(f"{request.type} is no component of the plugin {NAME} {VERSION}")
        return self._components().construct(request, self._engine)

    def check_config(self, request: Any) -> Any:
        """Refuse unknown settings, and a kubeconfig whose secret the state would show."""
        news = _without_engine(properties(request.news))
        failures = _shape_failures(_SETTINGS, news)
        if reason := _kubeconfig_refusal(str(news.get("kubeconfig", ""))):
            # With the name of a property the engine would print its value.
            failures.append(("", reason))
        return provider_pb2.CheckResponse(inputs=request.news, failures=_failures(failures))

    def diff_config(self, request: Any) -> Any:
        """Compare the settings; none of them replaces the provider."""
        olds, news = _without_engine(properties(request.olds)), properties(request.news)
        return _difference(changes=olds != _without_engine(news), replaces=())

    def configure(self, request: Any) -> Any:
        """Take the settings."""
        self._settings = Settings.of(_without_engine(properties(request.args)))
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def check(self, request: Any) -> Any:
        """Check the inputs of a resource."""
        handler = self._handler(request)
        news = properties(request.news)
        failures = _shape_failures(handler.properties, news)
        inputs = request.news
        if not failures:
            result = handler.check(properties(request.olds), news)
            failures = [(failure.property, failure.reason) for failure in result.failures]
            inputs = message(result.inputs, secret_names(request.news))
        return provider_pb2.CheckResponse(inputs=inputs, failures=_failures(failures))

    def diff(self, request: Any) -> Any:
        """Compare a resource with its inputs."""
        result = self._handler(request).diff(
            request.id, properties(request.olds), properties(request.news)
        )
        return _difference(result.changes, result.replaces)

    def create(self, request: Any) -> Any:
        """Create a resource, or plan it in a preview."""
        handler = self._handler(request)
        inputs, secrets = properties(request.properties), secret_names(request.properties)
        if request.preview:
            outs = _outs(handler, handler.plan({}, inputs), secrets)
            return provider_pb2.CreateResponse(properties=outs)
        self._require_running()
        result = handler.create(inputs)
        outs = _outs(handler, result.outs, secrets)
        return provider_pb2.CreateResponse(id=result.id, properties=outs)

    def read(self, request: Any) -> Any:
        """Read a resource that the state has."""
        handler = self._handler(request)
        props = properties(request.properties) or properties(request.inputs)
        if not props:
            # An import has the id alone, and no service keeps the rest of what a create knows.
            raise ResourceError(
                f"{handler.name} is not imported: `pulumi up` creates it. After a killed run, "
                "`python -m castai_stack recover` puts the state in order."
            )
        result = handler.read(request.id, props)
        if not result.id:
            return provider_pb2.ReadResponse()
        secrets = secret_names(request.properties) | secret_names(request.inputs)
        return provider_pb2.ReadResponse(
            id=result.id,
            properties=_outs(handler, result.outs, secrets),
            inputs=request.inputs,
        )

    def update(self, request: Any) -> Any:
        """Update a resource, or plan it in a preview."""
        handler = self._handler(request)
        olds, news = properties(request.olds), properties(request.news)
        secrets = secret_names(request.news)
        if request.preview:
            outs = handler.plan(olds, news)
        else:
            self._require_running()
            outs = handler.update(request.id, olds, news).outs
        return provider_pb2.UpdateResponse(properties=_outs(handler, outs, secrets))

    def delete(self, request: Any) -> Any:
        """Delete a resource."""
        self._require_running()
        self._handler(request).delete(request.id, properties(request.properties))
        return empty_pb2.Empty()

    def cancel(self, request: Any) -> Any:
        """End the waits under way and begin nothing new."""
        del request
        self._stopping.set()
        return empty_pb2.Empty()

    def end_with_engine(self, parent: int) -> None:
        """End the process soon after the engine, which a language host may stand before."""
        host, _, port = self._engine.rpartition(":")
        while os.getppid() == parent:
            time.sleep(_ENGINE_SECONDS)
            if port.isdigit():
                try:
                    socket.create_connection((host, int(port)), _LOG_SECONDS).close()
                except OSError:
                    break
        os._exit(0)

    def _handler(self, request: Any) -> Handler:
        name = _type(request.urn)
        if name not in self._handlers:
            known = ", ".join(sorted(self._handlers))
            raise ResourceError(
                f"{name} is no type of the plugin {NAME} {VERSION}, which has {known}; "
                f"{SAME_VERSION}"
            )
        log = functools.partial(self._log, request.urn)
        return self._handlers[name](Run(self._settings, log, self._stopping))

    def _require_running(self) -> None:
        if self._stopping.is_set():
            raise ResourceError("The run was cancelled before this began.")

    def _log(self, urn: str, severity: Severity, text: str) -> None:
        """Send a line to the engine; the plugin's own output is not shown."""
        with self._connecting:
            self._channel = self._channel or grpc.insecure_channel(self._engine)
        send = self._channel.unary_unary(
            "/pulumirpc.Engine/Log",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=empty_pb2.Empty.FromString,
        )
        level = {"info": engine_pb2.INFO, "warning": engine_pb2.WARNING}[severity]
        # The work goes on when the engine does not listen any more.
        with contextlib.suppress(grpc.RpcError):
            send(engine_pb2.LogRequest(severity=level, message=text, urn=urn), timeout=_LOG_SECONDS)


def token(handler: type[Handler]) -> str:
    """Return the type token of a resource type."""
    return f"{NAME}:index:{handler.name}"


def schema(handlers: Iterable[type[Handler]]) -> dict[str, Any]:
    """Return the package's schema, see https://www.pulumi.com/docs/iac/packages/schema/."""
    settings = {camel(name): _property(one) for name, one in _SETTINGS.items()}
    return {
        "name": NAME,
        "version": VERSION,
        "description": "Connects an EKS cluster to CAST AI",
        "provider": {"inputProperties": settings, "properties": settings},
        "resources": {token(handler): _resource(handler) for handler in handlers},
        # SDKs then ask the engine for this version.
        "language": {name: {"respectSchemaVersion": True} for name in _SDKS},
    }


def serve(
    handlers: Iterable[type[Handler]],
    arguments: list[str],
    components: Components | None = None,
) -> None:
    """Serve until the engine ends; the first line on stdout is the port.

    The last of the arguments is the engine's address. The process ends when the engine is gone,
    because a killed engine ends none of its plugins.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=_CALLS),
        options=[
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ("grpc.max_send_message_length", _LARGEST_MESSAGE),
        ],
    )
    plugin = Plugin(handlers, arguments[-1] if arguments else "", components)
    server.add_generic_rpc_handlers((plugin.calls(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    signal.signal(signal.SIGINT, lambda *_: server.stop(None))
    threading.Thread(target=plugin.end_with_engine, args=(os.getppid(),), daemon=True).start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


def _explaining(call: Callable[[Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return call(request)
        except Exception as error:  # noqa: BLE001 - the engine gets a sentence for every failure
            sentence = _sentence(error)
        context.abort(grpc.StatusCode.UNKNOWN, sentence)
        raise AssertionError("abort raises")

    return answer


def _sentence(error: Exception) -> str:
    """Return the text of an error of this package; another one is a fault, named with its place."""
    if type(error).__module__.startswith("castai_stack."):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    traceback.print_exception(error)
    return f"This is a fault of the plugin {NAME}, at {place}: {type(error).__name__}: {error}"


def _kubeconfig_refusal(kubeconfig: str) -> str:
    """Return why the state must not keep this kubeconfig; empty if it may."""
    try:
        places = secret_keys(kubeconfig)
    except KubeconfigError as error:
        return str(error)
    if not places:
        return ""
    return (
        "the text of this kubeconfig holds a secret, which the state would keep "
        f"({', '.join(places)}); give its path, `ambient`, or one that logs in by a program (exec)"
    )


def _type(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _without_engine(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in _OF_THE_ENGINE}


def _shape_failures(
    shape: Mapping[str, Property], news: Mapping[str, Any]
) -> list[tuple[str, str]]:
    known = {name for name, one in shape.items() if not one.computed}
    missing = [name for name in known if shape[name].required and name not in news]
    return [
        *(
            (name, f"is no property; allowed: {', '.join(sorted(known))}; {SAME_VERSION}")
            for name in news.keys() - known
        ),
        *((name, "is required") for name in missing),
    ]


def _failures(failures: Iterable[tuple[str, str]]) -> list[Any]:
    return [
        provider_pb2.CheckFailure(property=camel(name), reason=reason) for name, reason in failures
    ]


def _difference(changes: bool, replaces: Iterable[str]) -> Any:
    response = provider_pb2.DiffResponse
    return response(
        changes=response.DIFF_SOME if changes else response.DIFF_NONE,
        replaces=map(camel, replaces),
    )


def _outs(handler: Handler, outs: Mapping[str, Any], secrets: frozenset[str]) -> Any:
    """Return outputs; one is secret if it always is, or if the input of its name is."""
    by_nature = {name for name, one in handler.properties.items() if one.secret}
    return message(outs, secrets | by_nature)


def _property(one: Property) -> dict[str, Any]:
    return {**_TYPES[one.type], **({"secret": True} if one.secret else {})}


def _resource(handler: type[Handler]) -> dict[str, Any]:
    shape = handler.properties
    inputs = {name: one for name, one in shape.items() if not one.computed}
    outputs = {name: one for name, one in shape.items() if one.in_outputs}
    return {
        "description": (handler.__doc__ or "").strip(),
        "inputProperties": {camel(name): _property(one) for name, one in inputs.items()},
        "requiredInputs": [camel(name) for name, one in inputs.items() if one.required],
        "properties": {camel(name): _property(one) for name, one in outputs.items()},
        "required": [camel(name) for name, one in outputs.items() if one.required or one.computed],
    }
