"""Decides by the caller's own policies whether a request may be carried out.

Resources and condition keys follow the service authorization reference
(https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html) for the
operations that the program, its operator and CAST AI use; anything else is asked for on `*`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.aws import backends
from sandbox.aws.identities import Principal, Propagation
from sandbox.aws.policies import Policy, Verdict, evaluate
from sandbox.aws.protocol import ApiRequest, AwsError
from sandbox.constants import ACCOUNT, PARTITION
from sandbox.iam_evaluator import as_list

_FREE = frozenset({"sts:GetCallerIdentity", "sts:AssumeRole"})
"""Need no permission, or are judged by the trust policy."""
_MAKING = ("CreateInstanceProfile", "CreateRole", "CreateUser", "CreateGroup")
_EC2_MADE = {
    "CreateSecurityGroup": "security-group",
    "CreateKeyPair": "key-pair",
    "ImportKeyPair": "key-pair",
    "DeleteKeyPair": "key-pair",
    "CreateVolume": "volume",
    "CreateVpc": "vpc",
    "CreateSubnet": "subnet",
}
"""Kind of resource that an operation creates, or names by a name rather than an id."""
_EC2_IDS = ("InstanceId", "GroupId", "VolumeId", "VpcId", "SubnetId")
_EC2_KINDS = {
    "i": "instance",
    "sg": "security-group",
    "subnet": "subnet",
    "vpc": "vpc",
    "vol": "volume",
    "eni": "network-interface",
    "key": "key-pair",
    "lt": "launch-template",
}


@dataclass(frozen=True)
class Need:
    """One permission that a request needs, on any one of the spellings of its resource."""

    action: str
    resources: tuple[str, ...]
    context: dict[str, list[str]] = field(default_factory=dict)


def identity_policies(
    principal_arn: str, propagation: Propagation | None = None
) -> tuple[list[Policy], Policy | None]:
    """Policies of a user or role, groups included, and its permissions boundary."""
    thing = _entity(principal_arn)
    if thing is None:
        return [], None
    iam = backends.iam()
    owners = [thing]
    if hasattr(thing, "access_keys"):
        owners += iam.get_groups_for_user(thing.name)
    policies: list[Policy] = []
    for owner in owners:
        policies += [
            Policy(name, document)
            for name, document in owner.policies.items()
            if propagation is None or propagation.visible("policy", f"{owner.id}/{name}")
        ]
        policies += [
            managed(arn)
            for arn in owner.managed_policies
            if propagation is None or propagation.visible("policy", f"{owner.id}/{arn}")
        ]
    border = getattr(thing, "permissions_boundary_arn", None)
    return policies, managed(border) if border else None


def managed(arn: str) -> Policy:
    """Find the default version of a managed policy."""
    policy = backends.iam().managed_policies.get(arn)
    if policy is None:
        # A boundary that was deleted allows nothing.
        return Policy(arn, '{"Statement": []}')
    version = next(v for v in policy.versions if v.version_id == policy.default_version_id)
    return Policy(policy.name, version.document)


def _entity(arn: str) -> Any:
    iam = backends.iam()
    for things in (iam.users, iam.roles):
        for thing in things.values():
            if thing.arn == arn:
                return thing
    return None


def entity_tags(arn: str) -> dict[str, str]:
    """Tags of a user or role."""
    thing = _entity(arn)
    return {tag["Key"]: tag["Value"] for tag in getattr(thing, "tags", None) or []}


def base_context(principal: Principal, request_region: str, moment: str) -> dict[str, list[str]]:
    """Condition keys that every request carries."""
    context = {
        "aws:principalarn": [principal.source_arn],
        "aws:principalaccount": [principal.account],
        "aws:userid": [principal.user_id],
        "aws:requestedregion": [request_region],
        "aws:currenttime": [moment],
        "aws:sourceip": ["127.0.0.1"],
        "aws:securetransport": ["true"],
    }
    if principal.kind == "user":
        context["aws:username"] = [principal.arn.rpartition("/")[2]]
    for key, value in entity_tags(principal.source_arn).items():
        context[f"aws:principaltag/{key.lower()}"] = [value]
    return context


def authorize(
    request: ApiRequest, principal: Principal, propagation: Propagation, moment: str
) -> None:
    """Raise what AWS answers to a caller without the permission."""
    action = f"{request.service.prefix}:{request.action}"
    if principal.kind == "root" or action in _FREE:
        return
    if principal.kind == "foreign":
        raise denied(request, principal, action, "*", Verdict("implicitDeny"))
    policies, boundary = identity_policies(principal.source_arn, propagation)
    context = base_context(principal, request.region, moment)
    for need in needs(request):
        verdicts = [
            evaluate(policies, boundary, need.action, resource, {**context, **need.context})
            for resource in need.resources
        ]
        refused = next((v for v in verdicts if v.decision == "explicitDeny"), None)
        if refused is None and not any(v.decision == "allowed" for v in verdicts):
            refused = verdicts[0]
        if refused is not None:
            raise denied(request, principal, need.action, need.resources[0], refused)


def denied(
    request: ApiRequest, principal: Principal, action: str, resource: str, verdict: Verdict
) -> AwsError:
    """Refuse in the words of AWS."""
    layer = (
        "permissions boundary"
        if verdict.boundary == verdict.decision
        else ("identity-based policy")
    )
    if verdict.decision == "explicitDeny":
        why = f"with an explicit deny in a{'n' if layer[0] == 'i' else ''} {layer}"
    else:
        why = f"because no {layer} allows the {action} action"
    text = f"User: {principal.arn} is not authorized to perform: {action}"
    if request.service.model != "sts":
        text += f" on resource: {resource} {why}"
    else:
        text += f" on resource: {resource}"
    if request.service.model == "ec2":
        message = f"You are not authorized to perform this operation. {text}"
        return AwsError("UnauthorizedOperation", message, 403)
    if request.service.model in ("iam", "sts", "cloudwatch", "sqs"):
        return AwsError("AccessDenied", text, 403)
    status = 403 if request.service.model in ("eks", "lambda") else 400
    return AwsError("AccessDeniedException", text, status)


def needs(request: ApiRequest) -> Iterator[Need]:
    """Every permission that a request needs."""
    model, params = request.service.model, request.params
    action = f"{request.service.prefix}:{request.action}"
    if model == "ec2":
        yield from _ec2(request, action)
        return
    context = _tags_context(_request_tags(params))
    if model == "iam":
        resources = (_iam_resource(request),)
        for key, name in (
            ("iam:policyarn", "PolicyArn"),
            ("iam:permissionsboundary", "PermissionsBoundary"),
        ):
            if name in params:
                context[key] = [params[name]]
        for key, value in entity_tags(resources[0]).items():
            context[f"aws:resourcetag/{key.lower()}"] = [value]
            context[f"iam:resourcetag/{key.lower()}"] = [value]
    else:
        resources = tuple(_regional(request)) or ("*",)
        context |= _service_context(model, params)
    yield Need(action, resources, context)
    if action == "iam:AddRoleToInstanceProfile":
        yield _pass_role(_role_arn(params.get("RoleName", "")), "ec2.amazonaws.com")
    if model == "lambda" and "Role" in params:
        yield _pass_role(params["Role"], "lambda.amazonaws.com")


def _service_context(model: str, params: Mapping[str, Any]) -> dict[str, list[str]]:
    """Condition keys of single services."""
    if model == "lambda":
        network = params.get("VpcConfig") or {}
        keys = {
            "lambda:principal": [params["Principal"]] if "Principal" in params else [],
            "lambda:vpcids": ["vpc"] if network.get("SubnetIds") else [],
            "lambda:subnetids": list(network.get("SubnetIds") or []),
        }
    elif model == "events":
        pattern = _pattern(params.get("EventPattern"))
        keys = {
            "events:source": as_list(pattern.get("source", [])),
            "events:detail-type": as_list(pattern.get("detail-type", [])),
            "events:targetarn": [target["Arn"] for target in params.get("Targets", [])],
        }
    else:
        keys = {}
    return {key: values for key, values in keys.items() if values}


def _pattern(text: str | None) -> dict[str, Any]:
    try:
        pattern = json.loads(text or "{}")
    except ValueError:
        return {}
    return pattern if isinstance(pattern, dict) else {}


def _pass_role(arn: str, service: str) -> Need:
    return Need("iam:PassRole", (arn,), {"iam:passedtoservice": [service]})


def _iam_arn(kind: str, path: str, name: str) -> str:
    return f"arn:{PARTITION}:iam::{ACCOUNT}:{kind}{path or '/'}{name}"


def _role_arn(name: str) -> str:
    for role in backends.iam().roles.values():
        if role.name == name:
            return str(role.arn)
    return _iam_arn("role", "/", name)


def _iam_resource(request: ApiRequest) -> str:
    params, iam = request.params, backends.iam()
    path = params.get("Path", "/")
    for name, kind, entities in (
        ("InstanceProfileName", "instance-profile", iam.instance_profiles),
        ("RoleName", "role", {role.name: role for role in iam.roles.values()}),
        ("UserName", "user", iam.users),
        ("GroupName", "group", iam.groups),
    ):
        if name in params:
            thing = None if request.action in _MAKING else entities.get(params[name])
            return str(thing.arn) if thing else _iam_arn(kind, path, params[name])
    if request.action == "CreatePolicy":
        return _iam_arn("policy", path, params.get("PolicyName", ""))
    return str(params.get("PolicyArn") or params.get("PolicySourceArn") or "*")


def _arn(request: ApiRequest, rest: str) -> str:
    return f"arn:{PARTITION}:{request.service.prefix}:{request.region}:{ACCOUNT}:{rest}"


def _regional(request: ApiRequest) -> Iterable[str]:
    model, params = request.service.model, request.params
    for name in ("ResourceARN", "resourceArn", "Resource", "ResourceArn"):
        if str(params.get(name, "")).startswith("arn:"):
            return [params[name]]
    if model == "secretsmanager":
        return _secret(request)
    if model == "eks":
        return _eks(request)
    if model == "logs" and "logGroupName" in params:
        # Policies name a log group with and without what is in it.
        group = _arn(request, f"log-group:{params['logGroupName']}")
        return [f"{group}:*", group]
    return [_arn(request, rest) for rest in _named(model, params)]


def _named(model: str, params: Mapping[str, Any]) -> list[str]:
    if model == "cloudwatch":
        names = [params["AlarmName"]] if "AlarmName" in params else params.get("AlarmNames", [])
        return [f"alarm:{name}" for name in names]
    if model == "lambda":
        name = params.get("FunctionName", "").rpartition(":function:")[2]
        return [f"function:{name}"] if name else []
    if model == "events":
        name = params.get("Rule") or params.get("Name")
        return [f"rule/{name}"] if name else []
    name = params.get("QueueName") or str(params.get("QueueUrl", "")).rpartition("/")[2]
    return [name] if name and model == "sqs" else []


def _secret(request: ApiRequest) -> Iterator[str]:
    identifier = request.params.get("SecretId") or request.params.get("Name")
    if not identifier:
        return
    secrets = backends.backend("secretsmanager", request.region).secrets
    arns = [secret.arn for secret in secrets.values() if identifier in (secret.name, secret.arn)]
    yield from arns or [
        identifier
        if identifier.startswith("arn:")
        else _arn(request, f"secret:{identifier}-000000")
    ]


def _eks(request: ApiRequest) -> Iterator[str]:
    cluster = request.params.get("clusterName") or request.params.get("name")
    if not cluster:
        return
    principal = request.params.get("principalArn", "")
    if principal and request.action != "CreateAccessEntry":
        account, _, rest = principal.partition("::")[2].partition(":")
        kind, _, name = rest.partition("/")
        yield _arn(request, f"access-entry/{cluster}/{kind}/{account}/{name}/0")
    else:
        yield _arn(request, f"cluster/{cluster}")


def _request_tags(params: Mapping[str, Any]) -> dict[str, str | None]:
    """Tags that a request sets, and keys without a value that it removes."""
    tags = params.get("Tags", params.get("tags")) or params.get("TagKeys", params.get("tagKeys"))
    if isinstance(tags, Mapping):
        return {str(key): str(value) for key, value in tags.items()}
    if tags and isinstance(tags[0], str):
        return dict.fromkeys(tags)
    return {tag["Key"]: tag.get("Value", "") for tag in tags or []}


def _tags_context(tags: Mapping[str, str | None]) -> dict[str, list[str]]:
    if not tags:
        return {}
    context = {
        f"aws:requesttag/{key.lower()}": [value] for key, value in tags.items() if value is not None
    }
    return {**context, "aws:tagkeys": list(tags)}


def _ec2(request: ApiRequest, action: str) -> Iterator[Need]:
    params = request.params
    if request.action == "RunInstances":
        yield from _run_instances(request)
        return
    if not request.write:
        yield Need(action, ("*",))
        return
    tags = _tags_context({**_request_tags(params), **_specified_tags(params, None)})
    kind = _EC2_MADE.get(request.action)
    ids = [
        *params.get("InstanceIds", []),
        *params.get("Resources", []),
        *(params[name] for name in _EC2_IDS if name in params),
    ]
    new = [_arn(request, f"{kind}/{params.get('KeyName', '*')}")] if kind else []
    for resource in new or ([] if ids else ["*"]):
        yield Need(action, (resource,), tags)
    for identity in ids:
        context = {**tags, **_held_ec2(request, identity)}
        yield Need(action, (_ec2_arn(request, identity),), context)
    if kind:
        yield from _tagged_at_creation(request, kind)


def _tagged_at_creation(request: ApiRequest, kind: str) -> Iterator[Need]:
    """Require the permission to tag from a caller who creates a resource with tags."""
    tags = _specified_tags(request.params, kind)
    if tags:
        context = {**_tags_context(tags), "ec2:createaction": [request.action]}
        yield Need("ec2:CreateTags", (_arn(request, f"{kind}/*"),), context)


def _specified_tags(params: Mapping[str, Any], kind: str | None) -> dict[str, str]:
    return {
        tag["Key"]: tag.get("Value", "")
        for specification in params.get("TagSpecifications", [])
        if kind in (None, specification.get("ResourceType"))
        for tag in specification.get("Tags", [])
    }


def _ec2_arn(request: ApiRequest, identity: str) -> str:
    kind = _EC2_KINDS.get(identity.partition("-")[0], "*")
    return _arn(request, f"{kind}/{identity}")


def _held_ec2(request: ApiRequest, identity: str) -> dict[str, list[str]]:
    ec2 = backends.backend("ec2", request.region)
    context: dict[str, list[str]] = {}
    for key, value in ec2.tags.get(identity, {}).items():
        context[f"ec2:resourcetag/{key.lower()}"] = [value]
        context[f"aws:resourcetag/{key.lower()}"] = [value]
    vpc = _vpc_of(ec2, identity)
    if vpc:
        context["ec2:vpc"] = [_arn(request, f"vpc/{vpc}")]
    return context


def _vpc_of(ec2: Any, identity: str) -> str | None:
    if identity.startswith("subnet-"):
        for by_zone in ec2.subnets.values():
            if identity in by_zone:
                return str(by_zone[identity].vpc_id)
    if identity.startswith("sg-"):
        for vpc, groups in ec2.groups.items():
            if identity in groups:
                return vpc
    return None


def _run_instances(request: ApiRequest) -> Iterator[Need]:
    params, action = request.params, "ec2:RunInstances"
    interfaces = params.get("NetworkInterfaces", [])
    subnets = [p["SubnetId"] for p in (params, *interfaces) if "SubnetId" in p]
    groups = [*params.get("SecurityGroupIds", [])]
    for interface in interfaces:
        groups += interface.get("Groups", [])
    subnets = subnets or [_default_subnet(request)]
    place = _held_ec2(request, subnets[0])
    vpc = {"ec2:vpc": place["ec2:vpc"]} if "ec2:vpc" in place else {}
    instance_tags = _tags_context(_specified_tags(params, "instance"))
    volume_tags = _tags_context(_specified_tags(params, "volume"))
    yield Need(action, (_arn(request, "instance/*"),), instance_tags)
    yield Need(action, (_arn(request, "volume/*"),), volume_tags)
    here = {**vpc, "ec2:subnet": [_ec2_arn(request, subnets[0])]}
    yield Need(action, (_arn(request, "network-interface/*"),), here)
    if not groups:
        yield Need(action, (_arn(request, "security-group/*"),), vpc)
    if "ImageId" in params:
        image = f"arn:{PARTITION}:ec2:{request.region}::image/{params['ImageId']}"
        yield Need(action, (image,))
    for identity in (*subnets, *groups):
        yield Need(action, (_ec2_arn(request, identity),), _held_ec2(request, identity))
    if "KeyName" in params:
        yield Need(action, (_arn(request, f"key-pair/{params['KeyName']}"),))
    yield from _tagged_at_creation(request, "instance")
    yield from _tagged_at_creation(request, "volume")
    yield from _volume_keys(request)
    yield from _passed_profile(params.get("IamInstanceProfile", {}))


def _volume_keys(request: ApiRequest) -> Iterator[Need]:
    """Require what a caller needs on the keys that encrypt the volumes.

    https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html
    """
    via = {"kms:viaservice": [f"ec2.{request.region}.amazonaws.com"]}
    devices = request.params.get("BlockDeviceMappings", [])
    for key in {one["Ebs"]["KmsKeyId"] for one in devices if one.get("Ebs", {}).get("KmsKeyId")}:
        for action in ("DescribeKey", "GenerateDataKeyWithoutPlaintext", "Decrypt"):
            yield Need(f"kms:{action}", (key,), via)
        yield Need("kms:CreateGrant", (key,), {**via, "kms:grantisforawsresource": ["true"]})


def _default_subnet(request: ApiRequest) -> str:
    """Find where EC2 puts an instance that names no subnet."""
    for by_zone in backends.backend("ec2", request.region).subnets.values():
        for identity, subnet in by_zone.items():
            if str(subnet.default_for_az).lower() == "true":
                return identity
    return "subnet-none"


def _passed_profile(profile: Mapping[str, str]) -> Iterable[Need]:
    for candidate in backends.iam().instance_profiles.values():
        if candidate.name == profile.get("Name") or candidate.arn == profile.get("Arn"):
            for role in candidate.roles:
                yield _pass_role(role.arn, "ec2.amazonaws.com")
