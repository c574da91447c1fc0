"""STS, judged here: moto 5.2.5 is too kind.

What moto does and AWS does not:

- AssumeRole succeeds for any caller, whatever the trust policy says, also across accounts
- a condition on `sts:ExternalId` holds when the request carries none
- the role need not exist
- GetCallerIdentity answers for keys that are inactive, deleted or were never made
"""

import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from werkzeug.wrappers import Response

from sandbox.aws import backends
from sandbox.aws.account import Call, Handler
from sandbox.aws.authorization import base_context, identity_policies
from sandbox.aws.identities import Principal
from sandbox.aws.policies import evaluate, request, statements
from sandbox.aws.protocol import AwsError
from sandbox.iam_evaluator import as_list, conditions_hold, covers_action
from sandbox.serving.faults import json_response

_ASSUME = "sts:AssumeRole"


def get_caller_identity(call: Call) -> Mapping[str, Any] | Response:
    """Return the caller's identity, as JSON to clients that accept it."""
    principal = call.principal
    result = {
        "UserId": principal.user_id,
        "Account": principal.account,
        "Arn": principal.arn,
    }
    if call.request.environ.get("HTTP_ACCEPT") != "application/json":
        return result
    content = {"GetCallerIdentityResult": result, "ResponseMetadata": {"RequestId": str(uuid4())}}
    return json_response({"GetCallerIdentityResponse": content})


def assume_role(call: Call) -> Mapping[str, Any]:
    """Temporary credentials, if the role's trust policy lets the caller in."""
    params, principal = call.params, call.principal
    if params.get("Policy") or params.get("PolicyArns"):
        raise AwsError("ValidationError", "the sandbox does not judge session policies")
    role = _role(params["RoleArn"])
    if (
        role is None
        or not call.account.propagation.visible("role", role.id)
        or not _trusted(call, role)
    ):
        raise AwsError(
            "AccessDenied",
            f"User: {principal.arn} is not authorized to perform: {_ASSUME} on resource: "
            f"{params['RoleArn']}",
            403,
        )
    seconds = int(params.get("DurationSeconds") or 3600)
    if seconds > int(role.max_session_duration or 3600):
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        )
    session = call.account.identities.open_session(role, params["RoleSessionName"], seconds)
    return {
        "Credentials": {
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret,
            "SessionToken": session.token,
            "Expiration": session.expires,
        },
        "AssumedRoleUser": {
            "AssumedRoleId": session.principal.user_id,
            "Arn": session.principal.arn,
        },
    }


def _role(arn: str) -> Any:
    return next((role for role in backends.iam().roles.values() if role.arn == arn), None)


def _trusted(call: Call, role: Any) -> bool:
    principal = call.principal
    moment = call.account.clock.wall().isoformat()
    context = {
        **base_context(principal, call.request.region, moment),
        "sts:rolesessionname": [call.params["RoleSessionName"]],
    }
    if "ExternalId" in call.params:
        context["sts:externalid"] = [call.params["ExternalId"]]
    query = request(_ASSUME, role.arn, context)
    allowed = False
    for statement in statements(role.assume_role_policy_document):
        if not covers_action(statement, _ASSUME):
            continue
        named, delegated = _names(statement.get("Principal", {}), principal)
        if not (named or delegated):
            continue
        if not conditions_hold(statement.get("Condition", {}), query):
            continue
        if statement["Effect"] == "Deny":
            return False
        allowed = allowed or named or _may_assume(call, role.arn, context)
    return allowed


def _names(named: Any, principal: Principal) -> tuple[bool, bool]:
    """Whether a trust policy names the caller itself, and whether it names its account."""
    if named == "*":
        return True, False
    values = as_list(named.get("AWS", [])) if isinstance(named, dict) else []
    root = re.compile(rf"(arn:[a-z-]+:iam::)?{principal.account}(:root)?")
    own = {"*", principal.arn, principal.source_arn}
    return bool(own & set(values)), any(root.fullmatch(value) for value in values)


def _may_assume(call: Call, role_arn: str, context: Mapping[str, list[str]]) -> bool:
    """Ask the caller's own policies, to which a trust policy for its account leaves the choice."""
    principal = call.principal
    if principal.kind in ("root", "foreign"):
        return True
    policies, boundary = identity_policies(principal.source_arn, call.account.propagation)
    return evaluate(policies, boundary, _ASSUME, role_arn, context).decision == "allowed"


def trusts_service(role_arn: str, service: str) -> bool:
    """Whether a role lets an AWS service assume it."""
    role = _role(role_arn)
    if role is None:
        return False
    return any(
        statement["Effect"] == "Allow"
        and covers_action(statement, _ASSUME)
        and isinstance(statement.get("Principal"), dict)
        and service in as_list(statement["Principal"].get("Service", []))
        for statement in statements(role.assume_role_policy_document)
    )


HANDLERS: dict[str, Handler] = {
    "GetCallerIdentity": get_caller_identity,
    "AssumeRole": assume_role,
}
