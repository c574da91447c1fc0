"""Settings of each part as validated values; knows pydantic and nothing of Pulumi."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError


def _text(pattern: str, allowed: str, *, private: bool = False) -> AfterValidator:
    """Check a text; a private one is never shown, because what is wrong with it may be secret."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            kind = "private_text" if private else "text"
            raise PydanticCustomError(kind, "{allowed}", {"allowed": allowed})
        return value

    return AfterValidator(check)


AccountId = Annotated[str, _text(r"\d{12}", "12 digits in quotes")]
Region = Annotated[str, _text(r"[a-z]{2}(-[a-z]+)+-\d", "an AWS region such as eu-central-1")]
ClusterName = Annotated[
    str,
    _text(
        r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}",
        "1 to 100 letters, digits, hyphens or underscores, the first a letter or digit",
    ),
]
Uuid = Annotated[
    str, _text(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a UUID in lower-case hex digits")
]
VpcId = Annotated[str, _text(r"vpc-[0-9a-f]{8,17}", "a VPC id such as vpc-0a1b2c3d4e5f60718")]
Arn = Annotated[str, _text(r"arn:aws(-us-gov|-cn)?:\S+", "an ARN that begins with arn:aws")]
PolicyArn = Annotated[
    str,
    _text(
        r"arn:aws(-us-gov|-cn)?:iam::(\d{12}|aws):policy/[\w+=,.@/-]+",
        "the ARN of an IAM policy, arn:aws:iam::<account>:policy/<name>",
    ),
]
IamPath = Annotated[
    str,
    # It stands in the resources of policies, where `*`, `?` and `$` would mean more.
    _text(
        r"/([\w+=,.@:-]{1,510}/)*",
        "an IAM path that begins and ends with a slash, of letters, digits and _+=,.@:- between",
    ),
]
Url = Annotated[str, _text(r"https?://[^\s/]+(/\S*)?", "an http or https address")]
ProxyUrl = Annotated[
    str,
    _text(
        r"https?://[^\s/@]+/?",
        "an http or https address of a proxy, without user and password",
        private=True,
    ),
]
Quantity = Annotated[
    str,
    _text(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?", "a Kubernetes quantity such as 256Mi or 100m"),
]
Digest = Annotated[str, _text(r"sha256:[0-9a-f]{64}", "sha256: and 64 hex digits")]
KeyArn = Annotated[
    str,
    _text(
        r"arn:aws(-us-gov|-cn)?:kms:[a-z0-9-]+:\d{12}:key/[\w-]+",
        "the ARN of a KMS key (arn:aws:kms:<region>:<account id>:key/<id>), no alias",
    ),
]
SubnetId = Annotated[str, _text(r"subnet-[0-9a-f]{8,17}", "a subnet id such as subnet-0a1b2c3d4e")]
SecurityGroupId = Annotated[
    str, _text(r"sg-[0-9a-f]{8,17}", "a security group id such as sg-0a1b2c3d4e5f60718")
]
CapacityReservationId = Annotated[
    str, _text(r"cr-[0-9a-f]{8,17}", "a capacity reservation id such as cr-0a1b2c3d4e5f60718")
]
AutoScalingGroupName = Annotated[
    str,
    # No `*`, `?` or `$`: the name stands in a policy's resource, where they would mean more.
    _text(
        r"[\w+=,.@()/ -]{1,255}",
        "1 to 255 letters, digits, spaces or any of _+=,.@()/- (no wildcard)",
    ),
]
Image = Annotated[
    str,
    _text(
        r"v?\d+\.\d+\.\d+([.+-][\w.-]+)?",
        "a version such as v0.123.1, because a tag that moves pins nothing",
    ),
]
Registry = Annotated[
    str,
    _text(r"[\w.-]+(:\d+)?(/[\w.-]+)*", "a registry and its path, without scheme, name and tag"),
]
ObjectName = Annotated[
    str,
    _text(
        r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?",
        "a Kubernetes name of lower-case letters, digits, hyphens and dots",
    ),
]
PriorityClass = Annotated[
    str,
    _text(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?", "the name of a priority class, or empty"),
]
AgentVariable = Annotated[
    str,
    _text(
        r"(?!(API_KEY|API_URL|PROVIDER|MODE|PPROF_PORT|MONITOR_METADATA|TLS_CA_CERT_FILE"
        r"|STATIC_CLUSTER_ID|CONTROLLER_CONFIG_MAP_NAMESPACES|LEADER_ELECTION_NAMESPACE"
        r"|EKS_ACCOUNT_ID|EKS_REGION|EKS_CLUSTER_NAME|HTTPS?_PROXY|NO_PROXY"
        r"|(SELF_POD|METADATA_STORE)_\w+)$)[A-Za-z_]\w*",
        "the name of a variable that this program does not set itself",
    ),
]
LabelKey = Annotated[
    str,
    _text(
        r"(?!app\.kubernetes\.io/(name|instance|version|managed-by|part-of)$"
        r"|autoscaling\.cast\.ai/disposable$)"
        r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?",
        "a label key that this program does not set itself",
    ),
]
LabelValue = Annotated[
    str,
    _text(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", "a label value of at most 63 characters"),
]
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
TagKey = Annotated[
    str, _text(r"[\w .:/=+@-]{1,128}", "1 to 128 letters, digits, spaces or any of _.:/=+-@")
]
TagValue = Annotated[
    str, _text(r"[\w .:/=+@-]{0,256}", "at most 256 letters, digits, spaces or any of _.:/=+-@")
]
Certificates = Annotated[
    str,
    _text(
        r"(\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+",
        "certificates in PEM form and nothing else",
        private=True,
    ),
]
AccessGuard = Literal["caller", "last-masters", "size", "unreadable"]
UserGroup = Annotated[
    str,
    # EKS refuses these prefixes in access entries, and Kubernetes keeps the first for itself:
    # https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html
    _text(
        r"system:masters|(?!(system|eks|aws|amazon|iam):)[0-9A-Za-z][\w.:@/-]{0,62}",
        "system:masters, or a name of your own that begins with none of system:, eks:, aws:, "
        "amazon: and iam:",
    ),
]
AuthenticationMode = Literal["CONFIG_MAP", "API_AND_CONFIG_MAP", "API"]


class Section(BaseModel):
    """A group of settings: unknown keys are errors, keys are camelCase, values are never echoed."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class Cluster(Section):
    """The EKS cluster to connect."""

    name: ClusterName
    """Name of the EKS cluster."""
    region: Region
    """Its AWS region."""
    account_id: AccountId
    """Its AWS account, in quotes; credentials of another account are refused."""
    kubeconfig: Annotated[str, Field(min_length=1)] = "from-eks"
    """`from-eks` (login by the AWS CLI), `ambient` (KUBECONFIG of each run), or a path."""
    context: str | None = None
    """Context of the kubeconfig; the current one when absent."""
    vpc_id: VpcId | None = None
    """VPC of the cluster; looked up when absent, compared when given."""
    vpc_account_id: AccountId | None = None
    """Owner of a shared VPC when it is another account."""
    authentication_mode: AuthenticationMode | None = None
    """The cluster's authentication mode; looked up when absent, compared when given."""


class Api(Section):
    """CAST AI's API and how this cluster meets it."""

    url: Url = "https://api.cast.ai"
    """CAST AI's API, such as `https://api.eu.cast.ai`."""
    console_url: Url = "https://console.cast.ai"
    """CAST AI's console, for the output `console_url`."""
    register_cluster: bool = Field(default=True, alias="register")
    """Off: CAST AI's API is not called, and `clusterId` and the agent's key are brought along."""
    cluster_id: Uuid | None = None
    """CAST AI's id of the cluster, when `register` is off."""
    principal_arn: Arn | None = None
    """CAST AI's own user, when `register` is off and the mode is `role`."""
    organization_id: Uuid | None = None
    """CAST AI organization, for a key that belongs to several."""
    revive_archived: bool = False
    """Connect a cluster again that CAST AI has archived; off, that is an error."""
    online_timeout_seconds: Annotated[int, Field(ge=10, le=3600)] = 600
    """How long to wait until CAST AI reports the agent online."""
    ready_timeout_seconds: Annotated[int, Field(ge=10, le=3600)] = 600
    """How long to wait until CAST AI has accepted and used the credentials."""
    disconnect_timeout_seconds: Annotated[int, Field(ge=10, le=7200)] = 900
    """How long a destroy waits for the disconnect."""
    delete_nodes_on_disconnect: bool = False
    """Have CAST AI delete the nodes that it started when it is disconnected."""
    allow_disconnect: bool = False
    """Lets `credentials.mode: none` or `register: false` disconnect a connected cluster."""


class Credentials(Section):
    """How CAST AI gets access."""

    mode: Literal["none", "user", "role"] = "user"
    """`none`: agent only. `user`: keys of an IAM user. `role`: a cross-account role."""
    rotation: Annotated[int, Field(ge=0)] = 0
    """Counts the user's key rotations; raise it by one to rotate."""
    delete_inactive_key: bool = False
    """Delete the key of the generation before at once instead of keeping it inactive."""
    external_id: (
        Annotated[str, _text(r"[\w+=,.@:/-]{2,1224}", "2 to 1224 letters, digits and +=,.@:/-")]
        | None
    ) = None
    """External id of the role's trust policy; the cluster id when absent, as CAST AI sends it."""


class Iam(Section):
    """What every principal and role carries, and the switches of the `scoped` policies.

    What each `manage…` switch grants stands in `docs/permissions.md`; all of them are bullets of
    CAST AI's page. The others widen or narrow; those that widen are off.
    """

    path: IamPath = "/"
    """IAM path of every user, role, policy and profile."""
    permissions_boundary_arn: PolicyArn | None = None
    """Boundary of every principal and role; it takes the place of the program's own ones."""
    node_boundary: bool = True
    """Own boundary on the node role: the three AWS-managed policies, but within this VPC."""
    node_interface_tags: bool = False
    """Node boundary: only interfaces tagged `cluster.k8s.amazonaws.com/name=<cluster>`."""
    manage_node_role: bool = True
    """CAST AI may create and delete the node role and its profile, always with the boundary."""
    manage_security_groups: bool = True
    """CAST AI may create security groups in the VPC, and change those that it created."""
    manage_key_pairs: bool = True
    """CAST AI may create and import key pairs, and delete those."""
    manage_node_groups: bool = True
    """CAST AI may update and delete the cluster's EKS node groups."""
    manage_lambda: bool = True
    """CAST AI may create, update and delete the Spot function and its rules."""
    original_nodes: Literal["by-eks-name", "by-cluster-tag", "none"] = "by-eks-name"
    """Which instances that CAST AI did not launch it may stop, start, terminate and tag.

    `by-eks-name`: tag `aws:eks:cluster-name`, which EKS writes and nobody can forge.
    `by-cluster-tag`: also tag `kubernetes.io/cluster/<cluster>`, shared by clusters whose names
    differ in case only.
    """
    auto_scaling_group_names: list[AutoScalingGroupName] = []
    """Groups of self-managed nodes; those of EKS node groups are known by their tag."""
    subnet_ids: list[SubnetId] = []
    """Narrows launches from the whole VPC to these subnets."""
    security_group_ids: list[SecurityGroupId] = []
    """Narrows launches from the VPC's security groups to these and those that CAST AI made."""
    create_node_groups: bool = False
    """Lets CAST AI create EKS node groups and launch templates."""
    capacity_reservation_ids: list[CapacityReservationId] = []
    """Capacity reservations that launches may use."""
    service_linked_roles: bool = False
    """Lets CAST AI create the account's service-linked roles for Spot and node groups."""
    ipv6: bool = False
    """Nodes may assign IPv6 addresses to interfaces of the VPC."""
    kms_key_arns: list[KeyArn] = []
    """Customer-managed keys that encrypt the nodes' volumes."""


class Proxy(Section):
    """HTTP proxy of the agent.

    A proxy that wants a password goes into an existing secret instead, as `HTTPS_PROXY`: the agent
    takes every key of the secret as a variable.
    """

    http: ProxyUrl | None = None
    """Address for plain HTTP."""
    https: ProxyUrl | None = None
    """Address for HTTPS."""
    no_proxy: list[str] = []
    """Beyond the cluster's own addresses, which never go through the proxy."""


class Autoscaling(Section):
    """Sizing of the agent by cluster-proportional-vertical-autoscaler.

    Memory is `base` plus `step` for every `nodes_per_step` nodes or `cores_per_step` cores,
    whichever is more, up to `max`.
    """

    enabled: bool = True
    """Size the agent's memory by the cluster; off, `agent.memory` holds."""
    base: Quantity = "2Gi"
    """Memory of the smallest cluster."""
    max: Quantity = "8Gi"
    """Most memory."""
    step: Quantity = "256Mi"
    """Memory added per step."""
    nodes_per_step: Annotated[int, Field(ge=1)] = 20
    """Nodes that make a step."""
    cores_per_step: Annotated[int, Field(ge=1)] = 480
    """Cores that make a step."""
    tag: Image = "v0.8.4"
    """Version of the autoscaler's image."""
    digest: Digest | None = None
    """Pins that image beyond its tag."""
    image_registry: Registry = "registry.k8s.io/cpa"
    """Where that image is."""
    poll_period_seconds: Annotated[int, Field(ge=5)] = 300
    """How often the autoscaler looks."""


class Agent(Section):
    """The read-only agent.

    The versions of both images stand here and in `Autoscaling`, and nowhere else.
    """

    tag: Image = "v0.123.1"
    """Version of the agent's image."""
    digest: Digest | None = None
    """Pins the image beyond its tag."""
    image_registry: Registry = "us-docker.pkg.dev/castai-hub/library"
    """Where the agent's image is."""
    pull_secrets: list[ObjectName] = []
    """Secrets of the namespace that open a private registry, for both images."""
    replicas: Annotated[int, Field(ge=1, le=5)] = 2
    """Pods of the agent; one leads, the others stand by."""
    cpu_request: Quantity = "100m"
    """CPU that each pod asks for."""
    cpu_limit: Quantity = "1000m"
    """CPU that each pod may use."""
    memory: Quantity = "2Gi"
    """Request and limit when autoscaling is off."""
    autoscaling: Autoscaling = Autoscaling()
    proxy: Proxy = Proxy()
    trusted_ca_certificate: Certificates | None = None
    """Further authorities that the agent trusts, such as that of a proxy."""
    node_selector: dict[str, str] = {}
    """Labels of the nodes that may run the agent."""
    tolerations: list[dict[str, Any]] = []
    """Beyond that of `CriticalAddonsOnly`."""
    affinity: dict[str, Any] | None = None
    """Instead of the default: no Windows nodes, nodes of CAST AI preferred."""
    priority_class: PriorityClass = "system-cluster-critical"
    """Empty for none; the resource quota then falls away, too."""
    topology_spread: bool = True
    """Spread the pods over nodes where possible."""
    network_policy: bool = False
    """Allow the agent no more traffic than it needs: name lookups and HTTPS going out."""
    extra_env: dict[AgentVariable, str] = {}
    """Further variables of the agent."""
    labels: dict[LabelKey, LabelValue] = {}
    """On every object and pod; selectors never change."""
    create_namespace: bool = True
    """Off: the namespace `castai-agent` is there, and stays after a destroy."""
    existing_secret: ObjectName | None = None
    """A secret of the namespace with the key `API_KEY`; none is made then."""
    role_arn: Arn | None = None
    """IRSA role of the agent's service account."""
    read_custom_resources: bool = True
    """Off: no rule for the custom resources of other projects and of CAST AI."""
    rollout_timeout_seconds: Annotated[int, Field(ge=10, le=3600)] = 600
    """How long to wait for the pods."""
    adopt: bool = False
    """Take over an agent that the vendor's script or chart installed."""


class Spot(Section):
    """The Lambda that reports Spot interruptions."""

    enabled: bool = True
    """Report Spot interruptions by a Lambda."""
    memory_mb: Annotated[int, Field(ge=128, le=10240)] = 256
    """Memory of the function, in MB."""
    timeout_seconds: Annotated[int, Field(ge=10, le=120)] = 110
    """How long one attempt may sit out an outage; the notice is two minutes."""
    architecture: Literal["arm64", "x86_64"] = "arm64"
    """Processor of the function."""
    log_retention_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365] = 30
    """How long the function's log is kept."""
    maximum_event_age_seconds: Annotated[int, Field(ge=60, le=21600)] = 120
    """How long Lambda keeps an event; one that is a minute older still is dropped as stale."""
    maximum_retries: Annotated[int, Field(ge=0, le=2)] = 2
    """How often Lambda tries a failed event again."""
    reserved_concurrency: Annotated[int, Field(ge=1)] | None = None
    """Concurrent runs kept for the function, and its limit; null shares the account's."""
    key_in_secrets_manager: bool = False
    """Keeps the API key in a secret instead of the function's encrypted environment."""
    alarm_topic_arn: Arn | None = None
    """SNS topic that hears of alarms and of their end."""
    drain: bool = False
    """Also cordon and drain the node through the Kubernetes API."""


class Access(Section):
    """Mapping of principals into the cluster."""

    mode: Literal["auto", "aws-auth", "access-entries"] = "auto"
    """`auto` takes access entries where the cluster's authentication mode allows them."""
    adopt: bool = False
    """Take over entries for our ARNs that somebody else made; they go on destroy, then."""
    user_groups: list[UserGroup] = ["system:masters"]
    """Groups of the user; others than `system:masters` get a narrower cluster role of ours."""
    override_guards: list[AccessGuard] = []
    """Guards of aws-auth that may be passed on `pulumi up`."""

    @property
    def unread_under(self) -> AuthenticationMode | None:
        """Authentication mode under which a cluster does not read the chosen mapping."""
        unread: dict[str, AuthenticationMode] = {"aws-auth": "API", "access-entries": "CONFIG_MAP"}
        return unread.get(self.mode)

    def mapped_by(self, mode: AuthenticationMode | None) -> frozenset[str]:
        """Return how principals are mapped; both ways, where the cluster's mode is not known."""
        if self.mode != "auto":
            return frozenset({self.mode})
        if mode is None:
            return frozenset({"aws-auth", "access-entries"})
        return frozenset({"aws-auth" if mode == "CONFIG_MAP" else "access-entries"})


class StackConfig(Section):
    """Everything a stack may say."""

    cluster: Cluster
    """The EKS cluster to connect."""
    api: Api = Api()
    """CAST AI's API."""
    credentials: Credentials = Credentials()
    """How CAST AI gets access."""
    permissions: Literal["scoped", "documented"] = "scoped"
    """`scoped`: every write within this cluster. `documented`: as CAST AI publishes them."""
    names: Literal["suffixed", "documented"] = "suffixed"
    """Account-wide names end in `-<cluster>`, or are bare as on CAST AI's page."""
    iam: Iam = Iam()
    """Principals, roles and what the scoped permissions include."""
    tags: dict[TagKey, TagValue] = {}
    """AWS tags on everything that can carry them."""
    agent: Agent = Agent()
    """The read-only agent."""
    spot: Spot = Spot()
    """The Lambda that reports Spot interruptions."""
    access: Access = Access()
    """Mapping of the principals into the cluster."""
