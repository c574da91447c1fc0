"""Access entries of an EKS cluster, and the access policies on them.

Schemas: `internal/service/eks/access_*.go` in `hashicorp/terraform-provider-aws`.
"""

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
from sandbox.aws_provider.fields import REGION, TAGS, given, moment, tag_changes
from sandbox.aws_provider.resource import Field, Fields, Properties, Resource

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_CLUSTER = Field(
    replaces=True,
    rule=rules.matching(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}", "the name of a cluster"),
)
_TYPES = ("STANDARD", "EC2", "EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "HYBRID_LINUX")


def _is_principal_unknown(error: "ClientError") -> bool:
    """Whether EKS has not heard of a principal yet."""
    return code(error) == "InvalidParameterException" and "principal" in message(error).lower()


class AccessEntry(Resource):
    """Who a principal is to Kubernetes."""

    aws_type = "aws:eks/accessEntry:AccessEntry"
    fields: ClassVar[Fields] = {
        "clusterName": _CLUSTER,
        "principalArn": Field(replaces=True, rule=rules.arn),
        "type": Field(replaces=True, default="STANDARD", rule=rules.one_of(*_TYPES)),
        "kubernetesGroups": Field(computed=True, kind="set"),
        "userName": Field(computed=True),
        **REGION,
        **TAGS,
    }

    def identify(self, aws: Account, identifier: str) -> tuple[str, Properties]:
        del aws
        cluster, _, principal = identifier.partition(":")
        if not cluster or not principal:
            raise RefusedError(f"unexpected id {identifier!r}, expected cluster:principal-arn")
        return identifier, {"clusterName": cluster, "principalArn": principal}

    def _target(self, properties: Properties) -> dict[str, str]:
        return {
            "clusterName": properties["clusterName"],
            "principalArn": properties["principalArn"],
        }

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        eks = aws.client("eks", inputs["region"])
        aws.retry(
            lambda: eks.create_access_entry(
                **self._target(inputs),
                type=inputs["type"],
                **given(
                    kubernetesGroups=inputs.get("kubernetesGroups"),
                    username=inputs.get("userName"),
                    tags=inputs.get("tagsAll"),
                ),
            ),
            _is_principal_unknown,
        )
        return f"{inputs['clusterName']}:{inputs['principalArn']}", {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        del identifier
        region = state.get("region", aws.region)
        answer = found(aws.client("eks", region).describe_access_entry, **self._target(state))
        if answer is None:
            return None
        entry = answer["accessEntry"]
        return {
            "clusterName": entry["clusterName"],
            "principalArn": entry["principalArn"],
            "region": region,
            "type": entry.get("type", "STANDARD"),
            "kubernetesGroups": entry.get("kubernetesGroups", []),
            "userName": entry.get("username"),
            "accessEntryArn": entry["accessEntryArn"],
            "createdAt": moment(entry["createdAt"]),
            "modifiedAt": moment(entry["modifiedAt"]),
            "tagsAll": entry.get("tags", {}),
        }

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        del identifier
        eks = aws.client("eks", new["region"])
        if changed & {"kubernetesGroups", "userName"}:
            eks.update_access_entry(
                **self._target(new),
                kubernetesGroups=new.get("kubernetesGroups", []),
                **given(username=new.get("userName")),
            )
        tags, gone = tag_changes(old, new)
        if gone:
            eks.untag_resource(resourceArn=old["accessEntryArn"], tagKeys=gone)
        if tags:
            eks.tag_resource(resourceArn=old["accessEntryArn"], tags=tags)

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        del identifier
        with absent_is_fine():
            aws.client("eks", state.get("region")).delete_access_entry(**self._target(state))


class AccessPolicyAssociation(Resource):
    """Access policy on an entry, for the cluster or for some namespaces."""

    aws_type = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"
    fields: ClassVar[Fields] = {
        "clusterName": _CLUSTER,
        "principalArn": Field(replaces=True, rule=rules.arn),
        "policyArn": Field(replaces=True, rule=rules.arn),
        "accessScope": Field(replaces=True),
        **REGION,
    }

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        scope = values.get("accessScope", {})
        kind = scope.get("type")
        if isinstance(kind, str) and (problem := rules.one_of("cluster", "namespace")(kind)):
            yield "accessScope.type", problem

    def identify(self, aws: Account, identifier: str) -> tuple[str, Properties]:
        del aws
        parts = identifier.split("#")
        names = ("clusterName", "principalArn", "policyArn")
        if len(parts) != len(names) or not all(parts):
            raise RefusedError(
                f"unexpected id {identifier!r}, expected cluster#principal-arn#policy-arn"
            )
        return identifier, dict(zip(names, parts, strict=True))

    def _target(self, properties: Properties) -> dict[str, Any]:
        return {name: properties[name] for name in ("clusterName", "principalArn", "policyArn")}

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        eks = aws.client("eks", inputs["region"])
        aws.retry(
            lambda: eks.associate_access_policy(
                **self._target(inputs), accessScope=inputs["accessScope"]
            ),
            is_absent,
            APPEARS_SECONDS,
        )
        return "#".join(self._target(inputs).values()), {}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        del identifier
        region = state.get("region", aws.region)
        with absent_is_fine():
            pages = (
                aws.client("eks", region)
                .get_paginator("list_associated_access_policies")
                .paginate(clusterName=state["clusterName"], principalArn=state["principalArn"])
            )
            for page in pages:
                for item in page["associatedAccessPolicies"]:
                    if item["policyArn"] == state["policyArn"]:
                        scope = item["accessScope"]
                        return {
                            **self._target(state),
                            "region": region,
                            "accessScope": given(
                                type=scope["type"], namespaces=scope.get("namespaces")
                            ),
                            "associatedAt": moment(item["associatedAt"]),
                            "modifiedAt": moment(item["modifiedAt"]),
                        }
        return None

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        del identifier
        with absent_is_fine():
            aws.client("eks", state.get("region")).disassociate_access_policy(**self._target(state))
