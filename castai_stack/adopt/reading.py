"""Questions to CAST AI and the cluster, and all answers together; reads only."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import lightkube
from lightkube.resources.apps_v1 import DaemonSet, Deployment
from lightkube.resources.core_v1 import ConfigMap, Secret

from castai_stack.access import reader
from castai_stack.access.entries import AwsAuthError, Kind
from castai_stack.adopt import candidates, evictor, reading_aws
from castai_stack.adopt.observations import (
    AtCastai,
    Choices,
    Document,
    InCluster,
    Observations,
    Workload,
)
from castai_stack.agent.names import KEY, MANAGED_BY_LABEL, NAMESPACE, PART_OF, PART_OF_LABEL
from castai_stack.automation import evictor_config
from castai_stack.automation.names import EVICTOR, EVICTOR_CONFIG
from castai_stack.castai.automation_api import AutomationApi
from castai_stack.castai.model import Cluster
from castai_stack.castai.node_template import DEFAULT_TEMPLATE
from castai_stack.commands import castai_account
from castai_stack.commands.aws_clients import clients
from castai_stack.commands.cluster import ClusterError, answering, connected
from castai_stack.commands.command_line import CommandError
from castai_stack.commands.target import Target
from castai_stack.kube import kinds

_COMPONENTS = ("castware.cast.ai/v1alpha1", "Component")


def observe(target: Target, api_key: str, api_url: str, choices: Choices) -> Observations:
    """Return all answers about a cluster; raises CommandError for the first one that is refused."""
    aws = clients(target.region, target.account_id)
    place = reading_aws.place(aws, target.cluster, target.region, target.account_id)
    castai = _at_castai(api_key, api_url, target, choices)
    own = _of_target(castai.clusters, target)
    roles = [one.assume_role_arn.rpartition("/")[2] for one in own]
    wanted = [name for name in (choices.principal,) if name]
    node_roles = [
        name for one in own for name in candidates.node_role_names(target.cluster, one.id)
    ]
    in_aws = reading_aws.observe(
        aws,
        place,
        users=wanted or candidates.principal_names(target.cluster),
        roles=filter(None, roles),
        node_roles=[choices.node_role] if choices.node_role else node_roles,
    )
    return Observations(place, castai, in_aws, _in_cluster(target))


def _of_target(clusters: Iterable[Cluster], target: Target) -> list[Cluster]:
    where = (target.cluster, target.region, target.account_id)
    return [one for one in clusters if one.is_at(*where)]


def _at_castai(api_key: str, url: str, target: Target, choices: Choices) -> AtCastai:
    with castai_account.asking():
        api = AutomationApi(url, api_key)
        clusters = tuple(api.list_clusters())
        own = [
            one
            for one in _of_target(clusters, target)
            if not one.archived and choices.cluster_id in (None, one.id)
        ]
        if len(own) != 1:
            return AtCastai(clusters)
        (cluster,) = own
        configurations = api.node_configurations(cluster.id)
        templates = api.node_templates(cluster.id)
        others: dict[str, list[str]] = {}
        for one in clusters:
            if one.id != cluster.id and one.account_id == target.account_id and not one.archived:
                profile = ((_default(api.node_configurations(one.id)) or {}).get("eks") or {}).get(
                    "instanceProfileArn"
                )
                if profile:
                    others.setdefault(str(profile), []).append(one.name)
        return AtCastai(
            clusters,
            principal_arn=api.get_principal(cluster.id) or "",
            configuration=_default(configurations),
            configurations=_names(one for one in configurations if not one.get("default")),
            policies=api.policies(cluster.id),
            old_policies_on=bool((api.policies_v1(cluster.id) or {}).get("enabled")),
            template=next((one for one in templates if _is_default(one)), None),
            templates=_names(one for one in templates if not _is_default(one)),
            evictor=api.evictor(cluster.id),
            evictor_rules=api.evictor_rules(cluster.id),
            profile_users={arn: tuple(names) for arn, names in others.items()},
        )


def _names(objects: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(sorted(str(one.get("name") or "") for one in objects))


def _is_default(template: Mapping[str, Any]) -> bool:
    return template.get("name") == DEFAULT_TEMPLATE


def _default(configurations: Iterable[Document]) -> Document | None:
    return next((one for one in configurations if one.get("default")), None)


def _in_cluster(target: Target) -> InCluster:
    with connected(target) as client:
        deployments = _documents(client, Deployment)
        daemonsets = _documents(client, DaemonSet)
        workloads = tuple(map(workload, [*deployments, *daemonsets]))
        runs_evictor = any(one.name == EVICTOR for one in workloads)
        return InCluster(
            workloads=workloads,
            releases=dict(_releases(client, [*deployments, *daemonsets])),
            components=tuple(_components(client)),
            mapped=_mapped(client),
            evictor=_evictor_configuration(client) if runs_evictor else None,
            beside_evictor=tuple(_beside_evictor(client)) if runs_evictor else (),
        )


def _documents(client: lightkube.Client, kind: Any) -> list[dict[str, Any]]:
    objects = client.list(kind, namespace=NAMESPACE)
    return [{**one.to_dict(), "kind": kind.__name__} for one in objects]


def workload(document: Mapping[str, Any]) -> Workload:
    """Return what matters of a deployment or daemon set."""
    metadata, spec = document["metadata"], document["spec"]
    container = spec["template"]["spec"]["containers"][0]
    labels = metadata.get("labels") or {}
    return Workload(
        name=metadata["name"],
        tag=container["image"].partition("@")[0].rpartition(":")[2],
        kind=document["kind"],
        selector=spec["selector"].get("matchLabels") or {},
        owner=_owner(labels, metadata.get("annotations") or {}),
        secret=next(_secrets(container), ""),
        managed=labels.get("charts.cast.ai/managed") == "true",
        replicas=spec.get("replicas", 1),
        variables={
            one["name"]: str(one.get("value", ""))
            for one in container.get("env") or []
            if one["name"] in evictor.VARIABLES
        },
    )


def _owner(labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    if labels.get(PART_OF_LABEL) == PART_OF:
        return "this program"
    if release := annotations.get("meta.helm.sh/release-name"):
        return f"Helm release {release}"
    if "kubectl.kubernetes.io/last-applied-configuration" in annotations:
        return "kubectl apply"
    return labels.get(MANAGED_BY_LABEL) or "an unknown installer"


def _secrets(container: Mapping[str, Any]) -> Iterator[str]:
    """Yield the secrets from which a container reads its environment."""
    for one in container.get("envFrom") or []:
        if name := (one.get("secretRef") or {}).get("name"):
            yield str(name)
    for one in container.get("env") or []:
        reference = (one.get("valueFrom") or {}).get("secretKeyRef") or {}
        if one["name"] == KEY and reference.get("name"):
            yield str(reference["name"])


def _releases(
    client: lightkube.Client, workloads: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Yield name and chart of each Helm release, by the labels of its records and objects.

    The record's content holds the values of the release, keys included, so it is not read.
    """
    charts: dict[str, str] = {}
    for one in workloads:
        metadata = one["metadata"]
        release = (metadata.get("annotations") or {}).get("meta.helm.sh/release-name")
        chart = (metadata.get("labels") or {}).get("helm.sh/chart")
        if release and chart:
            charts[release] = chart
    labels: dict[str, Any] = {"owner": "helm"}
    for secret in client.list(Secret, namespace=NAMESPACE, labels=labels):
        name = str((secret.to_dict()["metadata"].get("labels") or {}).get("name") or "")
        if name:
            yield name, charts.get(name, "unknown chart")


def _components(client: lightkube.Client) -> Iterator[str]:
    from lightkube.generic_resource import create_namespaced_resource  # noqa: PLC0415

    group, _, version = _COMPONENTS[0].partition("/")
    kind = create_namespaced_resource(group, version, _COMPONENTS[1], "components")
    try:
        with answering():
            components = list(client.list(kind, namespace=NAMESPACE))
    except ClusterError as error:
        if error.not_found:
            return
        raise
    for one in components:
        yield str(one.metadata.name if one.metadata else "")


def _evictor_configuration(client: lightkube.Client) -> Document | None:
    live = _existing(client, evictor_config.API_VERSION, evictor_config.KIND, EVICTOR_CONFIG)
    return None if live is None else live.get("spec") or {}


def _beside_evictor(client: lightkube.Client) -> Iterator[tuple[str, str]]:
    for kind, name in (*evictor.BESIDE, ("ConfigMap", evictor.RULES)):
        version = "rbac.authorization.k8s.io/v1" if kind in evictor.CLUSTER_WIDE else "v1"
        namespace = None if kind in evictor.CLUSTER_WIDE else NAMESPACE
        if _existing(client, version, kind, name, namespace) is not None:
            yield kind, name


def _existing(
    client: lightkube.Client, api_version: str, kind: str, name: str, namespace: str | None = None
) -> dict[str, Any] | None:
    """Return an object; None if it, or its kind, is absent."""
    resource: Any = kinds.load(api_version, kind)
    try:
        with answering():
            live: Any = client.get(resource, name, namespace=namespace)
    except ClusterError as error:
        if error.not_found:
            return None
        raise
    return live.to_dict()


def _mapped(client: lightkube.Client) -> frozenset[str]:
    try:
        with answering():
            data = client.get(ConfigMap, "aws-auth", namespace="kube-system").data or {}
    except ClusterError as error:
        if error.not_found:
            return frozenset()
        raise
    lists: tuple[tuple[Kind, str], ...] = (("role", "mapRoles"), ("user", "mapUsers"))
    try:
        return frozenset(arn for kind, key in lists for arn in _arns(kind, data.get(key)))
    except AwsAuthError as error:
        raise CommandError(f"{error}; correct the map first") from None


def _arns(kind: Kind, text: str | None) -> Iterator[str]:
    for item in reader.parse(kind, text).items:
        if item.grant is not None:
            yield item.grant.arn
