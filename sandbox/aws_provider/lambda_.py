"""Lambda functions, who may call them, and what happens to events that fail.

Schemas: `internal/service/lambda/*.go` in `hashicorp/terraform-provider-aws`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from sandbox.aws_provider import rules
from sandbox.aws_provider.account import Account, RefusedError
from sandbox.aws_provider.code import zipped
from sandbox.aws_provider.resource import (
    REGION,
    TAGS,
    Field,
    Fields,
    Properties,
    Resource,
    Tagging,
)

_READY_SECONDS = 300
_UNLIMITED = -1
_UNKNOWN_ROLE = tuple(
    ("InvalidParameterValueException", text)
    for text in (
        "The role defined for the function cannot be assumed by Lambda",
        "The provided execution role does not have permissions",
        "execution role does not have permissions to call",
    )
)


class Function(Resource):
    """Function whose code comes as an archive."""

    aws_type = "aws:lambda/function:Function"
    service = "lambda"
    autoname = ("name", 64)
    key: ClassVar[dict[str, str]] = {"name": "FunctionName"}
    create_call, delete_call = "create_function", "delete_function"
    tagging = Tagging("resource", "Resource", style="Map")
    passing = _UNKNOWN_ROLE
    settles: ClassVar[dict[str, float]] = {"create": 5}
    stale_after_update = frozenset(
        {"lastModified", "sourceCodeSize", "codeSha256", "sourceCodeHash"}
    )
    fields: ClassVar[Fields] = {
        "name": Field(replaces=True, rule=rules.name(64, "a-zA-Z0-9_-")),
        "role": Field(rule=rules.arn),
        "code": Field(call=None),
        "handler": Field(rule=rules.length(128)),
        "runtime": Field(),
        "description": Field(rule=rules.length(256, 0)),
        "memorySize": Field(default=128, rule=rules.between(128, 10240)),
        "timeout": Field(default=3, rule=rules.between(1, 900)),
        "reservedConcurrentExecutions": Field(
            default=_UNLIMITED, rule=rules.between(_UNLIMITED, 100_000), call=None
        ),
        "architectures": Field(
            computed=True, rule=rules.each(rules.one_of("x86_64", "arm64")), kind="set"
        ),
        "environment": Field(nested=1, empty={"Variables": {}}),
        **REGION,
        **TAGS,
    }
    outputs: ClassVar[dict[str, str]] = {
        "arn": "FunctionArn",
        "version": "Version",
        "lastModified": "LastModified",
        "codeSha256": "CodeSha256",
        "sourceCodeHash": "CodeSha256",
        "sourceCodeSize": "CodeSize",
        "reservedConcurrentExecutions": "ReservedConcurrentExecutions",
    }
    updates: ClassVar[dict[str, frozenset[str]]] = {
        "update_function_configuration": frozenset(
            {"role", "handler", "runtime", "description", "memorySize", "timeout", "environment"}
        )
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

    def arguments(self, inputs: Properties) -> dict[str, Any]:
        return {**super().arguments(inputs), "Code": {"ZipFile": zipped(inputs["code"])}}

    def complete(self, aws: Account, identifier: str, inputs: Properties) -> None:
        self._wait(aws, identifier, inputs)
        if inputs["reservedConcurrentExecutions"] != _UNLIMITED:
            self._reserve(aws, identifier, inputs)

    def call(self, aws: Account, properties: Properties, name: str, **arguments: Any) -> Any:
        answer = super().call(aws, properties, name, **arguments)
        if name.startswith("update"):
            self._wait(aws, arguments["FunctionName"], properties)
        return answer

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

    def _reserve(self, aws: Account, identifier: str, desired: Properties) -> None:
        lambda_ = aws.client("lambda", desired["region"])
        reserved = desired["reservedConcurrentExecutions"]
        if reserved == _UNLIMITED:
            lambda_.delete_function_concurrency(FunctionName=identifier)
        else:
            lambda_.put_function_concurrency(
                FunctionName=identifier, ReservedConcurrentExecutions=reserved
            )

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        function = aws.client("lambda", state.get("region")).get_function(FunctionName=identifier)
        reserved = function.get("Concurrency", {}).get("ReservedConcurrentExecutions", _UNLIMITED)
        return {
            **function["Configuration"],
            "ReservedConcurrentExecutions": reserved,
            "Tags": function.get("Tags"),
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        super().update(aws, identifier, old, new, changed)
        if changed & {"code", "architectures"}:
            architectures = new.get("architectures")
            self.call(
                aws,
                new,
                "update_function_code",
                FunctionName=identifier,
                ZipFile=zipped(new["code"]),
                **({"Architectures": architectures} if architectures else {}),
            )
        if "reservedConcurrentExecutions" in changed:
            self._reserve(aws, identifier, new)


class Permission(Resource):
    """Statement in a function's policy."""

    aws_type = "aws:lambda/permission:Permission"
    service = "lambda"
    autoname = ("statementId", 100)
    key: ClassVar[dict[str, str]] = {"function": "FunctionName", "statementId": "StatementId"}
    import_separator = "/"
    create_call, delete_call = "add_permission", "remove_permission"
    waits_for_parent = True
    fields: ClassVar[Fields] = {
        "statementId": Field(replaces=True, rule=rules.name(100, "a-zA-Z0-9_-")),
        "function": Field(replaces=True, rule=rules.length(256)),
        "action": Field(
            replaces=True,
            rule=rules.matching(r"lambda:(\*|[a-zA-Z]+)", "like lambda:InvokeFunction"),
        ),
        "principal": Field(replaces=True, rule=rules.length(256)),
        "sourceArn": Field(replaces=True, rule=rules.arn),
        **REGION,
    }

    def identifier(self, properties: Properties, answer: Any) -> str:
        del answer
        return properties["statementId"]

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        policy = aws.client("lambda", state.get("region")).get_policy(
            FunctionName=state["function"]
        )
        for statement in json.loads(policy["Policy"])["Statement"]:
            if statement.get("Sid") == identifier:
                principal = statement["Principal"]
                condition = statement.get("Condition", {}).get("ArnLike", {})
                sources = {key.lower(): value for key, value in condition.items()}
                return {
                    "Action": statement["Action"],
                    "Principal": next(iter(principal.values()))
                    if isinstance(principal, dict)
                    else principal,
                    # AWS does not keep to one spelling of the key.
                    "SourceArn": sources.get("aws:sourcearn"),
                }
        return None


class FunctionEventInvokeConfig(Resource):
    """What happens to events that a function fails to handle."""

    aws_type = "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig"
    service = "lambda"
    key: ClassVar[dict[str, str]] = {"functionName": "FunctionName"}
    create_call = "put_function_event_invoke_config"
    read_call = "get_function_event_invoke_config"
    delete_call = "delete_function_event_invoke_config"
    passing = _UNKNOWN_ROLE
    fields: ClassVar[Fields] = {
        "functionName": Field(replaces=True, rule=rules.length(256)),
        "destinationConfig": Field(nested=2),
        "maximumEventAgeInSeconds": Field(rule=rules.between(60, 21600)),
        "maximumRetryAttempts": Field(default=2, rule=rules.between(0, 2)),
        **REGION,
    }

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        for name, part in values.get("destinationConfig", {}).items():
            target = part.get("destination") if isinstance(part, dict) else None
            if isinstance(target, str) and (problem := rules.arn(target)):
                yield f"destinationConfig.{name}.destination", problem
