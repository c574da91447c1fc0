"""Requests: every writing action, on every target, with expected and unexpected values."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from castai_stack import arn
from castai_stack.iam.node_role import NODE_MANAGED
from castai_stack.iam.scope import Scope
from sandbox.iam_evaluator import Request, Value
from tests.support import service_reference
from tests.support.service_reference import Action, Kind
from tests.support.world.clusters import cluster_tag
from tests.support.world.targets import Target, targets

GRANTED_SERVICES = ("autoscaling", "ec2", "eks", "events", "iam", "kms", "lambda")
EC2_EVENTS = (
    "EC2 Spot Instance Interruption Warning",
    "EC2 Instance Rebalance Recommendation",
)


@dataclass(frozen=True)
class Case:
    """A request with the facts that decide whether it stays inside the cluster."""

    request: Request
    action: str
    kind: str
    target: Target
    parameters: Mapping[str, Value]

    def __str__(self) -> str:
        values = ", ".join(f"{k}={v}" for k, v in self.parameters.items()) or "nothing"
        return (
            f"{self.request.action} on {self.target.label} ({self.request.resource}) with {values}"
        )


@functools.cache
def corpus(
    ours: Scope, services: tuple[str, ...] = GRANTED_SERVICES, depth: int = 2
) -> dict[str, list[Case]]:
    """Return the cases of all writing actions of the services, by lower-case action."""
    return {
        name: list(cases(ours, action, depth))
        for service in services
        for name, action in service_reference.actions(service).items()
        if action.writes
    }


def cases(ours: Scope, action: Action, depth: int = 2) -> Iterator[Case]:
    """Yield the requests with an action: on each target, with up to `depth` unexpected values."""
    for kind in action.kinds:
        varied = not action.tags or (action.name == "ec2:CreateTags" and kind.name in OF_NODES)
        values_of = {key: values for key in sorted(kind.keys) if (values := choices(ours, key))}
        # EC2 sets this key only for resources that the same call creates.
        created_by = values_of.pop("ec2:createaction", [])
        existing = _parameters(values_of, depth if varied else 0)
        if action.name == "ec2:CreateTags":
            values_of["ec2:createaction"] = created_by
        new = _parameters(values_of, depth if varied else 0)
        for target in targets(ours, kind):
            if target.new and not _creates(action, kind):
                continue
            if not target.new and _only_creates(action, kind):
                continue
            facts = _facts(kind, target)
            for parameters, keys in new if target.new else existing:
                request = Request(action.name, target.arn, {**facts, **keys})
                yield Case(request, action.name, kind.name, target, parameters)


def _creates(action: Action, kind: Kind) -> bool:
    """Whether the call creates a resource of this type, rather than use or change one."""
    verb = action.name.partition(":")[2]
    if action.name == "ec2:RunInstances":
        return kind.name in ("instance", "volume", "network-interface")
    if action.name == "ec2:CreateTags":
        return True
    tags = {"aws:requesttag/"} & kind.keys
    return verb.startswith(("Create", "Import")) and bool(tags) and kind.name != "cluster"


OF_NODES = frozenset(
    {
        "image",
        "instance",
        "key-pair",
        "launch-template",
        "network-interface",
        "security-group",
        "snapshot",
        "spot-instances-request",
        "subnet",
        "volume",
        "vpc",
    }
)
"""Resource types of a node and its launch, the only ones whose request tags are varied."""


def _only_creates(action: Action, kind: Kind) -> bool:
    both = (("ec2:CreateTags", kind.name), ("ec2:RunInstances", "network-interface"))
    return _creates(action, kind) and (action.name, kind.name) not in both


def _combinations(
    dimensions: dict[str, list[Value | None]], depth: int
) -> Iterator[dict[str, Value | None]]:
    """Yield the expected values, then all combinations with up to `depth` other ones."""
    expected = {key: values[0] for key, values in dimensions.items()}
    yield expected
    for count in range(1, depth + 1):
        for keys in itertools.combinations(dimensions, count):
            for values in itertools.product(*(dimensions[key][1:] for key in keys)):
                yield {**expected, **dict(zip(keys, values, strict=True))}


def _facts(kind: Kind, target: Target) -> dict[str, Value]:
    """Return the condition keys that AWS fills in from the target."""
    facts: dict[str, Value] = {}
    for key in kind.keys:
        if key.endswith(":resourcetag/") and not target.new:
            facts |= {key + tag: value for tag, value in target.tags.items()}
    if "ec2:vpc" in kind.keys:
        facts["ec2:vpc"] = target.vpc
    if "ec2:vpcid" in kind.keys:
        facts["ec2:vpcid"] = target.home.vpc_id
    return facts


def _parameters(
    values_of: dict[str, list[Value | None]], depth: int
) -> list[tuple[dict[str, Value], dict[str, Value]]]:
    """Return what a caller can pass, each with the condition keys that AWS fills in from it."""
    return [
        (given, _keys(given))
        for parameters in _combinations(values_of, depth)
        for given in [{key: value for key, value in parameters.items() if value is not None}]
    ]


def _keys(given: Mapping[str, Value]) -> dict[str, Value]:
    tags = decoded(given.get("aws:requesttag/"))
    keys: dict[str, Value] = {
        key: value for key, value in given.items() if key != "aws:requesttag/"
    }
    if "aws:requesttag/" in given:
        keys |= {f"aws:requesttag/{tag}": text for tag, text in tags.items()}
        keys["aws:TagKeys"] = tuple(tags)
    return keys


def choices(ours: Scope, key: str) -> list[Value | None]:
    """Return the values of a condition key that a caller can choose, the expected one first.

    None stands for a request without the key. An empty list means that the caller has no choice.
    """
    return _VALUES[key](ours) if key in _VALUES else []


def _passed_to(_ours: Scope) -> list[Value | None]:
    services = ("ec2", "lambda", "eks", "ecs-tasks")
    return [*(f"{service}.amazonaws.com" for service in services), None]


def _attached_policy(ours: Scope) -> list[Value | None]:
    names = (*NODE_MANAGED, "AdministratorAccess")
    return [
        *(arn.managed_policy(ours.partition, name) for name in names),
        ours.iam("policy", ours.names.castai_policy),
        None,
    ]


def _boundary(ours: Scope) -> list[Value | None]:
    admin = arn.managed_policy(ours.partition, "AdministratorAccess")
    return [ours.iam("policy", ours.names.node_boundary), admin, None]


def _create_action(_ours: Scope) -> list[Value | None]:
    return [
        "RunInstances",
        "CreateSecurityGroup",
        "CreateKeyPair",
        "ImportKeyPair",
        "CreateLaunchTemplate",
        "CreateVolume",
        "CreateNetworkInterface",
    ]


def _invoker(_ours: Scope) -> list[Value | None]:
    return ["events.amazonaws.com", "*", "999999999999", "s3.amazonaws.com", None]


def _event_source(_ours: Scope) -> list[Value | None]:
    return [("aws.ec2",), ("aws.ec2", "aws.s3"), ("aws.s3",), None]


def _event_target(ours: Scope) -> list[Value | None]:
    function = ours.function_arn
    return [(function,), (function, f"{function}-eu"), (ours.own("sqs", "other"),), None]


def _kms_via(ours: Scope) -> list[Value | None]:
    suffix = "amazonaws.com.cn" if ours.partition == "aws-cn" else "amazonaws.com"
    return [f"ec2.{ours.region}.{suffix}", f"s3.{ours.region}.amazonaws.com", None]


def _request_tags(ours: Scope) -> list[Value | None]:
    foreign = "22222222-aaaa-4bbb-8ccc-000000000001"
    tag = cluster_tag(ours)
    interface = {"cluster.k8s.amazonaws.com/name": ours.cluster}
    sets = [
        {"cast:cluster-id": ours.cluster_id, tag: "owned", **interface},
        {"cluster.k8s.amazonaws.com/name": "elsewhere"},
        {},
        {"cast:cluster-id": ours.cluster_id},
        {tag: "owned"},
        {"cast:cluster-id": foreign, tag: "owned"},
        {"CAST:Cluster-ID": foreign, tag.upper(): "owned"},
        {"cast:cluster-id": ours.cluster_id.upper(), tag: "owned"},
        {"cast:cluster-id": ours.cluster_id, tag: "shared"},
    ]
    return [_encoded(tags) for tags in sets]


_VALUES: dict[str, Callable[[Scope], list[Value | None]]] = {
    "autoscaling:launchconfigurationname": lambda _: [None, "with-a-stronger-role"],
    "autoscaling:vpczoneidentifiers": lambda _: [None, ("subnet-0ddddddd",)],
    "aws:requesttag/": _request_tags,
    "ec2:createaction": _create_action,
    "events:detail-type": lambda _: [EC2_EVENTS, ("AWS API Call via CloudTrail",), None],
    "events:source": _event_source,
    "events:targetarn": _event_target,
    "iam:passedtoservice": _passed_to,
    "iam:permissionsboundary": _boundary,
    "iam:policyarn": _attached_policy,
    "kms:grantisforawsresource": lambda _: ["true", "false", None],
    "kms:viaservice": _kms_via,
    "lambda:principal": _invoker,
    "lambda:vpcids": lambda ours: [None, (ours.vpc_id,)],
}


def _encoded(tags: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={value}" for key, value in tags.items())


@functools.cache
def decoded(text: Value | None) -> Mapping[str, str]:
    """Return the tags of a request; a value must be hashable, so they travel as text."""
    return (
        dict(line.split("=", 1) for line in text.split("\n") if line)
        if isinstance(text, str)
        else {}
    )
