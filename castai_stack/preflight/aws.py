"""Checks against AWS before anything is written."""

from collections.abc import Iterable

import pulumi_aws as aws

from castai_stack import arn
from castai_stack.access.modes import mappings, unread_under
from castai_stack.config.model import StackConfig
from castai_stack.iam.key_slots import Slot, exceeds
from castai_stack.iam.scope import Scope
from castai_stack.permissions import actors
from castai_stack.preflight.findings import Findings
from castai_stack.preflight.lookups import Caller, ClusterFacts, ask, first_line

_NO_SUCH_USER = ("NoSuchEntity", "couldn't find resource")


def cluster_findings(settings: StackConfig, caller: Caller, facts: ClusterFacts) -> Findings:
    """Compare account and cluster of the stack file with AWS's answers."""
    cluster = settings.cluster
    problems = []
    if caller.account_id != cluster.account_id:
        problems.append(
            f"account: the credentials are {caller.arn} of account {caller.account_id}; "
            f"cluster.accountId is {cluster.account_id}. Choose other credentials, or correct it"
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
            f"cluster: {cluster.name} is {facts.status}; it must be ACTIVE. "
            "Wait for it, or repair it"
        )
    for key, stated, actual in (
        ("cluster.vpcId", cluster.vpc_id, facts.vpc_id),
        ("cluster.authenticationMode", cluster.authentication_mode, facts.authentication_mode),
    ):
        if stated is not None and stated != actual:
            problems.append(
                f"{key}: found {stated}; EKS answers {actual}. Remove it, it is looked up"
            )
    return Findings(problems=tuple(problems))


def uses_access_entries(settings: StackConfig, facts: ClusterFacts) -> bool:
    """Return True if principals are mapped by access entries; otherwise in aws-auth."""
    return "access-entries" in mappings(settings.access.mode, facts.authentication_mode)


def access_findings(settings: StackConfig, facts: ClusterFacts) -> Findings:
    """Compare the chosen mapping with what the cluster's authentication mode reads."""
    unread = unread_under(settings.access.mode)
    if facts.authentication_mode != unread:
        return Findings()
    return Findings(
        problems=(
            (
                f"access.mode: found {settings.access.mode}; EKS answers that the cluster's "
                f"authentication mode is {unread}, which does not read it. Set access.mode to auto"
            ),
        )
    )


def document_findings(scope: Scope, settings: StackConfig) -> Findings:
    """Measure every document against IAM's quotas; `scope` holds an id of full length."""
    return Findings(problems=actors.oversized_documents(scope, settings))


async def key_findings(user: str, slots: Iterable[Slot], provider: aws.Provider) -> Findings:
    """Look for access keys of the user that cannot all belong to this stack's slots."""
    try:
        answer = await ask("aws:iam/getAccessKeys:getAccessKeys", {"user": user}, provider)
    except Exception as error:  # noqa: BLE001 - an invoke raises bare exceptions
        if any(words in str(error) for words in _NO_SUCH_USER):
            return Findings()
        line = f"the access keys of {user} were not checked: {first_line(error)}"
        return Findings(inconclusive=(line,))
    statuses = {key["accessKeyId"]: key["status"] for key in answer["accessKeys"]}
    expected = tuple(slots)
    if not exceeds(statuses.values(), expected):
        return Findings()
    keys = ", ".join(f"{name} ({status})" for name, status in sorted(statuses.items()))
    own = " and ".join(f"one {slot.status}" for slot in expected)
    line = (
        f"user {user} has the access keys {keys}; this stack has {own}. Another key was created "
        "outside of the stack, or a rotation broke off. AWS allows two keys, so a rotation fails "
        "until it is gone: `python -m castai_stack recover --dry-run` names it"
    )
    return Findings(inconclusive=(line,))
