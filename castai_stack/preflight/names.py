"""AWS objects of other owners that have a name of this stack.

IAM names are unique in an account, also under different paths, so a creation would fail half-way.
Policies are not asked for: the data source waits two minutes for one that does not exist
(hashicorp/terraform-provider-aws, internal/service/iam/policy_data_source.go).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi_aws as aws

from castai_stack import naming
from castai_stack.config.model import StackConfig
from castai_stack.preflight.findings import Findings
from castai_stack.preflight.lookups import ask, first_line

_ABSENT = ("NoSuchEntity", "ResourceNotFoundException", "couldn't find resource", "empty result")


@dataclass(frozen=True, slots=True)
class NamedObject:
    """An object of the stack whose name is known before the first run."""

    kind: str
    name: str
    function: str
    """Token of the data source that reads it."""
    argument: str
    resource: str
    """Resource of the program."""
    renamed_by_flavour: bool = False
    """True if `names` decides its name."""


def named_objects(settings: StackConfig, names: naming.Names) -> tuple[NamedObject, ...]:
    """List user, roles and function, without the node role, whose name holds an unknown id."""
    if settings.principal is None:
        return ()
    bare = settings.names == "documented"
    if settings.principal.kind == "user":
        objects = [_user(names.principal)]
    else:
        objects = [_role(names.principal, "iam-role")]
    if settings.spot.by_lambda:
        objects.append(_role(names.lambda_role, "spot-role", renamed_by_flavour=bare))
        objects.append(
            NamedObject(
                "Lambda function",
                names.function,
                "aws:lambda/getFunction:getFunction",
                "functionName",
                "spot-function",
                bare,
            )
        )
    return tuple(objects)


def _user(name: str) -> NamedObject:
    return NamedObject("IAM user", name, "aws:iam/getUser:getUser", "userName", "iam-user")


def _role(name: str, resource: str, *, renamed_by_flavour: bool = False) -> NamedObject:
    return NamedObject(
        "IAM role",
        name,
        "aws:iam/getRole:getRole",
        "name",
        resource,
        renamed_by_flavour,
    )


async def name_findings(
    settings: StackConfig, names: naming.Names, provider: aws.Provider
) -> Findings:
    """Look for objects with names of the stack and without its tag."""
    findings = await asyncio.gather(
        *(
            _finding(named, settings.cluster.name, provider)
            for named in named_objects(settings, names)
            if named.resource not in settings.adoption.imports
        )
    )
    return sum(findings, Findings())


async def _finding(named: NamedObject, cluster: str, provider: aws.Provider) -> Findings:
    try:
        answer = await ask(named.function, {named.argument: named.name}, provider)
    except Exception as error:  # noqa: BLE001 - an invoke raises bare exceptions
        if any(words in str(error) for words in _ABSENT):
            return Findings()
        line = f"whether the {named.kind} {named.name} exists was not checked: {first_line(error)}"
        return Findings(inconclusive=(line,))
    return object_findings(named, cluster, answer["arn"], answer.get("tags") or {})


def object_findings(
    named: NamedObject, cluster: str, arn: str, tags: Mapping[str, Any]
) -> Findings:
    """Return the obstacle of an existing object; none if it has this cluster's tag."""
    owner = tags.get(naming.CLUSTER_TAG)
    if owner == cluster:
        return Findings()
    whose = f"belongs to cluster {owner}" if owner else "was not created by this stack"
    ways = ["delete it or rename it"]
    if named.renamed_by_flavour:
        ways.append("set names to suffixed")
    if not owner:
        ways.append(
            f"keep it: tag it {naming.CLUSTER_TAG}={cluster} and take it over (docs/adopt.md)"
        )
    return Findings(
        obstacles=(f"{named.kind} {named.name} exists ({arn}) and {whose}; {', or '.join(ways)}",)
    )
