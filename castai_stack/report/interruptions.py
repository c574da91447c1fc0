"""What stops working while a change is carried out, in words."""

from collections.abc import Iterable

from castai_stack.report.plan import Change

_ACCESS = "CAST AI may have no access to AWS between deletion and creation"
_FEWER = "its principals may have fewer permissions between deletion and creation"
_REPLACED = {
    "AccessEntry": "the principal cannot enter the cluster in between",
    "AccessKey": "the key of before ends; CAST AI works on with the one that it was handed",
    "AwsAuthEntry": "the principal cannot enter the cluster in between",
    "ClusterRegistration": "CAST AI disconnects the cluster and registers it anew, under a new id",
    "ClusterToken": "agent and controller restart with another token",
    "DaemonSet": "interruptions of Spot nodes are not reported in between",
    "Deployment": "its pods are gone in between",
    "Function": "Spot interruptions in between are lost",
    "HandOver": "CAST AI disconnects the cluster and is handed the access anew",
    "InstanceProfile": "CAST AI cannot start nodes in between; running nodes lose their role",
    "Namespace": "everything in it is deleted first, also objects of others",
    "NodeConfiguration": "CAST AI starts no node in between",
    "Policy": _FEWER,
    "Role": "whoever uses it has no access in between; the new role is another principal to AWS",
    "RolePolicy": _FEWER,
    "RolePolicyAttachment": _FEWER,
    "SecurityGroup": "new nodes take another group; AWS keeps the old one while a node uses it",
    "User": _ACCESS,
    "UserPolicyAttachment": _ACCESS,
}
_DELETED = {
    "AccessEntry": "its principal cannot enter the cluster any more",
    "AccessKey": "what still uses this key is refused",
    "AwsAuthEntry": "its principal cannot enter the cluster any more",
    "ClusterRegistration": "CAST AI disconnects the cluster",
    "Deployment": "what it runs ends",
    "Function": "Spot interruptions are not reported by it any more",
    "HandOver": "CAST AI disconnects the cluster and has no access any more",
    "Namespace": "everything in it is deleted, also objects of others",
    "NodeConfiguration": "CAST AI starts no node with it any more",
    "Role": "whoever uses it has no access any more",
    "User": "whoever uses it has no access any more",
}


def interruptions(changes: Iterable[Change]) -> list[tuple[str, str]]:
    """Return object and consequence for every replacement, and for deletions that end access.

    A replacement of an object without a known consequence is listed with its reasons alone.
    """
    lines = []
    for change in changes:
        what = f"{change.kind} `{change.name}`"
        if change.operation == "replace":
            reasons = ", ".join(f"`{name}`" for name in change.properties)
            because = f" ({reasons})" if reasons else ""
            lines.append((f"{what} is replaced{because}", _REPLACED.get(change.kind, "")))
        elif change.operation == "delete" and change.kind in _DELETED:
            lines.append((f"{what} is deleted", _DELETED[change.kind]))
    return lines
