"""What AWS, CAST AI and the cluster answered, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from castai_stack import naming
from castai_stack.access.modes import AuthenticationMode
from castai_stack.castai.model import Cluster

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key of a user."""

    id: str
    status: str


@dataclass(frozen=True, slots=True)
class Principal:
    """A user or role with what is on it."""

    kind: Literal["user", "role"]
    name: str
    path: str = "/"
    attached: tuple[str, ...] = ()
    """ARNs of managed policies."""
    inline: Mapping[str, Document] = field(default_factory=dict)
    trust: Document | None = None
    keys: tuple[AccessKey, ...] = ()
    profiles: tuple[str, ...] = ()
    """Instance profiles that hold the role."""
    boundary: str = ""
    """ARN of its permissions boundary."""
    stack_of: str = ""
    """Cluster of the stack of this program that created it, by its tag."""
    created: datetime | None = None

    def __str__(self) -> str:
        """Return how policies list it, such as `user cast-eks-prod`."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Policy:
    """A customer-managed policy that is on one of the principals."""

    arn: str
    document: Document
    used_by: tuple[str, ...]
    """Users, roles and groups that have it, such as `user cast-eks-prod`."""

    @property
    def name(self) -> str:
        """Name without the path."""
        return self.arn.rpartition("/")[2]

    @property
    def path(self) -> str:
        """IAM path, `/` without one."""
        return "/" + self.arn.partition(":policy/")[2].removesuffix(self.name)


@dataclass(frozen=True, slots=True)
class Group:
    """A security group with the name or tag of CAST AI's."""

    id: str
    name: str
    cluster_id: str
    """Value of the tag `cast:cluster-id`; empty without it."""

    def __str__(self) -> str:
        """Return its id."""
        return self.id


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """An access entry of the cluster."""

    arn: str
    """ARN of the principal that it admits."""
    type: str
    """Such as `EC2_LINUX` or `STANDARD`."""
    policies: tuple[str, ...] = ()
    """ARNs of the access policies on it."""
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class EarlierSpot:
    """The Spot function that a stack of this program created for this cluster."""

    names: naming.Names
    """Names of the stack."""
    role: Principal | None
    """Role of the function; None if it is gone."""
    imports: Mapping[str, str] = field(default_factory=dict)
    """Ids as `pulumi import` takes them, by resource; each object has the stack's tag, or belongs
    to one that has it. Without the role and what is on it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values for the section `spot`."""
    doubts: tuple[str, ...] = ()
    """Why an object with a name of the stack may be somebody else's: a sentence each."""


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function that reports Spot interruptions, and what belongs to it."""

    name: str
    role: str
    rules: tuple[str, ...]
    earlier: EarlierSpot | None = None
    """Its stack, if one of this program created the function for this cluster."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A deployment or daemon set in the agent's namespace."""

    name: str
    tag: str
    """Version of its first container's image."""
    kind: Literal["Deployment", "DaemonSet"]
    selector: Mapping[str, str]
    """Labels by which it finds its pods."""
    owner: str
    """Who installed it, such as `Helm release castai-agent`."""
    secret: str = ""
    """Secret with the key that its first container reads, if any."""
    managed: bool = False
    """Whether CAST AI upgrades and scales it by itself."""
    replicas: int = 1
    """Pods that it asks for; 1 for a daemon set."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables of the evictor's settings in its first container; no others, which may be keys."""


@dataclass(frozen=True, slots=True)
class InCluster:
    """What is in the cluster."""

    workloads: tuple[Workload, ...] = ()
    releases: Mapping[str, str] = field(default_factory=dict)
    """Chart with version by name of the Helm release."""
    components: tuple[str, ...] = ()
    """Names of the operator's `Component` resources."""
    mapped: frozenset[str] = frozenset()
    """ARNs with an entry in aws-auth."""
    evictor: Document | None = None
    """The specification of the object `evictor-config`."""
    beside_evictor: tuple[tuple[str, str], ...] = ()
    """Kind and name of objects of the evictor's chart that this program does not write."""

    def workload(self, name: str) -> Workload | None:
        """Return the workload of a name."""
        return next((one for one in self.workloads if one.name == name), None)


@dataclass(frozen=True, slots=True)
class AtCastai:
    """What CAST AI holds of the cluster."""

    clusters: tuple[Cluster, ...] = ()
    """Every cluster of the API key, archived ones as far as the service lists them."""
    principal_arn: str = ""
    """CAST AI's own user of the cluster."""
    configuration: Document | None = None
    """The default node configuration."""
    configurations: tuple[str, ...] = ()
    """Names of the other node configurations."""
    policies: Document | None = None
    """The autoscaler policies (V2)."""
    old_policies_on: bool = False
    """Whether the deprecated policies (V1) are on."""
    template: Document | None = None
    """The default node template."""
    templates: tuple[str, ...] = ()
    """Names of the other node templates."""
    evictor: Document | None = None
    """The evictor's configuration."""
    evictor_rules: int = 0
    """Number of the evictor's rules for single workloads."""
    profile_users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Other clusters by ARN of the instance profile that their default node configuration names."""


@dataclass(frozen=True, slots=True)
class InAws:
    """What AWS holds."""

    principals: tuple[Principal, ...] = ()
    """Candidates for CAST AI's principal."""
    node_roles: tuple[Principal, ...] = ()
    """Candidates for the node role."""
    policies: tuple[Policy, ...] = ()
    groups: tuple[Group, ...] = ()
    functions: tuple[Function, ...] = ()
    access_entries: tuple[AccessEntry, ...] = ()
    """Access entries of these principals and node roles."""


@dataclass(frozen=True, slots=True)
class Place:
    """The cluster that is taken over."""

    cluster: str
    region: str
    account_id: str
    partition: str
    vpc_id: str
    cluster_group: str = ""
    """Security group that EKS created for the cluster."""
    authentication_mode: AuthenticationMode = "CONFIG_MAP"


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator decides where there are several candidates."""

    cluster_id: str | None = None
    principal: str | None = None
    node_role: str | None = None
    security_group: str | None = None
    accept_edited_policies: bool = False


@dataclass(frozen=True, slots=True)
class Observations:
    """All answers about one cluster."""

    place: Place
    castai: AtCastai
    aws: InAws
    cluster: InCluster
