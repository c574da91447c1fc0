"""Which types and lookups there are; a module is loaded when one of its types is met."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.aws_provider.account import Account, RefusedError
from sandbox.aws_provider.resource import Resource

_MODULES = {
    "iam": (
        "aws:iam/user:User",
        "aws:iam/accessKey:AccessKey",
        "aws:iam/role:Role",
        "aws:iam/policy:Policy",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "aws:iam/userPolicyAttachment:UserPolicyAttachment",
        "aws:iam/instanceProfile:InstanceProfile",
    ),
    "lambda_": (
        "aws:lambda/function:Function",
        "aws:lambda/permission:Permission",
        "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig",
    ),
    "events": (
        "aws:cloudwatch/eventRule:EventRule",
        "aws:cloudwatch/eventTarget:EventTarget",
        "aws:cloudwatch/logGroup:LogGroup",
        "aws:cloudwatch/metricAlarm:MetricAlarm",
    ),
    "queues": ("aws:sqs/queue:Queue", "aws:sqs/queuePolicy:QueuePolicy"),
    "eks": (
        "aws:eks/accessEntry:AccessEntry",
        "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
    ),
    "secrets": (
        "aws:secretsmanager/secret:Secret",
        "aws:secretsmanager/secretVersion:SecretVersion",
    ),
}
RESOURCES = {token: module for module, tokens in _MODULES.items() for token in tokens}
LOOKUPS = (
    "aws:index/getCallerIdentity:getCallerIdentity",
    "aws:index/getPartition:getPartition",
    "aws:index/getRegion:getRegion",
    "aws:eks/getCluster:getCluster",
    "aws:eks/getAccessEntry:getAccessEntry",
    "aws:iam/getPrincipalPolicySimulation:getPrincipalPolicySimulation",
    "aws:iam/getSessionContext:getSessionContext",
    "aws:iam/getAccessKeys:getAccessKeys",
)
_known: dict[str, Resource] = {}


@dataclass(frozen=True)
class Lookup:
    """A question to AWS: the arguments that are carried out, and the answer."""

    ask: Callable[[Account, dict[str, Any]], dict[str, Any]]
    arguments: frozenset[str] = frozenset()
    required: tuple[str, ...] = ()


def resource(token: str) -> Resource:
    """Give the resource type of a token; an unknown one is refused."""
    if token not in RESOURCES:
        known = ", ".join(sorted(RESOURCES))
        raise RefusedError(f"the stand-in for AWS knows no resource type {token}; known: {known}")
    if token not in _known:
        module = importlib.import_module(f"sandbox.aws_provider.{RESOURCES[token]}")
        for item in vars(module).values():
            if isinstance(item, type) and issubclass(item, Resource) and "aws_type" in vars(item):
                _known.setdefault(item.aws_type, item())
    return _known[token]


def lookup(token: str) -> Lookup:
    """Give the lookup of a token; an unknown one is refused."""
    if token not in LOOKUPS:
        known = ", ".join(LOOKUPS)
        raise RefusedError(f"the stand-in for AWS knows no lookup {token}; known: {known}")
    from sandbox.aws_provider import lookups  # noqa: PLC0415 - not every run looks something up

    return lookups.LOOKUPS[token]
