"""Subnets and groups of new nodes: what is looked up, and what is refused before a write."""

import pytest

from castai_stack.config.validation import validate
from castai_stack.preflight import networks
from castai_stack.preflight.findings import Findings
from castai_stack.preflight.lookups import ClusterFacts
from castai_stack.spelling import snake
from tests.support.coroutines import completed

CLUSTER = {"name": "demo", "region": "eu-central-1", "accountId": "012345678901"}
VPC, OTHER = "vpc-0000000a", "vpc-0000000b"
PRIVATE, PUBLIC, CLOSED = "subnet-0000000a", "subnet-0000000b", "subnet-0000000c"
OWN, MORE, FOREIGN = "sg-0000000a", "sg-0000000b", "sg-0000000c"
NAME = "cast-demo-cluster/CastNodeSecurityGroup"
FACTS = ClusterFacts("arn", "ACTIVE", VPC, "https://x", "Q0E=", "API", security_group_id=OWN)
TABLES = {
    "rtb-1": ({"natGatewayId": "nat-1"}, [PRIVATE], False),
    "rtb-2": ({"gatewayId": "igw-1"}, [PUBLIC], False),
    "rtb-3": ({}, [], True),
}


class Network:
    """AWS as its data sources answer; unknown questions are refused."""

    def __init__(self, *, public=(PUBLIC,), refuses=(), named=(), tagged=()):
        self.public, self.refuses, self.named, self.tagged = public, refuses, named, tagged
        self.calls = []

    async def __call__(self, function, arguments):
        name = function.rpartition(":")[2]
        self.calls.append(name)
        if name in self.refuses:
            raise RuntimeError(f"invoke of {function} failed: UnauthorizedOperation: no")
        named = {snake(key): value for key, value in arguments.items()}
        return getattr(self, snake(name))(**named)

    def get_subnets(self, filters):
        wanted = {one["name"]: one["values"] for one in filters}
        assert wanted["vpc-id"] == [VPC]
        every = [CLOSED, PUBLIC, PRIVATE]
        return {"ids": list(self.public) if "map-public-ip-on-launch" in wanted else every}

    def get_route_tables(self, vpc_id):
        assert vpc_id == VPC
        return {"ids": list(TABLES)}

    def get_route_table(self, route_table_id):
        target, subnets, main = TABLES[route_table_id]
        return {
            "routes": [{"cidrBlock": "0.0.0.0/0", **target}],
            "associations": [{"subnetId": one} for one in subnets] + [{"main": main}],
        }

    def get_security_groups(self, filters):
        wanted = {one["name"]: one["values"] for one in filters}
        if "group-name" in wanted:
            assert wanted["group-name"] == [NAME]
            return {"ids": list(self.tagged if "tag:castai-eks:cluster" in wanted else self.named)}
        known = {OWN: VPC, MORE: VPC, FOREIGN: OTHER}
        ids = [one for one in wanted["group-id"] if one in known]
        return {"ids": ids, "vpcIds": [known[one] for one in ids]}


def settings(nodes=None, **more):
    raw = {"cluster": CLUSTER, "automation": {"nodes": nodes or {}}, **more}
    return validate(raw, "castai")


def look(nodes=None, network=None, facts=FACTS, **more):
    return completed(networks.node_network(settings(nodes, **more), facts, network or Network()))


def test_subnets_with_a_way_out_are_chosen_and_the_cluster_s_group_is_joined():
    result, findings = look({"securityGroupIds": [MORE]})

    assert result == networks.NodeNetwork((PRIVATE, PUBLIC), (OWN, MORE))
    assert findings == Findings()


def test_a_public_subnet_without_addresses_is_left_out():
    assert look(network=Network(public=()))[0].subnet_ids == (PRIVATE,)


def test_subnets_of_the_scoped_permissions_narrow_the_choice():
    assert look(iam={"subnetIds": [PUBLIC, CLOSED]})[0].subnet_ids == (PUBLIC,)
    documented = look(iam={"subnetIds": [PUBLIC]}, permissions="documented")[0]
    assert documented.subnet_ids == (PRIVATE, PUBLIC)


def test_no_subnet_with_a_way_out_is_a_problem_that_names_each():
    result, findings = look(iam={"subnetIds": [CLOSED]})

    assert result.subnet_ids == ()
    assert findings.problems == (
        f"automation.nodes.subnetIds: {VPC} has no subnet with a way out among those of "
        f"iam.subnetIds ({CLOSED}) ({CLOSED}: its route table has no default route). Name the "
        "subnets of new nodes there, or set automation.nodes.enabled to false",
    )


def test_given_subnets_are_taken_as_they_are():
    result, findings = look({"subnetIds": [PUBLIC]})

    assert (result.subnet_ids, findings) == ((PUBLIC,), Findings())


def test_a_given_subnet_without_a_way_out_is_a_warning():
    result, findings = look({"subnetIds": [CLOSED]})

    assert result.subnet_ids == (CLOSED,)
    [line] = findings.inconclusive
    assert line.startswith(f"automation.nodes.subnetIds: {CLOSED}: its route table has no default")
    assert findings.problems == ()


def test_an_unknown_subnet_is_a_problem_with_those_that_exist():
    [line] = look({"subnetIds": ["subnet-99999999"]})[1].problems

    assert line == (
        f"automation.nodes.subnetIds: found subnet-99999999, which is no subnet of {VPC}, the "
        f"cluster's VPC; allowed: {PRIVATE}, {PUBLIC}, {CLOSED}"
    )


@pytest.mark.parametrize(
    ("group", "line"),
    [
        ("sg-99999999", "found sg-99999999, which does not exist; remove or correct it"),
        (
            FOREIGN,
            f"found {FOREIGN}, a group of {OTHER}; allowed: groups of {VPC}, the cluster's VPC",
        ),
    ],
)
def test_groups_that_nodes_cannot_join_are_problems(group, line):
    assert look({"securityGroupIds": [group]})[1].problems == (
        f"automation.nodes.securityGroupIds: {line}",
    )


def test_the_cluster_s_group_has_to_be_among_those_of_the_scoped_permissions():
    [line] = look(iam={"securityGroupIds": [MORE]})[1].problems

    assert line.startswith(f"iam.securityGroupIds: found {MORE}, without {OWN}, the cluster's own")
    assert look(iam={"securityGroupIds": [MORE, OWN]})[1] == Findings()
    assert look(iam={"securityGroupIds": [MORE]}, permissions="documented")[1] == Findings()


@pytest.mark.parametrize("refused", ["getSubnets", "getRouteTables", "getRouteTable"])
def test_a_lookup_without_an_answer_stops_only_where_it_is_needed(refused):
    network = Network(refuses=(refused,))

    assert "were not looked up: UnauthorizedOperation: no" in look(network=network)[1].problems[0]
    result, findings = look({"subnetIds": [PUBLIC]}, network)
    assert result.subnet_ids == (PUBLIC,)
    assert findings.problems == ()
    assert "were not checked: UnauthorizedOperation: no" in findings.inconclusive[0]


def test_groups_that_cannot_be_asked_for_are_a_warning():
    findings = look({"securityGroupIds": [MORE]}, Network(refuses=("getSecurityGroups",)))[1]

    assert findings.problems == ()
    assert "automation.nodes.securityGroupIds: not checked" in findings.inconclusive[0]


@pytest.mark.parametrize(
    ("nodes", "more"),
    [
        ({"enabled": False}, {}),
        ({}, {"credentials": {"mode": "none"}}),
        ({}, {"api": {"register": False, "clusterId": "00000000-1111-2222-3333-444444444444"}}),
    ],
)
def test_nothing_is_asked_where_nodes_are_left_alone(nodes, more):
    network = Network()

    assert look(nodes, network, **more) == (networks.NO_NETWORK, Findings())
    assert (
        completed(networks.group_name_findings(settings(nodes, **more), FACTS, network))
        == Findings()
    )
    assert network.calls == []


def test_few_questions_are_asked_when_everything_is_looked_up():
    network = Network()
    look(network=network)

    assert sorted(network.calls) == ["getRouteTable"] * 3 + ["getRouteTables"] + ["getSubnets"] * 2


def name_findings(nodes=None, **network):
    return completed(networks.group_name_findings(settings(nodes), FACTS, Network(**network)))


def test_a_group_of_the_name_that_is_not_this_stack_s_stops_an_apply():
    [line] = name_findings(named=[MORE]).obstacles

    assert line == (
        f"security group {NAME} exists ({MORE}) and was not created by this stack; set "
        "automation.nodes.createSecurityGroup to false and add the group to "
        "automation.nodes.securityGroupIds, or delete it"
    )
    assert name_findings(named=[MORE], tagged=[MORE]) == Findings()
    assert name_findings() == Findings()
    assert name_findings({"createSecurityGroup": False}, named=[MORE]) == Findings()
    assert "was not checked" in name_findings(refuses=("getSecurityGroups",)).inconclusive[0]
