"""Rules as functions from a resource's properties to sentences; an empty answer is no violation.

`policy/` serves them to the engine. A property that a preview does not know yet is the caller's
business: the policy SDK reports it, and the rule runs again in the update.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from castai_stack.iam.document import listed
from castai_stack.permissions.grants import document_grants
from castai_stack.permissions.managed_policies import MANAGED

Properties = Mapping[str, Any]

DOCUMENTS = {
    "aws:iam/policy:Policy": "policy",
    "aws:iam/groupPolicy:GroupPolicy": "policy",
    "aws:iam/rolePolicy:RolePolicy": "policy",
    "aws:iam/userPolicy:UserPolicy": "policy",
}
"""Types that carry an IAM document, and its property."""
ATTACHMENTS = frozenset(
    {
        "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
        "aws:iam/policyAttachment:PolicyAttachment",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "aws:iam/userPolicyAttachment:UserPolicyAttachment",
    }
)
ROLE = "aws:iam/role:Role"
ACCESS_KEY = "aws:iam/accessKey:AccessKey"
REGISTRATION = "castai-stack:index:ClusterRegistration"
CONNECTION = "castai-stack:index:ConnectionGuard"
HAND_OVER = "castai-stack:index:HandOver"
SECRET_INPUTS = {
    "castai-stack:index:AgentComponent": ("api_key", "apiKey"),
    "castai-stack:index:AutomationComponent": ("token",),
    "castai-stack:index:HandOver": ("secretAccessKey",),
    "castai-stack:index:SpotLambdaComponent": ("api_key", "apiKey"),
    "kubernetes:core/v1:Secret": ("data", "stringData"),
    "pulumi:providers:castai-stack": ("apiKey",),
}
"""Inputs that hold a secret, by type."""
DISCONNECT_TAG = "castai:disconnect"
"""Tag of a stack that may lose its hand-over; its value is `approved`."""
_APPROVE = f"approve with `pulumi stack tag set {DISCONNECT_TAG} approved`"
_BOUNDARY = "boundary"
_PINNED = re.compile(r".+(?:@sha256:[0-9a-f]{64}|:(?!latest$)[\w][\w.-]{0,127})")


def beyond_the_cluster(document: str, *, in_vpc: bool = False) -> Iterator[str]:
    """Yield a sentence for each statement of an IAM document that writes beyond one cluster.

    `in_vpc` tolerates writes on everything in the cluster's VPC. A statement that the classes of
    `permissions/grants.py` do not cover, such as one with NotAction, counts as beyond.
    """
    tolerated = {"reads", "this cluster"} | ({"its VPC"} if in_vpc else set())
    statements, unclear = _statements(document)
    for sid in unclear:
        yield f"statement {sid} names what it leaves out (NotAction or NotResource)"
    wide: dict[tuple[str, str], dict[str, None]] = {}
    for grant in document_grants([{"Version": "2012-10-17", "Statement": statements}]):
        if grant.reach not in tolerated:
            wide.setdefault((grant.source, grant.reach), {})[grant.action] = None
    for (sid, reach), actions in wide.items():
        where = "everything in its VPC" if reach == "its VPC" else "beyond the cluster"
        yield f"statement {sid} reaches {where}: {', '.join(actions)}"


def _statements(document: str) -> tuple[list[Any], list[str]]:
    """Return the Allow statements in the spelling of our own, and the Sids of unclear ones."""
    parsed = json.loads(document)["Statement"]
    statements, unclear = [], []
    for number, one in enumerate(listed(parsed)):
        sid = one.get("Sid", str(number))
        if one.get("Effect") != "Allow":
            continue
        if "NotAction" in one or "NotResource" in one:
            unclear.append(sid)
            continue
        condition = {
            operator: {key: [str(value) for value in listed(values)] for key, values in on.items()}
            for operator, on in one.get("Condition", {}).items()
        }
        statements.append(
            {
                "Sid": sid,
                "Effect": "Allow",
                "Action": listed(one["Action"]),
                "Resource": listed(one["Resource"]),
                **({"Condition": condition} if condition else {}),
            }
        )
    return statements, unclear


def is_boundary(name: str) -> bool:
    """Return True for the logical name of a policy that only limits; it may be wide."""
    return name.lower().endswith(_BOUNDARY)


def attached(policy_arn: str, allowed: Iterable[str] = ()) -> Iterator[str]:
    """Yield a sentence for an attached policy that nobody has judged.

    Known are this program's AWS-managed policies and `allowed`, by name. A boundary is no grant.
    """
    name = policy_arn.rpartition("/")[2]
    if ":aws:policy/" in policy_arn and name not in {*MANAGED, *allowed}:
        yield f"{name} is none of the AWS-managed policies that CAST AI documents"
    if is_boundary(name.partition("-")[0]):
        yield f"{name} is a boundary, and is attached as a grant"


def without_boundary(properties: Properties) -> Iterator[str]:
    """Yield a sentence for a role that a service assumes and that no boundary limits."""
    services = [
        service
        for statement in listed(json.loads(properties["assumeRolePolicy"])["Statement"])
        if isinstance(statement.get("Principal"), dict)
        for service in listed(statement["Principal"].get("Service", []))
    ]
    if services and "permissionsBoundary" not in properties:
        yield f"{', '.join(services)} may assume it, and it has no permissions boundary"


def documented(properties: Properties) -> Iterator[str]:
    """Yield a sentence for a component with CAST AI's own statements."""
    if "documented" in (properties.get("flavour"), properties.get("permissions")):
        yield (
            "permissions: documented are CAST AI's own statements, which reach beyond the cluster; "
            "set scoped"
        )


def old_key(properties: Properties, days: int, now: datetime) -> Iterator[str]:
    """Yield a sentence for an active access key that is older than so many days."""
    created = properties.get("createDate")
    if not created or properties.get("status", "Active") != "Active":
        return
    moment = datetime.fromisoformat(str(created))
    age = (now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))).days
    if age > days:
        yield f"the key is {age} days old, allowed: {days}; raise credentials.rotation by one"


def unpinned(properties: Properties, *, by_digest: bool = False) -> Iterator[str]:
    """Yield a sentence for each image of a workload whose version is open.

    `by_digest` allows images with a digest only.
    """
    spec = properties.get("spec", {}).get("template", {}).get("spec", {})
    for kind in ("initContainers", "containers"):
        for container in spec.get(kind) or ():
            image = str(container["image"])
            if by_digest and "@sha256:" not in image:
                yield f"container {container['name']}: {image} has no digest"
            elif not _PINNED.fullmatch(image):
                yield f"container {container['name']}: {image} has no version"


def plain_secrets(type_: str, properties: Properties, secret: type) -> Iterator[str]:
    """Yield the names of inputs that hold a secret in plain; `secret` is the SDK's class for one.

    A mapping is secret as a whole or in each of its values.
    """
    for name in SECRET_INPUTS.get(type_, ()):
        value = properties.get(name)
        if isinstance(value, secret):
            continue
        inner = value.values() if isinstance(value, Mapping) else [value]
        if any(one and not isinstance(one, secret) for one in inner):
            yield name


def not_handing_over(type_: str, properties: Properties, tags: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for the guard of a stack without a hand-over, unless its tag approves.

    The guard is the first resource of a run, so that an update stops before it deletes anything.
    """
    hands_over = properties.get("mode") in ("user", "role")
    if type_ == CONNECTION and not hands_over and not _approved(tags):
        yield f"the stack hands nothing over, which disconnects a connected cluster; {_APPROVE}"


def lost_hand_over(types: Iterable[str], tags: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for a registered cluster without a hand-over, unless a tag approves.

    A plan lists what there will be: a hand-over that is missing is deleted, or was never wanted.
    An update comes to this rule after its deletions.
    """
    present = set(types)
    if REGISTRATION in present and HAND_OVER not in present and not _approved(tags):
        yield f"the stack registers a cluster and hands nothing over; {_APPROVE}"


def _approved(tags: Mapping[str, str]) -> bool:
    return tags.get(DISCONNECT_TAG) == "approved"
