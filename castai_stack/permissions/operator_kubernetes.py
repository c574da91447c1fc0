"""Kubernetes permissions that the operator of a stack needs, derived from the documents."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from castai_stack.access import entries, protocol
from castai_stack.access import rbac as access_rbac
from castai_stack.agent import manifests
from castai_stack.agent.names import NAMESPACE
from castai_stack.agent.release import Release
from castai_stack.agent.settings import Agent
from castai_stack.automation import manifests as automation_manifests
from castai_stack.automation.release import Release as AutomationRelease
from castai_stack.automation.release import everything as all_automation
from castai_stack.config.model import StackConfig
from castai_stack.kube import rbac
from castai_stack.spot import rbac as spot_rbac

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KubernetesRequirement:
    """Verbs on one kind of Kubernetes object; an empty namespace means cluster-wide."""

    verbs: tuple[str, ...]
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


ROOT_CERTIFICATES = "kube-root-ca.crt"
"""ConfigMap in which every cluster publishes its own certificate authority."""
# RBAC cannot limit these verbs to a name. The Kubernetes provider lists and watches an object that
# it deletes until the object is gone.
_UNNAMED_WRITES = ("create", "list", "watch")
_NAMED_WRITES = ("delete", "get", "patch")
_WRITES = tuple(sorted(_UNNAMED_WRITES + _NAMED_WRITES))
_GRANTS = ("bind", "escalate")


def cluster_objects(agent: Agent, automation: AutomationRelease | None = None) -> list[Document]:
    """Return every object that the program may write into a cluster, without aws-auth.

    Optional objects are included whatever the settings: an update that switches one off deletes
    it. Only `createNamespace` and `networkPolicy` decide about their own objects. `automation`
    stands for the workloads besides the agent; without it all of them are included.
    """
    everything = agent.model_copy(
        update={
            "existing_secret": None,
            "trusted_ca_certificate": "",
            "priority_class": "any",
            "autoscaling": agent.autoscaling.model_copy(update={"enabled": True}),
        }
    )
    release = Release(cluster_name="", region="", account_id="", api_url="", settings=everything)
    return [
        *manifests.objects(release).values(),
        *automation_manifests.objects(automation or all_automation(everything)).values(),
        access_rbac.cluster_role(),
        access_rbac.cluster_role_binding([]),
        spot_rbac.cluster_role(),
        spot_rbac.cluster_role_binding(),
    ]


def kubernetes_requirements(
    settings: StackConfig, *, aws_auth: bool
) -> tuple[KubernetesRequirement, ...]:
    """Return the permissions of an apply; a preview needs only the `get` among them."""
    documents = cluster_objects(settings.agent, _automation(settings))
    needed = [
        *_writes(documents),
        *_grants(documents),
        *_reads(documents, cluster_objects(settings.agent)),
        KubernetesRequirement(("get", "list"), "", "pods", NAMESPACE),
        KubernetesRequirement(("get", "list", "watch"), "", "events", NAMESPACE),
        KubernetesRequirement(
            ("get",), "", "configmaps", entries.NAMESPACE, name=ROOT_CERTIFICATES
        ),
    ]
    if not settings.agent.create_namespace:
        # A destroy removes the agent's run-time objects from a namespace that stays; its writes
        # cover the config map.
        needed += [
            KubernetesRequirement(
                ("delete",), *rbac.resource_of(one), NAMESPACE, one["metadata"]["name"]
            )
            for one in manifests.runtime_objects(NAMESPACE)
            if one["kind"] == "Lease"
        ]
    if settings.autoscales and settings.automation.autoscaler.cpu_limit is not None:
        needed.append(KubernetesRequirement(("list",), "", "nodes"))
    if aws_auth and settings.principal is not None:
        needed.append(KubernetesRequirement(("create",), "", "configmaps", entries.NAMESPACE))
        needed += [
            KubernetesRequirement(_NAMED_WRITES, "", "configmaps", entries.NAMESPACE, name)
            for name in (entries.NAME, protocol.COPY)
        ]
    return tuple(needed)


def _automation(settings: StackConfig) -> AutomationRelease:
    """Return the workloads of a stack, the controller among them whatever the settings.

    Evictor and DaemonSet need rights that other stacks do without, such as those on definitions of
    kinds. An update that switches them off is run with the rights that created them. The audit
    looks for them in every cluster.
    """
    automation = settings.automation
    controller = automation.controller.model_copy(update={"enabled": True})
    return AutomationRelease(
        api_url="",
        settings=automation.model_copy(update={"controller": controller, "existing_secret": None}),
        agent=settings.agent.model_copy(update={"existing_secret": None}),
        spot_daemonset=settings.spot.by_daemonset,
    )


def _reads(
    written: Iterable[Document], everything: Iterable[Document]
) -> list[KubernetesRequirement]:
    """Return the reads of kinds that the stack does not write, for the audit to find leftovers."""

    def places(documents: Iterable[Document]) -> dict[tuple[str, str, str], None]:
        return dict.fromkeys(
            (*rbac.resource_of(one), one["metadata"].get("namespace", "")) for one in documents
        )

    own = places(written)
    return [
        KubernetesRequirement(("get", "list"), *place)
        for place in places(everything)
        if place not in own
    ]


def _writes(documents: Iterable[Document]) -> list[KubernetesRequirement]:
    """Return the writes of each kind; secrets are limited to their names."""
    places: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for document in documents:
        metadata = document["metadata"]
        place = (*rbac.resource_of(document), metadata.get("namespace", ""))
        places[place].append(metadata["name"])
    needed = []
    for place, names in places.items():
        if place[1] == "secrets":
            needed.append(KubernetesRequirement(_UNNAMED_WRITES, *place))
            needed += [KubernetesRequirement(_NAMED_WRITES, *place, name) for name in names]
        else:
            needed.append(KubernetesRequirement(_WRITES, *place))
    return needed


def _grants(documents: Iterable[Document]) -> list[KubernetesRequirement]:
    """Return the verbs that let the operator write rules which the operator does not hold.

    Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/
    (privilege escalation prevention and bootstrapping)
    """
    roles = dict.fromkeys(
        (*rbac.resource_of(one), one["metadata"].get("namespace", ""))
        for one in documents
        if one["kind"] in ("ClusterRole", "Role")
    )
    return [KubernetesRequirement(_GRANTS, *place) for place in roles]


def cluster_role(needed: Iterable[KubernetesRequirement], *, apply: bool) -> dict[str, Any]:
    """Return a cluster role for the operator: all verbs for an apply, or `get` for a preview."""
    rules: dict[tuple[str, str, str], set[str]] = {}
    for requirement in needed:
        verbs = set(requirement.verbs) if apply else {"get"}.intersection(requirement.verbs)
        if verbs:
            key = (requirement.group, requirement.resource, requirement.name)
            rules.setdefault(key, set()).update(verbs)
    return rbac.role(
        {"name": f"castai-eks-{'operator' if apply else 'preview'}"},
        [
            rbac.rule(group, [resource], sorted(verbs), names=[name] if name else ())
            for (group, resource, name), verbs in rules.items()
        ],
    )
