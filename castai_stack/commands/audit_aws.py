"""The audit's questions to AWS."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from castai_stack.commands import aws_kinds
from castai_stack.commands.aws_clients import asking, clients
from castai_stack.commands.aws_kinds import KINDS, OURS, AwsKind
from castai_stack.commands.command_line import CommandError
from castai_stack.commands.leftovers import (
    Answer,
    Leftover,
    NamePatterns,
    adopted_origin,
    instance_origin,
    principal_origin,
)
from castai_stack.commands.target import Target
from castai_stack.naming import CLUSTER_TAG

_ENDED = ("terminated", "shutting-down")


def leftovers(target: Target) -> Answer:
    """Ask AWS for every type; a refusal hides no other answer."""
    answer = Answer()
    try:
        audit = AwsAudit(target)
    except CommandError as error:
        answer.problems.append(str(error))
        return answer
    for kind in KINDS:
        answer.ask(lambda kind=kind: audit.of_kind(kind))
    return answer


class AwsAudit:
    """The questions to AWS; raises AwsError without credentials of the cluster's account."""

    def __init__(self, target: Target) -> None:
        self._cluster = target.cluster
        self._adopted = target.adopted
        self._patterns = NamePatterns(target.cluster, target.region)
        self._client = clients(target.region, target.account_id)
        self._rules: dict[str, Callable[[AwsKind, Any], Iterator[Leftover]]] = {
            "user": self._user,
            "policy": self._policy,
            "instance": self._instances,
            "security group": self._security_group,
            "key pair": self._by_tags,
            "volume": self._volume,
            "access entry": self._access_entry,
        }

    def of_kind(self, kind: AwsKind) -> list[Leftover]:
        """Return the leftovers of one type; raises AwsError when AWS does not list it."""
        rule = self._rules.get(kind.name, self._by_name)
        with asking(kind.title):
            leftovers = [
                leftover for entry in self._entries(kind) for leftover in rule(kind, entry)
            ]
        return [replace(one, origin=adopted_origin(one, self._adopted)) for one in leftovers]

    def _entries(self, kind: AwsKind) -> Iterator[Any]:
        client = self._client(kind.service)
        if kind.name != "access entry":
            return aws_kinds.entries(client, kind, self._cluster)
        try:
            return iter(list(aws_kinds.entries(client, kind, self._cluster)))
        except (
            client.exceptions.ResourceNotFoundException,  # no cluster
            client.exceptions.InvalidRequestException,  # a cluster that maps by aws-auth alone
        ):
            return iter(())

    def _by_name(self, kind: AwsKind, entry: Any) -> Iterator[Leftover]:
        """Match the name; the stack's tag on another installer's object says it was taken over."""
        name = kind.label(entry)
        origin = self._patterns.origin(kind.name, name)
        if origin is None and "cast" not in name.lower():
            return
        if self._patterns.of_another_region(kind.name, name):
            return
        if origin != OURS:
            cluster = self._tags(kind, name).get(CLUSTER_TAG)
            if cluster == self._cluster:
                origin = OURS
            elif cluster is not None or origin is None:
                return
        yield Leftover("aws", kind.name, name, origin)

    def _tags(self, kind: AwsKind, name: str) -> dict[str, str]:
        described = aws_kinds.find(self._client(kind.service), kind, {"name": name})
        return dict(described.tags) if described else {}

    def _user(self, kind: AwsKind, user: Any) -> Iterator[Leftover]:
        for leftover in self._by_name(kind, user):
            yield leftover
            answer = self._client("iam").list_access_keys(UserName=leftover.name)
            for key in answer["AccessKeyMetadata"]:
                days = (datetime.now(UTC) - key["CreateDate"]).days
                label = f"{key['AccessKeyId']} of {leftover.name}, {key['Status']}, {days} days old"
                yield Leftover("aws", "access key", label, leftover.origin)

    def _policy(self, kind: AwsKind, policy: Any) -> Iterator[Leftover]:
        for leftover in self._by_name(kind, policy):
            shared = self._patterns.account_wide(kind.name, leftover.name)
            if leftover.origin == OURS or not (shared and policy["AttachmentCount"]):
                yield leftover

    def _instances(self, kind: AwsKind, reservation: Any) -> Iterator[Leftover]:
        for instance in reservation["Instances"]:
            origin = instance_origin(self._cluster, aws_kinds.tags(instance))
            if origin and instance["State"]["Name"] not in _ENDED:
                yield Leftover("aws", kind.name, kind.label(instance), origin)

    def _security_group(self, kind: AwsKind, group: Any) -> Iterator[Leftover]:
        tags = aws_kinds.tags(group)
        names = (group["GroupName"], tags.get("Name", ""))
        origins = {self._patterns.origin(kind.name, name) for name in names}
        if tags.get(CLUSTER_TAG) == self._cluster:
            origins = {OURS}
        for origin in origins - {None}:
            label = f"{group['GroupId']} {kind.label(group)}"
            yield Leftover("aws", kind.name, label, str(origin))

    def _volume(self, kind: AwsKind, volume: Any) -> Iterator[Leftover]:
        if volume["State"] == "available":
            yield from self._by_tags(kind, volume)

    def _by_tags(self, kind: AwsKind, entry: Any) -> Iterator[Leftover]:
        tags = aws_kinds.tags(entry)
        if tags.get(CLUSTER_TAG) == self._cluster:
            yield Leftover("aws", kind.name, kind.label(entry), OURS)
        elif "cast:cluster-id" in tags and instance_origin(self._cluster, tags):
            yield Leftover("aws", kind.name, kind.label(entry), "CAST AI, for a node")

    def _access_entry(self, kind: AwsKind, arn: str) -> Iterator[Leftover]:
        if (origin := principal_origin(self._patterns, arn)) is not None:
            yield Leftover("aws", kind.name, arn, origin)
