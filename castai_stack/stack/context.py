"""Settings, facts, names and providers of one run."""

from dataclasses import dataclass, field
from typing import TypedDict

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from castai_stack import arn, naming
from castai_stack.agent.release import Release
from castai_stack.automation.release import Release as AutomationRelease
from castai_stack.config.model import StackConfig
from castai_stack.iam.key_slots import Slot, slots
from castai_stack.kube import kubeconfig as kube_kubeconfig
from castai_stack.permissions.cluster_rights import agent, workloads
from castai_stack.plugin.custom_resource import CastaiProvider
from castai_stack.preflight.aws import uses_access_entries
from castai_stack.preflight.lookups import ClusterFacts
from castai_stack.preflight.networks import NO_NETWORK, NodeNetwork
from castai_stack.stack.adoption import Takeover
from castai_stack.stack.providers import castai_provider, kubernetes_provider


class ClusterArgs(TypedDict):
    """The cluster's coordinates, which several components take."""

    cluster_name: str
    region: str
    account_id: str


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that exists before the first part."""

    settings: StackConfig
    facts: ClusterFacts
    names: naming.Names
    kubeconfig: str
    access_entries: bool
    """True if principals are mapped by access entries; otherwise in aws-auth."""
    aws: aws.Provider
    kubernetes: kubernetes.Provider
    castai: CastaiProvider
    existing: frozenset[str] = frozenset()
    """Objects of an existing installation that are to be adopted."""
    namespace_uid: str | None = None
    """Uid of the agent's namespace; empty if it is absent, None if that is unknown."""
    network: NodeNetwork = NO_NETWORK
    """Where new nodes are; empty where the settings leave nodes alone."""
    base: pulumi.ResourceOptions = field(default_factory=pulumi.ResourceOptions)
    """Options of every part: in another program its component, and what that waits for."""
    prefix: str = ""
    """Begins the logical name of every part; empty in the program of this repository."""
    takeover: Takeover = field(default_factory=Takeover)
    """Existing AWS objects that this run takes over."""

    @property
    def cluster(self) -> ClusterArgs:
        """The cluster's coordinates as arguments of a component."""
        cluster = self.settings.cluster
        return {
            "cluster_name": cluster.name,
            "region": cluster.region,
            "account_id": cluster.account_id,
        }

    @property
    def partition(self) -> str:
        """Partition of the cluster's region."""
        return arn.partition(self.settings.cluster.region)

    @property
    def release(self) -> Release:
        """The agent's installation."""
        return agent(self.settings)

    @property
    def automation(self) -> AutomationRelease | None:
        """The workloads that act in the cluster; None where the settings ask for none."""
        return workloads(self.settings)

    @property
    def key_slots(self) -> tuple[Slot, ...]:
        """Slots of the access keys under this run's rotation settings; none without keys."""
        principal = self.settings.principal
        if principal is None or not principal.has_keys:
            return ()
        credentials = self.settings.credentials
        return slots(
            credentials.rotation,
            delete_inactive=credentials.delete_inactive_key,
            # Without registration a person hands over, at a time that the program never learns.
            # What is taken over stays as it is.
            keep_previous_active=not self.settings.api.register_cluster
            or self.settings.adoption.keeps_key,
        )

    def logical_name(self, part: str) -> str:
        """Return the name of a part among the resources of the stack."""
        return f"{self.prefix}{part}"

    def at_castai(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options of a resource of the plugin, and what it waits for."""
        own = pulumi.ResourceOptions(provider=self.castai, depends_on=list(depends_on))
        return pulumi.ResourceOptions.merge(self.base, own)

    def options(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options of a top-level part: the explicit providers, and what it waits for."""
        own = pulumi.ResourceOptions(
            providers=[self.aws, self.kubernetes, self.castai],
            depends_on=list(depends_on),
            transformations=self.takeover.transformations,
        )
        return pulumi.ResourceOptions.merge(self.base, own)


def context_of(
    settings: StackConfig,
    facts: ClusterFacts,
    provider: aws.Provider,
    configured_key: pulumi.Input[str] | None,
) -> Context:
    """Return the context of a stack file; `configured_key` is the API key of its configuration."""
    cluster = settings.cluster
    kubeconfig = cluster.kubeconfig
    if kubeconfig == kube_kubeconfig.FROM_EKS:
        kubeconfig = kube_kubeconfig.eks_kubeconfig(
            cluster.name, cluster.region, facts.endpoint, facts.certificate_authority
        )
    return Context(
        settings=settings,
        facts=facts,
        names=settings.resource_names,
        kubeconfig=kubeconfig,
        access_entries=uses_access_entries(settings, facts),
        aws=provider,
        kubernetes=kubernetes_provider(facts.arn, kubeconfig, cluster.context),
        castai=castai_provider(settings, configured_key, kubeconfig),
        takeover=Takeover(settings.adoption),
    )
