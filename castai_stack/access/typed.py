"""Settings as typed dictionaries, for programs; `make readme` writes them from the models."""

from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    AccessMode = Literal["auto", "aws-auth", "access-entries"]
    AccessOverrideGuards = Literal["caller", "last-masters", "size", "unreadable"]
else:  # Pulumi's analyzer takes enumerations and no literals.

    class AccessMode(StrEnum):
        """Values of `mode`."""

        AUTO = "auto"
        AWS_AUTH = "aws-auth"
        ACCESS_ENTRIES = "access-entries"

    class AccessOverrideGuards(StrEnum):
        """Values of `overrideGuards`."""

        CALLER = "caller"
        LAST_MASTERS = "last-masters"
        SIZE = "size"
        UNREADABLE = "unreadable"


class AccessSettings(TypedDict, total=False):
    """Mapping of principals into the cluster."""

    mode: AccessMode
    """`auto` takes access entries where the cluster's authentication mode allows them. One of
    `auto`, `aws-auth`, `access-entries`. Default: `auto`.
    """
    adopt: bool
    """Take over existing entries for our ARNs; destroy then removes them. Default: `false`."""
    user_groups: list[str]
    """Groups of the user; any other group than `system:masters` gets a narrower cluster role.
    Default: `system:masters`.
    """
    override_guards: list[AccessOverrideGuards]
    """Guards of aws-auth that `pulumi up` may pass. One of `caller`, `last-masters`, `size`,
    `unreadable`.
    """
