"""The audit's questions to the cluster."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from castai_stack.access import entries, protocol
from castai_stack.agent import manifests
from castai_stack.agent import names as agent_names
from castai_stack.commands.aws_clients import clients
from castai_stack.commands.leftovers import (
    ARN,
    OURS,
    SCRIPT,
    AuditError,
    Leftover,
    Signs,
    principal_origin,
)
from castai_stack.commands.target import FROM_EKS, Target
from castai_stack.permissions import operator_kubernetes

if TYPE_CHECKING:
    import lightkube


def audit_kubernetes(target: Target) -> Iterator[Leftover]:
    """Yield the leftovers in the cluster.

    Raises AuditError when the cluster does not answer or refuses a request.
    """
    from castai_stack.kube import connection  # noqa: PLC0415 - lazy

    refused: list[str] = []
    try:
        with connection.connect(_kubeconfig(target), target.context) as client:
            yield from _objects(client, refused)
            yield from _mappings(client, Signs(target.cluster))
    except AuditError:
        raise
    except Exception as error:  # noqa: BLE001 - clients, logins and networks fail in their own ways
        refused.append(connection.explain(error))
    if refused:
        raise AuditError(f"Kubernetes: {'; '.join(refused)}")


def _kubeconfig(target: Target) -> str:
    if target.kubeconfig != FROM_EKS:
        return target.kubeconfig
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - lazy

    from castai_stack.kube.kubeconfig import eks_kubeconfig  # noqa: PLC0415 - lazy

    try:
        cluster = clients(target.region)("eks").describe_cluster(name=target.cluster)["cluster"]
    except (ClientError, BotoCoreError) as error:
        raise AuditError(
            f"Kubernetes: the cluster's address could not be looked up: {error}; "
            "give --kubeconfig, or --without kubernetes"
        ) from None
    return eks_kubeconfig(
        target.cluster,
        target.region,
        cluster["endpoint"],
        cluster["certificateAuthority"]["data"],
    )


def _objects(client: "lightkube.Client", refused: list[str]) -> Iterator[Leftover]:
    """List the objects that exist; append a sentence to `refused` for each kind that fails."""
    from lightkube.core.exceptions import ApiError  # noqa: PLC0415 - lazy
    from lightkube.core.resource_registry import resource_registry  # noqa: PLC0415 - lazy

    from castai_stack.kube import connection  # noqa: PLC0415 - lazy

    for (version, kind, namespace), names in _places().items():
        where: dict[str, Any] = {"namespace": namespace} if namespace else {}
        try:
            listed: list[Any] = list(client.list(resource_registry.load(version, kind), **where))
        except ApiError as error:
            refused.append(connection.explain(error))
            continue
        for entry in listed:
            name = entry.metadata.name
            # The chart and newer agents use further names with the agent's prefix.
            prefixed = namespace == agent_names.NAMESPACE and name.startswith(agent_names.AGENT)
            if name in names or prefixed:
                yield _object(kind, entry.metadata)


def _places() -> dict[tuple[str, str, str | None], set[str]]:
    """Return the names to look for, by API version, kind and namespace."""
    from castai_stack.agent.settings import Agent  # noqa: PLC0415 - lazy

    documents: list[Mapping[str, Any]] = [
        *operator_kubernetes.cluster_objects(Agent(network_policy=True)),
        *manifests.runtime_objects(agent_names.NAMESPACE),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": protocol.COPY, "namespace": entries.NAMESPACE},
        },
    ]
    places: dict[tuple[str, str, str | None], set[str]] = {}
    for document in documents:
        metadata = document["metadata"]
        place = (document["apiVersion"], document["kind"], metadata.get("namespace"))
        places.setdefault(place, set()).add(metadata["name"])
    return places


def _object(kind: str, metadata: Any) -> Leftover:
    name = f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
    labels = metadata.labels or {}
    owners = (labels.get(agent_names.PART_OF_LABEL), labels.get(agent_names.MANAGED_BY_LABEL))
    own = agent_names.PART_OF in owners or metadata.name == protocol.COPY
    return Leftover("kubernetes", kind, name, OURS if own else f"{SCRIPT} or its chart")


def _mappings(client: "lightkube.Client", signs: Signs) -> Iterator[Leftover]:
    from lightkube.core.exceptions import ApiError  # noqa: PLC0415 - lazy
    from lightkube.resources.core_v1 import ConfigMap  # noqa: PLC0415 - lazy

    try:
        aws_auth = client.get(ConfigMap, entries.NAME, namespace=entries.NAMESPACE)
    except ApiError as error:
        if error.status.code == HTTPStatus.NOT_FOUND:
            return
        raise
    for text in (aws_auth.data or {}).values():
        for match in ARN.finditer(text):
            if (origin := principal_origin(signs, match[0])) is not None:
                yield Leftover("kubernetes", "aws-auth entry", match[0], origin)
    annotations = (aws_auth.metadata.annotations if aws_auth.metadata else None) or {}
    if protocol.MARK in annotations:
        yield Leftover("kubernetes", "aws-auth annotation", protocol.MARK, OURS)
