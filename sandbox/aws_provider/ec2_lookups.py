"""Questions about networks: subnets, route tables, security groups.

Answers: `internal/service/ec2/vpc_{subnets,route_table,route_tables,security_groups}` with the
ending `_data_source.go`, in `hashicorp/terraform-provider-aws`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.aws_provider.account import Account, RefusedError, absent_is_fine
from sandbox.aws_provider.resource import Lookup, Properties

_FIND = ("filters", "tags")
_TABLE = {
    "routeTableId": "route-table-id",
    "subnetId": "association.subnet-id",
    "vpcId": "vpc-id",
}


def _every(
    aws: Account, arguments: Properties, operation: str, items: str, names: Mapping[str, str]
) -> list[Any]:
    """Describe what all filters, tags and named arguments select."""
    filters = [
        {"Name": one["name"], "Values": list(one["values"])} for one in arguments.get("filters", [])
    ]
    filters += [
        {"Name": f"tag:{key}", "Values": [value]}
        for key, value in arguments.get("tags", {}).items()
    ]
    filters += [
        {"Name": filter_name, "Values": [arguments[name]]}
        for name, filter_name in names.items()
        if arguments.get(name)
    ]
    with absent_is_fine():
        paginator = aws.client("ec2", arguments.get("region")).get_paginator(operation)
        return [item for page in paginator.paginate(Filters=filters) for item in page[items]]
    return []


def _tags(thing: Properties) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in thing.get("Tags", [])}


def _one(matches: list[Any], what: str) -> Any:
    if len(matches) != 1:
        how = "no" if not matches else "multiple"
        raise RefusedError(
            f"{how} matching {what} found; use additional constraints to reduce matches to a "
            f"single {what}"
        )
    return matches[0]


def _shared(aws: Account, arguments: Properties) -> Properties:
    return {"region": arguments.get("region", aws.region), "filters": arguments.get("filters", [])}


def _subnets(aws: Account, arguments: Properties) -> Properties:
    subnets = _every(aws, arguments, "describe_subnets", "Subnets", {})
    ids = [one["SubnetId"] for one in subnets]
    return {
        **_shared(aws, arguments),
        "id": aws.region,
        "ids": ids,
        "tags": arguments.get("tags", {}),
    }


def _route_tables(aws: Account, arguments: Properties) -> Properties:
    names = {"vpcId": "vpc-id"}
    tables = _every(aws, arguments, "describe_route_tables", "RouteTables", names)
    return {
        **_shared(aws, arguments),
        "id": aws.region,
        "ids": [one["RouteTableId"] for one in tables],
        "tags": arguments.get("tags", {}),
        "vpcId": arguments.get("vpcId", ""),
    }


def _route_table(aws: Account, arguments: Properties) -> Properties:
    tables = _every(aws, arguments, "describe_route_tables", "RouteTables", _TABLE)
    table = _one(tables, "EC2 Route Table")
    identity, owner = table["RouteTableId"], table["OwnerId"]
    return {
        **_shared(aws, arguments),
        "id": identity,
        "routeTableId": identity,
        "arn": f"arn:aws:ec2:{aws.region}:{owner}:route-table/{identity}",
        "ownerId": owner,
        "vpcId": table["VpcId"],
        "subnetId": arguments.get("subnetId", ""),
        "gatewayId": "",
        "tags": _tags(table),
        "associations": [
            {
                "main": one.get("Main", False),
                "routeTableAssociationId": one.get("RouteTableAssociationId", ""),
                "routeTableId": identity,
                "subnetId": one.get("SubnetId", ""),
                "gatewayId": one.get("GatewayId", ""),
            }
            for one in table["Associations"]
        ],
        "routes": [_route(one) for one in table["Routes"] if one.get("GatewayId") != "local"],
    }


def _route(route: Properties) -> Properties:
    spelled = {
        "carrierGatewayId": "CarrierGatewayId",
        "cidrBlock": "DestinationCidrBlock",
        "coreNetworkArn": "CoreNetworkArn",
        "destinationPrefixListId": "DestinationPrefixListId",
        "egressOnlyGatewayId": "EgressOnlyInternetGatewayId",
        "gatewayId": "GatewayId",
        "instanceId": "InstanceId",
        "ipv6CidrBlock": "DestinationIpv6CidrBlock",
        "localGatewayId": "LocalGatewayId",
        "natGatewayId": "NatGatewayId",
        "networkInterfaceId": "NetworkInterfaceId",
        "transitGatewayId": "TransitGatewayId",
        "vpcPeeringConnectionId": "VpcPeeringConnectionId",
    }
    return {"vpcEndpointId": "", **{name: route.get(key, "") for name, key in spelled.items()}}


def _security_groups(aws: Account, arguments: Properties) -> Properties:
    groups = _every(aws, arguments, "describe_security_groups", "SecurityGroups", {})
    return {
        **_shared(aws, arguments),
        "id": aws.region,
        "arns": [_group_arn(aws, one) for one in groups],
        "ids": [one["GroupId"] for one in groups],
        "vpcIds": [one["VpcId"] for one in groups],
        "tags": arguments.get("tags", {}),
    }


def _group_arn(aws: Account, group: Properties) -> str:
    return f"arn:aws:ec2:{aws.region}:{group['OwnerId']}:security-group/{group['GroupId']}"


def _lookup(ask: Callable[[Account, Properties], Properties], *names: str) -> Lookup:
    return Lookup(ask, (), (*_FIND, "region", *names))


LOOKUPS = {
    "aws:ec2/getSubnets:getSubnets": _lookup(_subnets),
    "aws:ec2/getRouteTables:getRouteTables": _lookup(_route_tables, "vpcId"),
    "aws:ec2/getRouteTable:getRouteTable": _lookup(_route_table, *_TABLE),
    "aws:ec2/getSecurityGroups:getSecurityGroups": _lookup(_security_groups),
}
