"""What an installer leaves in AWS, in the cluster and at CAST AI, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Coordinates of a cluster that an installer needs."""

    cluster: str
    cluster_id: str
    """CAST AI's id of the cluster."""
    region: str
    account_id: str
    vpc_id: str
    api_url: str
    castai_user_arn: str = ""
    """CAST AI's own user, which a role trusts."""
    partition: str = "aws"

    @property
    def short_id(self) -> str:
        """First eight characters of CAST AI's id, as the installers use them in names."""
        return self.cluster_id[:8]

    def iam(self, resource: str) -> str:
        """Return the ARN of an IAM object of the account."""
        return f"arn:{self.partition}:iam::{self.account_id}:{resource}"

    def managed(self, policy: str) -> str:
        """Return the ARN of a policy of AWS."""
        return f"arn:{self.partition}:iam::aws:policy/{policy}"


@dataclass(frozen=True, slots=True)
class Principal:
    """A user, or a role if it has a trust policy."""

    name: str
    attached: tuple[str, ...] = ()
    """ARNs of managed policies."""
    inline: Mapping[str, Document] = field(default_factory=dict)
    trust: Document | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function with the one rule that invokes it."""

    name: str
    role: str
    rule: str
    pattern: Document


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """An access entry of the cluster."""

    principal_arn: str
    type: str = "EC2_LINUX"
    policy: str = ""
    """ARN of an access policy on it, for the whole cluster."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Everything that one run of an installer leaves."""

    policies: Mapping[str, Document] = field(default_factory=dict)
    """Customer-managed policies by name; one that exists stays as it is."""
    principals: tuple[Principal, ...] = ()
    """A role that exists stays as it is."""
    profiles: Mapping[str, str] = field(default_factory=dict)
    """Name of the role by name of the instance profile."""
    security_group: tuple[str, str] | None = None
    """Name and description."""
    functions: tuple[Function, ...] = ()
    map_roles: tuple[Document, ...] = ()
    map_users: tuple[Document, ...] = ()
    access_entries: tuple[AccessEntry, ...] = ()
    node_configuration: str = ""
    """Name of the instance profile that CAST AI's default node configuration names, if any."""
    handed_over: str = ""
    """Name of the principal whose credentials CAST AI uses."""

    @property
    def handed(self) -> Principal:
        """The principal whose credentials CAST AI uses."""
        return next(one for one in self.principals if one.name == self.handed_over)


def trust(statement: Document) -> Document:
    """Return a trust policy of one statement that allows to assume the role."""
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", **statement}],
    }
