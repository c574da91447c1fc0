"""Checks against the cluster before anything is written."""

import asyncio
import base64
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from castai_stack.access import steps
from castai_stack.access.entries import Entry
from castai_stack.agent import adoption
from castai_stack.agent import release as agent_release
from castai_stack.automation import existing as existing_automation
from castai_stack.automation import manifests as automation_manifests
from castai_stack.automation.release import Release as AutomationRelease
from castai_stack.fields import quantity
from castai_stack.kube.connection import connect, explain
from castai_stack.kube.kubeconfig import relative_references
from castai_stack.permissions.operator_kubernetes import ROOT_CERTIFICATES, KubernetesRequirement
from castai_stack.preflight.findings import Findings

if TYPE_CHECKING:
    import lightkube


_AT_ONCE = 8
_FORBIDDEN, _NOT_FOUND = 403, 404
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class InCluster:
    """The cluster's answers."""

    findings: Findings
    existing: frozenset[str] = frozenset()
    """Existing objects that are to be adopted, in the form of AgentArgs."""
    namespace_uid: str | None = None
    """Uid of the agent's namespace; empty if it is absent, None if that is unknown."""


@dataclass(frozen=True, slots=True)
class AwsAuthPlan:
    """Entries that an update is going to write into aws-auth."""

    entries: tuple[Entry, ...]
    adopt: bool
    overrides: frozenset[str]


async def ask_cluster(  # noqa: PLR0917 - what one visit to the cluster needs
    kubeconfig: str,
    context: str | None,
    needed: Iterable[KubernetesRequirement],
    release: agent_release.Release,
    authority: str,
    plan: AwsAuthPlan | None = None,
    automation: AutomationRelease | None = None,
    cpu_limit: int | None = None,
) -> InCluster:
    """Check the cluster's identity, the caller's permissions and existing installations.

    `authority` holds the cluster's certificates as EKS gives them, in base64. The API server
    stores no access review. `cpu_limit` is the autoscaler's, if it has one.
    Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/
    """
    return await asyncio.to_thread(
        _ask_cluster,
        kubeconfig,
        context,
        tuple(needed),
        release,
        authority,
        plan,
        automation,
        cpu_limit,
    )


def _ask_cluster(  # noqa: PLR0917
    kubeconfig: str,
    context: str | None,
    needed: tuple[KubernetesRequirement, ...],
    release: agent_release.Release,
    authority: str,
    plan: AwsAuthPlan | None,
    automation: AutomationRelease | None,
    cpu_limit: int | None,
) -> InCluster:
    try:
        client = connect(kubeconfig, context)
        if keys := relative_references(kubeconfig, context):
            return InCluster(Findings(problems=(_relative_line(kubeconfig, keys),)))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            identity_asked = pool.submit(_identity, client, release.cluster_name, authority)
            limit_asked = pool.submit(_limit_findings, client, cpu_limit)
            agent_asked = pool.submit(adoption.find, client, release)
            workloads_asked = pool.submit(_workloads, client, automation)
            namespace_asked = pool.submit(adoption.namespace_uid, client, release.namespace)
            missing = _missing(client, needed)
        identity, of_nodes = identity_asked.result(), limit_asked.result()
        installed, workloads = agent_asked.result(), workloads_asked.result()
        uid = namespace_asked.result()
        # A caller without every permission cannot write the map, and perhaps not read it.
        in_map = aws_auth_findings(client, plan) if plan and not missing else Findings()
    except Exception as error:  # noqa: BLE001 - any error of the client makes the cluster unusable
        return InCluster(Findings(problems=(f"Kubernetes: {explain(error)}",)))
    refusals = (
        adoption.refusal(installed, release),
        adoption.missing_namespace(uid, release),
        None if automation is None else existing_automation.refusal(workloads, automation),
    )
    of_agent = Findings(problems=tuple(filter(None, refusals)), missing=missing)
    findings = identity + of_agent + in_map + of_nodes
    existing = adoption.existing(installed) if release.settings.adopt else frozenset()
    if automation is not None and automation.settings.adopt:
        existing |= adoption.existing(workloads)
    return InCluster(findings, existing, uid)


def _workloads(
    client: "lightkube.Client", release: AutomationRelease | None
) -> list[adoption.ExistingObject]:
    if release is None:
        return []
    documents = automation_manifests.objects(release).values()
    return adoption.look_for(client, documents, "automation.adopt", adopt=release.settings.adopt)


def _relative_line(kubeconfig: str, keys: tuple[str, ...]) -> str:
    return (
        f"Kubernetes: {kubeconfig}: {', '.join(keys)}: Pulumi's provider resolves relative paths "
        "of this file against the current directory; write absolute paths, or set KUBECONFIG and "
        "cluster.kubeconfig to ambient"
    )


def aws_auth_findings(client: "lightkube.Client", plan: AwsAuthPlan) -> Findings:
    """Return what aws-auth would refuse half-way through an update."""
    from castai_stack.access import writer  # noqa: PLC0415 - only this thread pays for it

    return Findings(
        problems=tuple(
            steps.obstacles(
                writer.look(client),
                plan.entries,
                writer.ask_caller(client),
                plan.overrides,
                adopt=plan.adopt,
            )
        )
    )


def _identity(client: "lightkube.Client", name: str, authority: str) -> Findings:
    """Compare the certificates that the cluster publishes with those that EKS names.

    A kubeconfig may lead through a proxy with an address and certificates of its own.
    Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
    """
    from lightkube import ApiError  # noqa: PLC0415 - only this thread pays for it
    from lightkube.resources.core_v1 import ConfigMap  # noqa: PLC0415

    try:
        published = client.get(ConfigMap, ROOT_CERTIFICATES, namespace="kube-system")
    except ApiError as error:
        if error.status.code not in {_FORBIDDEN, _NOT_FOUND}:
            raise
        return Findings(
            inconclusive=(
                (
                    f"Kubernetes: it was not checked whether the kubeconfig leads to {name}: "
                    f"{explain(error)}"
                ),
            )
        )
    own = _certificates((published.data or {}).get("ca.crt", ""))
    if own & _certificates(base64.b64decode(authority).decode(errors="replace")):
        return Findings()
    return Findings(
        problems=(
            (
                f"Kubernetes: the kubeconfig leads to another cluster than {name}, its certificate "
                "authority is not the one that EKS names. Correct cluster.kubeconfig, "
                "cluster.context or cluster.name"
            ),
        )
    )


def _limit_findings(client: "lightkube.Client", limit: int | None) -> Findings:
    """Compare the autoscaler's limit, if it has one, with the CPUs of the nodes that run.

    A caller that may not list nodes is told so among the missing permissions.
    """
    from lightkube import ApiError  # noqa: PLC0415 - only this thread pays for it
    from lightkube.resources.core_v1 import Node  # noqa: PLC0415

    if limit is None:
        return Findings()
    try:
        nodes = list(client.list(Node))
    except ApiError as error:
        if error.status.code != _FORBIDDEN:
            raise
        return Findings()
    capacities = ((node.status and node.status.capacity) or {} for node in nodes)
    running = sum(quantity(capacity.get("cpu", "0")) for capacity in capacities)
    if running <= limit:
        return Findings()
    line = (
        f"automation.autoscaler.cpuLimit: found {limit}; the {len(nodes)} nodes that run have "
        f"{float(running):g} CPUs, so that CAST AI would add no node. Raise it, or remove it"
    )
    return Findings(problems=(line,))


def _certificates(text: str) -> set[str]:
    return {"".join(body.split()) for body in _CERTIFICATE.findall(text)}


def _missing(
    client: "lightkube.Client", needed: tuple[KubernetesRequirement, ...]
) -> tuple[str, ...]:
    from lightkube.models.authorization_v1 import (  # noqa: PLC0415 - only this thread pays for it
        ResourceAttributes,
        SelfSubjectAccessReviewSpec,
    )
    from lightkube.resources.authorization_v1 import SelfSubjectAccessReview  # noqa: PLC0415

    def is_allowed(question: tuple[KubernetesRequirement, str]) -> bool:
        requirement, verb = question
        attributes = ResourceAttributes(
            verb=verb,
            group=requirement.group,
            resource=requirement.resource,
            namespace=requirement.namespace,
            name=requirement.name,
        )
        review = client.create(
            SelfSubjectAccessReview(
                apiVersion="authorization.k8s.io/v1",
                kind="SelfSubjectAccessReview",
                spec=SelfSubjectAccessReviewSpec(resourceAttributes=attributes),
            )
        )
        return bool(review.status and review.status.allowed)

    # One question is enough for a cluster administrator.
    if is_allowed((KubernetesRequirement(("*",), "*", "*"), "*")):
        return ()
    questions = [(requirement, verb) for requirement in needed for verb in requirement.verbs]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(is_allowed, questions))
    missing: dict[KubernetesRequirement, list[str]] = {}
    for (requirement, verb), allowed in zip(questions, answers, strict=True):
        if not allowed:
            missing.setdefault(requirement, []).append(verb)
    return tuple(_kubernetes_line(requirement, verbs) for requirement, verbs in missing.items())


def _kubernetes_line(requirement: KubernetesRequirement, verbs: list[str]) -> str:
    resource = ".".join(filter(None, (requirement.resource, requirement.group)))
    name = f" {requirement.name}" if requirement.name else ""
    where = f"namespace {requirement.namespace}" if requirement.namespace else "the cluster"
    return f"Kubernetes, {where}: {', '.join(verbs)} {resource}{name}"
