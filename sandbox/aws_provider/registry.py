"""The resource types and lookups by their tokens; unknown ones are refused."""

from sandbox.aws_provider import ec2, ec2_lookups, eks, events, iam, lambda_, lookups, secrets
from sandbox.aws_provider.account import RefusedError
from sandbox.aws_provider.resource import Lookup, Resource

RESOURCES: dict[str, Resource] = {
    item.aws_type: item()
    for module in (ec2, eks, events, iam, lambda_, secrets)
    for item in vars(module).values()
    if isinstance(item, type) and issubclass(item, Resource) and "aws_type" in vars(item)
}
LOOKUPS = {**lookups.LOOKUPS, **ec2_lookups.LOOKUPS}


def resource(token: str) -> Resource:
    """Resource type of a token."""
    if token not in RESOURCES:
        known = ", ".join(sorted(RESOURCES))
        raise RefusedError(f"the stand-in for AWS knows no resource type {token}; known: {known}")
    return RESOURCES[token]


def lookup(token: str) -> Lookup:
    """Lookup of a token."""
    if token not in LOOKUPS:
        known = ", ".join(LOOKUPS)
        raise RefusedError(f"the stand-in for AWS knows no lookup {token}; known: {known}")
    return LOOKUPS[token]
