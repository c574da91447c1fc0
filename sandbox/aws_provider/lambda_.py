"""Lambda functions, who may call them, and what happens to events that fail.

Schemas: `internal/service/lambda/*.go` in `hashicorp/terraform-provider-aws`.
"""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from sandbox.aws_provider import rules
from sandbox.aws_provider.account import (
    APPEARS_SECONDS,
    Account,
    RefusedError,
    absent_is_fine,
    code,
    found,
    is_absent,
    message,
)
from sandbox.aws_provider.code import zipped
from sandbox.aws_provider.fields import REGION, TAGS, given, tag_changes
from sandbox.aws_provider.resource import Field, Fields, Properties, Resource

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_READY_SECONDS = 300
_UNLIMITED = -1
_NOT_YET = (
    "The role defined for the function cannot be assumed by Lambda",
    "The provided execution role does not have permissions",
    "execution role does not have permissions to call",
    "KMS key is invalid for CreateGrant",
)
_ROOT = re.compile(r"^arn:aws[\w-]*:iam::(\d{12}):root$")


def _is_role_unknown(error: "ClientError") -> bool:
    """Whether Lambda has not heard of a role, or of its policies, yet."""
    return code(error) == "InvalidParameterValueException" and any(
        text in message(error) for text in _NOT_YET
    )


class Function(Resource):
    """Function whose code comes as an archive."""

    aws_type = "aws:lambda/function:Function"
    autoname = ("name", 64)
    stale_after_update = frozenset({"lastModified", "sourceCodeSize", "codeSha256"})
    fields: ClassVar[Fields] = {
        "name": Field(replaces=True, rule=rules.name(64, "a-zA-Z0-9_-")),
        "role": Field(rule=rules.arn),
        "code": Field(),
        "sourceCodeHash": Field(computed=True),
        "handler": Field(rule=rules.length(128)),
        "runtime": Field(),
        "description": Field(rule=rules.length(256, 0)),
        "memorySize": Field(default=128, rule=rules.between(128, 10240)),
        "timeout": Field(default=3, rule=rules.between(1, 900)),
        "packageType": Field(replaces=True, default="Zip", rule=rules.one_of("Zip")),
        "publish": Field(default=False, rule=rules.one_of(False)),
        "reservedConcurrentExecutions": Field(
            default=_UNLIMITED, rule=rules.between(_UNLIMITED, 100_000)
        ),
        "skipDestroy": Field(default=False),
        "architectures": Field(
            computed=True, rule=rules.each(rules.one_of("x86_64", "arm64")), kind="set"
        ),
        "environment": Field(),
        "layers": Field(rule=rules.each(rules.arn)),
        "kmsKeyArn": Field(rule=rules.arn),
        "deadLetterConfig": Field(),
        "tracingConfig": Field(computed=True, kind="part"),
        "ephemeralStorage": Field(computed=True, kind="part"),
        "loggingConfig": Field(computed=True, kind="part"),
        "vpcConfig": Field(kind="part"),
        **REGION,
        **TAGS,
    }

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        if "code" not in values:
            yield "code", "missing: the stand-in takes a function's code as an archive only"
        for name in ("handler", "runtime"):
            if not values.get(name):
                yield name, "handler and runtime must be set when packageType is Zip"
        runtime = values.get("runtime")
        if isinstance(runtime, str) and not re.fullmatch(r"[a-z]+[0-9a-z.]*", runtime):
            yield "runtime", f"{runtime!r} is no runtime of Lambda"
        storage = values.get("ephemeralStorage", {}).get("size", 512)
        if problem := rules.between(512, 10240)(storage):
            yield "ephemeralStorage.size", problem
        target = values.get("deadLetterConfig", {}).get("targetArn", "")
        if isinstance(target, str) and (problem := rules.arn(target)):
            yield "deadLetterConfig.targetArn", problem

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        lambda_ = aws.client("lambda", inputs["region"])
        package = zipped(inputs["code"])
        aws.retry(
            lambda: lambda_.create_function(
                FunctionName=inputs["name"],
                PackageType=inputs["packageType"],
                Code={"ZipFile": package},
                **given(Architectures=inputs.get("architectures"), Tags=inputs.get("tagsAll")),
                **_configuration(inputs),
            ),
            _is_role_unknown,
        )
        return inputs["name"], {"sourceCodeHash": _code_hash(inputs)}

    def complete(self, aws: Account, identifier: str, inputs: Properties) -> None:
        self._wait(aws, identifier, inputs)
        if inputs["reservedConcurrentExecutions"] != _UNLIMITED:
            self._reserve(aws, identifier, inputs)

    def _wait(self, aws: Account, identifier: str, inputs: Properties) -> None:
        """Wait until the function can be called or changed again."""
        lambda_ = aws.client("lambda", inputs["region"])

        def ready() -> bool:
            settings = lambda_.get_function_configuration(FunctionName=identifier)
            if "Failed" in (settings.get("State"), settings.get("LastUpdateStatus")):
                reason = settings.get("StateReason") or settings.get("LastUpdateStatusReason")
                raise RefusedError(f"Lambda could not set up function {identifier}: {reason}")
            return (
                settings.get("State", "Active") != "Pending"
                and settings.get("LastUpdateStatus", "Successful") == "Successful"
            )

        aws.wait(ready, f"function {identifier} is ready", _READY_SECONDS)

    def _reserve(self, aws: Account, identifier: str, wanted: Properties) -> None:
        lambda_ = aws.client("lambda", wanted["region"])
        reserved = wanted["reservedConcurrentExecutions"]
        if reserved == _UNLIMITED:
            lambda_.delete_function_concurrency(FunctionName=identifier)
        else:
            lambda_.put_function_concurrency(
                FunctionName=identifier, ReservedConcurrentExecutions=reserved
            )

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        region = state.get("region", aws.region)
        answer = found(aws.client("lambda", region).get_function, FunctionName=identifier)
        if answer is None:
            return None
        settings = answer["Configuration"]
        arn = settings["FunctionArn"]
        return {
            "name": settings["FunctionName"],
            "arn": arn,
            "region": region,
            **_invocation(arn, region),
            "version": "$LATEST",
            "role": settings["Role"],
            "handler": settings.get("Handler"),
            "runtime": settings.get("Runtime"),
            "description": settings.get("Description") or None,
            "memorySize": settings["MemorySize"],
            "timeout": settings["Timeout"],
            "packageType": settings.get("PackageType", "Zip"),
            "architectures": settings.get("Architectures", ["x86_64"]),
            "lastModified": settings["LastModified"],
            "codeSha256": settings["CodeSha256"],
            "sourceCodeSize": settings["CodeSize"],
            "kmsKeyArn": settings.get("KMSKeyArn") or None,
            "layers": [layer["Arn"] for layer in settings.get("Layers") or []] or None,
            **_nested(settings),
            "reservedConcurrentExecutions": answer.get("Concurrency", {}).get(
                "ReservedConcurrentExecutions", _UNLIMITED
            ),
            "sourceCodeHash": _code_hash(state),
            "tagsAll": answer.get("Tags") or {},
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        lambda_ = aws.client("lambda", new["region"])
        own_calls = {"code", "architectures", "reservedConcurrentExecutions", "tags", "tagsAll"}
        if changed - own_calls - {"skipDestroy", "publish", "sourceCodeHash"}:
            aws.retry(
                lambda: lambda_.update_function_configuration(
                    FunctionName=identifier, **_configuration(new, old)
                ),
                _is_role_unknown,
            )
            self._wait(aws, identifier, new)
        if changed & {"code", "architectures"}:
            lambda_.update_function_code(
                FunctionName=identifier,
                ZipFile=zipped(new["code"]),
                **given(Architectures=new.get("architectures")),
            )
            self._wait(aws, identifier, new)
        if "reservedConcurrentExecutions" in changed:
            self._reserve(aws, identifier, new)
        tags, gone = tag_changes(old, new)
        if gone:
            lambda_.untag_resource(Resource=old["arn"], TagKeys=gone)
        if tags:
            lambda_.tag_resource(Resource=old["arn"], Tags=tags)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        if state.get("skipDestroy"):
            return
        lambda_ = aws.client("lambda", state.get("region"))
        with absent_is_fine():
            lambda_.delete_function(FunctionName=identifier)


def _code_hash(properties: Properties) -> str | None:
    archive = properties.get("code")
    return properties.get("sourceCodeHash") if archive is None else archive.hash


def _invocation(arn: str, region: str) -> dict[str, str]:
    """Addresses that API Gateway and callers of a certain version use."""
    partition = arn.split(":")[1]
    base = f"arn:{partition}:apigateway:{region}:lambda:path"
    return {
        "qualifiedArn": f"{arn}:$LATEST",
        "invokeArn": f"{base}/2015-03-31/functions/{arn}/invocations",
        "qualifiedInvokeArn": f"{base}/2015-03-31/functions/{arn}:$LATEST/invocations",
        "responseStreamingInvokeArn": (
            f"{base}/2021-11-15/functions/{arn}/response-streaming-invocations"
        ),
    }


def _configuration(wanted: Properties, old: Properties | None = None) -> dict[str, Any]:
    """Arguments that creation and change of the configuration share.

    What the old state has and the wanted one has not is sent as empty, which takes it away.
    """
    variables = wanted.get("environment", {}).get("variables", {})
    network = wanted.get("vpcConfig", {})
    logging = wanted.get("loggingConfig", {})
    arguments: dict[str, tuple[str, Any]] = {
        "Role": ("role", wanted["role"]),
        "Handler": ("handler", wanted.get("handler")),
        "Runtime": ("runtime", wanted.get("runtime")),
        "Description": ("description", wanted.get("description", "")),
        "MemorySize": ("memorySize", wanted["memorySize"]),
        "Timeout": ("timeout", wanted["timeout"]),
        "KMSKeyArn": ("kmsKeyArn", wanted.get("kmsKeyArn", "")),
        "Layers": ("layers", wanted.get("layers", [])),
        "Environment": ("environment", {"Variables": variables}),
        "DeadLetterConfig": (
            "deadLetterConfig",
            {"TargetArn": wanted.get("deadLetterConfig", {}).get("targetArn", "")},
        ),
        "TracingConfig": ("tracingConfig", {"Mode": wanted.get("tracingConfig", {}).get("mode")}),
        "EphemeralStorage": (
            "ephemeralStorage",
            {"Size": wanted.get("ephemeralStorage", {}).get("size")},
        ),
        "VpcConfig": (
            "vpcConfig",
            {
                "SubnetIds": network.get("subnetIds", []),
                "SecurityGroupIds": network.get("securityGroupIds", []),
                **given(Ipv6AllowedForDualStack=network.get("ipv6AllowedForDualStack")),
            },
        ),
        "LoggingConfig": (
            "loggingConfig",
            given(
                LogFormat=logging.get("logFormat"),
                LogGroup=logging.get("logGroup"),
                ApplicationLogLevel=logging.get("applicationLogLevel"),
                SystemLogLevel=logging.get("systemLogLevel"),
            ),
        ),
    }
    before = old or {}
    computed = {name for name, field in Function.fields.items() if field.computed}
    return {
        argument: value
        for argument, (name, value) in arguments.items()
        if wanted.get(name) or (before.get(name) and name not in computed)
    }


def _nested(settings: dict[str, Any]) -> Properties:
    """Objects within a function, None for those that it has not."""
    variables = settings.get("Environment", {}).get("Variables")
    dead_letter = (settings.get("DeadLetterConfig") or {}).get("TargetArn")
    network = settings.get("VpcConfig") or {}
    logging = settings.get("LoggingConfig") or {}
    logging_names = {
        "logFormat": "LogFormat",
        "logGroup": "LogGroup",
        "applicationLogLevel": "ApplicationLogLevel",
        "systemLogLevel": "SystemLogLevel",
    }
    return {
        "environment": {"variables": variables} if variables else None,
        "deadLetterConfig": {"targetArn": dead_letter} if dead_letter else None,
        "tracingConfig": {"mode": (settings.get("TracingConfig") or {}).get("Mode", "PassThrough")},
        "ephemeralStorage": {"size": (settings.get("EphemeralStorage") or {}).get("Size", 512)},
        "loggingConfig": {
            name: logging[key] for name, key in logging_names.items() if logging.get(key)
        }
        or None,
        "vpcConfig": {
            "subnetIds": network["SubnetIds"],
            "securityGroupIds": network.get("SecurityGroupIds", []),
            "ipv6AllowedForDualStack": network.get("Ipv6AllowedForDualStack", False),
            "vpcId": network.get("VpcId", ""),
        }
        if network.get("SubnetIds")
        else None,
    }


_CONDITIONS = {
    "sourceArn": ("ArnLike", "AWS:SourceArn"),
    "sourceAccount": ("StringEquals", "AWS:SourceAccount"),
    "principalOrgId": ("StringEquals", "aws:PrincipalOrgID"),
    "eventSourceToken": ("StringEquals", "lambda:EventSourceToken"),
}


class Permission(Resource):
    """Statement in a function's policy."""

    aws_type = "aws:lambda/permission:Permission"
    autoname = ("statementId", 100)
    fields: ClassVar[Fields] = {
        "statementId": Field(replaces=True, rule=rules.name(100, "a-zA-Z0-9_-")),
        "function": Field(replaces=True, rule=rules.length(256)),
        "action": Field(
            replaces=True,
            rule=rules.matching(r"lambda:(\*|[a-zA-Z]+)", "like lambda:InvokeFunction"),
        ),
        "principal": Field(replaces=True, rule=rules.length(256)),
        "sourceArn": Field(replaces=True, rule=rules.arn),
        "sourceAccount": Field(replaces=True, rule=rules.account),
        "principalOrgId": Field(replaces=True),
        "eventSourceToken": Field(replaces=True),
        "qualifier": Field(replaces=True),
        **REGION,
    }

    def identify(self, aws: Account, identifier: str) -> tuple[str, Properties]:
        del aws
        function, _, statement = identifier.rpartition("/")
        if not function or not statement:
            raise RefusedError(f"unexpected id {identifier!r}, expected function/statement_id")
        name, _, qualifier = (
            function.partition(":") if "arn:" not in function else (function, "", "")
        )
        told = {"function": name, "statementId": statement}
        return statement, {**told, **given(qualifier=qualifier)}

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        lambda_ = aws.client("lambda", inputs["region"])
        aws.retry(
            lambda: lambda_.add_permission(
                FunctionName=inputs["function"],
                StatementId=inputs["statementId"],
                Action=inputs["action"],
                Principal=inputs["principal"],
                **given(
                    SourceArn=inputs.get("sourceArn"),
                    SourceAccount=inputs.get("sourceAccount"),
                    PrincipalOrgID=inputs.get("principalOrgId"),
                    EventSourceToken=inputs.get("eventSourceToken"),
                    Qualifier=inputs.get("qualifier"),
                ),
            ),
            is_absent,
            APPEARS_SECONDS,
        )
        return inputs["statementId"], {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        region = state.get("region", aws.region)
        answer = found(
            aws.client("lambda", region).get_policy,
            FunctionName=state["function"],
            **given(Qualifier=state.get("qualifier")),
        )
        statements = json.loads(answer["Policy"])["Statement"] if answer else []
        for statement in statements:
            if statement.get("Sid") == identifier:
                return {
                    "statementId": identifier,
                    "function": state["function"],
                    "region": region,
                    "action": statement["Action"],
                    "principal": _principal(statement["Principal"], state),
                    **{name: _condition(statement, *where) for name, where in _CONDITIONS.items()},
                }
        return None

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        with absent_is_fine():
            aws.client("lambda", state.get("region")).remove_permission(
                FunctionName=state["function"],
                StatementId=identifier,
                **given(Qualifier=state.get("qualifier")),
            )


def _principal(stored: Any, state: Properties) -> str:
    """Principal as the program says it: AWS turns an account id into the ARN of its root."""
    value = next(iter(stored.values())) if isinstance(stored, dict) else stored
    match = _ROOT.match(value)
    return match[1] if match and state.get("principal", match[1]) == match[1] else value


def _condition(statement: dict[str, Any], operator: str, key: str) -> str | None:
    """Value of a condition; AWS does not keep to one spelling of the key."""
    held = {
        name.lower(): value
        for name, value in statement.get("Condition", {}).get(operator, {}).items()
    }
    return held.get(key.lower())


class FunctionEventInvokeConfig(Resource):
    """What becomes of events that a function could not take."""

    aws_type = "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig"
    fields: ClassVar[Fields] = {
        "functionName": Field(replaces=True, rule=rules.length(256)),
        "qualifier": Field(replaces=True),
        "destinationConfig": Field(),
        "maximumEventAgeInSeconds": Field(rule=rules.between(60, 21600)),
        "maximumRetryAttempts": Field(default=2, rule=rules.between(0, 2)),
        **REGION,
    }

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        for name, part in values.get("destinationConfig", {}).items():
            target = part.get("destination") if isinstance(part, dict) else None
            if isinstance(target, str) and (problem := rules.arn(target)):
                yield f"destinationConfig.{name}.destination", problem

    def identify(self, aws: Account, identifier: str) -> tuple[str, Properties]:
        del aws
        arn = re.fullmatch(r"(arn:[^:]+:lambda:[^:]*:\d{12}:function:[^:]+)(?::(.+))?", identifier)
        parts = (arn[1], arn[2]) if arn else tuple(identifier.split(":", 1))
        told = dict(zip(("functionName", "qualifier"), parts, strict=False))
        return identifier, given(**told)

    def _target(self, properties: Properties) -> dict[str, Any]:
        return {
            "FunctionName": properties["functionName"],
            **given(Qualifier=properties.get("qualifier")),
        }

    def _put(self, aws: Account, inputs: Properties) -> None:
        lambda_ = aws.client("lambda", inputs["region"])
        destinations = {
            f"{name[0].upper()}{name[1:]}": {"Destination": part["destination"]}
            for name, part in inputs.get("destinationConfig", {}).items()
        }
        arguments = {
            **self._target(inputs),
            "MaximumRetryAttempts": inputs["maximumRetryAttempts"],
            **given(
                DestinationConfig=destinations,
                MaximumEventAgeInSeconds=inputs.get("maximumEventAgeInSeconds"),
            ),
        }
        aws.retry(lambda: lambda_.put_function_event_invoke_config(**arguments), _is_role_unknown)

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        self._put(aws, inputs)
        name, qualifier = inputs["functionName"], inputs.get("qualifier")
        return f"{name}:{qualifier}" if qualifier else name, {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        del identifier
        region = state.get("region", aws.region)
        lambda_ = aws.client("lambda", region)
        answer = found(lambda_.get_function_event_invoke_config, **self._target(state))
        if answer is None:
            return None
        destinations = {
            name: {"destination": part["Destination"]}
            for name, key in (("onFailure", "OnFailure"), ("onSuccess", "OnSuccess"))
            if (part := answer.get("DestinationConfig", {}).get(key, {})).get("Destination")
        }
        return {
            "functionName": state["functionName"],
            "region": region,
            "destinationConfig": destinations or None,
            "maximumEventAgeInSeconds": answer.get("MaximumEventAgeInSeconds"),
            "maximumRetryAttempts": answer.get("MaximumRetryAttempts", 2),
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        del identifier, old, changed
        self._put(aws, new)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        del identifier
        lambda_ = aws.client("lambda", state.get("region"))
        with absent_is_fine():
            lambda_.delete_function_event_invoke_config(**self._target(state))
