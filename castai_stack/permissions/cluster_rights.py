"""Rights that a stack gives inside the cluster, as data: per subject, verb, resource and name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from castai_stack.access import entries
from castai_stack.access import rbac as access_rbac
from castai_stack.agent import manifests
from castai_stack.agent.release import Release
from castai_stack.automation import manifests as automation_manifests
from castai_stack.automation.release import Release as AutomationRelease
from castai_stack.config.model import StackConfig
from castai_stack.kube import rbac
from castai_stack.spot import rbac as spot_rbac

Document = Mapping[str, Any]
EVERYTHING = "*"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one kind of object; empty fields mean every namespace and every name."""

    subject: str
    """Service account, or group that a principal is mapped to."""
    namespace: str
    group: str
    resource: str
    name: str
    verb: str

    def covers(self, other: "Right") -> bool:
        """Return True if this right allows everything that the other one allows."""
        pairs = (
            (self.group, other.group),
            (self.resource, other.resource),
            (self.verb, other.verb),
        )
        return (
            self.subject == other.subject
            and self.namespace in ("", other.namespace)
            and self.name in ("", other.name)
            and all(mine in (EVERYTHING, theirs) for mine, theirs in pairs)
        )


def rights(settings: StackConfig) -> tuple[Right, ...]:
    """Return every right inside the cluster that an apply of these settings leaves behind."""
    granted = set(_granted(list(_documents(settings))))
    mapped = settings.principal is not None and settings.principal.is_mapped
    if mapped and not access_rbac.is_narrower(settings.access.user_groups):
        # Kubernetes authorizes this group without asking RBAC.
        granted.add(Right(entries.MASTERS, "", EVERYTHING, EVERYTHING, "", EVERYTHING))
    return tuple(sorted(granted))


def beyond(some: Sequence[Right], others: Sequence[Right]) -> tuple[Right, ...]:
    """Return the rights that none of the others covers."""
    return tuple(right for right in some if not any(other.covers(right) for other in others))


def agent(settings: StackConfig) -> Release:
    """Return the agent's installation."""
    cluster = settings.cluster
    return Release(
        cluster_name=cluster.name,
        region=cluster.region,
        account_id=cluster.account_id,
        api_url=settings.api.url,
        settings=settings.agent,
    )


def workloads(settings: StackConfig) -> AutomationRelease | None:
    """Return what runs in the cluster besides the agent; None where the settings ask for none."""
    if not settings.has_workloads:
        return None
    return AutomationRelease(
        api_url=settings.api.url,
        settings=settings.automation,
        agent=settings.agent,
        spot_daemonset=settings.spot.by_daemonset,
    )


def _documents(settings: StackConfig) -> Iterator[Document]:
    yield from manifests.objects(agent(settings)).values()
    if (release := workloads(settings)) is not None:
        yield from automation_manifests.objects(release).values()
    principal = settings.principal
    if principal is None:
        return
    groups = settings.access.user_groups
    if principal.is_mapped and access_rbac.is_narrower(groups):
        yield access_rbac.cluster_role()
        yield access_rbac.cluster_role_binding(groups)
    if settings.spot.by_lambda and settings.spot.drain:
        yield spot_rbac.cluster_role()
        yield spot_rbac.cluster_role_binding()


def _granted(documents: Sequence[Document]) -> Iterator[Right]:
    roles = {_place(one): one["rules"] for one in documents if one["kind"].endswith("Role")}
    for binding in documents:
        if not binding["kind"].endswith("RoleBinding"):
            continue
        namespace = binding["metadata"].get("namespace", "")
        reference = binding["roleRef"]
        where = namespace if reference["kind"] == "Role" else ""
        for subject in binding["subjects"]:
            yield from _of_rules(
                subject["name"], namespace, roles[reference["kind"], where, reference["name"]]
            )


def _place(document: Document) -> tuple[str, str, str]:
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace", ""), metadata["name"]


def _of_rules(subject: str, namespace: str, rules: Iterable[Document]) -> Iterator[Right]:
    for rule in rules:
        for group in rule.get("apiGroups", ()):
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", ("",)):
                    for verb in rule["verbs"]:
                        yield Right(subject, namespace, group, resource, name, verb)


def is_read(right: Right) -> bool:
    """Return True if the right changes nothing."""
    return right.verb in rbac.READ
