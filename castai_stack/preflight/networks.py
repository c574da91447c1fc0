"""Subnets and security groups of new nodes, asked of AWS before anything is written."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

from castai_stack import naming
from castai_stack.automation.subnets import RouteTable, without_a_way_out
from castai_stack.config.model import StackConfig
from castai_stack.preflight.findings import Findings
from castai_stack.preflight.lookups import ClusterFacts, ask, first_line

Ask = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Calls a function of the AWS provider by its token and arguments."""


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """Where new nodes are: part of the default node configuration."""

    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    """The cluster's own group and those of the settings, without the one of this program."""


NO_NETWORK = NodeNetwork()


@dataclass(frozen=True, slots=True)
class _Subnets:
    """The VPC's subnets, and those without a way out with the reason."""

    ids: tuple[str, ...]
    closed: Mapping[str, str]


def asker(provider: aws.Provider) -> Ask:
    """Return the questions' way to AWS."""

    async def invoke(function: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return await ask(function, arguments, provider)

    return invoke


async def node_network(
    settings: StackConfig, facts: ClusterFacts, ask: Ask
) -> tuple[NodeNetwork, Findings]:
    """Look up and check where new nodes are; asks nothing where the settings leave nodes alone."""
    if not settings.sets_nodes:
        return NO_NETWORK, Findings()
    (subnet_ids, of_subnets), of_groups = await asyncio.gather(
        _subnets(settings, facts, ask), _group_findings(settings, facts, ask)
    )
    groups = dict.fromkeys(
        filter(None, (facts.security_group_id, *settings.automation.nodes.security_group_ids))
    )
    return NodeNetwork(subnet_ids, tuple(groups)), of_subnets + of_groups


async def _subnets(
    settings: StackConfig, facts: ClusterFacts, ask: Ask
) -> tuple[tuple[str, ...], Findings]:
    given = settings.automation.nodes.subnet_ids
    try:
        subnets = await _look(facts.vpc_id, ask)
    except Exception as error:  # noqa: BLE001 - an invoke raises bare exceptions
        return tuple(given), _not_asked(given, facts.vpc_id, first_line(error))
    if given:
        return tuple(given), _given_findings(given, subnets, facts.vpc_id)
    return _chosen(settings, subnets, facts.vpc_id)


async def _look(vpc_id: str, ask: Ask) -> _Subnets:
    in_vpc = {"name": "vpc-id", "values": [vpc_id]}
    public = {"name": "map-public-ip-on-launch", "values": ["true"]}

    async def tables() -> Sequence[RouteTable]:
        answer = await ask("aws:ec2/getRouteTables:getRouteTables", {"vpcId": vpc_id})
        one = "aws:ec2/getRouteTable:getRouteTable"
        answers = await asyncio.gather(
            *(ask(one, {"routeTableId": table}) for table in answer["ids"])
        )
        return [RouteTable.parse(table) for table in answers]

    every, with_address, route_tables = await asyncio.gather(
        ask("aws:ec2/getSubnets:getSubnets", {"filters": [in_vpc]}),
        ask("aws:ec2/getSubnets:getSubnets", {"filters": [in_vpc, public]}),
        tables(),
    )
    ids = tuple(sorted(every["ids"]))
    return _Subnets(ids, without_a_way_out(ids, with_address["ids"], route_tables))


def _not_asked(given: Sequence[str], vpc_id: str, reason: str) -> Findings:
    if given:
        line = f"automation.nodes.subnetIds: the subnets of {vpc_id} were not checked: {reason}"
        return Findings(inconclusive=(line,))
    line = (
        f"automation.nodes.subnetIds: the subnets of {vpc_id} were not looked up: {reason}. Give "
        "the subnets there, or the caller the permission"
    )
    return Findings(problems=(line,))


def _given_findings(given: Sequence[str], subnets: _Subnets, vpc_id: str) -> Findings:
    unknown = [subnet for subnet in given if subnet not in subnets.ids]
    closed = [f"{subnet}: {subnets.closed[subnet]}" for subnet in given if subnet in subnets.closed]
    return Findings(
        problems=tuple(
            f"automation.nodes.subnetIds: found {subnet}, which is no subnet of {vpc_id}, the "
            f"cluster's VPC; allowed: {_listed(subnets.ids)}"
            for subnet in unknown
        ),
        # Nodes of a private cluster may reach everything that they need through endpoints.
        inconclusive=tuple(
            f"automation.nodes.subnetIds: {line}, so that nodes there reach CAST AI and AWS "
            "through endpoints of the VPC only"
            for line in closed
        ),
    )


def _chosen(
    settings: StackConfig, subnets: _Subnets, vpc_id: str
) -> tuple[tuple[str, ...], Findings]:
    """Return the subnets with a way out, among those that the scoped permissions list."""
    listed = settings.iam.subnet_ids if settings.permissions == "scoped" else []
    allowed = [subnet for subnet in subnets.ids if subnet in listed or not listed]
    chosen = tuple(subnet for subnet in allowed if subnet not in subnets.closed)
    if chosen:
        return chosen, Findings()
    reasons = "; ".join(f"{subnet}: {subnets.closed[subnet]}" for subnet in allowed)
    among = f"those of iam.subnetIds ({_listed(listed)})" if listed else "its subnets"
    line = (
        f"automation.nodes.subnetIds: {vpc_id} has no subnet with a way out among {among}"
        f"{f' ({reasons})' if reasons else ''}. Name the subnets of new nodes there, or set "
        "automation.nodes.enabled to false"
    )
    return (), Findings(problems=(line,))


async def _group_findings(settings: StackConfig, facts: ClusterFacts, ask: Ask) -> Findings:
    given = settings.automation.nodes.security_group_ids
    return _scope_findings(settings, facts) + (
        await _given_groups(given, facts.vpc_id, ask) if given else Findings()
    )


def _scope_findings(settings: StackConfig, facts: ClusterFacts) -> Findings:
    """Compare the cluster's own group with what the scoped permissions allow."""
    allowed, own = settings.iam.security_group_ids, facts.security_group_id
    if settings.permissions != "scoped" or not allowed or not own or own in allowed:
        return Findings()
    line = (
        f"iam.securityGroupIds: found {_listed(allowed)}, without {own}, the cluster's own group "
        "that new nodes join, so that AWS would refuse every launch; add it there"
    )
    return Findings(problems=(line,))


async def _given_groups(given: Sequence[str], vpc_id: str, ask: Ask) -> Findings:
    key, by_id = "automation.nodes.securityGroupIds", {"name": "group-id", "values": list(given)}
    try:
        answer = await ask("aws:ec2/getSecurityGroups:getSecurityGroups", {"filters": [by_id]})
    except Exception as error:  # noqa: BLE001 - an invoke raises bare exceptions
        return Findings(inconclusive=(f"{key}: not checked: {first_line(error)}",))
    vpcs = dict(zip(answer["ids"], answer["vpcIds"], strict=True))
    problems = []
    for group in given:
        if group not in vpcs:
            problems.append(f"{key}: found {group}, which does not exist; remove or correct it")
        elif vpcs[group] != vpc_id:
            problems.append(
                f"{key}: found {group}, a group of {vpcs[group]}; allowed: groups of {vpc_id}, the "
                "cluster's VPC"
            )
    return Findings(problems=tuple(problems))


async def group_name_findings(settings: StackConfig, facts: ClusterFacts, ask: Ask) -> Findings:
    """Look for a security group of another owner with the name of this program's."""
    taken_over = "node-security-group" in settings.adoption.imports
    if not settings.creates_security_group or taken_over:
        return Findings()
    name = settings.resource_names.node_group(settings.cluster.name)
    filters = [
        {"name": "group-name", "values": [name]},
        {"name": "vpc-id", "values": [facts.vpc_id]},
    ]
    tag = {"name": f"tag:{naming.CLUSTER_TAG}", "values": [settings.cluster.name]}
    function = "aws:ec2/getSecurityGroups:getSecurityGroups"
    try:
        every, own = await asyncio.gather(
            ask(function, {"filters": filters}), ask(function, {"filters": [*filters, tag]})
        )
    except Exception as error:  # noqa: BLE001 - an invoke raises bare exceptions
        line = f"whether the security group {name} exists was not checked: {first_line(error)}"
        return Findings(inconclusive=(line,))
    return Findings(
        obstacles=tuple(
            f"security group {name} exists ({group}) and was not created by this stack; set "
            "automation.nodes.createSecurityGroup to false and add the group to "
            "automation.nodes.securityGroupIds, or delete it"
            for group in every["ids"]
            if group not in own["ids"]
        )
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
