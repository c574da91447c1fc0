"""Which subnets lead out of the VPC, for every kind of route."""

import pytest

from castai_stack.automation.subnets import RouteTable, without_a_way_out

LOCAL = {"cidrBlock": "10.0.0.0/16", "gatewayId": "local"}


def table(route=None, *subnets, main=False):
    associations = [{"subnetId": subnet, "main": False} for subnet in subnets]
    if main:
        associations.append({"subnetId": "", "main": True})
    routes = [LOCAL, *([{"cidrBlock": "0.0.0.0/0", **route}] if route else [])]
    return RouteTable.parse({"associations": associations, "routes": routes})


@pytest.mark.parametrize(
    ("route", "way_out"),
    [
        ({"natGatewayId": "nat-1"}, "private"),
        ({"transitGatewayId": "tgw-1"}, "private"),
        ({"networkInterfaceId": "eni-1", "instanceId": "i-1"}, "private"),
        ({"vpcPeeringConnectionId": "pcx-1"}, "private"),
        ({"gatewayId": "vgw-1"}, "private"),
        ({"gatewayId": "igw-1"}, "internet"),
        ({"cidrBlock": "", "ipv6CidrBlock": "::/0", "gatewayId": "igw-1"}, "internet"),
        ({"cidrBlock": "10.9.0.0/16", "natGatewayId": "nat-1"}, "none"),
        ({"gatewayId": "", "natGatewayId": ""}, "none"),
        (None, "none"),
    ],
)
def test_the_default_route_decides(route, way_out):
    assert table(route).way_out == way_out


@pytest.mark.parametrize(
    ("tables", "public", "reason"),
    [
        ([table({"natGatewayId": "nat-1"}, "subnet-a")], [], None),
        ([table({"gatewayId": "igw-1"}, "subnet-a")], ["subnet-a"], None),
        ([table({"gatewayId": "igw-1"}, "subnet-a")], ["subnet-b"], "no public address"),
        ([table(None, "subnet-a"), table({"natGatewayId": "n"}, main=True)], [], "no default route"),
        ([table(None, "subnet-b"), table({"natGatewayId": "n"}, main=True)], [], None),
        ([table({"natGatewayId": "n"}, "subnet-b")], [], "no default route"),
        ([], [], "no default route"),
    ],
    ids=[
        "nat", "public", "public without addresses", "own table before the main one",
        "main table", "another subnet's table", "no table",
    ],
)  # fmt: skip
def test_a_subnet_follows_its_own_table_or_the_main_one(tables, public, reason):
    result = without_a_way_out(["subnet-a"], public, tables)

    assert (reason is None) is (result == {})
    assert reason is None or reason in result["subnet-a"]
