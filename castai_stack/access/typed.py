"""Settings as typed dictionaries, for programs; `make readme` writes them from the models."""

from typing import TypedDict


class AccessSettings(TypedDict, total=False):
    """Mapping of principals into the cluster."""

    mode: str
    """`auto` takes access entries where the cluster's authentication mode allows them. One of
    `auto`, `aws-auth`, `access-entries`. Default: `auto`.
    """
    adopt: bool
    """Take over existing entries for our ARNs; destroy then removes them. Default: `false`."""
    user_groups: list[str]
    """Groups of the user; any other group than `system:masters` gets a narrower cluster role.
    Default: `system:masters`.
    """
    override_guards: list[str]
    """Guards of aws-auth that `pulumi up` may pass. One of `caller`, `last-masters`, `size`,
    `unreadable`.
    """
