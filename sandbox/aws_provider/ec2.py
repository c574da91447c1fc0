"""Security groups.

Schema and behaviour: `internal/service/ec2/vpc_security_group.go` in
`hashicorp/terraform-provider-aws`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from sandbox.aws_provider import rules
from sandbox.aws_provider.account import Account, absent_is_fine, code
from sandbox.aws_provider.resource import (
    REGION,
    TAGS,
    Field,
    Fields,
    Properties,
    Resource,
    same,
)

_CHARACTERS = r"\w\s.\-:/()#,@\[\]+=&;{}!$*"
_RULES = {"ingress": "IpPermissions", "egress": "IpPermissionsEgress"}
_RANGES = (
    ("cidrBlocks", "IpRanges", "CidrIp"),
    ("ipv6CidrBlocks", "Ipv6Ranges", "CidrIpv6"),
    ("prefixListIds", "PrefixListIds", "PrefixListId"),
)
_ALL = "-1"


class SecurityGroup(Resource):
    """Security group with its rules; the rule that AWS gives to a new one is taken away."""

    aws_type = "aws:ec2/securityGroup:SecurityGroup"
    service = "ec2"
    key: ClassVar[dict[str, str]] = {"id": "GroupId"}
    autoname = ("name", 255)
    fields: ClassVar[Fields] = {
        "name": Field(replaces=True, rule=rules.name(255, _CHARACTERS), call="GroupName"),
        "description": Field(
            replaces=True, default="Managed by Pulumi", rule=rules.name(255, _CHARACTERS)
        ),
        "vpcId": Field(replaces=True, computed=True),
        "ingress": Field(computed=True, call=None),
        "egress": Field(computed=True, call=None),
        "revokeRulesOnDelete": Field(default=False, call=None),
        **REGION,
        **TAGS,
    }
    outputs: ClassVar[dict[str, str]] = {"arn": "SecurityGroupArn", "ownerId": "OwnerId"}

    def check(self, values: Properties) -> Iterator[tuple[str, str]]:
        if str(values.get("name", "")).startswith("sg-"):
            yield "name", "must not begin with sg-"
        for name in _RULES:
            for index, rule in enumerate(values.get(name) or []):
                yield from ((f"{name}[{index}]", problem) for problem in _problems(rule))

    def create(self, aws: Account, inputs: Properties) -> tuple[str, Properties]:
        specification = {"ResourceType": "security-group", "Tags": _pairs(inputs.get("tagsAll"))}
        tags = {"TagSpecifications": [specification]} if inputs.get("tagsAll") else {}
        answer = self.call(aws, inputs, "create_security_group", **self.arguments(inputs), **tags)
        return answer["GroupId"], {}

    def complete(self, aws: Account, identifier: str, inputs: Properties) -> None:
        group = self.find(aws, identifier, inputs) or {}
        for name, key in _RULES.items():
            self._change(aws, identifier, name, "revoke", group.get(key) or [])
            self._allow(aws, identifier, name, inputs.get(name) or [])

    def find(self, aws: Account, identifier: str, state: Properties) -> dict[str, Any] | None:
        describe = aws.client("ec2", state.get("region")).describe_security_groups
        group = next(iter(describe(GroupIds=[identifier])["SecurityGroups"]), None)
        if group is None:
            return None
        arn = f"arn:aws:ec2:{aws.region}:{group['OwnerId']}:security-group/{identifier}"
        return {"SecurityGroupArn": arn, **group}

    def read(self, aws: Account, identifier: str, state: Properties) -> Properties | None:
        properties = super().read(aws, identifier, state)
        with absent_is_fine():
            group = self.find(aws, identifier, state)
            if properties is None or group is None:
                return None
            actual_rules = {
                name: _in_order([_rule(one, identifier) for one in group[key]], state.get(name))
                for name, key in _RULES.items()
            }
            tags = {tag["Key"]: tag["Value"] for tag in group.get("Tags", [])}
            return {**properties, **actual_rules, "tagsAll": tags}
        return None

    def update(
        self, aws: Account, identifier: str, old: Properties, new: Properties, changed: set[str]
    ) -> None:
        for name in _RULES.keys() & changed:
            before, after = old.get(name) or [], new.get(name) or []
            obsolete_rules = [one for one in before if not _holds(after, one)]
            permissions = [_permission(one, identifier) for one in obsolete_rules]
            self._change(aws, identifier, name, "revoke", permissions)
            self._allow(aws, identifier, name, [one for one in after if not _holds(before, one)])
        ec2 = aws.client("ec2", new.get("region"))
        before, after = old.get("tagsAll") or {}, new.get("tagsAll") or {}
        if removed := [{"Key": key} for key in before if key not in after]:
            ec2.delete_tags(Resources=[identifier], Tags=removed)
        if added := {key: value for key, value in after.items() if before.get(key) != value}:
            ec2.create_tags(Resources=[identifier], Tags=_pairs(added))

    def delete(self, aws: Account, identifier: str, state: Properties) -> None:
        """Remove the group; an instance that is ending holds on to it for a while."""
        delete = aws.client("ec2", state.get("region")).delete_security_group
        with absent_is_fine():
            aws.retry(
                lambda: delete(GroupId=identifier),
                lambda error: code(error) == "DependencyViolation",
            )

    def _allow(
        self, aws: Account, identifier: str, name: str, allowed: Iterable[Properties]
    ) -> None:
        permissions = [_permission(one, identifier) for one in allowed]
        self._change(aws, identifier, name, "authorize", permissions)

    def _change(
        self, aws: Account, identifier: str, name: str, verb: str, permissions: list[Any]
    ) -> None:
        if permissions:
            operation = f"{verb}_security_group_{name}"
            self.call(aws, {}, operation, GroupId=identifier, IpPermissions=permissions)


def _pairs(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]


def _problems(rule: Properties) -> Iterator[str]:
    ports = (rule.get("fromPort"), rule.get("toPort"))
    if rule.get("protocol") in (_ALL, "all") and ports != (0, 0):
        yield "from_port and to_port must both be 0 to use the 'ALL' protocol"
    sources = [name for name, _, _ in _RANGES] + ["securityGroups", "self"]
    if not any(rule.get(name) for name in sources):
        yield f"must name one of {', '.join(sources)}"


def _permission(rule: Properties, group: str) -> dict[str, Any]:
    """Return a rule as EC2 takes it."""
    noted = {"Description": rule["description"]} if rule.get("description") else {}
    sources = [*rule.get("securityGroups", []), *([group] if rule.get("self") else [])]
    ports = {"FromPort": int(rule.get("fromPort", 0)), "ToPort": int(rule.get("toPort", 0))}
    return {
        "IpProtocol": rule["protocol"],
        **({} if rule["protocol"] == _ALL else ports),
        **{
            ranges: [{item: value, **noted} for value in rule[name]]
            for name, ranges, item in _RANGES
            if rule.get(name)
        },
        **({"UserIdGroupPairs": [{"GroupId": one, **noted} for one in sources]} if sources else {}),
    }


def _rule(permission: Mapping[str, Any], group: str) -> Properties:
    """Return a rule of EC2 as the provider shows it."""
    pairs = permission.get("UserIdGroupPairs") or []
    every = [*pairs, *(item for _, ranges, _ in _RANGES for item in permission.get(ranges) or [])]
    rule = {
        "protocol": permission["IpProtocol"],
        "fromPort": permission.get("FromPort", 0),
        "toPort": permission.get("ToPort", 0),
        "self": any(pair["GroupId"] == group for pair in pairs),
        "securityGroups": [pair["GroupId"] for pair in pairs if pair["GroupId"] != group],
        "description": next(filter(None, (one.get("Description") for one in every)), ""),
        **{
            name: [one[item] for one in permission.get(ranges) or []]
            for name, ranges, item in _RANGES
        },
    }
    return {name: value for name, value in rule.items() if value not in ([], "", False)}


def _holds(several: Iterable[Properties], rule: Properties) -> bool:
    return any(same(Field(), one, rule) for one in several)


def _in_order(rules: list[Properties], wanted: Any) -> list[Properties]:
    """Return rules in the order in which they were wanted; AWS keeps none."""
    known = [one for one in wanted or [] if _holds(rules, one)]
    return known + [one for one in rules if not _holds(known, one)]
