"""The audit's questions to the cluster."""

from typing import TYPE_CHECKING, Any

import lightkube
from lightkube.resources.core_v1 import ConfigMap

from castai_stack.access import entries, protocol, reader
from castai_stack.agent import manifests
from castai_stack.agent import names as agent_names
from castai_stack.agent.settings import Agent
from castai_stack.commands.aws_kinds import OURS, SCRIPT
from castai_stack.commands.cluster import ClusterError, answering, connected
from castai_stack.commands.command_line import CommandError
from castai_stack.commands.leftovers import (
    ARN,
    Answer,
    Leftover,
    NamePatterns,
    principal_origin,
)
from castai_stack.commands.target import Target
from castai_stack.kube import kinds
from castai_stack.permissions import operator_kubernetes

if TYPE_CHECKING:
    from collections.abc import Mapping

Place = tuple[str, str, str | None]
"""API version, kind and namespace."""


def leftovers(target: Target) -> Answer:
    """Ask the cluster for every kind of object; a refusal hides no other answer."""
    answer = Answer()
    try:
        with connected(target) as client:
            for place, names in places().items():
                answer.ask(lambda place=place, names=names: objects(client, place, names))
            answer.ask(lambda: mappings(client, NamePatterns(target.cluster, target.region)))
    except CommandError as error:
        answer.problems.append(str(error))
    return answer


def places() -> dict[Place, set[str]]:
    """Return the names to look for, by API version, kind and namespace."""
    documents: list[Mapping[str, Any]] = [
        *operator_kubernetes.cluster_objects(Agent(network_policy=True)),
        *manifests.runtime_objects(agent_names.NAMESPACE),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": protocol.COPY, "namespace": entries.NAMESPACE},
        },
    ]
    names: dict[Place, set[str]] = {}
    for document in documents:
        metadata = document["metadata"]
        place = (document["apiVersion"], document["kind"], metadata.get("namespace"))
        names.setdefault(place, set()).add(metadata["name"])
    return names


def objects(client: lightkube.Client, place: Place, names: set[str]) -> list[Leftover]:
    """Return the leftovers of one place; raises ClusterError when it may not be listed."""
    version, kind, namespace = place
    where: dict[str, Any] = {"namespace": namespace} if namespace else {}
    resource: Any = kinds.load(version, kind)
    leftovers_here = []
    try:
        with answering():
            for entry in client.list(resource, **where):
                name = entry.metadata.name
                # The chart and newer agents use further names with the agent's prefix.
                prefixed = namespace == agent_names.NAMESPACE and name.startswith(agent_names.AGENT)
                if name in names or prefixed:
                    leftovers_here.append(_leftover(kind, entry.metadata))
    except ClusterError as error:
        if not error.not_found:  # a server without the custom kind has none of its objects
            raise
    return leftovers_here


def _leftover(kind: str, metadata: Any) -> Leftover:
    name = f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
    labels = metadata.labels or {}
    owners = (labels.get(agent_names.PART_OF_LABEL), labels.get(agent_names.MANAGED_BY_LABEL))
    own = agent_names.PART_OF in owners or metadata.name == protocol.COPY
    return Leftover("kubernetes", kind, name, OURS if own else f"{SCRIPT} or its chart")


def mappings(client: lightkube.Client, patterns: NamePatterns) -> list[Leftover]:
    """Return the leftovers in aws-auth."""
    try:
        with answering():
            aws_auth = client.get(ConfigMap, entries.NAME, namespace=entries.NAMESPACE)
    except ClusterError as error:
        if error.not_found:
            return []
        raise
    leftovers_here = [
        Leftover("kubernetes", "aws-auth entry", arn, origin)
        for kind, key in entries.KEYS.items()
        for arn in mapped_arns(kind, (aws_auth.data or {}).get(key) or "")
        if (origin := principal_origin(patterns, arn)) is not None
    ]
    annotations = (aws_auth.metadata.annotations if aws_auth.metadata else None) or {}
    if protocol.ENTRIES_ANNOTATION in annotations:
        leftovers_here.append(
            Leftover("kubernetes", "aws-auth annotation", protocol.ENTRIES_ANNOTATION, OURS)
        )
    return leftovers_here


def mapped_arns(kind: entries.Kind, value: str) -> list[str]:
    """Return the ARNs that a list spells; a comment maps nobody."""
    try:
        items = reader.parse(kind, value).items
    except entries.AwsAuthError:  # an unreadable list still names its principals
        spelled = [value]
    else:
        spelled = [item.grant.arn if item.grant else item.arn for item in items]
    return [match[0] for each in spelled for match in ARN.finditer(each)]
