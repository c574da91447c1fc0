"""Reports of effective permissions and of differences, as Markdown and as JSON."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from castai_stack.permissions.actors import Actor, EffectivePermissions
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
    "its VPC": "Changes, within its VPC, resources of other clusters included",
    "beyond": "Changes, anywhere in the account",
}


@dataclass(frozen=True, slots=True)
class Row:
    """Actions that share resources and conditions."""

    topic: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: str
    sources: tuple[str, ...]


def topic(action: str) -> str:
    """Return the topic of an action, in the words of CAST AI's page."""
    return next((name for pattern, name in _TOPICS if re.match(pattern, action)), "Other")


def rows(permissions: EffectivePermissions, grants: Iterable[Grant]) -> list[Row]:
    """Group grants by topic, then by resource and condition."""
    by_resource: dict[tuple[str, str, Conditions], list[Grant]] = {}
    for grant in grants:
        key = (topic(grant.action), grant.resource, grant.conditions)
        by_resource.setdefault(key, []).append(grant)
    by_actions: dict[tuple[str, tuple[str, ...], Conditions], list[Grant]] = {}
    for (subject, _, conditions), group in by_resource.items():
        actions = tuple(dict.fromkeys(grant.action for grant in group))
        by_actions.setdefault((subject, actions, conditions), []).extend(group)
    order = [name for _, name in _TOPICS]
    return sorted(
        (
            Row(
                topic=subject,
                actions=actions,
                resources=tuple(
                    resource_words(permissions, resource)
                    for resource in dict.fromkeys(grant.resource for grant in group)
                ),
                condition=condition_words(conditions),
                sources=tuple(sorted({grant.source for grant in group})),
            )
            for (subject, actions, conditions), group in by_actions.items()
        ),
        key=lambda row: order.index(row.topic) if row.topic in order else len(order),
    )


def resource_words(permissions: EffectivePermissions, resource: str) -> str:
    """Return a resource without region and account if they are those of the cluster."""
    if resource == "*":
        return "everything"
    cluster = permissions.settings.cluster
    parts = resource.split(":", 5)
    same_place = parts[3] in (cluster.region, "") and parts[4] in (cluster.account_id, "")
    if not same_place:
        return resource
    return parts[5].replace("autoScalingGroup:*:autoScalingGroupName/", "autoScalingGroupName/")


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
        return ""  # requires the key of the condition beside it
    if phrase := _PHRASES.get((operator, key)):
        return phrase
    name, _, tag = key.partition("/")
    either = " or ".join(f"`{value}`" for value in values)
    names = dict.fromkeys(value.rpartition("/")[2] for value in values)
    last = " or ".join(f"`{name}`" for name in names)
    if operator == "StringEqualsIfExists":
        return f"a tag `{tag}` that it sets is {either}"
    phrases = {
        "aws:ResourceTag": f"its tag `{tag}` is {either}",
        "ec2:ResourceTag": f"its tag `{tag}` is {either}",
        "autoscaling:ResourceTag": f"its tag `{tag}` is {either}",
        "aws:RequestTag": f"the request tags it `{tag}` = {either}",
        "ec2:Vpc": f"it is in VPC {last}",
        "ec2:CreateAction": f"{either} is making it",
        "iam:PassedToService": f"it goes to {either}",
        "iam:PermissionsBoundary": f"its boundary is {last}",
        "iam:PolicyARN": f"the policy is {last}",
        "kms:ViaService": f"through {either}",
        "lambda:Principal": f"the invoker is {either}",
    }
    return phrases.get(name, f"`{key}` {operator} {either}")


def markdown(permissions: EffectivePermissions) -> str:
    """Return the report of one stack as Markdown."""
    return "\n".join(_markdown(permissions)) + "\n"


def summary(permissions: EffectivePermissions) -> str:
    """Return one sentence that names the cluster and the settings, without what is unknown."""
    settings = permissions.settings
    cluster = settings.cluster
    ids = (("VPC", permissions.vpc_id), ("CAST AI id", permissions.cluster_id))
    place = [
        f"Cluster {cluster.name} in {cluster.region}",
        f"account {cluster.account_id}",
        # Markdown would take a placeholder for a tag and show nothing.
        *(f"{name} {value}" for name, value in ids if not value.startswith("<")),
    ]
    return (
        f"{', '.join(place)}; permissions: {settings.permissions}, "
        f"credentials.mode: {settings.credentials.mode}, names: {settings.names}."
    )


def reads(actor: Actor) -> str:
    """Return the actions of an actor that change nothing."""
    actions = [grant.action for grant in actor.grants if grant.reach == "reads"]
    return ", ".join(dict.fromkeys(actions))


def nothing_beyond(actor: Actor) -> str:
    """Return the boundary that no change crosses; empty if changes reach the whole account."""
    reaches = {grant.reach for grant in actor.grants}
    if "beyond" in reaches:
        return ""
    return f"Changes nothing beyond {'the VPC' if 'its VPC' in reaches else 'this cluster'}."


def _markdown(permissions: EffectivePermissions) -> Iterator[str]:
    yield f"# Who may do what: {permissions.settings.cluster.name}"
    yield ""
    yield summary(permissions)
    yield ""
    if placeholders := _placeholders(permissions):
        yield placeholders
        yield ""
    for actor in permissions.actors:
        yield from _markdown_actor(permissions, actor)
    yield from _markdown_sizes(permissions)
    if permissions.notes:
        yield "## Worth knowing"
        yield ""
        yield from (f"- {note}" for note in permissions.notes)
        yield ""


def _placeholders(permissions: EffectivePermissions) -> str:
    unknown = [
        text for text in (permissions.cluster_id, permissions.vpc_id) if text.startswith("<")
    ]
    if not unknown:
        return ""
    names = " and ".join(f"`{text}`" for text in unknown)
    return (
        f"{names}: known only to AWS and CAST AI. Sizes count them at full length; "
        "`<cluster-id:8>` is the id's first eight characters."
    )


def _markdown_actor(permissions: EffectivePermissions, actor: Actor) -> Iterator[str]:
    yield f"## {actor.title}"
    yield ""
    yield f"`{actor.arn}`, entered by {actor.entered_by}."
    yield ""
    yield f"AWS-managed policies: {', '.join(actor.managed)}."
    if actor.limits:
        yield f"Limited by {'; '.join(actor.limits)}. The tables show what the limit leaves."
    yield ""
    for reach, heading in HEADINGS.items():
        grants = [grant for grant in actor.grants if grant.reach == reach]
        if not grants:
            continue
        yield f"### {heading}"
        yield ""
        yield "| what | may | on | if | by |"
        yield "| --- | --- | --- | --- | --- |"
        for row in rows(permissions, grants):
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


def _markdown_sizes(permissions: EffectivePermissions) -> Iterator[str]:
    if not permissions.documents:
        return
    yield "## Sizes"
    yield ""
    yield "| document | kind | characters | IAM allows |"
    yield "| --- | --- | ---: | ---: |"
    for document in permissions.documents:
        yield f"| {document.name} | {document.kind} | {document.characters} | {document.quota} |"
    yield ""
    yield from (f"- **Too large**: {problem}" for problem in permissions.problems)
    if permissions.problems:
        yield ""


def sentence(permissions: EffectivePermissions, verb: str, grant: Grant) -> str:
    """Return one grant as `gains ec2:TerminateInstances on instance/* if …`."""
    where = resource_words(permissions, grant.resource)
    condition = condition_words(grant.conditions)
    when = f" if {condition}" if condition else ""
    return f"{verb} {grant.action} on `{where}`{when} ({grant.source})"


def difference_lines(
    old: EffectivePermissions, new: EffectivePermissions, difference: Difference
) -> list[str]:
    """Return a sentence for each change of one actor's permissions."""
    return [
        *(sentence(new, "gains", grant) for grant in difference.gains),
        *(sentence(old, "loses", grant) for grant in difference.loses),
        *(f"is limited by {limit}" for limit in difference.limits_added),
        *(f"is no longer limited by {limit}" for limit in difference.limits_removed),
    ]


def markdown_difference(
    old: EffectivePermissions, new: EffectivePermissions, changes: Sequence[Difference]
) -> str:
    """Return the changes from one stack to the other."""
    lines = [
        "# What changes in permissions",
        "",
        f"From: {summary(old)}",
        f"To: {summary(new)}",
        "",
    ]
    if not changes:
        lines.append("Nobody gains or loses anything.")
    for difference in changes:
        lines += [f"## {difference.title}", ""]
        lines += [f"- {text}" for text in difference_lines(old, new, difference)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def as_json(permissions: EffectivePermissions) -> str:
    """Return the report of one stack as JSON."""
    return json.dumps(_data(permissions), indent=2)


def difference_as_json(
    old: EffectivePermissions, new: EffectivePermissions, changes: Sequence[Difference]
) -> str:
    """Return the changes from one stack to the other as JSON."""
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
                for difference in changes
            ],
        },
        indent=2,
    )


def _head(permissions: EffectivePermissions) -> dict[str, Any]:
    cluster = permissions.settings.cluster
    return {
        "cluster": cluster.name,
        "region": cluster.region,
        "account_id": cluster.account_id,
        "cluster_id": permissions.cluster_id,
        "vpc_id": permissions.vpc_id,
        "permissions": permissions.settings.permissions,
        "credentials_mode": permissions.settings.credentials.mode,
    }


def _data(permissions: EffectivePermissions) -> dict[str, Any]:
    return {
        **_head(permissions),
        "actors": [
            {
                "title": actor.title,
                "arn": actor.arn,
                "entered_by": actor.entered_by,
                "managed_policies": list(actor.managed),
                "limits": list(actor.limits),
                "grants": [_grant(grant) for grant in actor.grants],
            }
            for actor in permissions.actors
        ],
        "documents": [{**asdict(d), "quota": d.quota} for d in permissions.documents],
        "problems": list(permissions.problems),
        "notes": list(permissions.notes),
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
