"""Decision in which subnets nodes can reach the network outside of the VPC.

CAST AI asks for the same of the subnets that it suggests: a route to a NAT or internet gateway,
and public addresses where the route goes to an internet gateway.
Source: https://docs.cast.ai/docs/node-configuration
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

WayOut = Literal["internet", "private", "none"]
_EVERYWHERE = ("0.0.0.0/0", "::/0")
_PRIVATE = (
    "natGatewayId", "transitGatewayId", "networkInterfaceId", "instanceId",
    "vpcPeeringConnectionId", "vpcEndpointId", "coreNetworkArn", "localGatewayId",
    "carrierGatewayId",
)  # fmt: skip
"""Targets of a default route that need no public address of the node; the first is usual."""


@dataclass(frozen=True, slots=True)
class RouteTable:
    """A route table: the subnets that it is associated with, and where it leads."""

    subnet_ids: frozenset[str]
    is_main: bool
    """True if it holds for the subnets without a table of their own."""
    way_out: WayOut

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> "RouteTable":
        """Read the answer of the data source `aws_route_table`."""
        associations = answer.get("associations") or []
        return cls(
            frozenset(filter(None, (one.get("subnetId") for one in associations))),
            any(one.get("main") for one in associations),
            _way_out(answer.get("routes") or []),
        )


def _way_out(routes: Iterable[Mapping[str, Any]]) -> WayOut:
    way_out: WayOut = "none"
    for route in routes:
        if not {route.get("cidrBlock"), route.get("ipv6CidrBlock")} & {*_EVERYWHERE}:
            continue
        if str(route.get("gatewayId") or "").startswith("igw-"):
            return "internet"
        # A virtual private gateway leads to the operator's own network.
        if route.get("gatewayId") or any(route.get(target) for target in _PRIVATE):
            way_out = "private"
    return way_out


def without_a_way_out(
    subnet_ids: Iterable[str], public_ids: Collection[str], tables: Collection[RouteTable]
) -> dict[str, str]:
    """Return the subnets from which a node reaches nothing outside, and why.

    `public_ids` are the subnets that give nodes a public address.
    """
    reasons = {}
    main = next((table for table in tables if table.is_main), None)
    for subnet in subnet_ids:
        own = next((table for table in tables if subnet in table.subnet_ids), main)
        if own is None or own.way_out == "none":
            reasons[subnet] = "its route table has no default route"
        elif own.way_out == "internet" and subnet not in public_ids:
            reasons[subnet] = (
                "its default route goes to an internet gateway, and it gives nodes no public "
                "address (MapPublicIpOnLaunch)"
            )
    return reasons
