"""Access entries of an EKS cluster, and the access policies on them.

Schemas: `internal/service/eks/access_*.go` in `hashicorp/terraform-provider-aws`.
"""

from collections.abc import Iterator
from typing import ClassVar

from sandbox.aws_provider import rules
from sandbox.aws_provider.resource import (
    REGION,
    TAGS,
    Field,
    Fields,
    Listing,
    Properties,
    Resource,
    Tagging,
)

_CLUSTER = Field(
    replaces=True,
    rule=rules.matching(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}", "the name of a cluster"),
)
_PRINCIPAL = Field(replaces=True, rule=rules.arn)
_KEY = {"clusterName": "clusterName", "principalArn": "principalArn"}
_TYPES = ("STANDARD", "EC2", "EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "HYBRID_LINUX")


class AccessEntry(Resource):
    """User name and groups of a principal in Kubernetes."""

    aws_type = "aws:eks/accessEntry:AccessEntry"
    service = "eks"
    key: ClassVar[dict[str, str]] = _KEY
    separator = ":"
    create_call, read_call = "create_access_entry", "describe_access_entry"
    delete_call, within = "delete_access_entry", "accessEntry"
    tagging = Tagging("resource", "resourceArn", "accessEntryArn", "map")
    passing = (("InvalidParameterException", "rincipal"),)  # one that EKS does not know yet
    fields: ClassVar[Fields] = {
        "clusterName": _CLUSTER,
        "principalArn": _PRINCIPAL,
        "type": Field(replaces=True, default="STANDARD", rule=rules.one_of(*_TYPES)),
        "kubernetesGroups": Field(computed=True, kind="set", empty=[]),
        "userName": Field(computed=True, call="username"),
        **REGION,
        **TAGS,
    }
    outputs: ClassVar[dict[str, str]] = {
        "accessEntryArn": "accessEntryArn",
        "createdAt": "createdAt",
        "modifiedAt": "modifiedAt",
    }
    updates: ClassVar[dict[str, frozenset[str]]] = {
        "update_access_entry": frozenset({"kubernetesGroups", "userName"})
    }


class AccessPolicyAssociation(Resource):
    """Access policy on an entry, for the cluster or for some namespaces."""

    aws_type = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"
    service = "eks"
    key: ClassVar[dict[str, str]] = {**_KEY, "policyArn": "policyArn"}
    separator = "#"
    create_call, delete_call = "associate_access_policy", "disassociate_access_policy"
    listing = Listing(
        "list_associated_access_policies",
        "associatedAccessPolicies",
        "policyArn",
        "policyArn",
        _KEY,
    )
    waits_for_parent = True
    fields: ClassVar[Fields] = {
        "clusterName": _CLUSTER,
        "principalArn": _PRINCIPAL,
        "policyArn": Field(replaces=True, rule=rules.arn),
        "accessScope": Field(replaces=True),
        **REGION,
    }
    outputs: ClassVar[dict[str, str]] = {
        "associatedAt": "associatedAt",
        "modifiedAt": "modifiedAt",
    }

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        kind = values.get("accessScope", {}).get("type")
        if isinstance(kind, str) and (problem := rules.one_of("cluster", "namespace")(kind)):
            yield "accessScope.type", problem
