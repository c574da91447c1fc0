"""Checks against AWS before anything is written."""

import asyncio
from collections.abc import Iterable, Sequence

import pulumi_aws as aws

from castai_stack import arn
from castai_stack.access.modes import mappings, unread_under
from castai_stack.config.model import StackConfig
from castai_stack.iam import scope as iam_scope
from castai_stack.iam.key_slots import Slot, exceeds
from castai_stack.permissions import actors
from castai_stack.permissions.operator import Requirement
from castai_stack.preflight.findings import Findings
from castai_stack.preflight.lookups import Caller, ClusterFacts, ask, first_line

_NO_SUCH_USER = ("NoSuchEntity", "couldn't find resource")


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
    return "access-entries" in mappings(settings.access.mode, facts.authentication_mode)


def access_findings(settings: StackConfig, facts: ClusterFacts) -> Findings:
    """Compare the chosen mapping with what the cluster's authentication mode reads."""
    unread = unread_under(settings.access.mode)
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


def document_findings(scope: iam_scope.Scope, settings: StackConfig) -> Findings:
    """Measure every document against IAM's quotas, with the id at its full length."""
    return Findings(problems=actors.oversized_documents(scope, settings))


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
        "until it is gone: `python -m castai_stack recover --dry-run` names it"
    )
    return Findings(inconclusive=(line,))


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
                        **_simulated(requirement.resources),
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


def _simulated(resources: Sequence[str]) -> dict[str, list[str]]:
    """Return the argument for the resources of a simulation: one that each pattern matches.

    Without the argument AWS simulates on `*`, which the provider refuses as a value: it is no ARN.
    Source: hashicorp/terraform-provider-aws,
    internal/service/iam/principal_policy_simulation_data_source.go
    """
    if list(resources) == ["*"]:
        return {}
    return {"resourceArns": [one.replace("*", "00000000").replace("?", "0") for one in resources]}
