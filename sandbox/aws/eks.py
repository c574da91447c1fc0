"""EKS access entries and authentication mode, which moto 5.2.5 does not know.

Behaviour from https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html and the pages
below it: an entry is bound to the unique id of its principal, the mode goes one way only, groups
do not begin with `system:`, node types take roles only and neither groups nor a user name.
The cluster's endpoint and certificate can be set to those of the sandbox's API server.
"""

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from werkzeug.wrappers import Response

from sandbox.aws import backends
from sandbox.aws.account import AccessEntry, Account, Call, ClusterExtras, Handler
from sandbox.aws.identities import digest
from sandbox.aws.protocol import AwsError
from sandbox.constants import ACCOUNT, PARTITION, SERVICE_CIDR

MODES = ("CONFIG_MAP", "API_AND_CONFIG_MAP", "API")
_POLICY_PREFIX = f"arn:{PARTITION}:eks::aws:cluster-access-policy/"
ACCESS_POLICIES = (
    "AmazonEKSAdminPolicy",
    "AmazonEKSAdminViewPolicy",
    "AmazonEKSAutoNodePolicy",
    "AmazonEKSClusterAdminPolicy",
    "AmazonEKSEditPolicy",
    "AmazonEKSSecretReaderPolicy",
    "AmazonEKSViewPolicy",
)
"""https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html"""
_NODE_TYPES = ("EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "EC2", "HYBRID_LINUX", "HYPERPOD_LINUX")
_NODE_NAME = {
    "FARGATE_LINUX": "system:node:{{SessionName}}",
    "HYBRID_LINUX": "system:node:{{SessionName}}",
}
_RESERVED = ("system:", "eks:", "aws:", "amazon:", "iam:")
_PRINCIPAL = re.compile(rf"^arn:{PARTITION}:iam::(\d{{12}}):(user|role)/(.+)$")
_OK = 400


def _cluster_state(call: Call) -> tuple[Any, ClusterExtras]:
    name = call.params.get("clusterName") or call.params["name"]
    cluster = backends.backend("eks", call.request.region).clusters.get(name)
    if cluster is None:
        raise AwsError("ResourceNotFoundException", f"No cluster found for name: {name}.", 404)
    return cluster, call.account.cluster(call.request.region, name)


def _with_entries(call: Call) -> ClusterExtras:
    _, extras = _cluster_state(call)
    if extras.authentication_mode == "CONFIG_MAP":
        raise AwsError(
            "InvalidRequestException",
            "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] "
            "to perform this operation.",
        )
    return extras


def _entry(call: Call) -> tuple[ClusterExtras, AccessEntry]:
    extras = _with_entries(call)
    entry = extras.entries.get(call.params["principalArn"])
    if entry is None:
        raise AwsError(
            "ResourceNotFoundException",
            "The specified principalArn could not be found. You can view your available access "
            "entries with 'list-access-entries'.",
            404,
        )
    return extras, entry


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)


def _check_names(groups: list[str], username: str | None) -> None:
    for group in groups:
        if group.startswith("system:"):
            raise _invalid(
                f"The kubernetes group name {group} is invalid, it cannot start with system:"
            )
    if username is not None and username.startswith(_RESERVED):
        raise _invalid(
            f"The username {username} is invalid, it cannot start with {', '.join(_RESERVED)}"
        )


def create_access_entry(call: Call) -> Mapping[str, Any]:
    """Create an access entry."""
    extras, params = _with_entries(call), call.params
    arn, kind = params["principalArn"], params.get("type") or "STANDARD"
    principal = _PRINCIPAL.match(arn)
    if principal is None:
        raise _invalid("The specified principalArn is invalid: invalid ARN.")
    if kind != "STANDARD" and kind not in _NODE_TYPES:
        raise _invalid(f"The specified type is invalid: {kind}")
    groups, username = params.get("kubernetesGroups") or [], params.get("username")
    if kind != "STANDARD":
        if principal[2] != "role" or principal[1] != ACCOUNT:
            raise _invalid(
                f"The specified principalArn is invalid for type {kind}: it must be the ARN of an "
                "IAM role of the cluster's account."
            )
        if groups or username:
            raise _invalid(f"kubernetesGroups and username cannot be specified for type {kind}.")
    _check_names(groups, username)
    if arn in extras.entries:
        raise AwsError(
            "ResourceInUseException",
            "The specified access entry resource is already in use on this cluster.",
            409,
        )
    unique_id = call.account.identities.unique_id(arn)
    if unique_id is None:
        raise _invalid("The specified principalArn is invalid: invalid principal.")
    now = call.account.clock.wall().timestamp()
    entry = extras.entries[arn] = AccessEntry(
        principal_arn=arn,
        unique_id=unique_id,
        type=kind,
        username=username or _default_username(arn, kind),
        groups=groups if kind == "STANDARD" else ["system:nodes"],
        tags=dict(params.get("tags") or {}),
        created_at=now,
        modified=now,
        identity=str(uuid.uuid4()),
    )
    return {"accessEntry": _entry_document(call, entry)}


def _default_username(arn: str, kind: str) -> str:
    if kind != "STANDARD":
        return _NODE_NAME.get(kind, "system:node:{{EC2PrivateDNSName}}")
    principal = _PRINCIPAL.match(arn)
    if principal is not None and principal[2] == "role":
        name = principal[3].rpartition("/")[2]
        return f"arn:{PARTITION}:sts::{principal[1]}:assumed-role/{name}/{{{{SessionName}}}}"
    return arn


def _entry_arn(call: Call, entry: AccessEntry) -> str:
    principal = _PRINCIPAL.match(entry.principal_arn)
    kind, account, name = (principal[2], principal[1], principal[3]) if principal else ("", "", "")
    cluster = call.params.get("clusterName") or call.params["name"]
    return (
        f"arn:{PARTITION}:eks:{call.request.region}:{ACCOUNT}:access-entry/{cluster}/{kind}/"
        f"{account}/{name.rpartition('/')[2]}/{entry.identity}"
    )


def _entry_document(call: Call, entry: AccessEntry) -> dict[str, Any]:
    return {
        "clusterName": call.params["clusterName"],
        "principalArn": entry.principal_arn,
        "kubernetesGroups": entry.groups,
        "accessEntryArn": _entry_arn(call, entry),
        "createdAt": entry.created_at,
        "modifiedAt": entry.modified,
        "tags": entry.tags,
        "username": entry.username,
        "type": entry.type,
    }


def describe_access_entry(call: Call) -> Mapping[str, Any]:
    """One entry."""
    return {"accessEntry": _entry_document(call, _entry(call)[1])}


def list_access_entries(call: Call) -> Mapping[str, Any]:
    """ARNs of all entries."""
    policy = call.params.get("associatedPolicyArn")
    entries = _with_entries(call).entries
    return {
        "accessEntries": [
            arn for arn, entry in entries.items() if not policy or policy in entry.policies
        ]
    }


def update_access_entry(call: Call) -> Mapping[str, Any]:
    """Change groups and user name of a STANDARD entry."""
    _, entry = _entry(call)
    params = call.params
    if entry.type != "STANDARD":
        raise AwsError(
            "InvalidRequestException", f"An access entry of type {entry.type} cannot be updated."
        )
    _check_names(params.get("kubernetesGroups") or [], params.get("username"))
    if "kubernetesGroups" in params:
        entry.groups = list(params["kubernetesGroups"] or [])
    if params.get("username"):
        entry.username = params["username"]
    entry.modified = call.account.clock.wall().timestamp()
    return {"accessEntry": _entry_document(call, entry)}


def delete_access_entry(call: Call) -> Mapping[str, Any]:
    """Delete an access entry."""
    extras, entry = _entry(call)
    del extras.entries[entry.principal_arn]
    return {}


def associate(call: Call) -> Mapping[str, Any]:
    """Associate an access policy with a STANDARD entry."""
    _, entry = _entry(call)
    params = call.params
    arn, scope = params["policyArn"], params["accessScope"]
    if arn.removeprefix(_POLICY_PREFIX) not in ACCESS_POLICIES or not arn.startswith(
        _POLICY_PREFIX
    ):
        raise _invalid(f"The policyArn parameter is not valid: {arn}")
    if entry.type != "STANDARD":
        raise AwsError(
            "InvalidRequestException",
            f"Access policies cannot be associated with an access entry of type {entry.type}.",
        )
    namespaces = list(scope.get("namespaces") or [])
    if scope.get("type") not in ("cluster", "namespace"):
        raise _invalid("The accessScope type must be cluster or namespace.")
    if (scope["type"] == "namespace") != bool(namespaces):
        raise _invalid("Namespaces go with the access scope type namespace, and only with it.")
    now = call.account.clock.wall().timestamp()
    association = entry.policies[arn] = {
        "policyArn": arn,
        "accessScope": {"type": scope["type"], "namespaces": namespaces},
        "associatedAt": entry.policies.get(arn, {}).get("associatedAt", now),
        "modifiedAt": now,
    }
    return {
        "clusterName": params["clusterName"],
        "principalArn": entry.principal_arn,
        "associatedAccessPolicy": association,
    }


def disassociate(call: Call) -> Mapping[str, Any]:
    """Disassociate an access policy from an entry."""
    _, entry = _entry(call)
    if entry.policies.pop(call.params["policyArn"], None) is None:
        raise AwsError(
            "ResourceNotFoundException",
            "The specified policyArn is not associated with the access entry.",
            404,
        )
    return {}


def list_associated(call: Call) -> Mapping[str, Any]:
    """Access policies of an entry."""
    _, entry = _entry(call)
    return {
        "clusterName": call.params["clusterName"],
        "principalArn": entry.principal_arn,
        "associatedAccessPolicies": list(entry.policies.values()),
    }


def create_cluster(call: Call) -> Response:
    """Keep the authentication mode; with entries, the maker gets one that may do everything."""
    access = call.params.get("accessConfig") or {}
    mode = access.get("authenticationMode") or call.account.authentication_mode
    bootstrap = access.get("bootstrapClusterCreatorAdminPermissions", True)
    if mode not in MODES:
        raise _invalid(f"The authenticationMode {mode} is none of {', '.join(MODES)}")
    if mode == "CONFIG_MAP" and not bootstrap:
        raise _invalid(
            "bootstrapClusterCreatorAdminPermissions must be true if cluster authentication mode "
            "is set to CONFIG_MAP"
        )
    answer = call.forward()
    if answer.status_code >= _OK:
        return answer
    name = call.params["name"]
    network = call.params["resourcesVpcConfig"]
    group = _security_group(call.request.region, name, network.get("subnetIds") or [])
    extras = call.account.clusters[call.request.region, name] = ClusterExtras(
        mode, bootstrap, security_group_id=group
    )
    if mode != "CONFIG_MAP" and bootstrap:
        _bootstrap(call, extras)
    return _corrected(call, answer)


def _bootstrap(call: Call, extras: ClusterExtras) -> None:
    principal = call.principal
    if principal.kind not in ("user", "role"):
        return
    arn = principal.source_arn
    now = call.account.clock.wall().timestamp()
    entry = AccessEntry(
        arn, principal.unique_id, "STANDARD", _default_username(arn, "STANDARD"), [], {},
        now, now, str(uuid.uuid4()),
    )  # fmt: skip
    admin = _POLICY_PREFIX + "AmazonEKSClusterAdminPolicy"
    entry.policies[admin] = {
        "policyArn": admin,
        "accessScope": {"type": "cluster", "namespaces": []},
        "associatedAt": now,
        "modifiedAt": now,
    }
    extras.entries[arn] = entry


def describe_cluster(call: Call) -> Response:
    """Show the cluster with its access configuration."""
    return _corrected(call, call.forward())


def _corrected(call: Call, answer: Response) -> Response:
    if answer.status_code >= _OK:
        return answer
    cluster, extras = _cluster_state(call)
    content = json.loads(answer.get_data())
    description = content["cluster"]
    description["accessConfig"] = {
        "bootstrapClusterCreatorAdminPermissions": extras.bootstrap_admin,
        "authenticationMode": extras.authentication_mode,
    }
    if extras.endpoint:
        description["endpoint"] = extras.endpoint
    if extras.certificate_authority:
        description["certificateAuthority"] = {"data": extras.certificate_authority}
    network = description.setdefault("resourcesVpcConfig", {})
    subnets = network.get("subnetIds") or []
    network.setdefault("vpcId", _vpc(call.request.region, subnets))
    network.setdefault("endpointPublicAccess", True)
    network.setdefault("endpointPrivateAccess", False)
    network.setdefault("publicAccessCidrs", ["0.0.0.0/0"])
    network.setdefault("securityGroupIds", [])
    network["clusterSecurityGroupId"] = extras.security_group_id
    addresses = {"ipFamily": "ipv4", "serviceIpv4Cidr": SERVICE_CIDR}
    description["kubernetesNetworkConfig"] = addresses
    description["tags"] = dict(cluster.tags)
    answer.set_data(json.dumps(content))
    return answer


def _security_group(region: str, cluster: str, subnets: list[str]) -> str:
    """Create the group that EKS itself gives to nodes and control plane; return its id.

    https://docs.aws.amazon.com/eks/latest/userguide/sec-group-reqs.html
    """
    group = backends.backend("ec2", region).create_security_group(
        f"eks-cluster-sg-{cluster}-{uuid.uuid4().int % 10**9}",
        "EKS created security group applied to ENI that is attached to EKS Control Plane master "
        "nodes, as well as any managed workloads.",
        vpc_id=_vpc(region, subnets) or None,
        tags={"aws:eks:cluster-name": cluster, f"kubernetes.io/cluster/{cluster}": "owned"},
    )
    return str(group.id)


def _vpc(region: str, subnets: list[str]) -> str:
    subnets_by_zone = backends.backend("ec2", region).subnets
    for by_zone in subnets_by_zone.values():
        for identity, subnet in by_zone.items():
            if identity in subnets:
                return str(subnet.vpc_id)
    return ""


def delete_cluster(call: Call) -> Response:
    """Delete the cluster with its extras."""
    answer = call.forward()
    if answer.status_code < _OK:
        call.account.clusters.pop((call.request.region, call.params["name"]), None)
    return answer


def update_cluster_config(call: Call) -> Mapping[str, Any] | Response:
    """Move the authentication mode on: CONFIG_MAP, API_AND_CONFIG_MAP, API, one way."""
    _, extras = _cluster_state(call)
    mode = (call.params.get("accessConfig") or {}).get("authenticationMode")
    if mode is None:
        raise AwsError(
            "InvalidRequestException", "the sandbox changes the authentication mode only"
        )
    if mode not in MODES:
        raise _invalid(f"The authenticationMode {mode} is none of {', '.join(MODES)}")
    current = extras.authentication_mode
    if mode == current:
        raise _invalid("Unsupported authentication mode update: the mode is unchanged.")
    if MODES.index(mode) != MODES.index(current) + 1:
        raise _invalid(f"Unsupported authentication mode update from {current} to {mode}")
    extras.authentication_mode = mode
    update = {
        "id": str(uuid.uuid4()),
        "status": "Successful",
        "type": "AccessConfigUpdate",
        "params": [{"type": "AuthenticationMode", "value": mode}],
        "createdAt": call.account.clock.wall().timestamp(),
        "errors": [],
    }
    extras.updates[update["id"]] = update
    return {"update": update}


def describe_update(call: Call) -> Mapping[str, Any]:
    """Show an update; here each succeeds at once."""
    _, extras = _cluster_state(call)
    update = extras.updates.get(call.params["updateId"])
    if update is None:
        raise AwsError("ResourceNotFoundException", "No update found for the given id.", 404)
    return {"update": update}


def _tagged_entry(call: Call) -> AccessEntry | None:
    arn = call.params["resourceArn"]
    match = re.search(r":access-entry/([^/]+)/.+/([^/]+)$", arn)
    if match is None:
        return None
    extras = call.account.cluster(call.request.region, match[1])
    for entry in extras.entries.values():
        if entry.identity == match[2]:
            return entry
    raise AwsError("ResourceNotFoundException", f"No access entry found for {arn}", 404)


def tag(call: Call) -> Mapping[str, Any] | Response:
    """Tags of an access entry; of a cluster, moto's."""
    entry = _tagged_entry(call)
    if entry is None:
        return call.forward()
    entry.tags.update(call.params["tags"])
    return {}


def untag(call: Call) -> Mapping[str, Any] | Response:
    """Tags of an access entry; of a cluster, moto's."""
    entry = _tagged_entry(call)
    if entry is None:
        return call.forward()
    for key in call.params["tagKeys"]:
        entry.tags.pop(key, None)
    return {}


def list_tags(call: Call) -> Mapping[str, Any] | Response:
    """Tags of an access entry; of a cluster, moto's."""
    entry = _tagged_entry(call)
    return call.forward() if entry is None else {"tags": entry.tags}


def grants(account: Account) -> list[dict[str, Any]]:
    """Every entry of every cluster, and whether its principal is still the one it was made for."""
    return [
        {
            "region": region,
            "cluster": cluster,
            "authenticationMode": extras.authentication_mode,
            "principalArn": entry.principal_arn,
            "uniqueId": entry.unique_id,
            "valid": account.identities.unique_id(entry.principal_arn) == entry.unique_id,
            "type": entry.type,
            "username": entry.username,
            "groups": entry.groups,
            "policies": [
                {"policyArn": arn, "accessScope": policy["accessScope"]}
                for arn, policy in entry.policies.items()
            ],
        }
        for (region, cluster), extras in account.clusters.items()
        for entry in extras.entries.values()
    ]


def redacted(extras: ClusterExtras) -> dict[str, Any]:
    """Show a cluster's extras in the inventory."""
    return {
        "authenticationMode": extras.authentication_mode,
        "endpoint": extras.endpoint,
        "certificateAuthority": digest(extras.certificate_authority),
    }


HANDLERS: dict[str, Handler] = {
    "CreateCluster": create_cluster,
    "DescribeCluster": describe_cluster,
    "DeleteCluster": delete_cluster,
    "UpdateClusterConfig": update_cluster_config,
    "DescribeUpdate": describe_update,
    "CreateAccessEntry": create_access_entry,
    "DescribeAccessEntry": describe_access_entry,
    "ListAccessEntries": list_access_entries,
    "UpdateAccessEntry": update_access_entry,
    "DeleteAccessEntry": delete_access_entry,
    "AssociateAccessPolicy": associate,
    "DisassociateAccessPolicy": disassociate,
    "ListAssociatedAccessPolicies": list_associated,
    "TagResource": tag,
    "UntagResource": untag,
    "ListTagsForResource": list_tags,
}
