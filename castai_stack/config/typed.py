"""Settings as typed dictionaries, for programs; `make readme` writes them from the models."""

from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    AdoptionValues = Literal["existing", "settings"]
    CredentialsMode = Literal["none", "user", "role"]
    Permissions = Literal["scoped", "documented"]
    Names = Literal["suffixed", "regional", "documented"]
else:  # Pulumi's analyzer takes enumerations and no literals.

    class AdoptionValues(StrEnum):
        """Values of `values`."""

        EXISTING = "existing"
        SETTINGS = "settings"

    class CredentialsMode(StrEnum):
        """Values of `mode`."""

        NONE = "none"
        USER = "user"
        ROLE = "role"

    class Permissions(StrEnum):
        """Values of `permissions`."""

        SCOPED = "scoped"
        DOCUMENTED = "documented"

    class Names(StrEnum):
        """Values of `names`."""

        SUFFIXED = "suffixed"
        REGIONAL = "regional"
        DOCUMENTED = "documented"


class AdoptionSettings(TypedDict, total=False):
    """AWS objects of another installer that this stack takes over; `adopt` writes this section."""

    imports: dict[str, str]
    """Id of each existing object, by the name of the resource that takes it over."""
    values: AdoptionValues
    """`existing`: policy texts, tags and the like of these objects stay as they are. `settings`:
    they become those of this stack. One of `existing`, `settings`. Default: `existing`.
    """


class PhysicalNamesSettings(TypedDict, total=False):
    """Names of AWS objects in place of the computed ones, such as those of another installer.

    Another name replaces the object: the old one is deleted, and then a new one is created.
    """

    principal: str
    """CAST AI's user, or the role that it assumes."""
    castai_policy: str
    """The policy `CastEKSPolicy`, which must be this cluster's alone."""
    restricted_policy: str
    """The cluster-scoped policy in `user` mode."""
    restricted_inline: str
    """The cluster-scoped inline policy in `role` mode."""
    feature_policy: str
    """The policy of the optional permissions."""
    node_role: str
    """The role of the nodes that CAST AI starts."""
    instance_profile: str
    """The instance profile of these nodes."""
    node_boundary: str
    """The boundary of the node role."""
    security_group: str
    """The security group of these nodes."""
    lambda_role: str
    """The role of the Spot function."""
    lambda_boundary: str
    """The boundary of that role."""
    function: str
    """The Spot function."""
    interruption_rule: str
    """The rule of Spot interruptions."""
    rebalance_rule: str
    """The rule of rebalance recommendations."""
    dead_letter_queue: str
    """The queue of undelivered events."""


class CredentialsSettings(TypedDict, total=False):
    """How CAST AI gets access."""

    mode: CredentialsMode
    """`none`: agent only. `user`: keys of an IAM user. `role`: a cross-account role. One of `none`,
    `user`, `role`. Default: `user`.
    """
    rotation: int
    """Counts the user's key rotations; raise it by one to rotate. Default: `0`."""
    delete_inactive_key: bool
    """Delete the previous generation's key at once instead of keeping it inactive. Default:
    `false`.
    """
    external_id: str
    """External id of the role's trust policy; the cluster id when absent, as CAST AI sends it."""


class ApiSettings(TypedDict, total=False):
    """CAST AI's API and the cluster's registration there."""

    url: str
    """CAST AI's API, such as `https://api.eu.cast.ai`. Default: `https://api.cast.ai`."""
    console_url: str
    """CAST AI's console, for the output `console_url`. Default: `https://console.cast.ai`."""
    register: bool
    """Off: CAST AI's API is never called; give `clusterId` and the agent's key yourself. Default:
    `true`.
    """
    cluster_id: str
    """CAST AI's id of the cluster, when `register` is off."""
    principal_arn: str
    """CAST AI's own user, when `register` is off and the mode is `role`."""
    organization_id: str
    """CAST AI organization, for a key that belongs to several."""
    revive_archived: bool
    """Connect a cluster that CAST AI has archived; off, an archived cluster is an error. Default:
    `false`.
    """
    online_timeout_seconds: int
    """How long to wait until CAST AI reports the agent online. Default: `600`."""
    ready_timeout_seconds: int
    """How long to wait until CAST AI has accepted and used the credentials. Default: `600`."""
    disconnect_timeout_seconds: int
    """How long a destroy waits for the disconnect. Default: `900`."""
    delete_nodes_on_disconnect: bool
    """CAST AI deletes the nodes that it started when it is disconnected. Default: `false`."""
    allow_disconnect: bool
    """Lets `credentials.mode: none` or `register: false` disconnect a connected cluster. Default:
    `false`.
    """
