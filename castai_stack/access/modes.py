"""Authentication modes of an EKS cluster and the mapping that each one reads."""

from typing import Literal

AuthenticationMode = Literal["CONFIG_MAP", "API_AND_CONFIG_MAP", "API"]
AccessMode = Literal["auto", "aws-auth", "access-entries"]


def unread_under(access: AccessMode) -> AuthenticationMode | None:
    """Return the authentication mode under which a cluster ignores the mapping of `access`."""
    unread: dict[str, AuthenticationMode] = {"aws-auth": "API", "access-entries": "CONFIG_MAP"}
    return unread.get(access)


def mappings(
    access: AccessMode, authentication: AuthenticationMode | None
) -> frozenset[Literal["aws-auth", "access-entries"]]:
    """Return the mapping in use; both where the cluster's authentication mode is unknown."""
    if access != "auto":
        return frozenset({access})
    if authentication is None:
        return frozenset({"aws-auth", "access-entries"})
    return frozenset({"aws-auth" if authentication == "CONFIG_MAP" else "access-entries"})
