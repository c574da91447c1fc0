"""Permissions as a set of grants, which reports list and differences compare.

A grant is one action on one pattern of resources under one set of conditions.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from castai_stack.iam import document as iam_document
from castai_stack.iam.document import PolicyDocument
from castai_stack.permissions.managed_policies import MANAGED

UNKNOWN_CLUSTER_ID = "c1a57e4d-0000-4000-8000-00000000c1d0"
UNKNOWN_VPC_ID = "vpc-0c1a57e4d0000c1d0"
"""Placeholders of full length for ids that a lookup or the registration yields; never shown."""

Reach = Literal["reads", "this cluster", "its VPC", "beyond"]
Conditions = tuple[tuple[str, str, tuple[str, ...]], ...]

_READS = re.compile(
    r":(Get|List|Describe|Simulate|BatchGet|BatchCheck|AssumeRoleForPodIdentity)"
    r"|^(iam|cloudwatch):Generate"
)
_SCOPING_KEYS = (
    "aws:requesttag/",
    "aws:resourcetag/",
    "autoscaling:resourcetag/",
    "ec2:createaction",
    "ec2:resourcetag/",
    "kms:viaservice",
)
"""Condition keys that limit an action to this cluster, or to resources that its calls create."""


_KEYS_BUT_TAGS = tuple(tie for tie in _SCOPING_KEYS if "resourcetag" not in tie)
_ORDER: tuple[Reach, ...] = ("reads", "this cluster", "its VPC", "beyond")
_PER_RESOURCE = ("ec2:CreateNetworkInterface", "ec2:RunInstances")
"""Calls that AWS authorizes once per resource; if one resource is scoped, the call is."""
_CONTAINED = re.compile(r":(nodegroup/[^*]+/|log-group:/aws/lambda/[^*]+:)")
"""ARN patterns below a resource of this cluster alone."""


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One action on one pattern of resources under one condition."""

    action: str
    resource: str
    conditions: Conditions
    source: str
    """Sid of the statement, or name of the AWS-managed policy."""
    reach: Reach

    def meet(self, limit: "Grant") -> "Grant | None":
        """Return the grant of what both allow; None if neither pattern covers the other."""
        action = _narrower(self.action, limit.action)
        resource = _narrower(self.resource, limit.resource)
        if action is None or resource is None:
            return None
        conditions = tuple(sorted({*self.conditions, *limit.conditions}))
        source = f"{self.source} within {limit.source}"
        return Grant(action, resource, conditions, source, limit.reach)

    def covers(self, other: "Grant") -> bool:
        """Return True if this grant allows everything that the other allows."""
        return (
            _covers_pattern(self.action.lower(), other.action.lower())
            and _covers_pattern(self.resource, other.resource)
            and _covers_conditions(self.conditions, other.conditions)
        )


def _covers_pattern(wide: str, narrow: str) -> bool:
    expression = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in wide)
    return re.fullmatch(expression, narrow) is not None


def _narrower(one: str, other: str) -> str | None:
    if _covers_pattern(one.lower(), other.lower()):
        return other
    return one if _covers_pattern(other.lower(), one.lower()) else None


def within(grants: Iterable[Grant], boundary: PolicyDocument) -> Iterator[Grant]:
    """Yield what a permissions boundary leaves of each grant."""
    limits = list(document_grants([boundary]))
    for grant in grants:
        for limit in limits:
            if both := grant.meet(limit):
                reach: Reach = "reads" if _READS.search(both.action) else both.reach
                yield replace(both, reach=reach)


def _covers_conditions(wide: Conditions, narrow: Conditions) -> bool:
    stricter = [_normalized(*condition) for condition in narrow]
    return all(
        any(operator == o and key == k and values <= allowed for o, k, values in stricter)
        for operator, key, allowed in (_normalized(*condition) for condition in wide)
    )


def _normalized(
    operator: str, key: str, values: tuple[str, ...]
) -> tuple[str, str, frozenset[str]]:
    """Return a condition in one spelling for all that are equivalent."""
    plain = operator.replace("ArnEquals", "StringEquals").replace("ArnLike", "StringEquals")
    tag = re.sub(r"^(ec2|autoscaling):resourcetag/", "aws:resourcetag/", key.lower())
    return plain, tag, frozenset(values)


def sorted_grants(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """Return each grant once, in a stable order."""
    return tuple(sorted(set(grants)))


def document_grants(documents: Iterable[PolicyDocument]) -> Iterator[Grant]:
    """Yield the grants of these documents."""
    statements = [s for document in documents for s in document["Statement"]]
    # A principal that may tag any resource can satisfy tag conditions at will.
    free_tags = _tags_anything(statements)
    reaches: dict[str, set[Reach]] = {}
    grants: list[Grant] = []
    for statement in statements:
        conditions = _conditions(statement.get("Condition", {}))
        for action in statement.get("Action", []):
            keys = _KEYS_BUT_TAGS if free_tags and action.startswith("ec2:") else _SCOPING_KEYS
            for resource in statement.get("Resource", []):
                reach = _reach(action, resource, conditions, keys)
                grants.append(Grant(action, display(resource), conditions, statement["Sid"], reach))
                if action in _PER_RESOURCE:
                    reaches.setdefault(action, set()).add(reach)
    for grant in grants:
        best = min(reaches.get(grant.action, {grant.reach}), key=_ORDER.index)
        yield replace(grant, reach=best)


def managed_grants(names: Iterable[str]) -> Iterator[Grant]:
    """Yield the grants of AWS-managed policies, given by name or by path and name."""
    for path in names:
        name = path.rpartition("/")[2]
        actions, resource = MANAGED[name]
        for action in actions:
            where = "arn:*:ec2:*:*:network-interface/*" if action == "ec2:CreateTags" else resource
            yield Grant(action, where, (), name, _reach(action, where, (), _SCOPING_KEYS))


def _conditions(condition: Mapping[str, Mapping[str, Any]]) -> Conditions:
    return tuple(
        sorted(
            (operator, display(key), tuple(display(value) for value in values))
            for operator, block in condition.items()
            for key, values in block.items()
        )
    )


def _tags_anything(statements: Iterable[iam_document.Statement]) -> bool:
    return any(
        "ec2:CreateTags" in statement.get("Action", [])
        and statement.get("Resource") == ["*"]
        and not statement.get("Condition")
        for statement in statements
    )


def _reach(action: str, resource: str, conditions: Conditions, scoping: tuple[str, ...]) -> Reach:
    if _READS.search(action):
        return "reads"
    exact = "*" not in resource.replace(":autoScalingGroup:*:", ":")
    keys = [key.lower() for operator, key, _ in conditions if not operator.endswith("IfExists")]
    if exact or _CONTAINED.search(resource) or any(key.startswith(scoping) for key in keys):
        return "this cluster"
    return "its VPC" if "ec2:vpc" in keys else "beyond"


def display(text: str) -> str:
    """Replace the full-length placeholders by their short, visible forms."""
    return (
        text.replace(UNKNOWN_CLUSTER_ID, "<cluster-id>")
        .replace(f"-eks-{UNKNOWN_CLUSTER_ID[:8]}", "-eks-<cluster-id:8>")
        .replace(UNKNOWN_VPC_ID, "<vpc-id>")
    )
