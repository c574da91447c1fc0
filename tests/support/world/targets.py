"""Resources that requests are authorized on: the cluster's own and those of its neighbours."""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from castai_stack.iam.scope import Scope
from tests.support.service_reference import Kind
from tests.support.world.clusters import Neighbour, cluster_tag, neighbours


@dataclass(frozen=True)
class Target:
    """A resource that a request is authorized on."""

    label: str
    arn: str
    home: Scope
    own: bool
    """Belongs to the cluster under test."""
    original: bool = False
    """Belongs to the cluster under test, and CAST AI did not create it."""
    new: bool = False
    """Created by the request."""
    tags: Mapping[str, str] = field(default_factory=dict)
    vpc: str = ""
    role: str = ""
    """Purpose of a resource with a name of its own, such as `node role`."""


_PLACEHOLDER = re.compile(r"\$\{([^}]+)\}")


def targets(ours: Scope, kind: Kind) -> list[Target]:
    """Return the resources of a type: of the cluster under test and of its neighbours.

    IAM has no regions, so a neighbour of the same name in another region has the same IAM resources.
    They are listed once.
    """
    return _targets(ours, kind.name, kind.arn)


@functools.lru_cache(maxsize=200)  # all types of one cluster
def _targets(ours: Scope, kind: str, template: str) -> list[Target]:
    return list(_generated(ours, kind, template))


def _generated(ours: Scope, kind: str, template: str) -> Iterator[Target]:
    named = _named_targets(kind, template, ours)
    own = {_arn(template, ours, name) for role, name in named if role}
    for owner in [Neighbour("ours", ours), *neighbours(ours)]:
        us = owner.label == "ours"
        for role, name in _named_targets(kind, template, owner.scope):
            if not us and _arn(template, owner.scope, name) in own:
                continue
            base = Target(
                f"{role or kind} of {owner.label}",
                _arn(template, owner.scope, name),
                owner.scope,
                us,
                vpc=owner.scope.vpc_arns[-1],
                role=role,
            )
            yield replace(base, new=True, label=f"new {base.label}")
            if role:
                yield base
                continue
            for number, (label, tags) in enumerate(_tag_sets(ours, owner)):
                yield replace(
                    base,
                    label=label.format(base.label),
                    arn=_arn(template, owner.scope, f"{name}{number}"),
                    own=us and bool(tags),
                    original=us and "cast:cluster-id" not in tags,
                    tags=tags,
                )


def _tag_sets(ours: Scope, owner: Neighbour) -> list[tuple[str, dict[str, str]]]:
    sets = [
        ("{}", owner.tags()),
        ("{}, not launched by CAST AI", owner.tags(launched=False)),
        ("untagged {}", {}),
    ]
    if owner.scope != ours:
        sets.append(("{}, shared with ours", {**owner.tags(), cluster_tag(ours): "shared"}))
    return sets


def listed_id(kind: str, owner: Scope) -> str:
    """Return the id or name of an untagged resource, for the lists of the settings."""
    return f"{_PREFIXES[kind]}{owner.cluster_id[-12:]}2"


_PREFIXES = {
    "autoScalingGroup": "workers-",
    "capacity-reservation": "cr-",
    "security-group": "sg-",
    "subnet": "subnet-",
}


def _named_targets(kind: str, template: str, owner: Scope) -> list[tuple[str, str]]:
    """Return purpose and name of the resources that are identified by name instead of tags."""
    service = template.split(":")[2] if template != "*" else ""
    names, path = owner.names, owner.path.lstrip("/")
    table = {
        ("iam", "role"): [
            ("node role", path + owner.node_role),
            ("lambda role", path + names.lambda_role),
            ("principal", path + names.principal),
            ("stronger role", path + f"admin-of-{owner.cluster}"),
            ("role of a pattern", path + f"{owner.node_role}-eu"),
        ],
        ("iam", "instance-profile"): [
            ("profile", path + owner.node_role),
            ("stronger profile", f"{path}admins"),
        ],
        ("iam", "policy"): [
            ("policy", path + names.castai_policy),
            ("boundary", path + names.node_boundary),
        ],
        ("lambda", "function"): [
            ("function", names.function),
            ("other function", f"{names.function}-eu"),
        ],
        ("events", "rule-on-default-event-bus"): [
            ("rule", names.interruption_rule),
            ("other rule", "audit-trail"),
        ],
        ("eks", "nodegroup"): [("node group", f"{owner.cluster}/workers/0a1b")],
        ("eks", "cluster"): [("cluster", owner.cluster)],
        ("kms", "key"): [("key", key_id(owner)), ("other key", key_id(owner)[:-4] + "dead")],
        ("ec2", "vpc"): [("vpc", owner.vpc_id)],
    }
    unnamed = [("", f"{_PREFIXES.get(kind, '')}{owner.cluster_id[-12:]}")]
    return table.get((service, kind), unnamed)


def key_id(owner: Scope) -> str:
    """Return the id of the key that encrypts a cluster's volumes."""
    return f"00000000-0000-4000-8000-{owner.cluster_id[-12:]}"


def _arn(template: str, owner: Scope, name: str) -> str:
    if template == "*":
        return "*"
    if ":autoScalingGroup:" in template:
        return owner.own("autoscaling", f"autoScalingGroup:0a1b:autoScalingGroupName/{name}")
    values = {"Partition": owner.partition, "Region": owner.region, "Account": owner.account_id}
    if template.endswith(":subnet/${SubnetId}"):
        values["Account"] = owner.subnet_owner
    if template.endswith(":vpc/${VpcId}"):
        values["Account"] = owner.subnet_owner
    head, _, tail = template.partition("${Account}")
    if not tail:
        return _PLACEHOLDER.sub(lambda m: values.get(m[1], name), template)
    filled = _PLACEHOLDER.sub(lambda m: values.get(m[1], "x"), head) + values["Account"]
    rest = _PLACEHOLDER.split(tail)
    return filled + rest[0] + name if len(rest) > 1 else filled + tail
