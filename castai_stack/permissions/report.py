"""The report of effective permissions as Markdown and as plain data; pure."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from castai_stack.permissions.actors import Access, Actor
from castai_stack.permissions.differences import Difference
from castai_stack.permissions.grants import Conditions, Grant, Reach

_TOPICS: tuple[tuple[str, str], ...] = (
    (r"ec2:RunInstances$", "Launch instances"),
    (r"ec2:(Start|Stop|Terminate)Instances$", "Instances"),
    (r"ec2:CreateTags$", "Tags"),
    (r"autoscaling:", "Auto-scaling groups"),
    (r"eks:", "EKS node groups"),
    (r"ec2:.*LaunchTemplate", "Launch templates"),
    (r"iam:PassRole$", "Passing roles"),
    (r"iam:.*InstanceProfile$", "Instance profiles"),
    (r"iam:.*ServiceLinkedRole$", "Service-linked roles"),
    (r"iam:", "Roles"),
    (r"ec2:.*SecurityGroup", "Security groups"),
    (r"ec2:.*KeyPair$", "Key pairs"),
    (r"ec2:.*(NetworkInterface|Ipv6|PrivateIp)", "Network interfaces"),
    (r"lambda:", "Functions"),
    (r"events:", "EventBridge rules"),
    (r"logs:", "Logs"),
    (r"sqs:", "Queues"),
    (r"kms:", "Encryption keys"),
    (r"secretsmanager:", "Secrets"),
)


HEADINGS: dict[Reach, str] = {
    "this cluster": "Changes, within this cluster",
    "its VPC": "Changes, within its VPC, things of other clusters among them",
    "beyond": "Changes, anywhere in the account",
}


_REGION = 3
"""Place of the region in an ARN."""


@dataclass(frozen=True, slots=True)
class Row:
    """Actions that share resources and conditions."""

    topic: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: str
    sources: tuple[str, ...]
    where: tuple[str, ...]
    """The resources in few words, for the picture."""


def topic(action: str) -> str:
    """Say what an action is about, in the words of CAST AI's page."""
    return next((name for pattern, name in _TOPICS if re.match(pattern, action)), "Other")


def rows(access: Access, grants: Iterable[Grant]) -> list[Row]:
    """Group grants for reading: by subject, then by what they apply to."""
    grouped: dict[tuple[str, str, Conditions], dict[str, list[str]]] = {}
    for grant in grants:
        key = (topic(grant.action), grant.resource, grant.conditions)
        found = grouped.setdefault(key, {"actions": [], "sources": []})
        found["actions"].append(grant.action)
        found["sources"].append(grant.source)
    merged: dict[tuple[str, tuple[str, ...], Conditions], tuple[list[str], set[str]]] = {}
    for (subject, resource, conditions), found in grouped.items():
        same = (subject, tuple(dict.fromkeys(found["actions"])), conditions)
        resources, sources = merged.setdefault(same, ([], set()))
        resources.append(resource)
        sources.update(found["sources"])
    order = [name for _, name in _TOPICS]
    return sorted(
        (
            Row(
                topic=subject,
                actions=actions,
                resources=tuple(resource_words(access, r) for r in resources),
                condition=condition_words(conditions),
                sources=tuple(sorted(sources)),
                where=tuple(where_in_short(access, r, conditions) for r in resources),
            )
            for (subject, actions, conditions), (resources, sources) in merged.items()
        ),
        key=lambda row: order.index(row.topic) if row.topic in order else len(order),
    )


def resource_words(access: Access, resource: str) -> str:
    """Return the resource without the cluster's own region and account, which go without saying."""
    if resource == "*":
        return "everything"
    cluster = access.settings.cluster
    parts = resource.split(":", 5)
    here = parts[3] in (cluster.region, "") and parts[4] in (cluster.account_id, "")
    if not here:
        return resource
    return parts[5].replace("autoScalingGroup:*:autoScalingGroupName/", "autoScalingGroupName/")


_TIES = {
    "aws:RequestTag": "to be tagged",
    "aws:ResourceTag": "tagged",
    "autoscaling:ResourceTag": "tagged",
    "ec2:CreateAction": "just made",
    "ec2:ResourceTag": "tagged",
    "ec2:Vpc": "in the VPC",
}


def where_in_short(access: Access, resource: str, conditions: Conditions) -> str:
    """Return a resource with what ties it, in a few words."""
    name = resource_words(access, resource)
    parts = name.split(":", 5)
    if len(parts) > _REGION and parts[0] == "arn":
        name = f"{parts[-1]} in any {'region' if parts[_REGION] == '*' else 'account'}"
    thing = re.sub(r"(/\*)+(?= |$)|:\*$", "", "anything" if name == "*/*" else name)
    ties: dict[str, list[str]] = {}
    for operator, key, _ in conditions:
        family, _, tag = key.partition("/")
        if family in _TIES and not operator.endswith("IfExists"):
            ties.setdefault(_TIES[family], []).append(tag)
    return " ".join([thing, *(f"{tie} {' and '.join(tags)}".strip() for tie, tags in ties.items())])


def condition_words(conditions: Conditions) -> str:
    """Return the conditions as one English phrase, empty without any."""
    return "; ".join(
        words
        for operator, key, values in conditions
        if (words := _condition(operator, key, values))
    )


_PHRASES = {
    ("Bool", "kms:GrantIsForAWSResource"): "for AWS services only",
    ("ForAllValues:ArnEquals", "events:TargetArn"): "aimed at the Spot function only",
    ("ForAllValues:StringEquals", "events:detail-type"): "for Spot events only",
    ("ForAllValues:StringEquals", "events:source"): "of EC2 only",
    ("Null", "autoscaling:LaunchConfigurationName"): "no launch configuration is set",
    ("Null", "autoscaling:VPCZoneIdentifiers"): "no subnets are set",
    ("Null", "lambda:VpcIds"): "the function is in no VPC",
}


def _condition(operator: str, key: str, values: tuple[str, ...]) -> str:
    if operator == "Null" and values == ("false",):
        return ""  # only makes the condition beside it count
    if phrase := _PHRASES.get((operator, key)):
        return phrase
    name, _, tag = key.partition("/")
    either = " or ".join(f"`{value}`" for value in values)
    last = " or ".join(f"`{value.rpartition('/')[2]}`" for value in values)
    if operator == "StringEqualsIfExists":
        return f"a tag `{tag}` that it sets is {either}"
    phrases = {
        "aws:ResourceTag": f"its tag `{tag}` is {either}",
        "ec2:ResourceTag": f"its tag `{tag}` is {either}",
        "autoscaling:ResourceTag": f"its tag `{tag}` is {either}",
        "aws:RequestTag": f"the request tags it `{tag}` = {either}",
        "ec2:Vpc": f"it is in VPC {' or '.join(dict.fromkeys(last.split(' or ')))}",
        "ec2:CreateAction": f"{either} is making it",
        "iam:PassedToService": f"it goes to {either}",
        "iam:PermissionsBoundary": f"its boundary is {last}",
        "iam:PolicyARN": f"the policy is {last}",
        "kms:ViaService": f"through {either}",
        "lambda:Principal": f"the invoker is {either}",
    }
    return phrases.get(name, f"`{key}` {operator} {either}")


def markdown(access: Access) -> str:
    """Return the report of one stack."""
    return "\n".join(_markdown(access)) + "\n"


def summary(access: Access) -> str:
    """Return one sentence on which cluster this is about."""
    settings = access.settings
    cluster = settings.cluster
    return (
        f"Cluster {cluster.name} in {cluster.region}, account {cluster.account_id}, "
        f"VPC {access.vpc_id}, CAST AI id {access.cluster_id}; "
        f"permissions: {settings.permissions}, credentials.mode: {settings.credentials.mode}, "
        f"names: {settings.names}."
    )


def reads(actor: Actor) -> str:
    """Return what an actor reads, in short."""
    found = [grant.action for grant in actor.grants if grant.reach == "reads"]
    return ", ".join(dict.fromkeys(found))


def nothing_beyond(actor: Actor) -> str:
    """Return how far nothing of what an actor changes lies, empty if it lies anywhere."""
    found = {grant.reach for grant in actor.grants}
    if "beyond" in found:
        return ""
    return f"Changes nothing beyond {'the VPC' if 'its VPC' in found else 'this cluster'}."


def _markdown(access: Access) -> Iterator[str]:
    yield f"# Who may do what: {access.settings.cluster.name}"
    yield ""
    yield summary(access)
    yield ""
    if placeholders := _placeholders(access):
        yield placeholders
        yield ""
    for actor in access.actors:
        yield from _markdown_actor(access, actor)
    yield from _markdown_sizes(access)
    if access.notes:
        yield "## Worth knowing"
        yield ""
        yield from (f"- {note}" for note in access.notes)
        yield ""


def _placeholders(access: Access) -> str:
    unknown = [text for text in (access.cluster_id, access.vpc_id) if text.startswith("<")]
    if not unknown:
        return ""
    names = " and ".join(f"`{text}`" for text in unknown)
    return (
        f"{names}: not known without a cloud; sizes count them at full length, "
        "`<cluster-id:8>` is the id's first eight characters."
    )


def _markdown_actor(access: Access, actor: Actor) -> Iterator[str]:
    yield f"## {actor.title}"
    yield ""
    yield f"`{actor.arn}`, entered by {actor.entered_by}."
    yield ""
    yield f"AWS-managed policies: {', '.join(actor.managed)}."
    if actor.limits:
        yield f"Limited by {'; '.join(actor.limits)}. What follows is what the limit leaves."
    yield ""
    for reach, heading in HEADINGS.items():
        found = [grant for grant in actor.grants if grant.reach == reach]
        if not found:
            continue
        yield f"### {heading}"
        yield ""
        yield "| what | may | on | if | by |"
        yield "| --- | --- | --- | --- | --- |"
        for row in rows(access, found):
            cells = (
                row.topic,
                ", ".join(row.actions),
                ", ".join(f"`{r}`" for r in row.resources),
                row.condition,
                ", ".join(row.sources),
            )
            yield f"| {' | '.join(cells)} |"
        yield ""
    if nothing := nothing_beyond(actor):
        yield nothing
        yield ""
    yield f"Reads: {reads(actor)}."
    yield ""


def _markdown_sizes(access: Access) -> Iterator[str]:
    if not access.documents:
        return
    yield "## Sizes"
    yield ""
    yield "| document | kind | characters | IAM allows |"
    yield "| --- | --- | ---: | ---: |"
    for document in access.documents:
        yield f"| {document.name} | {document.kind} | {document.characters} | {document.quota} |"
    yield ""
    yield from (f"- **Too large**: {problem}" for problem in access.problems)
    if access.problems:
        yield ""


def sentence(access: Access, verb: str, grant: Grant) -> str:
    """Return one grant as `gains ec2:TerminateInstances on instance/* if …`."""
    where = resource_words(access, grant.resource)
    condition = condition_words(grant.conditions)
    when = f" if {condition}" if condition else ""
    return f"{verb} {grant.action} on `{where}`{when} ({grant.source})"


def difference_lines(old: Access, new: Access, difference: Difference) -> list[tuple[str, str]]:
    """Return kind and sentence of everything that changes for one actor."""
    return [
        *(("gains", sentence(new, "gains", grant)) for grant in difference.gains),
        *(("loses", sentence(old, "loses", grant)) for grant in difference.loses),
        *(("loses", f"is limited by {limit}") for limit in difference.limits_added),
        *(("gains", f"is no longer limited by {limit}") for limit in difference.limits_removed),
    ]


def markdown_difference(old: Access, new: Access, found: Sequence[Difference]) -> str:
    """Return what changes from one stack to the other."""
    lines = [
        "# What changes in permissions",
        "",
        f"From: {summary(old)}",
        f"To: {summary(new)}",
        "",
    ]
    if not found:
        lines.append("Nobody gains or loses anything.")
    for difference in found:
        lines += [f"## {difference.title}", ""]
        lines += [f"- {text}" for _, text in difference_lines(old, new, difference)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def as_json(access: Access) -> str:
    """Return the report as data for other programs."""
    return json.dumps(_data(access), indent=2)


def difference_as_json(old: Access, new: Access, found: Sequence[Difference]) -> str:
    """Return the difference as data for other programs."""
    return json.dumps(
        {
            "from": _head(old),
            "to": _head(new),
            "differences": [
                {
                    "actor": difference.title,
                    "gains": [_grant(grant) for grant in difference.gains],
                    "loses": [_grant(grant) for grant in difference.loses],
                    "limits_added": list(difference.limits_added),
                    "limits_removed": list(difference.limits_removed),
                }
                for difference in found
            ],
        },
        indent=2,
    )


def _head(access: Access) -> dict[str, Any]:
    cluster = access.settings.cluster
    return {
        "cluster": cluster.name,
        "region": cluster.region,
        "account_id": cluster.account_id,
        "cluster_id": access.cluster_id,
        "vpc_id": access.vpc_id,
        "permissions": access.settings.permissions,
        "credentials_mode": access.settings.credentials.mode,
    }


def _data(access: Access) -> dict[str, Any]:
    return {
        **_head(access),
        "actors": [
            {
                "title": actor.title,
                "arn": actor.arn,
                "entered_by": actor.entered_by,
                "managed_policies": list(actor.managed),
                "limits": list(actor.limits),
                "grants": [_grant(grant) for grant in actor.grants],
            }
            for actor in access.actors
        ],
        "documents": [{**asdict(d), "quota": d.quota} for d in access.documents],
        "problems": list(access.problems),
        "notes": list(access.notes),
    }


def _grant(grant: Grant) -> dict[str, Any]:
    return {
        "action": grant.action,
        "resource": grant.resource,
        "conditions": [
            {"operator": operator, "key": key, "values": list(values)}
            for operator, key, values in grant.conditions
        ],
        "source": grant.source,
        "reach": grant.reach,
    }
