"""Lambda where moto 5.2.5 is too kind or forgets something.

Corrected here:

- the role must exist, trust `lambda.amazonaws.com` and have propagated
- a dead-letter queue, a failure destination: the role must be allowed to send to it
- `DeadLetterConfig`, `LoggingConfig` are kept; updates of those, of tracing and of the ephemeral
  storage take effect
- a second statement of the same id is a `ResourceConflictException`
- the configuration of asynchronous invocations is replaced by a Put, of which moto shows the
  first, and UpdateFunctionEventInvokeConfig changes what it names and leaves the rest
- environment: 4 KB, and none of Lambda's own names
  (https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)
"""

import json
from collections.abc import Mapping
from typing import Any

from werkzeug.wrappers import Response

from sandbox.aws import backends
from sandbox.aws.account import Call, Handler
from sandbox.aws.authorization import identity_policies
from sandbox.aws.policies import evaluate
from sandbox.aws.protocol import AwsError
from sandbox.aws.sts import trusts_service

_OK = 400
_ENVIRONMENT_BYTES = 4096
_RESERVED = frozenset(
    {
        "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT",
        "_HANDLER", "_X_AMZN_TRACE_ID",
    }
)  # fmt: skip
_SEND = {
    "sqs": ("sqs:SendMessage", "SendMessage on SQS"),
    "sns": ("sns:Publish", "Publish on SNS"),
}
_KEPT = ("DeadLetterConfig", "LoggingConfig")


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message)


def latest(call: Call) -> Any:
    """Find the function that a request names, by name or ARN."""
    name = call.params["FunctionName"]
    name = name.partition(":function:")[2].partition(":")[0] or name
    functions = backends.backend("lambda", call.request.region)
    versions = functions._lambdas._functions.get(name)  # noqa: SLF001 - moto offers no other way
    if versions is None or versions["latest"] is None:
        arn = f"arn:aws:lambda:{call.request.region}:{functions.account_id}:function:{name}"
        raise AwsError("ResourceNotFoundException", f"Function not found: {arn}", 404)
    return versions["latest"]


def _check_role(call: Call, arn: str) -> None:
    identity = call.account.identities.unique_id(arn)
    if identity is None or not trusts_service(arn, "lambda.amazonaws.com"):
        raise _invalid("The role defined for the function cannot be assumed by Lambda.")


def _may_send(call: Call, role: str, target: str) -> str | None:
    """Name the permission that the role lacks for sending to `target`; None if it has it."""
    action, words = _SEND.get(target.split(":")[2], ("", ""))
    if not action:
        return None
    policies, boundary = identity_policies(role, call.account.propagation)
    verdict = evaluate(policies, boundary, action, target, {"aws:principalarn": [role]})
    return None if verdict.decision == "allowed" else words


def _check_settings(call: Call, role: str) -> None:
    target = (call.params.get("DeadLetterConfig") or {}).get("TargetArn")
    if target:
        lacks = _may_send(call, role, target)
        if lacks:
            raise _invalid(f"The provided execution role does not have permissions to call {lacks}")
    variables = (call.params.get("Environment") or {}).get("Variables") or {}
    if reserved := sorted(_RESERVED & set(variables)):
        raise _invalid(
            "Lambda was unable to configure your environment variables because the environment "
            "variables you have provided contains reserved keys that are currently not supported "
            f"for modification. Reserved keys used in this request: {', '.join(reserved)}"
        )
    if len(json.dumps(variables).encode()) > _ENVIRONMENT_BYTES:
        raise _invalid(
            "Lambda was unable to configure your environment variables because the environment "
            "variables you have provided exceeded the 4KB limit."
        )


def extras(function: Any) -> dict[str, Any]:
    """Return the settings of a function that moto does not keep."""
    settings: dict[str, Any] = function.__dict__.setdefault("sandbox_extras", {})
    return settings


def _keep(call: Call, function: Any) -> None:
    for name in _KEPT:
        if name in call.params:
            extras(function)[name] = call.params[name]


def _with_settings(answer: Response, function: Any) -> Response:
    if answer.status_code >= _OK:
        return answer
    content = json.loads(answer.get_data())
    description = content.get("Configuration", content)
    logging = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{function.function_name}"}
    settings = extras(function)
    description["LoggingConfig"] = {**logging, **settings.get("LoggingConfig", {})}
    if (settings.get("DeadLetterConfig") or {}).get("TargetArn"):
        description["DeadLetterConfig"] = settings["DeadLetterConfig"]
    answer.set_data(json.dumps(content))
    return answer


def create(call: Call) -> Response:
    """Require a role that Lambda can assume; keep every setting."""
    _check_role(call, call.params["Role"])
    _check_settings(call, call.params["Role"])
    answer = call.forward()
    if answer.status_code >= _OK:
        return answer
    function = latest(call)
    _keep(call, function)
    return _with_settings(answer, function)


def get(call: Call) -> Response:
    """With the settings that moto does not keep."""
    function = latest(call)
    return _with_settings(call.forward(), function)


def existing(call: Call) -> Response:
    """Require the function to exist."""
    latest(call)
    return call.forward()


def update_configuration(call: Call) -> Response:
    """As at creation, and every setting takes effect."""
    function, params = latest(call), call.params
    role = params.get("Role", function.role)
    if "Role" in params:
        _check_role(call, role)
    _check_settings(call, role)
    if "TracingConfig" in params:
        function.tracing_config = params["TracingConfig"]
    if "EphemeralStorage" in params:
        function.ephemeral_storage = params["EphemeralStorage"]["Size"]
    if "KMSKeyArn" in params:
        function.kms_key_arn = params["KMSKeyArn"] or None
    _keep(call, function)
    return _with_settings(call.forward(), function)


def add_permission(call: Call) -> Response:
    """Statement ids are unique."""
    statements = latest(call).policy.statements
    identity = call.params["StatementId"]
    if any(statement.get("Sid") == identity for statement in statements):
        raise AwsError(
            "ResourceConflictException",
            f"The statement id ({identity}) provided already exists. Please provide a new "
            "statement id, or remove the existing statement.",
            409,
        )
    return call.forward()


def put_invoke_config(call: Call) -> Response:
    """Replace the configuration of asynchronous invocations."""
    _check_destination(call)
    # moto keeps every configuration ever put and shows the first.
    latest(call).event_invoke_config.clear()
    return call.forward()


def _check_destination(call: Call) -> None:
    failure = (call.params.get("DestinationConfig") or {}).get("OnFailure") or {}
    target = failure.get("Destination")
    if not target:
        return
    lacks = _may_send(call, latest(call).role, target)
    if lacks:
        raise _invalid(
            "The function's execution role does not have permissions to call "
            f"{lacks.partition(' ')[0]} on {target}"
        )


def update_invoke_config(call: Call) -> Mapping[str, Any]:
    """Change what is named, leave the rest."""
    _check_destination(call)
    function = latest(call)
    if not function.event_invoke_config:
        raise AwsError(
            "ResourceNotFoundException",
            f"The function {function.function_arn} doesn't have an EventInvokeConfig",
            404,
        )
    names = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
    config = {**function.event_invoke_config[-1].config}
    config.update({name: call.params[name] for name in names if name in call.params})
    function.event_invoke_config.clear()
    functions = backends.backend("lambda", call.request.region)
    answer: Mapping[str, Any] = functions.put_function_event_invoke_config(
        function.function_name, config
    )
    return answer


HANDLERS: dict[str, Handler] = {
    "CreateFunction": create,
    "GetFunction": get,
    "GetFunctionConfiguration": get,
    "UpdateFunctionConfiguration": update_configuration,
    "UpdateFunctionCode": get,
    "ListVersionsByFunction": existing,
    "AddPermission": add_permission,
    "PutFunctionEventInvokeConfig": put_invoke_config,
    "UpdateFunctionEventInvokeConfig": update_invoke_config,
}
