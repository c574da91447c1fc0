"""The plugin's side of the engine's protocol, the same for every resource type.

What the answers mean is written in `proto/pulumi/provider.proto` of `pulumi/pulumi`. Like the
real AWS plugin it takes no secrets in requests (the engine then marks outputs of the same name
itself) and marks the outputs that are secret by nature.
"""

import json
import os
import time
import traceback
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.protobuf.struct_pb2 import Struct

from sandbox import cache
from sandbox.aws_provider import documents, registry
from sandbox.aws_provider.account import (
    APPEARS_SECONDS,
    WAITS,
    Account,
    RefusedError,
    Settings,
    code,
    message,
)
from sandbox.aws_provider.resource import (
    DEFAULTS,
    TAG_PROPERTIES,
    Change,
    Properties,
    Resource,
    compare,
    deletes_before_replace,
    generated_name,
    is_empty,
    plan,
    same,
)
from sandbox.aws_provider.schema import Schemas, sdk_version
from sandbox.aws_provider.wire import (
    UNKNOWN,
    Secret,
    UnsupportedValueError,
    holds_unknown,
    properties,
    to_struct,
)
from sandbox.messages import plugin_pb2, provider_pb2, status_pb2

_SERVICE = "pulumirpc.ResourceProvider"
_THREADS = 32
_LARGEST_MESSAGE = 400 * 1024 * 1024
_OF_THE_ENGINE = frozenset({"version", "pluginDownloadURL", "__internal", DEFAULTS})
_TEXTS = frozenset({"region"})
_SWITCHES = frozenset(  # the SDK sets them by itself; they have no effect on loopback
    {"skipCredentialsValidation", "skipMetadataApiCheck", "skipRegionValidation"}
)
_JSON_VALUES = frozenset({"allowedAccountIds", "defaultTags"}) | _SWITCHES


class InitFailedError(Exception):
    """The object is there, but something that belongs to it is not."""

    def __init__(self, identifier: str, state: Struct, inputs: Struct, reason: str) -> None:
        super().__init__(reason)
        self.identifier = identifier
        self.state = state
        self.inputs = inputs


def _explain(error: Exception) -> str:
    """Return the sentence for an error; only an unexpected one names its origin."""
    if isinstance(error, (RefusedError, UnsupportedValueError)):
        return str(error)
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - costs start-up
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    if isinstance(error, ClientError):
        return f"AWS refused {error.operation_name}: {code(error)}: {message(error)}"
    if isinstance(error, BotoCoreError):
        return f"AWS could not be asked: {error}"
    if isinstance(error, ResponseParserError):
        return "AWS's answer is incomplete"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"the stand-in failed at {place}: {type(error).__name__}: {error}"


def _configuration(values: Properties) -> tuple[Properties, list[tuple[str, str]]]:
    """Decode the provider's settings; lists, objects and switches come as JSON text."""
    decoded: Properties = {}
    problems = []
    for name, value in values.items():
        if name in _OF_THE_ENGINE or value == "":
            continue
        if name not in _TEXTS | _JSON_VALUES:
            settings = ", ".join(sorted(_TEXTS | _JSON_VALUES))
            problems.append(
                (name, f"the stand-in does not carry out this setting; known: {settings}")
            )
        elif name in _JSON_VALUES and isinstance(value, str):
            try:
                decoded[name] = json.loads(value)
            except ValueError:
                problems.append((name, "expected JSON text"))
        else:
            decoded[name] = value
    tags = decoded.get("defaultTags")
    if isinstance(tags, dict) and set(tags) - {"tags"}:
        problems.append(("defaultTags", "expected an object with the one key tags"))
    return decoded, problems


def _settings(values: Properties) -> Settings:
    region = values.get("region") or os.environ.get("AWS_REGION", "")
    region = region or os.environ.get("AWS_DEFAULT_REGION", "")
    if not region:
        raise RefusedError("no region: set the provider's region, or AWS_REGION")
    return Settings(
        region=region,
        allowed_account_ids=values.get("allowedAccountIds", []),
        default_tags=values.get("defaultTags", {}).get("tags", {}),
    )


class Plugin:
    """Answers the engine; one instance per process."""

    def __init__(self) -> None:
        self._schemas = Schemas(cache.folder())
        self._aws: Account | None = None
        self._default_tags: dict[str, str] = {}

    def handlers(self) -> grpc.GenericRpcHandler:
        """Methods by their name in the protocol."""
        messages = provider_pb2
        methods: dict[str, tuple[Any, Callable[[Any], Any]]] = {
            "GetPluginInfo": (empty_pb2.Empty, self.plugin_info),
            "GetSchema": (messages.GetSchemaRequest, self.schema),
            "CheckConfig": (messages.CheckRequest, self.check_config),
            "DiffConfig": (messages.DiffRequest, self.diff_config),
            "Configure": (messages.ConfigureRequest, self.configure),
            "Invoke": (messages.InvokeRequest, self.invoke),
            "Check": (messages.CheckRequest, self.check),
            "Diff": (messages.DiffRequest, self.diff),
            "Create": (messages.CreateRequest, self.create),
            "Read": (messages.ReadRequest, self.read),
            "Update": (messages.UpdateRequest, self.update),
            "Delete": (messages.DeleteRequest, self.delete),
            "Cancel": (empty_pb2.Empty, self.cancel),
        }
        return grpc.method_handlers_generic_handler(
            _SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    _answering(method),
                    request_deserializer=request.FromString,
                    response_serializer=lambda answer: answer.SerializeToString(),
                )
                for name, (request, method) in methods.items()
            },
        )

    @property
    def aws(self) -> Account:
        """The configured account."""
        if self._aws is None:
            raise RefusedError("the AWS provider's configuration is not known yet")
        return self._aws

    def plugin_info(self, request: Any) -> Any:
        """Answer as the version of the SDK whose schema is used."""
        del request
        return plugin_pb2.PluginInfo(version=sdk_version())

    def schema(self, request: Any) -> Any:
        """Name the package; what its types hold is known to the SDK already."""
        del request
        tokens = {token: {} for token in registry.RESOURCES}
        body = {"name": "aws", "version": sdk_version(), "resources": tokens}
        return provider_pb2.GetSchemaResponse(schema=json.dumps(body))

    def check_config(self, request: Any) -> Any:
        """Refuse settings that would be ignored."""
        _, problems = _configuration(properties(request.news))
        return provider_pb2.CheckResponse(inputs=request.news, failures=_failures(problems))

    def diff_config(self, request: Any) -> Any:
        """Another configuration never replaces the provider."""
        olds, news = properties(request.olds), properties(request.news)
        return _diff_response(
            [Change(name, "UPDATE", replaces=False) for name in _differ(olds, news)]
        )

    def configure(self, request: Any) -> Any:
        """Apply the configuration and check the account of its credentials."""
        values, problems = _configuration(properties(request.args))
        if problems:
            raise RefusedError("; ".join(f"{name}: {reason}" for name, reason in problems))
        if not holds_unknown(values):
            settings = _settings(values)
            self._default_tags = settings.default_tags
            self._aws = Account(settings)
            self._aws.check_allowed()
        return provider_pb2.ConfigureResponse(
            acceptSecrets=False,
            supportsPreview=True,
            acceptResources=False,
            acceptOutputs=False,
            supports_autonaming_configuration=True,
        )

    def invoke(self, request: Any) -> Any:
        """Look something up."""
        lookup = registry.lookup(request.tok)
        values = properties(request.args)
        problems = self._schemas[request.tok].problems(values)
        arguments = {*lookup.required, *lookup.optional}
        problems += [
            (name, "the stand-in does not carry out this argument")
            for name in set(values) & self._schemas[request.tok].inputs.keys() - arguments
        ]
        problems += [
            (name, "missing required argument") for name in lookup.required if name not in values
        ]
        if problems:
            return provider_pb2.InvokeResponse(failures=_failures(problems))
        answer = lookup.ask(self.aws, values)
        strange = answer.keys() - self._schemas[request.tok].outputs
        if strange:
            raise RefusedError(f"{request.tok} has no {', '.join(sorted(strange))}")
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(to_struct({**values, **answer}))
        return response

    def check(self, request: Any) -> Any:
        """Validate and complete what the program asks for."""
        token = _type(request.urn)
        resource = registry.resource(token)
        values = {
            name: value for name, value in properties(request.news).items() if name != DEFAULTS
        }
        olds = properties(request.olds)
        shape = self._schemas[token]
        # No program sets it; the engine sends the value of before where changes are ignored.
        kept_tags = values.pop("tagsAll", None) if "tagsAll" in olds else None
        problems = shape.problems(values)
        problems += [
            (name, "the stand-in does not carry out this property; leave it out in the sandbox")
            for name in values
            if name in shape.inputs and name not in resource.fields
        ]
        if problems:
            return provider_pb2.CheckResponse(inputs=request.news, failures=_failures(problems))
        filled = self._fill(resource, values, olds, request)
        if kept_tags is not None:
            filled["tagsAll"] = kept_tags
        for name, field in resource.fields.items():
            value = filled.get(name)
            if value is None or field.rule is None or holds_unknown(value):
                continue
            if problem := field.rule(value):
                problems.append((name, problem))
        given = {name: value for name, value in filled.items() if value is not UNKNOWN}
        if not problems:
            problems += resource.check(given)
        return provider_pb2.CheckResponse(inputs=to_struct(filled), failures=_failures(problems))

    def _fill(
        self, resource: Resource, values: Properties, olds: Properties, request: Any
    ) -> Properties:
        """Add name, defaults, region and tags, and remember which of them nobody asked for."""
        filled = dict(values)
        defaults = []
        for name, field in resource.fields.items():
            value = filled.get(name)
            if field.kind == "document" and isinstance(value, dict):
                filled[name] = UNKNOWN if holds_unknown(value) else documents.text(value)
            if name == "region" and value is None and self._aws is not None:
                filled[name] = self._aws.region
            if value is None and field.default is not None:
                filled[name] = field.default
                defaults.append(name)
        if resource.autoname and resource.autoname[0] not in filled:
            name, most = resource.autoname
            previous = olds.get(name) if name in olds.get(DEFAULTS, [name]) else None
            proposed = request.autonaming.proposed_name if request.HasField("autonaming") else ""
            seed = request.randomSeed or os.urandom(16)
            filled[name] = previous or proposed or generated_name(_logical(request.urn), seed, most)
            defaults.append(name)
        if "tagsAll" in resource.fields:
            tags = filled.get("tags", {})
            unknown = holds_unknown(tags) or self._aws is None
            filled["tagsAll"] = UNKNOWN if unknown else {**self._default_tags, **tags}
        filled[DEFAULTS] = defaults
        return filled

    def diff(self, request: Any) -> Any:
        """Return what has to change, and whether in place."""
        resource = registry.resource(_type(request.urn))
        desired = properties(request.news)
        changes = [
            change
            for change in compare(resource, properties(request.olds), desired)
            if not any(_within(change.path, ignored) for ignored in request.ignoreChanges)
        ]
        return _diff_response(changes, deletes_first=deletes_before_replace(resource, desired))

    def create(self, request: Any) -> Any:
        """Make an object, or say what it would be."""
        token = _type(request.urn)
        resource = registry.resource(token)
        inputs = properties(request.properties)
        if request.preview:
            planned = plan(resource, self._schemas[token], {}, inputs)
            return provider_pb2.CreateResponse(properties=self._outputs(resource, planned))
        identifier, extra = resource.create(self.aws, inputs)
        state = {**_without_defaults(inputs), **extra}

        def finish() -> None:
            resource.complete(self.aws, identifier, inputs)
            self._settle_down(resource, "create")

        state = self._settle(resource, identifier, state, inputs, finish, failed=state)
        return provider_pb2.CreateResponse(id=identifier, properties=self._outputs(resource, state))

    def update(self, request: Any) -> Any:
        """Change an object in place, or say what it would be."""
        token = _type(request.urn)
        resource = registry.resource(token)
        old, new = properties(request.olds), properties(request.news)
        if request.preview:
            planned = plan(resource, self._schemas[token], old, new)
            return provider_pb2.UpdateResponse(properties=self._outputs(resource, planned))
        changed = {change.property for change in compare(resource, old, new)}
        outputs = {name: value for name, value in old.items() if name not in resource.fields}
        computed = {
            name: old[name]
            for name, field in resource.fields.items()
            if field.computed and name in old
        }

        def finish() -> None:
            resource.update(self.aws, request.id, old, new, changed)
            if changed - TAG_PROPERTIES:
                self._settle_down(resource, "update")

        state = {**outputs, **computed, **_without_defaults(new)}
        state = self._settle(resource, request.id, state, new, finish, failed=old)
        return provider_pb2.UpdateResponse(properties=self._outputs(resource, state))

    def _settle(
        self,
        resource: Resource,
        identifier: str,
        state: Properties,
        inputs: Properties,
        finish: Callable[[], None],
        *,
        failed: Properties,
    ) -> Properties:
        """Do the rest and read the object; when that fails, the engine keeps id and `failed`."""
        try:
            finish()
            return self._appeared(resource, identifier, state)
        except Exception as error:
            reason = _explain(error)
            try:
                actual = resource.read(self.aws, identifier, state)
            except Exception:  # noqa: BLE001 - the first error is the one to tell
                actual = None
            partial = failed if actual is None else self._merged(resource, failed, actual)
            raise InitFailedError(
                identifier, self._outputs(resource, partial), to_struct(inputs), reason
            ) from error

    def _appeared(self, resource: Resource, identifier: str, state: Properties) -> Properties:
        """Read a new object; AWS may need a moment to show it."""
        end = time.monotonic() + APPEARS_SECONDS
        while (actual := resource.read(self.aws, identifier, state)) is None:
            if time.monotonic() > end or self.aws.stopping.wait(0.2):
                raise RefusedError(f"{identifier} was made, but AWS does not show it")
        return self._merged(resource, state, actual)

    def read(self, request: Any) -> Any:
        """Return the current state; the answer for an absent object has no id."""
        resource = registry.resource(_type(request.urn))
        state, inputs = properties(request.properties), properties(request.inputs)
        identifier, parsed = request.id, {}
        if not state:
            identifier, parsed = resource.identify(self.aws, request.id)
        actual = resource.read(self.aws, identifier, {**parsed, **state})
        if actual is None:
            return provider_pb2.ReadResponse()
        if not state:  # what AWS does not keep is as if nobody had asked for anything
            unsaid = resource.fields.items()
            parsed = {name: f.default for name, f in unsaid if f.default is not None} | parsed
        merged = self._merged(resource, {**parsed, **state}, actual)
        for name, field in resource.fields.items():
            if field.kind == "document" and isinstance(actual.get(name), str):
                merged[name] = documents.normalised(actual[name])
        return provider_pb2.ReadResponse(
            id=identifier,
            properties=self._outputs(resource, merged),
            inputs=to_struct(_read_inputs(resource, merged, inputs)),
        )

    def delete(self, request: Any) -> Any:
        """Remove an object."""
        resource = registry.resource(_type(request.urn))
        resource.delete(self.aws, request.id, properties(request.properties))
        self._settle_down(resource, "delete")
        return empty_pb2.Empty()

    def _settle_down(self, resource: Resource, operation: str) -> None:
        """Wait as the real provider does, where the sandbox is asked to."""
        if os.environ.get(WAITS):
            self.aws.pause(resource.settles.get(operation, 0))

    def cancel(self, request: Any) -> Any:
        """End every wait."""
        del request
        if self._aws is not None:
            self._aws.stopping.set()
        return empty_pb2.Empty()

    def _merged(self, resource: Resource, state: Properties, actual: Properties) -> Properties:
        """Lay AWS's values over the state; values that mean the same keep their spelling."""
        merged = dict(state)
        actual = self._own_tags(state, actual)
        for name, value in actual.items():
            field = resource.fields.get(name)
            if value is None:
                merged.pop(name, None)
            elif field is None or name not in merged or not same(field, merged[name], value):
                merged[name] = value
        return merged

    def _own_tags(self, state: Properties, actual: Properties) -> Properties:
        """Separate the object's own tags from the provider's default tags."""
        if "tagsAll" not in actual:
            return actual
        every = actual["tagsAll"] or {}
        program_tags = state.get("tags", {})
        own = {
            key: value
            for key, value in every.items()
            if key in program_tags or self._default_tags.get(key) != value
        }
        return {**actual, "tags": own or None, "tagsAll": every}

    def _outputs(self, resource: Resource, state: Properties) -> Any:
        marked = {
            name: Secret(value) if name in resource.secrets and value is not UNKNOWN else value
            for name, value in state.items()
            if name != DEFAULTS
        }
        return to_struct(marked)


def _read_inputs(resource: Resource, state: Properties, inputs: Properties) -> Properties:
    """Return the inputs that would create what was read."""
    if inputs:
        retained = {DEFAULTS: inputs[DEFAULTS]} if DEFAULTS in inputs else {}
        return retained | {name: state[name] for name in inputs if name in state}
    result: Properties = {DEFAULTS: []}
    for name, field in resource.fields.items():
        value = state.get(name)
        needless = field.computed and name not in ("region", *(resource.autoname or ()))
        if not is_empty(value) and not needless and value != field.default:
            result[name] = value
    return result


def _without_defaults(inputs: Properties) -> Properties:
    return {name: value for name, value in inputs.items() if name != DEFAULTS}


def _differ(olds: Properties, news: Properties) -> list[str]:
    names = dict.fromkeys([*olds, *news])
    return [name for name in names if olds.get(name) != news.get(name)]


def _within(path: str, ignored: str) -> bool:
    return path == ignored or path.startswith((f"{ignored}.", f"{ignored}["))


def _type(urn: str) -> str:
    """Type token in an URN; the types of the parents stand before it."""
    return urn.split("::")[2].rpartition("$")[2]


def _logical(urn: str) -> str:
    return urn.split("::", 3)[3]


def _failures(problems: list[tuple[str, str]]) -> list[Any]:
    return [provider_pb2.CheckFailure(property=name, reason=reason) for name, reason in problems]


def _diff_response(changes: list[Change], *, deletes_first: bool = False) -> Any:
    kinds = provider_pb2.PropertyDiff.Kind
    detailed = {
        change.path: provider_pb2.PropertyDiff(
            kind=kinds.Value(f"{change.kind}_REPLACE" if change.replaces else change.kind)
        )
        for change in changes
    }
    replaces = [change.path for change in changes if change.replaces]
    some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
    return provider_pb2.DiffResponse(
        changes=some if changes else none,
        replaces=replaces,
        deleteBeforeReplace=bool(replaces) and deletes_first,
        diffs=list(dict.fromkeys(change.property for change in changes)),
        detailedDiff=detailed,
        hasDetailedDiff=True,
    )


def _answering(method: Callable[[Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
    """Turn exceptions into what the engine shows."""

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(request)
        except InitFailedError as error:
            _fail_half_made(error, context)
        except Exception as error:  # noqa: BLE001 - the engine gets a sentence, never a crash
            context.abort(grpc.StatusCode.UNKNOWN, _explain(error))

    return answer


def _fail_half_made(error: InitFailedError, context: grpc.ServicerContext) -> NoReturn:
    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.identifier,
        properties=error.state,
        inputs=error.inputs,
        reasons=[str(error)],
    )
    packed = any_pb2.Any()
    packed.Pack(detail)
    status = status_pb2.Status(
        code=grpc.StatusCode.UNKNOWN.value[0], message=str(error), details=[packed]
    )
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, str(error))
    raise AssertionError("unreachable: abort raises")


def serve() -> tuple[grpc.Server, int]:
    """Start to answer on a free loopback port."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=_THREADS),
        options=[
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ("grpc.max_send_message_length", _LARGEST_MESSAGE),
        ],
    )
    server.add_generic_rpc_handlers((Plugin().handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
