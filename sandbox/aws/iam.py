"""IAM where moto 5.2.5 is too kind or lacks something.

Corrected here:

- unique ids begin as AWS has them (`AIDA`, `AIPA`, `ANPA`); moto's users have none of the kind
- permissions boundaries of users are kept and shown, those of roles must exist
- a principal in a trust policy must exist; when it goes, the policy shows its unique id and no
  longer fits a principal made again under the name
- names are unique whatever their case, a policy's whatever its path
- sizes: managed policy 6,144, all inline policies of a user 2,048 and of a role 10,240, trust
  policy 2,048 characters, white space aside; ten managed policies to a user or role
  (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html)
- deleting a user with keys, a policy that is attached or has versions is a `DeleteConflict`
- attaching twice counts once
- a user keeps its tags when its path changes
- `SimulatePrincipalPolicy`, profile tags and service-specific credentials answer
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.wrappers import Response

from sandbox.aws import backends
from sandbox.aws.account import Account, Call, Handler
from sandbox.aws.authorization import identity_policies, managed
from sandbox.aws.identities import random_id
from sandbox.aws.policies import Policy, evaluate, statements
from sandbox.aws.protocol import AwsError
from sandbox.constants import ACCOUNT, PARTITION
from sandbox.iam_evaluator import UnsupportedConditionError, as_list

MANAGED_SIZE, USER_SIZE, ROLE_SIZE, TRUST_SIZE = 6144, 2048, 10240, 2048
ATTACHED = 10
_OK = 400
_ANYBODY = re.compile(rf"\*|\d{{12}}|arn:{PARTITION}:iam::\d{{12}}:root")
_SERVICE = re.compile(r"^[a-z0-9.-]+\.amazonaws\.com(\.cn)?$")


def size(document: str) -> int:
    """Characters of a document, white space aside, as IAM counts them."""
    return len(re.sub(r"\s", "", document))


def _user(call: Call) -> Any:
    name = call.params.get("UserName") or call.principal.arn.rpartition("/")[2]
    user = backends.iam().users.get(name)
    if user is None:
        raise AwsError("NoSuchEntity", f"The user with name {name} cannot be found.", 404)
    return user


def _role(call: Call) -> Any:
    name = call.params["RoleName"]
    for role in backends.iam().roles.values():
        if role.name == name:
            return role
    raise AwsError("NoSuchEntity", f"The role with name {name} cannot be found.", 404)


def _profile(call: Call) -> Any:
    name = call.params["InstanceProfileName"]
    profile = backends.iam().instance_profiles.get(name)
    if profile is None:
        raise AwsError("NoSuchEntity", f"Instance Profile {name} cannot be found.", 404)
    return profile


def _policy(arn: str) -> Any:
    policy = backends.iam().managed_policies.get(arn)
    if policy is None:
        raise AwsError("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.", 404)
    return policy


def _free(names: Iterable[str], name: str, what: str) -> None:
    if name.lower() in {other.lower() for other in names}:
        raise AwsError("EntityAlreadyExists", f"{what} with name {name} already exists.", 409)


def _boundary(arn: str | None) -> None:
    if arn is not None and arn not in backends.iam().managed_policies:
        raise AwsError(
            "NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.", 404
        )


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "Statement" not in document:
        raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.")
    return document


def check_trust(account: Account, text: str) -> None:
    """Refuse a trust policy that is malformed or names a principal that does not exist."""
    if size(text) > TRUST_SIZE:
        raise AwsError(
            "LimitExceeded", f"Cannot exceed quota for ACLSizePerRole: {TRUST_SIZE}", 409
        )
    _document(text)
    for statement in statements(text):
        if "Resource" in statement or "NotResource" in statement:
            raise AwsError("MalformedPolicyDocument", "Has prohibited field Resource")
        if "Principal" not in statement:
            raise AwsError("MalformedPolicyDocument", "Missing required field Principal")
        if statement.get("Effect") not in ("Allow", "Deny") or "Action" not in statement:
            raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.")
        named = statement["Principal"]
        pairs = {"AWS": "*"} if named == "*" else named
        if not isinstance(pairs, Mapping):
            raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.")
        for kind, values in pairs.items():
            for value in as_list(values):
                if not _principal_exists(account, kind, value):
                    raise AwsError(
                        "MalformedPolicyDocument",
                        f'Invalid principal in policy: "{kind.upper()}":"{value}"',
                    )


def _principal_exists(account: Account, kind: str, value: str) -> bool:
    if kind == "Service":
        return _SERVICE.match(value) is not None
    if kind == "Federated":
        return value in backends.iam().open_id_providers or value.endswith(".com")
    if kind != "AWS":
        return False
    if _ANYBODY.fullmatch(value):
        return True
    return account.identities.unique_id(value) is not None


def forget_principal(arn: str, unique_id: str) -> None:
    """In trust policies put the unique id of a principal that has gone in its ARN's place."""
    for role in backends.iam().roles.values():
        trust = json.loads(role.assume_role_policy_document)
        changed = False
        for statement in as_list(trust.get("Statement", [])):
            named = statement.get("Principal")
            if not isinstance(named, dict) or arn not in as_list(named.get("AWS", [])):
                continue
            left = [unique_id if value == arn else value for value in as_list(named["AWS"])]
            named["AWS"] = left if isinstance(named["AWS"], list) else left[0]
            changed = True
        if changed:
            role.assume_role_policy_document = json.dumps(trust)


def _succeeded(answer: Response) -> bool:
    return answer.status_code < _OK


def create_user(call: Call) -> Mapping[str, Any] | Response:
    """Require a unique name; keep the boundary; generate an id of the right kind."""
    iam, params = backends.iam(), call.params
    _free(iam.users, params["UserName"], "User")
    _boundary(params.get("PermissionsBoundary"))
    answer = call.forward()
    if not _succeeded(answer):
        return answer
    user = iam.users[params["UserName"]]
    user.id = random_id("AIDA")
    user.permissions_boundary_arn = params.get("PermissionsBoundary")
    call.account.propagation.record("user", user.id, user.name)
    return {"User": _user_document(user)}


def _user_document(user: Any) -> dict[str, Any]:
    document = {
        "Path": user.path,
        "UserName": user.name,
        "UserId": user.id,
        "Arn": user.arn,
        "CreateDate": user.create_date,
        "Tags": user.tags or [],
    }
    if getattr(user, "permissions_boundary_arn", None):
        document["PermissionsBoundary"] = {
            "PermissionsBoundaryType": "Policy",
            "PermissionsBoundaryArn": user.permissions_boundary_arn,
        }
    return document


def get_user(call: Call) -> Mapping[str, Any]:
    """Show the user with its boundary; without a name, the caller."""
    return {"User": _user_document(_user(call))}


def update_user(call: Call) -> Response:
    """Keep the tags, which moto loses with the old ARN."""
    user = _user(call)
    tags = list(user.tags or [])
    answer = call.forward()
    if _succeeded(answer):
        backends.iam().tag_user(user.name, tags)
    return answer


def delete_user(call: Call) -> Response:
    """Keep a user with keys or in a group."""
    user = _user(call)
    if user.access_keys:
        raise AwsError(
            "DeleteConflict", "Cannot delete entity, must delete access keys first.", 409
        )
    if backends.iam().get_groups_for_user(user.name):
        raise AwsError(
            "DeleteConflict", "Cannot delete entity, must remove users from group first.", 409
        )
    arn, unique_id = user.arn, user.id
    answer = call.forward()
    if _succeeded(answer):
        forget_principal(arn, unique_id)
    return answer


def put_user_boundary(call: Call) -> Mapping[str, Any]:
    """Set a user's boundary."""
    user = _user(call)
    _boundary(call.params["PermissionsBoundary"])
    user.permissions_boundary_arn = call.params["PermissionsBoundary"]
    return {}


def delete_user_boundary(call: Call) -> Mapping[str, Any]:
    """Remove a user's boundary."""
    user = _user(call)
    if getattr(user, "permissions_boundary_arn", None) is None:
        raise AwsError(
            "NoSuchEntity",
            f"The user with name {user.name} does not have a permissions boundary.",
            404,
        )
    user.permissions_boundary_arn = None
    return {}


def create_role(call: Call) -> Response:
    """Require a unique name, an existing boundary and a valid trust policy."""
    iam, params = backends.iam(), call.params
    _free((role.name for role in iam.roles.values()), params["RoleName"], "Role")
    _boundary(params.get("PermissionsBoundary"))
    check_trust(call.account, params["AssumeRolePolicyDocument"])
    answer = call.forward()
    if _succeeded(answer):
        role = _role(call)
        call.account.propagation.record("role", role.id, role.name)
    return answer


def update_trust(call: Call) -> Response:
    """Require a valid trust policy."""
    _role(call)
    check_trust(call.account, call.params["PolicyDocument"])
    return call.forward()


def put_role_boundary(call: Call) -> Response:
    """Require an existing boundary."""
    _role(call)
    _boundary(call.params["PermissionsBoundary"])
    return call.forward()


def delete_role(call: Call) -> Response:
    """Trust policies that named the role show its id from now on."""
    role = _role(call)
    answer = call.forward()
    if _succeeded(answer):
        forget_principal(role.arn, role.id)
    return answer


def _local_policies() -> list[Any]:
    own = f"arn:{PARTITION}:iam::{ACCOUNT}:"
    return [p for arn, p in backends.iam().managed_policies.items() if arn.startswith(own)]


def create_policy(call: Call) -> Mapping[str, Any] | Response:
    """Require a name that is unique across paths, and a document within its size."""
    name = call.params["PolicyName"]
    if name.lower() in {policy.name.lower() for policy in _local_policies()}:
        raise AwsError(
            "EntityAlreadyExists",
            f"A policy called {name} already exists. Duplicate names are not allowed.",
            409,
        )
    _managed_size(call.params["PolicyDocument"])
    answer = call.forward()
    if not _succeeded(answer):
        return answer
    policy = next(policy for policy in _local_policies() if policy.name == name)
    policy.id = random_id("ANPA")
    return {"Policy": policy_view(policy)}


def policy_view(policy: Any) -> dict[str, Any]:
    """Show a managed policy as CreatePolicy does."""
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": policy.default_version_id,
        "AttachmentCount": policy.attachment_count,
        "PermissionsBoundaryUsageCount": len(_bounded_by(policy.arn)),
        "IsAttachable": True,
        "CreateDate": policy.create_date,
        "UpdateDate": policy.update_date,
        "Tags": list(policy.tags.values()),
    }


def _bounded_by(arn: str) -> list[str]:
    iam = backends.iam()
    return [
        thing.name
        for things in (iam.users, iam.roles)
        for thing in things.values()
        if getattr(thing, "permissions_boundary_arn", None) == arn
    ]


def _managed_size(document: str) -> None:
    if size(document) > MANAGED_SIZE:
        raise AwsError("LimitExceeded", f"Cannot exceed quota for PolicySize: {MANAGED_SIZE}", 409)


def create_policy_version(call: Call) -> Response:
    """Size of the document."""
    _policy(call.params["PolicyArn"])
    _managed_size(call.params["PolicyDocument"])
    return call.forward()


def delete_policy(call: Call) -> Response:
    """Keep a policy in use, or with further versions."""
    policy = _policy(call.params["PolicyArn"])
    if policy.attachment_count or _bounded_by(policy.arn):
        raise AwsError("DeleteConflict", "Cannot delete a policy attached to entities.", 409)
    if len(policy.versions) > 1:
        raise AwsError(
            "DeleteConflict",
            "This policy has more than one version. Before you delete a policy, you must delete "
            "the policy's versions. The default version is deleted with the policy.",
            409,
        )
    return call.forward()


def _attach(find: Callable[[Call], Any], kind: str) -> Handler:
    def attach(call: Call) -> Mapping[str, Any] | Response:
        owner, arn = find(call), call.params["PolicyArn"]
        _policy(arn)
        if arn in owner.managed_policies:
            return {}
        if len(owner.managed_policies) >= ATTACHED:
            raise AwsError(
                "LimitExceeded", f"Cannot exceed quota for PoliciesPer{kind}: {ATTACHED}", 409
            )
        answer = call.forward()
        if _succeeded(answer):
            call.account.propagation.record("policy", f"{owner.id}/{arn}", f"{owner.name}/{arn}")
        return answer

    return attach


def _put_inline(find: Callable[[Call], Any], kind: str, limit: int) -> Handler:
    def put(call: Call) -> Response:
        owner, name = find(call), call.params["PolicyName"]
        others = sum(size(text) for other, text in owner.policies.items() if other != name)
        if others + size(call.params["PolicyDocument"]) > limit:
            raise AwsError(
                "LimitExceeded",
                f"Maximum policy size of {limit} bytes exceeded for {kind} {owner.name}",
                409,
            )
        answer = call.forward()
        if _succeeded(answer):
            call.account.propagation.record("policy", f"{owner.id}/{name}", f"{owner.name}/{name}")
        return answer

    return put


def create_access_key(call: Call) -> Response:
    """Make a key that STS sees only later."""
    user = _user(call)
    before = {key.access_key_id for key in user.access_keys}
    answer = call.forward()
    for key in user.access_keys:
        if key.access_key_id not in before:
            name = f"{user.name}/{len(before)}"
            call.account.propagation.record("key", key.access_key_id, name)
            call.account.identities.secret_keys.append(key.secret_access_key)
    return answer


def create_profile(call: Call) -> Mapping[str, Any] | Response:
    """Require a unique name; generate an id of the right kind."""
    profiles = backends.iam().instance_profiles
    name = call.params["InstanceProfileName"]
    if name.lower() in {other.lower() for other in profiles}:
        raise AwsError("EntityAlreadyExists", f"Instance Profile {name} already exists.", 409)
    answer = call.forward()
    if not _succeeded(answer):
        return answer
    profile = profiles[name]
    profile.id = random_id("AIPA")
    return {
        "InstanceProfile": {
            "Path": profile.path,
            "InstanceProfileName": profile.name,
            "InstanceProfileId": profile.id,
            "Arn": profile.arn,
            "CreateDate": profile.create_date,
            "Roles": [],
            "Tags": profile.tags or [],
        }
    }


def remove_from_profile(call: Call) -> Response:
    """Refuse to take out a role that is not in the profile."""
    profile, role = _profile(call), _role(call)
    if role not in profile.roles:
        raise AwsError(
            "NoSuchEntity", f"Instance Profile {profile.name} has no role {role.name}.", 404
        )
    return call.forward()


def profile_tags(call: Call) -> Mapping[str, Any]:
    """Tags of a profile."""
    return {"Tags": _profile(call).tags or [], "IsTruncated": False}


def service_credentials(call: Call) -> Mapping[str, Any]:
    """Return none; the user must exist."""
    if "UserName" in call.params:
        _user(call)
    return {"ServiceSpecificCredentials": []}


def simulate_principal(call: Call) -> Mapping[str, Any]:
    """Simulate actions under the policies of a user or role."""
    params, arn = call.params, call.params["PolicySourceArn"]
    policies, boundary = _source_policies(arn)
    inputs = enumerate(params.get("PolicyInputList", []), 1)
    policies += [Policy(f"PolicyInputList.{n}", text) for n, text in inputs]
    borders = params.get("PermissionsBoundaryPolicyInputList", [])
    if borders:
        boundary = Policy("PermissionsBoundaryPolicyInputList.1", borders[0])
    return _simulated(params, policies, boundary, arn)


def _source_policies(arn: str) -> tuple[list[Policy], Policy | None]:
    match = re.match(rf"^arn:{PARTITION}:iam::{ACCOUNT}:(user|role|group)/", arn)
    if match is None:
        raise AwsError(
            "InvalidInput",
            f"Invalid Entity Arn: {arn} does not clearly define entity type and name.",
        )
    iam = backends.iam()
    if not any(t.arn == arn for principals in (iam.users, iam.roles) for t in principals.values()):
        raise AwsError("NoSuchEntity", f"The entity {arn} cannot be found.", 404)
    return identity_policies(arn)


def _simulated(
    params: Mapping[str, Any], policies: list[Policy], boundary: Policy | None, arn: str
) -> Mapping[str, Any]:
    context = {"aws:principalarn": [arn]}
    for entry in params.get("ContextEntries", []):
        context[entry["ContextKeyName"].lower()] = list(entry.get("ContextKeyValues", []))
    results = []
    for action in params["ActionNames"]:
        if not re.fullmatch(r"[a-z0-9-]+:[A-Za-z0-9*]+", action):
            raise AwsError("InvalidInput", f"Invalid Action Name: {action}")
        for resource in params.get("ResourceArns") or ["*"]:
            try:
                verdict = evaluate(policies, boundary, action, resource, context)
            except UnsupportedConditionError as error:
                raise AwsError("PolicyEvaluation", str(error), 500) from error
            result: dict[str, Any] = {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": verdict.decision,
                "MatchedStatements": [
                    {"SourcePolicyId": policy.name, "SourcePolicyType": policy.kind}
                    for policy in verdict.matched
                ],
                "MissingContextValues": [],
            }
            if params.get("ResourceArns"):
                # Only a question about `*` has its missing keys at the top:
                # https://docs.aws.amazon.com/IAM/latest/APIReference/API_EvaluationResult.html
                result["ResourceSpecificResults"] = [
                    {
                        "EvalResourceName": resource,
                        "EvalResourceDecision": verdict.decision,
                        "MissingContextValues": list(verdict.missing),
                    }
                ]
            else:
                result["MissingContextValues"] = list(verdict.missing)
            if verdict.boundary is not None:
                allowed = verdict.boundary == "allowed"
                result["PermissionsBoundaryDecisionDetail"] = {
                    "AllowedByPermissionsBoundary": allowed
                }
            results.append(result)
    return {"EvaluationResults": results, "IsTruncated": False}


def policy_with_usage(call: Call) -> Mapping[str, Any]:
    """GetPolicy, with the uses as a boundary counted."""
    policy = _policy(call.params["PolicyArn"])
    managed(policy.arn)
    return {"Policy": {**policy_view(policy), "Description": policy.description or None}}


HANDLERS: dict[str, Handler] = {
    "CreateUser": create_user,
    "GetUser": get_user,
    "UpdateUser": update_user,
    "DeleteUser": delete_user,
    "PutUserPermissionsBoundary": put_user_boundary,
    "DeleteUserPermissionsBoundary": delete_user_boundary,
    "CreateRole": create_role,
    "UpdateAssumeRolePolicy": update_trust,
    "PutRolePermissionsBoundary": put_role_boundary,
    "DeleteRole": delete_role,
    "CreatePolicy": create_policy,
    "GetPolicy": policy_with_usage,
    "CreatePolicyVersion": create_policy_version,
    "DeletePolicy": delete_policy,
    "AttachUserPolicy": _attach(_user, "User"),
    "AttachRolePolicy": _attach(_role, "Role"),
    "PutUserPolicy": _put_inline(_user, "user", USER_SIZE),
    "PutRolePolicy": _put_inline(_role, "role", ROLE_SIZE),
    "CreateAccessKey": create_access_key,
    "CreateInstanceProfile": create_profile,
    "RemoveRoleFromInstanceProfile": remove_from_profile,
    "ListInstanceProfileTags": profile_tags,
    "ListServiceSpecificCredentials": service_credentials,
    "SimulatePrincipalPolicy": simulate_principal,
}
