"""Everything that is checked before anything is written: a wrong stack starts nothing."""

import asyncio
import base64
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from castai_stack import agent_adoption, agent_manifests, arn, iam_policies, permission_grants
from castai_stack.castai_api import CastaiApi, CastaiError
from castai_stack.key_rotation import Slot, exceeds
from castai_stack.kubernetes_access import connect, explain
from castai_stack.lookups import Caller, ClusterFacts, ask, first_line
from castai_stack.operator_permissions import (
    ROOT_CERTIFICATES,
    KubernetesRequirement,
    Requirement,
)
from castai_stack.settings import StackConfig

if TYPE_CHECKING:
    import lightkube

_AT_ONCE = 8
_NO_SUCH_USER = ("NoSuchEntity", "couldn't find resource")
_FORBIDDEN, _NOT_FOUND = 403, 404
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


class PreflightFailed(pulumi.RunError):
    """The stack must not be applied as things are; the message lists every reason."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the checks found; `missing` are permissions, which a preview can do without."""

    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    inconclusive: tuple[str, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(
            self.problems + other.problems,
            self.missing + other.missing,
            self.inconclusive + other.inconclusive,
        )


def cluster_findings(settings: StackConfig, caller: Caller, facts: ClusterFacts) -> Findings:
    """Compare what the stack file says of account and cluster with what AWS says."""
    cluster = settings.cluster
    problems = []
    if caller.account_id != cluster.account_id:
        problems.append(
            f"account: the credentials are {caller.arn} of account {caller.account_id}; "
            f"cluster.accountId says {cluster.account_id}. Choose other credentials, or correct it"
        )
    expected = arn.regional(
        arn.partition(cluster.region),
        "eks",
        cluster.region,
        cluster.account_id,
        f"cluster/{cluster.name}",
    )
    if facts.arn != expected:
        problems.append(f"cluster: EKS answers {facts.arn}; the stack file means {expected}")
    if facts.status not in {"ACTIVE", "UPDATING"}:
        problems.append(
            f"cluster: {cluster.name} is {facts.status}; it must be ACTIVE. Wait for it, or mend it"
        )
    for key, said, seen in (
        ("cluster.vpcId", cluster.vpc_id, facts.vpc_id),
        ("cluster.authenticationMode", cluster.authentication_mode, facts.authentication_mode),
    ):
        if said is not None and said != seen:
            problems.append(f"{key}: found {said}; EKS says {seen}. Remove it, it is looked up")
    return Findings(problems=tuple(problems))


def uses_access_entries(settings: StackConfig, facts: ClusterFacts) -> bool:
    """Tell whether principals are mapped by access entries, or else in aws-auth."""
    return "access-entries" in settings.access.mapped_by(facts.authentication_mode)


def access_findings(settings: StackConfig, facts: ClusterFacts) -> Findings:
    """Compare the chosen mapping with what the cluster's authentication mode reads."""
    unread = settings.access.unread_under
    if facts.authentication_mode != unread:
        return Findings()
    return Findings(
        problems=(
            (
                f"access.mode: found {settings.access.mode}; EKS says that the cluster's "
                f"authentication mode is {unread}, which does not read it. Set access.mode to auto"
            ),
        )
    )


def document_findings(scope: iam_policies.Scope, settings: StackConfig) -> Findings:
    """Measure every document against IAM's quotas, with the id at its full length."""
    return Findings(problems=permission_grants.too_large(scope, settings))


async def castai_findings(settings: StackConfig, key: pulumi.Output[str]) -> Findings:
    """Ask CAST AI whether it knows the key; without registration the key is the agent's alone."""
    if not settings.api.register_cluster:
        return Findings()
    api = CastaiApi(settings.api.url, await key.future() or "")
    try:
        await asyncio.to_thread(api.check_key)
    except CastaiError as error:
        return Findings(problems=(first_line(error),))
    return Findings()


async def key_findings(user: str, held: Iterable[Slot], provider: aws.Provider) -> Findings:
    """Look for access keys of the user that cannot all be this stack's."""
    try:
        answer = await ask(
            "aws:iam/getAccessKeys:getAccessKeys",
            {"user": user},
            aws.iam.GetAccessKeysResult,
            provider,
        )
    except Exception as error:  # noqa: BLE001 - an invoke raises bare exceptions
        if any(words in str(error) for words in _NO_SUCH_USER):
            return Findings()
        return Findings(inconclusive=(f"keys of {user} could not be asked: {first_line(error)}",))
    found = {key.access_key_id: key.status for key in answer.access_keys}
    slots = tuple(held)
    if not exceeds(found.values(), slots):
        return Findings()
    shown = ", ".join(f"{name} ({status})" for name, status in sorted(found.items()))
    ours = " and ".join(f"one {slot.status}" for slot in slots)
    line = (
        f"user {user} has the access keys {shown}, of which this stack holds {ours}: another was "
        "made outside of it, or a rotation broke off. AWS allows two keys, so a rotation fails "
        "until it is gone: `python -m castai_stack.recover --dry-run` names it"
    )
    return Findings(inconclusive=(line,))


@dataclass(frozen=True, slots=True)
class InCluster:
    """What the cluster answered: findings, and objects of an agent that is there already."""

    findings: Findings
    existing: frozenset[str] = frozenset()
    """Objects to take over, as AgentArgs wants them."""


async def ask_cluster(
    kubeconfig: str,
    context: str | None,
    needed: Iterable[KubernetesRequirement],
    release: agent_manifests.Release,
    authority: str,
) -> InCluster:
    """Ask the API server who it is, what the caller may do, and whose agent is there.

    `authority` are the cluster's certificates as EKS gives them, in base64.

    Access reviews are answered, not stored.
    Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/
    """
    return await asyncio.to_thread(
        _ask_cluster, kubeconfig, context, tuple(needed), release, authority
    )


def _ask_cluster(
    kubeconfig: str,
    context: str | None,
    needed: tuple[KubernetesRequirement, ...],
    release: agent_manifests.Release,
    authority: str,
) -> InCluster:
    try:
        client = connect(kubeconfig, context)
        identity = _identity(client, release.cluster_name, authority)
        missing = _missing(client, needed)
        found = agent_adoption.find(client, release)
    except Exception as error:  # noqa: BLE001 - whatever the client raises, the cluster is not usable
        return InCluster(Findings(problems=(f"Kubernetes: {explain(error)}",)))
    refusal = agent_adoption.refusal(found, release)
    findings = identity + Findings(problems=(refusal,) if refusal else (), missing=missing)
    adopted = agent_adoption.existing(found) if release.settings.adopt else frozenset()
    return InCluster(findings, adopted)


def _identity(client: "lightkube.Client", name: str, authority: str) -> Findings:
    """Compare the certificates that the cluster publishes in itself with those that EKS names.

    A kubeconfig may go by a proxy with an address and certificates of its own.
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
                    f"Kubernetes: whether the kubeconfig leads to {name} is not known, "
                    f"{explain(error)}"
                ),
            )
        )
    here = _certificates((published.data or {}).get("ca.crt", ""))
    if here & _certificates(base64.b64decode(authority).decode(errors="replace")):
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

    def may(question: tuple[KubernetesRequirement, str]) -> bool:
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

    # Whoever may do everything is asked once; most operators are cluster administrators.
    if may((KubernetesRequirement(("*",), "*", "*"), "*")):
        return ()
    asked = [(requirement, verb) for requirement in needed for verb in requirement.verbs]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(may, asked))
    missing: dict[KubernetesRequirement, list[str]] = {}
    for (requirement, verb), allowed in zip(asked, answers, strict=True):
        if not allowed:
            missing.setdefault(requirement, []).append(verb)
    return tuple(_kubernetes_line(requirement, verbs) for requirement, verbs in missing.items())


def _kubernetes_line(requirement: KubernetesRequirement, verbs: list[str]) -> str:
    resource = ".".join(filter(None, (requirement.resource, requirement.group)))
    name = f" {requirement.name}" if requirement.name else ""
    where = f"namespace {requirement.namespace}" if requirement.namespace else "the cluster"
    return f"Kubernetes, {where}: {', '.join(verbs)} {resource}{name}"


async def aws_findings(
    caller: Caller, needed: Iterable[Requirement], provider: aws.Provider
) -> Findings:
    """Ask IAM's simulator what the caller may do, without doing it.

    Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    asked = tuple(needed)
    if caller.arn.endswith(":root"):
        return Findings(
            inconclusive=("AWS permissions: the simulator does not know the root user",)
        )
    try:
        session = await ask(
            "aws:iam/getSessionContext:getSessionContext",
            {"arn": caller.arn},
            aws.iam.GetSessionContextResult,
            provider,
        )
        answers = await asyncio.gather(
            *(
                ask(
                    "aws:iam/getPrincipalPolicySimulation:getPrincipalPolicySimulation",
                    {
                        "policySourceArn": session.issuer_arn or caller.arn,
                        "actionNames": list(requirement.actions),
                        "resourceArns": [_example(r) for r in requirement.resources],
                    },
                    aws.iam.GetPrincipalPolicySimulationResult,
                    provider,
                )
                for requirement in asked
            )
        )
    except Exception as error:  # noqa: BLE001 - an invoke raises bare exceptions
        return Findings(inconclusive=(f"AWS permissions could not be asked: {first_line(error)}",))
    lines = []
    for requirement, answer in zip(asked, answers, strict=True):
        refused = sorted({r.action_name for r in answer.results if not r.allowed})
        if refused:
            lines.append(
                f"AWS, {requirement.part}: {', '.join(refused)} on "
                f"{', '.join(requirement.resources)}"
            )
    return Findings(missing=tuple(lines))


def _example(resource: str) -> str:
    """Return a resource that a pattern fits, because the simulator asks about none but whole ones.

    A lone star is no pattern: it stands for actions that know no resource.
    """
    if resource == "*":
        return resource
    return resource.replace("*", "00000000").replace("?", "0")


def judge(findings: Findings, *, preview: bool) -> None:
    """Stop with every reason, or warn of what only an apply would need.

    Raises PreflightFailed when there is a problem, or a missing permission outside a preview.
    """
    for line in findings.inconclusive:
        pulumi.log.warn(f"Preflight: {line}")
    if preview and findings.missing:
        lines = "\n".join(f"  {line}" for line in findings.missing)
        pulumi.log.warn(f"This caller can preview but not apply; it is missing:\n{lines}")
    refused = findings.problems if preview else findings.problems + findings.missing
    if refused:
        lines = "\n".join(f"  {line}" for line in refused)
        raise PreflightFailed(f"Preflight failed, nothing was written:\n{lines}")
