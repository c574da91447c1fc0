"""The AWS stand-in makes security groups and looks up networks as the real plugin does."""

from collections.abc import Iterator

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape

from sandbox import aws
from sandbox.aws_provider import models, plugin
from tests.support.aws_plugin import MESSAGES, Plugin, RefusedError

REGION = "eu-central-1"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
SUBNETS = "aws:ec2/getSubnets:getSubnets"
TABLES = "aws:ec2/getRouteTables:getRouteTables"
TABLE = "aws:ec2/getRouteTable:getRouteTable"
GROUPS = "aws:ec2/getSecurityGroups:getSecurityGroups"
OUT = {"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}
WITHIN = {"protocol": "-1", "fromPort": 0, "toPort": 0, "self": True}
SSH = {"protocol": "tcp", "fromPort": 22, "toPort": 22, "cidrBlocks": ["10.0.0.0/8"]}


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[aws.Seed]:
    server = aws.serve(tmp_path_factory.mktemp("aws"))
    yield aws.seed(server.url)
    server.close()


@pytest.fixture(scope="module")
def caller(seeded: aws.Seed) -> Iterator[Plugin]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.delenv(name, raising=False)
        for name, value in seeded.operator.environment(seeded.endpoint).items():
            patch.setenv(name, value)
        server, port = plugin.serve()
        caller = Plugin(port)
        caller.configure(region=REGION)
        yield caller
        caller.close()
        server.stop(0)


def group_of(seeded: aws.Seed, identifier: str) -> dict:
    ec2 = seeded.operator.client("ec2", seeded.endpoint)
    return ec2.describe_security_groups(GroupIds=[identifier])["SecurityGroups"][0]


def create(caller: Plugin, seeded: aws.Seed, name: str, **more: object) -> tuple[str, dict, dict]:
    inputs = caller.checked(GROUP, {"name": name, "vpcId": seeded.vpc_id, **more})
    identifier, state = caller.create(GROUP, inputs)
    return identifier, inputs, state


def test_a_group_has_its_rules_and_tags_and_not_the_rule_of_aws(caller, seeded):
    more = {"ingress": [WITHIN], "tags": {"team": "platform"}}
    identifier, inputs, state = create(caller, seeded, "cast-demo-cluster/Nodes", **more)
    group = group_of(seeded, identifier)
    assert group["IpPermissionsEgress"] == []
    assert [pair["GroupId"] for pair in group["IpPermissions"][0]["UserIdGroupPairs"]] == [
        identifier
    ]
    assert group["Tags"] == [{"Key": "team", "Value": "platform"}]
    assert state["arn"].endswith(f":security-group/{identifier}")
    _, read, _ = caller.read(GROUP, identifier, state, inputs)
    assert caller.diff(GROUP, read, inputs).changes == MESSAGES.DiffResponse.DIFF_NONE


def test_rules_and_tags_change_in_place(caller, seeded):
    more = {"ingress": [WITHIN], "egress": [OUT], "tags": {"a": "1"}}
    identifier, inputs, state = create(caller, seeded, "changing", **more)
    news = caller.checked(
        GROUP,
        {
            "name": "changing",
            "vpcId": seeded.vpc_id,
            "ingress": [SSH],
            "egress": [OUT],
            "tags": {"b": "2"},
        },
        inputs,
    )
    caller.update(GROUP, identifier, state, news)
    group = group_of(seeded, identifier)
    assert [one["IpProtocol"] for one in group["IpPermissions"]] == ["tcp"]
    assert [one["IpRanges"][0]["CidrIp"] for one in group["IpPermissionsEgress"]] == ["0.0.0.0/0"]
    assert group["Tags"] == [{"Key": "b", "Value": "2"}]


def test_a_foreign_rule_is_drift(caller, seeded):
    identifier, inputs, state = create(caller, seeded, "drifting", ingress=[SSH], egress=[OUT])
    seeded.operator.client("ec2", seeded.endpoint).authorize_security_group_ingress(
        GroupId=identifier, IpProtocol="udp", FromPort=53, ToPort=53, CidrIp="10.0.0.0/8"
    )
    _, read, _ = caller.read(GROUP, identifier, state, inputs)
    assert [rule["protocol"] for rule in read["ingress"]] == ["tcp", "udp"]


def test_another_name_needs_another_group(caller, seeded):
    _, inputs, state = create(caller, seeded, "named")
    assert list(caller.diff(GROUP, state, {**inputs, "name": "other"}).replaces) == ["name"]


def test_a_deleted_group_is_gone_and_deleting_it_again_is_fine(caller, seeded):
    identifier, _, state = create(caller, seeded, "leaving")
    caller.delete(GROUP, identifier, state)
    caller.delete(GROUP, identifier, state)
    assert caller.read(GROUP, identifier, state)[0] == ""


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"name": "sg-1"}, "must not begin with sg-"),
        ({"ingress": [{**WITHIN, "toPort": 9}]}, "must both be 0"),
        ({"egress": [{"protocol": "tcp", "fromPort": 1, "toPort": 2}]}, "must name one of"),
    ],
)
def test_rules_that_ec2_refuses_are_refused_before(caller, seeded, more, problem):
    [failure] = caller.failures(GROUP, {"name": "x", "vpcId": seeded.vpc_id, **more})
    assert problem in failure


def test_networks_are_looked_up(caller, seeded):
    within = [{"name": "vpc-id", "values": [seeded.vpc_id]}]
    assert sorted(caller.invoke(SUBNETS, filters=within)["ids"]) == sorted(seeded.subnet_ids)
    [table] = caller.invoke(TABLES, vpcId=seeded.vpc_id)["ids"]
    route_table = caller.invoke(TABLE, routeTableId=table)
    assert [one["main"] for one in route_table["associations"]] == [True]
    [route] = route_table["routes"]
    assert (route["cidrBlock"], route["gatewayId"][:4]) == ("0.0.0.0/0", "igw-")


def test_groups_are_looked_up_by_what_they_are_tagged_with(caller, seeded):
    groups = caller.invoke(GROUPS, tags={"kubernetes.io/cluster/demo": "owned"})
    [identifier] = groups["ids"]
    ec2 = seeded.operator.client("ec2", seeded.endpoint)
    [group] = ec2.describe_security_groups(GroupIds=[identifier])["SecurityGroups"]
    assert group["GroupName"].startswith("eks-cluster-sg-demo-")
    assert groups["vpcIds"] == [seeded.vpc_id]


def test_one_route_table_is_one(caller, seeded):
    with pytest.raises(RefusedError, match="no matching EC2 Route Table found"):
        caller.invoke(TABLE, vpcId="vpc-99999999")
    ec2 = seeded.operator.client("ec2", seeded.endpoint)
    table_id = ec2.create_route_table(VpcId=seeded.vpc_id)["RouteTable"]["RouteTableId"]
    try:
        with pytest.raises(RefusedError, match="multiple matching"):
            caller.invoke(TABLE, vpcId=seeded.vpc_id)
    finally:
        ec2.delete_route_table(RouteTableId=table_id)


def shapes(shape: Shape | None) -> dict[str, str]:
    """Return the type of each member of a shape, by path; a recursive one once."""
    described: dict[str, str] = {}

    def walk(one: Shape, path: tuple[str, ...]) -> None:
        described["/".join(path)] = one.type_name
        if one.name in path[:-1]:
            return
        for name, member in getattr(one, "members", {}).items():
            walk(member, (*path, name))
        if one.type_name == "list":
            walk(one.member, (*path, "[]"))

    if shape is not None:
        walk(shape, (shape.name,))
    return described


def test_the_reduced_model_of_ec2_describes_its_operations_as_botocore_does():
    whole = Loader().load_service_model("ec2", "service-2")
    complete, small = ServiceModel(whole), ServiceModel(models.reduced(whole))

    assert len(small.operation_names) < len(complete.operation_names) / 50
    for name in small.operation_names:
        before, after = complete.operation_model(name), small.operation_model(name)
        assert shapes(after.input_shape) == shapes(before.input_shape), name
        assert shapes(after.output_shape) == shapes(before.output_shape), name
        assert after.http == before.http
