"""An account with our cluster and its neighbours, and every request one could send into it.

What a request reaches is decided here from the account's things alone; the policies under test
are never read. A thing belongs to our cluster when CAST AI's id or EKS says so by value.
"""

import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from castai_stack import arn as castai_stack_arn
from castai_stack import naming
from castai_stack.iam.node_role import NODE_MANAGED
from castai_stack.iam.scope import Scope
from castai_stack.iam.settings import Iam
from sandbox.iam_evaluator import Request, Value
from tests.support import service_reference
from tests.support.service_reference import Action, Kind

GRANTED_SERVICES = ("autoscaling", "ec2", "eks", "events", "iam", "kms", "lambda")

EC2_EVENTS = (
    "EC2 Spot Instance Interruption Warning",
    "EC2 Instance Rebalance Recommendation",
)


@dataclass(frozen=True)
class Neighbour:
    """A cluster: ours, or one whose things are none of our business."""

    label: str
    scope: Scope

    @property
    def tag(self) -> str:
        return f"kubernetes.io/cluster/{self.scope.cluster}"

    def tags(self, *, launched: bool = True) -> dict[str, str]:
        """Tags of an instance, group or interface of this cluster."""
        tags = {
            self.tag: "owned",
            "aws:eks:cluster-name": self.scope.cluster,
            "eks:cluster-name": self.scope.cluster,
            "cluster.k8s.amazonaws.com/name": self.scope.cluster,
        }
        return {**tags, "cast:cluster-id": self.scope.cluster_id} if launched else tags


def scope(
    cluster: str = "demo",
    *,
    partition: str = "aws",
    region: str = "eu-central-1",
    account_id: str = "012345678901",
    cluster_id: str = "11111111-aaaa-4bbb-8ccc-000000000001",
    vpc_id: str = "vpc-0aaaaaaaaaaaaaaa1",
    names: naming.NameFlavour = "suffixed",
    path: str = "/",
    vpc_account_id: str | None = None,
) -> Scope:
    """Return our cluster, in an account whose number begins with a zero on purpose."""
    return Scope(
        partition=partition,
        region=region,
        account_id=account_id,
        cluster=cluster,
        cluster_id=cluster_id,
        vpc_id=vpc_id,
        names=naming.names(cluster, names),
        path=path,
        vpc_account_id=vpc_account_id,
    )


def neighbours(ours: Scope) -> list[Neighbour]:
    """Return the clusters that are easiest to mistake for ours."""

    def other(label: str, number: int, cluster: str, **changes: str) -> Neighbour:
        made = replace(
            ours,
            cluster=cluster,
            cluster_id=f"22222222-aaaa-4bbb-8ccc-{number:012d}",
            names=naming.names(cluster, "suffixed"),
            **changes,
        )
        return Neighbour(label, made)

    name = ours.cluster
    region = "us-east-1" if ours.region != "us-east-1" else "us-west-2"
    account = "999999999999"
    longer = (
        f"{name[:97]}-eu" if len(name) < 98 else f"{name[:-1]}{'a' if name[-1] != 'a' else 'b'}"
    )
    found = [
        other("a cluster of another name in our VPC", 1, f"x{name}"[:99]),
        other("a cluster whose name begins with ours", 2, longer),
        other("a cluster of another VPC", 3, "elsewhere", vpc_id="vpc-0bbbbbbbbbbbbbbb2"),
        other("our name in another region", 4, name, region=region, vpc_id="vpc-0ccccccccccccccc3"),
        Neighbour("our tags in another region", replace(ours, region=region)),
        Neighbour("our tags in another account", replace(ours, account_id=account)),
    ]
    if name.swapcase() != name:
        found.append(other("our name in other letters", 5, name.swapcase()))
    if len(name) > 1:
        found.append(other("a cluster whose name ours begins with", 6, name[:-1]))
    return [n for n in found if n.scope != ours]


@dataclass(frozen=True)
class Thing:
    """What a request is judged on."""

    label: str
    arn: str
    home: Scope
    mine: bool
    """Belongs to our cluster."""
    original: bool = False
    """Belongs to our cluster, which had it before CAST AI came."""
    new: bool = False
    """Made by the request."""
    tags: Mapping[str, str] = field(default_factory=dict)
    vpc: str = ""
    role: str = ""
    """What an IAM thing is for: node, lambda, principal or another."""


@dataclass(frozen=True)
class Case:
    """A request, and what is true of it."""

    request: Request
    action: str
    kind: str
    thing: Thing
    asks: Mapping[str, Value]

    def __str__(self) -> str:
        asked = ", ".join(f"{k}={v}" for k, v in self.asks.items()) or "nothing"
        return (
            f"{self.request.action} on {self.thing.label} ({self.request.resource}) asking {asked}"
        )


_PLACEHOLDER = re.compile(r"\$\{([^}]+)\}")


def things(ours: Scope, kind: Kind) -> Iterator[Thing]:
    """Every thing of a kind: ours, and its counterparts at the neighbours.

    IAM has no regions: what would bear our very name is not another thing.
    """
    own = {_filled(kind.arn, ours, name) for role, name in _named(kind, ours) if role}
    for owner in [Neighbour("ours", ours), *neighbours(ours)]:
        us = owner.label == "ours"
        for role, name in _named(kind, owner.scope):
            if not us and _filled(kind.arn, owner.scope, name) in own:
                continue
            base = Thing(
                f"{role or kind.name} of {owner.label}",
                _filled(kind.arn, owner.scope, name),
                owner.scope,
                us,
                vpc=owner.scope.vpc_arns[-1],
                role=role,
            )
            yield replace(base, new=True, label=f"new {base.label}")
            if role:
                yield base
                continue
            for number, (label, tags) in enumerate(_marks(ours, owner)):
                yield replace(
                    base,
                    label=label.format(base.label),
                    arn=_filled(kind.arn, owner.scope, f"{name}{number}"),
                    mine=us and bool(tags),
                    original=us and "cast:cluster-id" not in tags,
                    tags=tags,
                )


def _marks(ours: Scope, owner: Neighbour) -> list[tuple[str, dict[str, str]]]:
    found = [
        ("{}", owner.tags()),
        ("{}, not launched by CAST AI", owner.tags(launched=False)),
        ("untagged {}", {}),
    ]
    if owner.scope != ours:
        found.append(("{}, shared with ours", {**owner.tags(), _tag(ours): "shared"}))
    return found


def listed_id(kind: str, owner: Scope) -> str:
    """Id or name of the thing that a list of the settings names: an untagged one."""
    return f"{_PREFIXES[kind]}{owner.cluster_id[-12:]}2"


_PREFIXES = {
    "autoScalingGroup": "workers-",
    "capacity-reservation": "cr-",
    "security-group": "sg-",
    "subnet": "subnet-",
}


def _named(kind: Kind, owner: Scope) -> list[tuple[str, str]]:
    """Things known by name rather than by tag: what they are for, and the name."""
    service = kind.arn.split(":")[2] if kind.arn != "*" else ""
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
    unnamed = [("", f"{_PREFIXES.get(kind.name, '')}{owner.cluster_id[-12:]}")]
    return table.get((service, kind.name), unnamed)


def key_id(owner: Scope) -> str:
    """Id of the key that encrypts a cluster's volumes."""
    return f"00000000-0000-4000-8000-{owner.cluster_id[-12:]}"


def _filled(template: str, owner: Scope, name: str) -> str:
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


def choices(ours: Scope, key: str) -> list[Value | None]:
    """Values of a key that a request brings along; the first is the one to be expected."""
    foreign = "22222222-aaaa-4bbb-8ccc-000000000001"
    own_boundary = ours.iam("policy", ours.names.node_boundary)
    admin = castai_stack_arn.managed_policy(ours.partition, "AdministratorAccess")
    interface = {"cluster.k8s.amazonaws.com/name": ours.cluster}
    table: dict[str, list[Value | None]] = {
        "iam:passedtoservice": [
            "ec2.amazonaws.com",
            "lambda.amazonaws.com",
            "eks.amazonaws.com",
            "ecs-tasks.amazonaws.com",
            None,
        ],
        "iam:policyarn": [
            *(castai_stack_arn.managed_policy(ours.partition, name) for name in NODE_MANAGED),
            admin,
            ours.iam("policy", ours.names.castai_policy),
            None,
        ],
        "iam:permissionsboundary": [own_boundary, admin, None],
        "ec2:createaction": [
            "RunInstances",
            "CreateSecurityGroup",
            "CreateKeyPair",
            "ImportKeyPair",
            "CreateLaunchTemplate",
            "CreateVolume",
            "CreateNetworkInterface",
        ],
        "lambda:principal": [
            "events.amazonaws.com",
            "*",
            "999999999999",
            "s3.amazonaws.com",
            None,
        ],
        "lambda:vpcids": [None, (ours.vpc_id,)],
        "events:source": [("aws.ec2",), ("aws.ec2", "aws.s3"), ("aws.s3",), None],
        "events:detail-type": [EC2_EVENTS, ("AWS API Call via CloudTrail",), None],
        "events:targetarn": [
            (ours.function_arn,),
            (ours.function_arn, f"{ours.function_arn}-eu"),
            (ours.own("sqs", "somebody"),),
            None,
        ],
        "autoscaling:launchconfigurationname": [None, "with-a-stronger-role"],
        "autoscaling:vpczoneidentifiers": [None, ("subnet-0ddddddd",)],
        "kms:viaservice": [
            f"ec2.{ours.region}.{'amazonaws.com.cn' if ours.partition == 'aws-cn' else 'amazonaws.com'}",
            f"s3.{ours.region}.amazonaws.com",
            None,
        ],
        "kms:grantisforawsresource": ["true", "false", None],
        "aws:requesttag/": [
            _text({"cast:cluster-id": ours.cluster_id, _tag(ours): "owned", **interface}),
            _text({"cluster.k8s.amazonaws.com/name": "elsewhere"}),
            _text({}),
            _text({"cast:cluster-id": ours.cluster_id}),
            _text({_tag(ours): "owned"}),
            _text({"cast:cluster-id": foreign, _tag(ours): "owned"}),
            _text({"CAST:Cluster-ID": foreign, _tag(ours).upper(): "owned"}),
            _text({"cast:cluster-id": ours.cluster_id.upper(), _tag(ours): "owned"}),
            _text({"cast:cluster-id": ours.cluster_id, _tag(ours): "shared"}),
        ],
    }
    return table.get(key, [])


def _tag(owner: Scope) -> str:
    return f"kubernetes.io/cluster/{owner.cluster}"


def _text(tags: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={value}" for key, value in tags.items())


@functools.cache
def _tags(text: Value | None) -> Mapping[str, str]:
    return (
        dict(line.split("=", 1) for line in text.split("\n") if line)
        if isinstance(text, str)
        else {}
    )


def cases(ours: Scope, action: Action, depth: int = 2) -> Iterator[Case]:
    """Every request with an action: on each thing, with up to `depth` keys off the expected."""
    for kind in action.kinds:
        usual = not action.tags or (action.name == "ec2:CreateTags" and kind.name in OF_NODES)
        found = {key: values for key in sorted(kind.keys) if (values := choices(ours, key))}
        # EC2 fills this key only for what the same call makes.
        created_by = found.pop("ec2:createaction", [])
        existing = list(_combinations(found, depth if usual else 0))
        if action.name == "ec2:CreateTags":
            found["ec2:createaction"] = created_by
        new = list(_combinations(found, depth if usual else 0))
        for thing in things(ours, kind):
            if thing.new and not _makes(action, kind):
                continue
            if not thing.new and _only_makes(action, kind):
                continue
            for asks in new if thing.new else existing:
                yield _case(action, kind, thing, asks)


def _makes(action: Action, kind: Kind) -> bool:
    """Whether the call makes a thing of this kind, rather than use or change one."""
    verb = action.name.partition(":")[2]
    if action.name == "ec2:RunInstances":
        return kind.name in ("instance", "volume", "network-interface")
    if action.name == "ec2:CreateTags":
        return True
    tags = {"aws:requesttag/"} & kind.keys
    return verb.startswith(("Create", "Import")) and bool(tags) and kind.name != "cluster"


# Kinds that a node or its launch is made of: the only ones whose tags are varied one by one.
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


def _only_makes(action: Action, kind: Kind) -> bool:
    both = (("ec2:CreateTags", kind.name), ("ec2:RunInstances", "network-interface"))
    return _makes(action, kind) and (action.name, kind.name) not in both


def _combinations(
    dimensions: dict[str, list[Value | None]], depth: int
) -> Iterator[dict[str, Value | None]]:
    """The expected values, then every way to change up to `depth` of them."""
    expected = {key: values[0] for key, values in dimensions.items()}
    yield expected
    for count in range(1, depth + 1):
        for keys in itertools.combinations(dimensions, count):
            for values in itertools.product(*(dimensions[key][1:] for key in keys)):
                yield {**expected, **dict(zip(keys, values, strict=True))}


def _case(action: Action, kind: Kind, thing: Thing, asks: Mapping[str, Value | None]) -> Case:
    context: dict[str, Value] = {}
    for key in kind.keys:
        if key.endswith(":resourcetag/") and not thing.new:
            context |= {key + tag: value for tag, value in thing.tags.items()}
    if "ec2:vpc" in kind.keys:
        context["ec2:vpc"] = thing.vpc
    if "ec2:vpcid" in kind.keys:
        context["ec2:vpcid"] = thing.home.vpc_id
    given = {key: value for key, value in asks.items() if value is not None}
    for key, value in given.items():
        if key == "aws:requesttag/":
            tags = _tags(value)
            context |= {key + tag: text for tag, text in tags.items()}
            context["aws:TagKeys"] = tuple(tags)
        else:
            context[key] = value
    request = Request(action.name, thing.arn, context)
    return Case(request, action.name, kind.name, thing, given)


def reaches_outside(ours: Scope, settings: Iam, case: Case) -> bool:
    """Whether a request would change, or use for a change, anything that is not our cluster's."""
    home, thing = case.thing.home, case.thing
    if (home.region, home.account_id, home.partition) != (
        ours.region,
        ours.account_id,
        ours.partition,
    ):
        return not (case.kind in ("image", "snapshot") and home.region == ours.region)
    if _marks_another(ours, case) and not _tags_judged_apart(case):
        return True
    if settings.original_nodes == "by-cluster-tag" and _bears_our_tag(ours, case):
        case = replace(case, thing=replace(thing, mine=True))
        thing = case.thing
    if rule := _RULES.get(case.action):
        return rule(ours, settings, case)
    return not thing.mine if not thing.new else not _marked(ours, case)


def _bears_our_tag(ours: Scope, case: Case) -> bool:
    """Whether IAM takes a tag of an instance for ours: the reach that this switch admits to."""
    tags = {key.lower(): value for key, value in case.thing.tags.items()}
    return case.kind == "instance" and tags.get(_tag(ours).lower()) in ("owned", "shared")


def _tags_judged_apart(case: Case) -> bool:
    """A launch's volumes and interfaces are marked by CreateTags, a part of the same call.

    Only EC2's marks count: nothing else of a cluster is known by one.
    """
    if case.action == "ec2:RunInstances":
        return case.kind in ("volume", "network-interface")
    return not case.action.startswith("ec2:")


def _marks_another(ours: Scope, case: Case) -> bool:
    return any(
        key.lower() == "cast:cluster-id" and value != ours.cluster_id
        for key, value in _tags(case.asks.get("aws:requesttag/")).items()
    )


def _marked(ours: Scope, case: Case) -> bool:
    tags = {k.lower(): v for k, v in _tags(case.asks.get("aws:requesttag/")).items()}
    return tags.get("cast:cluster-id") == ours.cluster_id


def _run_instances(ours: Scope, settings: Iam, case: Case) -> bool:
    ids = {
        "capacity-reservation": settings.capacity_reservation_ids,
        "security-group": settings.security_group_ids,
        "subnet": settings.subnet_ids,
    }.get(case.kind, [])
    if case.kind == "instance":
        tags = {k.lower(): v for k, v in _tags(case.asks.get("aws:requesttag/")).items()}
        return not _marked(ours, case) or tags.get(_tag(ours).lower()) != "owned"
    if case.kind in ("volume", "image"):
        return False
    if case.kind in ("subnet", "network-interface", "security-group") and not ids:
        return case.thing.home.vpc_id != ours.vpc_id
    return not _listed(ids, case) and (case.kind == "subnet" or not _ours_by_id(case))


def _listed(ids: list[str], case: Case) -> bool:
    return case.thing.arn.rpartition("/")[2] in ids


def _ours_by_id(case: Case) -> bool:
    return case.thing.mine and not case.thing.original


def _create_tags(_ours: Scope, settings: Iam, case: Case) -> bool:
    if not case.thing.new:
        return not case.thing.mine
    made_by = {"RunInstances", "CreateSecurityGroup", "CreateKeyPair", "ImportKeyPair"}
    if settings.create_node_groups:
        made_by.add("CreateLaunchTemplate")
    return case.asks.get("ec2:createaction") not in made_by


def _own_vpc(ours: Scope, _settings: Iam, case: Case) -> bool:
    if case.kind == "vpc":
        return case.thing.home.vpc_id != ours.vpc_id
    return not _marked(ours, case)


def _create_role(ours: Scope, _settings: Iam, case: Case) -> bool:
    boundary = ours.iam("policy", ours.names.node_boundary)
    return not _is(ours, case, "node role") or case.asks.get("iam:permissionsboundary") != boundary


def _attach(ours: Scope, _settings: Iam, case: Case) -> bool:
    allowed = {castai_stack_arn.managed_policy(ours.partition, name) for name in NODE_MANAGED}
    return not _is(ours, case, "node role") or case.asks.get("iam:policyarn") not in allowed


def _pass_role(ours: Scope, settings: Iam, case: Case) -> bool:
    service = case.asks.get("iam:passedtoservice")
    if _is(ours, case, "node role"):
        services = {"ec2.amazonaws.com", "eks.amazonaws.com"}
        return service not in (services if settings.create_node_groups else {"ec2.amazonaws.com"})
    return not _is(ours, case, "lambda role") or service != "lambda.amazonaws.com"


def _node_role_only(ours: Scope, _settings: Iam, case: Case) -> bool:
    return not (_is(ours, case, "node role") or _is(ours, case, "profile"))


def _function(ours: Scope, _settings: Iam, case: Case) -> bool:
    if not _is(ours, case, "function") or case.asks.get("lambda:vpcids") is not None:
        return True
    return case.action == "lambda:AddPermission" and (
        case.asks.get("lambda:principal") != "events.amazonaws.com"
    )


def _rule(ours: Scope, _settings: Iam, case: Case) -> bool:
    if not _is(ours, case, "rule"):
        return True
    if case.action == "events:PutTargets":
        return not _only(case.asks.get("events:targetarn"), {ours.function_arn})
    return case.action == "events:PutRule" and not (
        _only(case.asks.get("events:source"), {"aws.ec2"})
        and _only(case.asks.get("events:detail-type"), set(EC2_EVENTS))
    )


def _only(value: Value | None, allowed: set[str]) -> bool:
    return isinstance(value, tuple) and bool(value) and set(value) <= allowed


def _group(_ours: Scope, settings: Iam, case: Case) -> bool:
    return not case.thing.mine and not _listed(settings.auto_scaling_group_names, case)


def _update_group(ours: Scope, settings: Iam, case: Case) -> bool:
    return (
        _group(ours, settings, case)
        or case.asks.get("autoscaling:launchconfigurationname") is not None
        or case.asks.get("autoscaling:vpczoneidentifiers") is not None
    )


def _volume_key(ours: Scope, _settings: Iam, case: Case) -> bool:
    via = choices(ours, "kms:viaservice")[0]
    if not _is(ours, case, "key") or case.asks.get("kms:viaservice") != via:
        return True
    return case.action == "kms:CreateGrant" and case.asks.get("kms:grantisforawsresource") != "true"


def _is(ours: Scope, case: Case, role: str) -> bool:
    return case.thing.home == ours and case.thing.role == role


_RULES = {
    "ec2:RunInstances": _run_instances,
    "ec2:CreateTags": _create_tags,
    "ec2:CreateSecurityGroup": _own_vpc,
    "iam:CreateRole": _create_role,
    "iam:AttachRolePolicy": _attach,
    "iam:DetachRolePolicy": _attach,
    "iam:PassRole": _pass_role,
    "iam:DeleteRole": _node_role_only,
    "iam:CreateInstanceProfile": _node_role_only,
    "iam:DeleteInstanceProfile": _node_role_only,
    "iam:AddRoleToInstanceProfile": _node_role_only,
    "iam:RemoveRoleFromInstanceProfile": _node_role_only,
    "lambda:CreateFunction": _function,
    "lambda:UpdateFunctionCode": _function,
    "lambda:DeleteFunction": _function,
    "lambda:AddPermission": _function,
    "events:PutRule": _rule,
    "events:PutTargets": _rule,
    "events:DeleteRule": _rule,
    "events:RemoveTargets": _rule,
    "autoscaling:DeleteAutoScalingGroup": _group,
    "autoscaling:ResumeProcesses": _group,
    "autoscaling:SuspendProcesses": _group,
    "autoscaling:TerminateInstanceInAutoScalingGroup": _group,
    "autoscaling:UpdateAutoScalingGroup": _update_group,
    "kms:CreateGrant": _volume_key,
    "kms:Decrypt": _volume_key,
    "kms:GenerateDataKeyWithoutPlaintext": _volume_key,
    "kms:ReEncryptFrom": _volume_key,
    "kms:ReEncryptTo": _volume_key,
}


@functools.cache
def corpus(
    ours: Scope, services: tuple[str, ...] = GRANTED_SERVICES, depth: int = 2
) -> dict[str, list[Case]]:
    """Every case of every writing action of the services, by lower-case action."""
    return {
        name: list(cases(ours, action, depth))
        for service in services
        for name, action in service_reference.actions(service).items()
        if action.writes
    }


def node_reaches_outside(ours: Scope, settings: Iam, case: Case) -> bool:
    """Whether a node would change anything but the interfaces of its VPC, or its own cluster's."""
    if (case.thing.home.region, case.thing.home.account_id) != (ours.region, ours.account_id):
        return True
    if _marks_another(ours, case) and case.action == "ec2:CreateTags":
        return True
    if case.kind == "instance":
        return not _ours_by_id(case)
    if case.thing.new:
        return _node_makes_outside(ours, settings, case)
    if case.kind == "network-interface" and settings.node_interface_tags:
        return not case.thing.mine
    in_vpc = case.kind in ("network-interface", "security-group", "subnet")
    return not in_vpc or case.thing.home.vpc_id != ours.vpc_id


def _node_makes_outside(ours: Scope, settings: Iam, case: Case) -> bool:
    if case.kind != "network-interface":
        return True
    if case.action == "ec2:CreateTags":
        made = case.asks.get("ec2:createaction") == "CreateNetworkInterface"
        return not made and case.thing.home.vpc_id != ours.vpc_id
    tags = _tags(case.asks.get("aws:requesttag/"))
    named = tags.get("cluster.k8s.amazonaws.com/name") == ours.cluster
    return settings.node_interface_tags and not named
