"""Operations that a killed run has begun: where their objects are, and the state corrected."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from castai_stack.access import entries
from castai_stack.castai.client import CastaiApi
from castai_stack.commands import aws_kinds, castai_account
from castai_stack.commands.aws_clients import Clients, asking
from castai_stack.commands.aws_kinds import BY_TYPE, AwsObject
from castai_stack.commands.target import Target
from castai_stack.naming import CLUSTER_TAG

HAND_OVER = "castai-stack:index:HandOver"
PRINCIPAL = "castai-stack:index:AssumeRolePrincipal"
REGISTRATION = "castai-stack:index:ClusterRegistration"
LEFTOVERS = "castai-stack:index:AgentLeftovers"
AWS_AUTH = "castai-stack:index:AwsAuthEntry"
POLICIES = "castai-stack:index:AutoscalerPolicies"
EVICTOR = "castai-stack:index:EvictorConfiguration"
_LEAVING = ("deleting", "disconnecting")
"""CAST AI's statuses of a cluster that it is about to disconnect."""
PERMISSION = "aws:lambda/permission:Permission"


@dataclass(frozen=True, slots=True)
class Pending:
    """An operation of which the engine does not know whether it happened."""

    urn: str
    type: str
    inputs: Mapping[str, Any]
    id: str = ""
    """Id of the object; empty for one that was being created."""

    @property
    def name(self) -> str:
        """Name of the resource in the program."""
        return self.urn.rpartition("::")[2]


def pending(deployment: Mapping[str, Any], operation: str) -> Iterator[Pending]:
    """Yield the resources of one kind of interrupted operation: `creating`, `deleting`, …."""
    for entry in deployment.get("pending_operations") or ():
        if entry["type"] == operation:
            resource = entry["resource"]
            inputs, id_ = resource.get("inputs") or {}, str(resource.get("id") or "")
            yield Pending(resource["urn"], resource["type"], inputs, id_)


def existing(deployment: Mapping[str, Any]) -> set[str]:
    """Return the URNs of the resources that the state holds as existing.

    A resource that is deleted before it is replaced stays in the state, marked, until its successor
    exists.
    """
    return {
        resource["urn"]
        for resource in deployment.get("resources") or ()
        if not resource.get("pendingReplacement")
    }


def updates_hand_over(deployment: Mapping[str, Any]) -> bool:
    """Return True if a killed run may have handed credentials over once more."""
    return any(one.type == HAND_OVER for one in pending(deployment, "updating"))


def settled(deployment: Mapping[str, Any], imported: Mapping[str, str]) -> dict[str, Any]:
    """Return the state without pending creates: `imported` gives ids by URN, the rest is dropped.

    The engine's own `refresh --import-pending-creates` loses the resource (observed with 3.215.0:
    it turns the operation into an import that nothing carries out). The refresh that follows reads
    the outputs. Outputs of the operation are dropped: with them the id would count as one that the
    provider chose, and some ids differ from those to import. A resource takes the place of its
    deleted predecessor, after which its dependents follow.
    """
    resources, operations = list(deployment.get("resources") or ()), []
    places = {one["urn"]: n for n, one in enumerate(resources) if one.get("pendingReplacement")}
    for operation in deployment.get("pending_operations") or ():
        if operation["type"] != "creating":
            operations.append(operation)
        elif (urn := operation["resource"]["urn"]) in imported:
            inputs = {k: v for k, v in operation["resource"].items() if k != "outputs"}
            resource = {**inputs, "id": imported[urn]}
            if urn in places:
                resources[places[urn]] = resource
            else:
                resources.append(resource)
    return {**deployment, "resources": resources, "pending_operations": operations}


class PendingLookup:
    """Looks for the objects of pending creates.

    An object that a destroy must delete is imported. One that disappears with its parent, or
    exists in the state only, is dropped. An object without this cluster's tag belongs to somebody
    else, whatever its name.
    """

    def __init__(
        self,
        client: Clients,
        api: Callable[[], CastaiApi],
        target: Target,
        report: Callable[[str], None],
    ) -> None:
        self._client = client
        self._api = api
        self._target = target
        self._report = report
        # The id follows from the inputs; the refresh drops an object that does not exist.
        self._derived: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
            HAND_OVER: lambda inputs: str(inputs["clusterId"]),
            PRINCIPAL: lambda inputs: f"{inputs['clusterId']}/principal",
            REGISTRATION: self._registration,
            # A destroy has to switch these off. A node configuration stays at CAST AI anyway.
            POLICIES: lambda inputs: f"{inputs['clusterId']}/policies",
            EVICTOR: lambda inputs: f"{inputs['clusterId']}/evictor",
            LEFTOVERS: lambda inputs: str(inputs["namespace"]),
            AWS_AUTH: self._aws_auth,
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment": lambda inputs: (
                f"{inputs['role']}/{inputs['policyArn']}"
            ),
            "aws:iam/userPolicyAttachment:UserPolicyAttachment": lambda inputs: (
                f"{inputs['user']}/{inputs['policyArn']}"
            ),
            "aws:iam/rolePolicy:RolePolicy": lambda inputs: f"{inputs['role']}:{inputs['name']}",
            "aws:cloudwatch/eventTarget:EventTarget": lambda inputs: (
                f"{inputs['rule']}/{inputs['targetId']}" if inputs.get("targetId") else None
            ),
        }

    def import_id(self, create: Pending) -> str | None:
        """Return the id to import, or None when the create is to be dropped."""
        if create.type.startswith("kubernetes:"):
            return kubernetes_id(create.inputs)
        if create.type in self._derived:
            return self._derived[create.type](create.inputs)
        existing = self.aws_object(create)
        if existing is None:
            return None
        if existing.tags.get(CLUSTER_TAG) != self._target.cluster:
            self._report(
                f"{existing.id} exists without the tag {CLUSTER_TAG}={self._target.cluster}: "
                "somebody else created it, and the next run will fail because of it"
            )
            return None
        return existing.id

    def leaving_cluster(self, delete: Pending) -> bool:
        """Return True if CAST AI still disconnects the cluster of a delete."""
        return self._cluster_status(delete) in _LEAVING

    def complete_removal(self, delete: Pending) -> None:
        """Remove a cluster that is disconnected already, as the killed destroy was about to.

        An `up` would take the registration for one in use, and no agent reports for a cluster that
        is disconnected. Once it is removed, an `up` registers anew.
        """
        if self._cluster_status(delete) == "deleted":
            with castai_account.asking():
                self._api().delete_cluster(delete.id)
            self._report(f"{delete.name} ({delete.type}): disconnected; the cluster is removed")

    def _cluster_status(self, delete: Pending) -> str:
        """Return CAST AI's status of the cluster; empty for other types and without a cluster."""
        if delete.type not in (HAND_OVER, REGISTRATION):
            return ""
        with castai_account.asking():
            cluster = self._api().get_cluster(delete.id)
        return cluster.status if cluster else ""

    def aws_object(self, operation: Pending) -> AwsObject | None:
        """Return the AWS object of an operation; None when AWS has none, and for other types."""
        with asking(f"{operation.name} ({operation.type})"):
            if operation.type == PERMISSION:
                return self._permission(operation.inputs)
            kind = BY_TYPE.get(operation.type)
            if kind is None:
                return None
            return aws_kinds.find(self._client(kind.service), kind, operation.inputs)

    def _registration(self, _inputs: Mapping[str, Any]) -> str | None:
        with castai_account.asking():
            api = self._api()
        clusters = castai_account.registered(api, self._target)
        return next((cluster.id for cluster in clusters), None)

    def _aws_auth(self, inputs: Mapping[str, Any]) -> str | None:
        """Return the id, unless the entry to adopt is still another installer's alone.

        A killed run may not have come to its write: the entry exists all the same, and the map does
        not list it as this program's. The next `up` adopts it.
        """
        if inputs.get("adopt"):
            from castai_stack.access import protocol, writer  # noqa: PLC0415 - lazy
            from castai_stack.commands.cluster import connected  # noqa: PLC0415

            with connected(self._target) as client:
                owned = protocol.owned_entries(writer.look(client).live)
            if f"{inputs['kind']} {str(inputs['arn']).lower()}" not in owned.entries:
                return None
        return f"{entries.WHERE}/{entries.KEYS[inputs['kind']]}"

    def _permission(self, inputs: Mapping[str, Any]) -> AwsObject | None:
        # Without a chosen id another one is added beside it; with one the first is in the way.
        statement, function = inputs.get("statementId"), str(inputs["function"])
        if not statement:
            return None
        client = self._client("lambda")
        try:
            text = client.get_policy(FunctionName=function)["Policy"]
        except client.exceptions.ResourceNotFoundException:
            return None
        if statement not in [one.get("Sid") for one in json.loads(text)["Statement"]]:
            return None
        name = function.rpartition(":")[2]
        return AwsObject(f"{name}/{statement}", {CLUSTER_TAG: self._target.cluster})


def kubernetes_id(inputs: Mapping[str, Any]) -> str | None:
    """Return the id as the Kubernetes provider spells it."""
    metadata = inputs.get("metadata", {})
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not name:
        return None
    return f"{namespace}/{name}" if namespace else str(name)
