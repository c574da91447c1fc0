"""Settings of a stack: the sections of all parts."""

from typing import Annotated, Literal

from pydantic import Field

from castai_stack import naming
from castai_stack.access.modes import AuthenticationMode
from castai_stack.access.settings import Access
from castai_stack.agent.settings import Agent
from castai_stack.automation.settings import Automation
from castai_stack.config.adoption import Adoption
from castai_stack.config.names import PhysicalNames
from castai_stack.config.principals import PRINCIPALS, ModeName, Principal
from castai_stack.fields import (
    AccountId,
    ClusterName,
    ExternalId,
    Region,
    Section,
    TagKey,
    TagValue,
    Url,
    UserArn,
    Uuid,
    VpcId,
)
from castai_stack.iam.settings import Iam
from castai_stack.spot.settings import Spot


class Cluster(Section):
    """The EKS cluster to connect."""

    name: ClusterName
    """Name of the EKS cluster."""
    region: Region
    """AWS region of the cluster."""
    account_id: AccountId
    """AWS account of the cluster, in quotes; credentials of another account are refused."""
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
    """CAST AI's API and the cluster's registration there."""

    url: Url = "https://api.cast.ai"
    """CAST AI's API, such as `https://api.eu.cast.ai`."""
    console_url: Url = "https://console.cast.ai"
    """CAST AI's console, for the output `console_url`."""
    register_cluster: bool = Field(default=True, alias="register")
    """Off: CAST AI's API is never called; give `clusterId` and the agent's key yourself."""
    cluster_id: Uuid | None = None
    """CAST AI's id of the cluster, when `register` is off."""
    principal_arn: UserArn | None = None
    """CAST AI's own user, when `register` is off and the mode is `role`."""
    organization_id: Uuid | None = None
    """CAST AI organization, for a key that belongs to several."""
    revive_archived: bool = False
    """Connect a cluster that CAST AI has archived; off, an archived cluster is an error."""
    online_timeout_seconds: Annotated[int, Field(ge=10, le=3600)] = 600
    """How long to wait until CAST AI reports the agent online."""
    ready_timeout_seconds: Annotated[int, Field(ge=10, le=3600)] = 600
    """How long to wait until CAST AI has accepted and used the credentials."""
    disconnect_timeout_seconds: Annotated[int, Field(ge=10, le=7200)] = 900
    """How long a destroy waits for the disconnect."""
    delete_nodes_on_disconnect: bool = False
    """CAST AI deletes the nodes that it started when it is disconnected."""
    allow_disconnect: bool = False
    """Lets `credentials.mode: none` or `register: false` disconnect a connected cluster."""


class Credentials(Section):
    """How CAST AI gets access."""

    mode: ModeName = "user"
    """`none`: agent only. `user`: keys of an IAM user. `role`: a cross-account role."""
    rotation: Annotated[int, Field(ge=0)] = 0
    """Counts the user's key rotations; raise it by one to rotate."""
    delete_inactive_key: bool = False
    """Delete the previous generation's key at once instead of keeping it inactive."""
    external_id: ExternalId | None = None
    """External id of the role's trust policy; the cluster id when absent, as CAST AI sends it."""


class Preflight(Section):
    """Checks before the first write."""

    missing_permissions: Literal["refuse", "warn"] = "refuse"
    """`warn`: `pulumi up` goes on although AWS or Kubernetes denies a permission that it needs."""
    permission_answer_hours: Annotated[int, Field(ge=0, le=168)] = 12
    """Hours for which a preview relies on the last complete answer; 0: every preview asks AWS."""


class StackConfig(Section):
    """All settings of a stack."""

    cluster: Cluster
    """The EKS cluster to connect."""
    api: Api = Api()
    """CAST AI's API."""
    credentials: Credentials = Credentials()
    """How CAST AI gets access."""
    permissions: Literal["scoped", "documented"] = "scoped"
    """`scoped`: every write within this cluster. `documented`: as CAST AI publishes them."""
    names: Literal["suffixed", "regional", "documented"] = "suffixed"
    """Names end in `-<cluster>`, or `-<cluster>-<hash>`, or are bare as on CAST AI's page."""
    physical_names: PhysicalNames = PhysicalNames()
    """Names of AWS objects in place of the computed ones."""
    iam: Iam = Iam()
    """Principals, roles and what the scoped permissions include."""
    tags: dict[TagKey, TagValue] = {}
    """AWS tags on everything that can carry them."""
    agent: Agent = Agent()
    """The read-only agent."""
    automation: Automation = Automation()
    """What CAST AI runs in the cluster besides the agent."""
    spot: Spot = Spot()
    """Reports of Spot interruptions."""
    access: Access = Access()
    """Mapping of the principals into the cluster."""
    adoption: Adoption = Adoption()
    """Existing AWS objects that this stack takes over."""
    preflight: Preflight = Preflight()
    """Checks before the first write."""

    @property
    def resource_names(self) -> naming.Names:
        """Physical names of the stack's objects."""
        return naming.names(
            self.cluster.name, self.names, self.cluster.region, self.physical_names.model_dump()
        )

    @property
    def principal(self) -> Principal | None:
        """IAM principal of the credentials' mode; None where CAST AI gets no access to AWS."""
        return PRINCIPALS[self.credentials.mode]

    @property
    def acts_in_cluster(self) -> bool:
        """Return True if CAST AI can carry out what it is told: it has access and a controller."""
        connected = self.principal is not None and self.api.register_cluster
        return connected and self.automation.controller.enabled

    @property
    def sets_nodes(self) -> bool:
        """Return True if the default node configuration is this program's."""
        return self.acts_in_cluster and self.automation.nodes.enabled

    @property
    def creates_security_group(self) -> bool:
        """Return True if the nodes' security group is this program's."""
        return self.sets_nodes and self.automation.nodes.create_security_group

    @property
    def autoscales(self) -> bool:
        """Return True if CAST AI adds and removes nodes."""
        return self.acts_in_cluster and self.automation.autoscaler.enabled

    @property
    def has_workloads(self) -> bool:
        """Return True if anything besides the agent runs in the cluster."""
        controller, evictor = self.automation.controller, self.automation.evictor
        wanted = controller.enabled or evictor.enabled or self.spot.by_daemonset
        return self.principal is not None and wanted
