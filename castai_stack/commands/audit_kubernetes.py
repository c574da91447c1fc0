"""The audit's questions to the cluster."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    import lightkube


def audit_kubernetes(target: Target) -> Iterator[Leftover]:
    """Yield what is left in the cluster.

    Raises AuditError when the cluster does not answer, or refuses a question.
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
        found = clients(target.region)("eks").describe_cluster(name=target.cluster)["cluster"]
    except (ClientError, BotoCoreError) as error:
        raise AuditError(
            f"Kubernetes: the cluster's address could not be looked up: {error}; "
            "give --kubeconfig, or --without kubernetes"
        ) from None
    return eks_kubeconfig(
        target.cluster,
        target.region,
        found["endpoint"],
        found["certificateAuthority"]["data"],
    )


def _objects(client: "lightkube.Client", refused: list[str]) -> Iterator[Leftover]:
    """List what is there; `refused` tells of each kind that could not be listed."""
    from lightkube.core.exceptions import ApiError  # noqa: PLC0415 - lazy
    from lightkube.resources.apps_v1 import Deployment  # noqa: PLC0415 - lazy
    from lightkube.resources.coordination_v1 import Lease  # noqa: PLC0415 - lazy
    from lightkube.resources.core_v1 import (  # noqa: PLC0415 - lazy
        ConfigMap,
        Namespace,
        ResourceQuota,
        Secret,
        ServiceAccount,
    )
    from lightkube.resources.networking_v1 import NetworkPolicy  # noqa: PLC0415 - lazy
    from lightkube.resources.policy_v1 import PodDisruptionBudget  # noqa: PLC0415 - lazy
    from lightkube.resources.rbac_authorization_v1 import (  # noqa: PLC0415 - lazy
        ClusterRole,
        ClusterRoleBinding,
        Role,
        RoleBinding,
    )

    from castai_stack.access import protocol  # noqa: PLC0415 - lazy
    from castai_stack.access import rbac as access_rbac  # noqa: PLC0415 - lazy
    from castai_stack.agent import names as agent_names  # noqa: PLC0415 - lazy
    from castai_stack.kube import connection  # noqa: PLC0415 - lazy
    from castai_stack.spot import rbac as spot_rbac  # noqa: PLC0415 - lazy

    agent, system = agent_names.AGENT, "kube-system"
    own = {agent, access_rbac.NAME, spot_rbac.NAME}
    inside = (
        Deployment,
        ConfigMap,
        ResourceQuota,
        Secret,
        ServiceAccount,
        PodDisruptionBudget,
        NetworkPolicy,
        Role,
        RoleBinding,
        Lease,
    )

    def of_the_agent(name: str) -> bool:
        return name.startswith(agent) or name in agent_names.LEASES

    places: list[tuple[Any, str | None, Callable[[str], bool]]] = [
        *((kind, None, own.__contains__) for kind in (Namespace, ClusterRole, ClusterRoleBinding)),
        *((kind, system, {agent}.__contains__) for kind in (Role, RoleBinding)),
        (ConfigMap, system, {protocol.COPY}.__contains__),
        *((kind, agent_names.NAMESPACE, of_the_agent) for kind in inside),
    ]
    for kind, namespace, wanted in places:
        where: dict[str, Any] = {"namespace": namespace} if namespace else {}
        try:
            listed = list(client.list(kind, **where))
        except ApiError as error:
            refused.append(connection.explain(error))
            continue
        for found in listed:
            if wanted(found.metadata.name):
                yield _object(kind.__name__, found.metadata)


def _object(kind: str, metadata: Any) -> Leftover:
    from castai_stack.access import protocol  # noqa: PLC0415 - lazy
    from castai_stack.agent.names import MANAGED_BY_LABEL, PART_OF, PART_OF_LABEL  # noqa: PLC0415 - lazy

    name = f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
    labels = metadata.labels or {}
    ours = PART_OF in (labels.get(PART_OF_LABEL), labels.get(MANAGED_BY_LABEL))
    ours = ours or metadata.name == protocol.COPY
    return Leftover("kubernetes", kind, name, OURS if ours else f"{SCRIPT} or its chart")


def _mappings(client: "lightkube.Client", signs: Signs) -> Iterator[Leftover]:
    from lightkube.core.exceptions import ApiError  # noqa: PLC0415 - lazy
    from lightkube.resources.core_v1 import ConfigMap  # noqa: PLC0415 - lazy

    from castai_stack.access.protocol import MARK  # noqa: PLC0415 - lazy
    from castai_stack.castai.model import NOT_FOUND  # noqa: PLC0415 - lazy

    try:
        found = client.get(ConfigMap, "aws-auth", namespace="kube-system")
    except ApiError as error:
        if error.status.code == NOT_FOUND:
            return
        raise
    for text in (found.data or {}).values():
        for match in ARN.finditer(text):
            if (origin := principal_origin(signs, match[0])) is not None:
                yield Leftover("kubernetes", "aws-auth entry", match[0], origin)
    annotations = (found.metadata.annotations if found.metadata else None) or {}
    if MARK in annotations:
        yield Leftover("kubernetes", "aws-auth annotation", MARK, OURS)
