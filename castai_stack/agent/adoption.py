"""Objects of CAST AI in the cluster: detected before a write, adopted by choice.

The Kubernetes provider applies objects, so it would take over an existing one silently.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from castai_stack.agent import manifests, names
from castai_stack.agent import release as agent_release
from castai_stack.kube import kinds
from castai_stack.kube.object import object_key
from castai_stack.kube.quoting import quote

if TYPE_CHECKING:
    import lightkube


_CHART_LABEL = "helm.sh/chart"
_NOT_FOUND = 404
_FORBIDDEN = (401, 403)
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class ExistingObject:
    """An object of the cluster that has the name of an object of this program."""

    kind: str
    name: str
    namespace: str | None
    key: str
    """Value of `object.object_key`."""
    labels: dict[str, str]
    deletion: str | None = None
    """What holds up the deletion of a namespace that is Terminating; None for any other object."""
    selector: str | None = None
    """Selector of a workload if it is another one than this program's; None otherwise."""

    @property
    def of_this_program(self) -> bool:
        """Return True if this program created or adopted it."""
        return self.labels.get(names.PART_OF_LABEL) == names.PART_OF

    def __str__(self) -> str:
        place = "" if self.namespace is None else f"{self.namespace}/"
        return f"{self.kind} {place}{self.name}"


class AdoptionError(Exception):
    """Objects to adopt cannot be read; the message is complete."""


def find(client: "lightkube.Client", release: agent_release.Release) -> list[ExistingObject]:
    """Return the existing objects of the agent, by name; reads only."""
    documents = {"namespace": manifests.namespace(release), **manifests.objects(release)}.values()
    objects = look_for(client, documents, "agent.adopt", adopt=release.settings.adopt)
    # Without createNamespace the operator owns the namespace, unless it is being deleted.
    return [
        entry
        for entry in objects
        if release.settings.create_namespace
        or entry.kind != "Namespace"
        or entry.deletion is not None
    ]


def look_for(
    client: "lightkube.Client",
    documents: Iterable[agent_release.Document],
    setting: str,
    *,
    adopt: bool,
) -> list[ExistingObject]:
    """Return those of the documents' objects that exist, by name; reads only.

    An object that may not be read counts as absent, unless it is to be adopted by `setting`. The
    client must be one of `connection.connect`, which threads may share.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = pool.map(lambda one: _look(client, one, setting if adopt else None), documents)
        return [entry for entry in answers if entry is not None]


def namespace_uid(client: "lightkube.Client", namespace: str) -> str | None:
    """Return the uid of a namespace; empty if it is absent, None if it may not be read.

    A namespace that was deleted and created again has another uid.
    Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#uids
    """
    from lightkube import ApiError  # noqa: PLC0415 - costs 0.4 s, and pure tests need none of it
    from lightkube.resources.core_v1 import Namespace  # noqa: PLC0415

    try:
        live = client.get(Namespace, namespace)
    except ApiError as error:
        if error.status.code == _NOT_FOUND:
            return ""
        if error.status.code in _FORBIDDEN:
            return None
        raise
    return str(live.metadata.uid) if live.metadata else None


def missing_namespace(uid: str | None, release: agent_release.Release) -> str | None:
    """Return why an update would fail without the namespace that the operator provides."""
    if uid != "" or release.settings.create_namespace:
        return None
    return (
        f"agent: the namespace {release.namespace} does not exist, and agent.createNamespace is "
        f"false; create it (kubectl create namespace {release.namespace}), or set "
        "agent.createNamespace to true"
    )


def refusal(objects: Sequence[ExistingObject], release: agent_release.Release) -> str | None:
    """Return why existing objects prevent an update and the remedy; None if nothing does."""
    for entry in objects:
        if entry.deletion is not None:
            return (
                f"agent: the namespace {entry.name} is being deleted (Terminating), so nothing can "
                f"be created in it; {entry.deletion}; wait for the end, or remove what holds it"
            )
    foreign = [one for one in objects if not one.of_this_program]
    if not foreign:
        return None
    if release.settings.adopt:
        return fixed_selector(foreign, "agent.adopt", release.namespace)
    if [one.kind for one in foreign] == ["Namespace"]:
        return (
            f"agent: the namespace {release.namespace} exists and this program did not create it; "
            "set agent.createNamespace to false to use it and leave it on destroy, "
            "or agent.adopt to true to own it and delete it on destroy"
        )
    return (
        f"agent: an agent that {installer(foreign)} installed is in the cluster "
        f"({', '.join(map(str, foreign))}); set agent.adopt to true to take these objects over in "
        "place, or remove them first"
    )


def existing(objects: Sequence[ExistingObject]) -> frozenset[str]:
    """Return the keys of existing objects, as `AgentArgs.existing`."""
    return frozenset(one.key for one in objects)


def fixed_selector(objects: Iterable[ExistingObject], setting: str, namespace: str) -> str | None:
    """Return why a workload cannot be taken over in place and the remedy; None if all can.

    Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#label-selector-updates
    """
    for one in objects:
        if one.selector is not None:
            return (
                f"{setting}: {one} has the selector {one.selector} of another installation, and "
                f"Kubernetes never changes a selector; delete it first (kubectl delete "
                f"{one.kind.lower()} {one.name} -n {namespace}), and its pods start again with the "
                "next `pulumi up`"
            )
    return None


def installer(foreign: Sequence[ExistingObject]) -> str:
    """Return who installed objects, by their labels."""
    charts = {one.labels[_CHART_LABEL] for one in foreign if _CHART_LABEL in one.labels}
    if charts:
        return f"the chart {', '.join(sorted(charts))}"
    managers = {
        one.labels[names.MANAGED_BY_LABEL]
        for one in foreign
        if names.MANAGED_BY_LABEL in one.labels
    }
    return ", ".join(sorted(managers)) or "an unknown installer"


def _look(
    client: "lightkube.Client", document: agent_release.Document, adopted_by: str | None
) -> ExistingObject | None:
    import httpx2  # noqa: PLC0415 - costs 0.4 s, and pure tests need none of it
    from lightkube import ApiError  # noqa: PLC0415

    metadata = document["metadata"]
    try:
        live: Any = client.get(
            kinds.load(document["apiVersion"], document["kind"]),
            metadata["name"],
            namespace=metadata.get("namespace"),
        )
    except ApiError as error:
        if error.status.code in _FORBIDDEN and adopted_by is not None:
            raise AdoptionError(
                f"{adopted_by}: {document['kind']} {metadata['name']} is to be taken over if it "
                f"exists, and may not be read: {error.status.message}; "
                f"grant get on it, or set {adopted_by} to false"
            ) from None
        if error.status.code in (_NOT_FOUND, *_FORBIDDEN):
            return None
        raise
    except httpx2.HTTPStatusError as error:
        if kinds.is_missing(error):
            return None
        raise
    return ExistingObject(
        kind=document["kind"],
        name=metadata["name"],
        namespace=metadata.get("namespace"),
        key=object_key(document),
        labels=dict(live.metadata.labels or {}),
        deletion=_deletion(live.to_dict()) if document["kind"] == "Namespace" else None,
        selector=_other_selector(document, live.to_dict()),
    )


def _other_selector(document: agent_release.Document, live: dict[str, Any]) -> str | None:
    """Return a workload's selector in kubectl's form if the document has another one."""
    if "template" not in document.get("spec", {}):
        return None
    selector = live["spec"]["selector"]
    if selector == document["spec"]["selector"]:
        return None
    labels = selector.get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


_HOLDING = ("NamespaceContentRemaining", "NamespaceFinalizersRemaining")


def _deletion(namespace: dict[str, Any]) -> str | None:
    """Return what holds up the deletion of a namespace; None if it is not being deleted.

    Source: https://kubernetes.io/docs/tasks/administer-cluster/namespaces/
    """
    if not namespace.get("metadata", {}).get("deletionTimestamp"):
        return None
    conditions = namespace.get("status", {}).get("conditions") or []
    messages = [
        quote(str(one.get("message", "")))
        for one in conditions
        if one.get("status") == "True"
        and (one.get("type") in _HOLDING or str(one.get("type")).endswith("Failure"))
    ]
    return "; ".join(messages) or "Kubernetes does not yet report what holds it"
