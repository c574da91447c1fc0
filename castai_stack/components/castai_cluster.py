"""Everything that connects a cluster, as one component for other programs."""

from collections.abc import Iterator, Sequence
from typing import Any, NotRequired, TypedDict, cast

import pulumi

from castai_stack import arn
from castai_stack.access.modes import mappings, unread_under
from castai_stack.access.typed import AccessSettings
from castai_stack.agent.typed import AgentSettings
from castai_stack.automation.typed import AutomationSettings
from castai_stack.components.access import mode_problems
from castai_stack.components.agent import NOT_ADOPTED
from castai_stack.components.arguments import Checked, Shape, checked
from castai_stack.components.eks_cluster import EksCluster, claim
from castai_stack.config.model import StackConfig
from castai_stack.config.typed import ApiSettings, CredentialsSettings, Names, Permissions
from castai_stack.fields import Key, SecurityGroupId, SubnetId, Text, Url, VpcId
from castai_stack.iam.typed import IamSettings
from castai_stack.kube.kubeconfig import FROM_EKS, eks_kubeconfig
from castai_stack.preflight import aws as preflight_aws
from castai_stack.preflight.findings import Findings, judge
from castai_stack.preflight.lookups import ClusterFacts, look_up
from castai_stack.preflight.networks import NodeNetwork, asker, node_network
from castai_stack.spelling import camel
from castai_stack.spot.typed import SpotSettings
from castai_stack.stack.composition import compose
from castai_stack.stack.context import Context
from castai_stack.stack.providers import aws_provider, castai_provider, kubernetes_provider


class CastaiClusterArgs(TypedDict):
    """Inputs of CastaiCluster."""

    cluster: EksCluster
    """The cluster to connect."""
    access: AccessSettings
    """How principals are mapped into the cluster; `mode` is `access-entries` or `aws-auth`."""
    api_key: NotRequired[pulumi.Input[str]]
    """API access key of CAST AI, kept as a secret. Default: `CASTAI_API_KEY` of the environment."""
    vpc_id: NotRequired[pulumi.Input[str]]
    """VPC of a cluster that the same program creates; looked up when absent."""
    endpoint: NotRequired[pulumi.Input[str]]
    """Address of its Kubernetes API; given together with `vpcId`."""
    certificate_authority: NotRequired[pulumi.Input[str]]
    """Its CA as EKS returns it, base64 of PEM; given together with `vpcId`."""
    security_group_id: NotRequired[pulumi.Input[str]]
    """The cluster's own security group; given together with `vpcId`."""
    subnet_ids: NotRequired[pulumi.Input[Sequence[str]]]
    """Subnets of new nodes, each with a route out; given together with `vpcId`."""
    vpc_account_id: NotRequired[str]
    """Owner of a shared VPC when it is another account."""
    kubeconfig: NotRequired[str]
    """`from-eks` (login by the AWS CLI), `ambient` (KUBECONFIG of each run), or a path. Default:
    `from-eks`.
    """
    kubeconfig_context: NotRequired[str]
    """Context of that kubeconfig; the current one when absent."""
    permissions: NotRequired[Permissions]
    """`scoped`: every write within this cluster. `documented`: as CAST AI publishes them.
    Default: `scoped`.
    """
    names: NotRequired[Names]
    """`suffixed`: names end in `-<cluster>`. `regional`: and in a hash of region and name.
    `documented`: bare, as on CAST AI's page. Default: `suffixed`.
    """
    tags: NotRequired[dict[str, str]]
    """AWS tags on everything that can carry them."""
    credentials: NotRequired[CredentialsSettings]
    """How CAST AI gets access."""
    api: NotRequired[ApiSettings]
    """CAST AI's API, and the cluster's registration there."""
    iam: NotRequired[IamSettings]
    """Path, boundary, and what the scoped permissions include."""
    agent: NotRequired[AgentSettings]
    """The read-only agent."""
    automation: NotRequired[AutomationSettings]
    """What CAST AI runs in the cluster besides the agent, and what it is told about nodes."""
    spot: NotRequired[SpotSettings]
    """Reports of Spot interruptions."""


_CREATED = {
    "vpc_id": VpcId,
    "endpoint": Url,
    "certificate_authority": Text,
    "security_group_id": SecurityGroupId,
    "subnet_ids": Sequence[SubnetId],
}
"""What only the engine knows of a cluster that the same program creates."""


def _rules(args: Checked) -> Iterator[str]:
    if args.settings.principal is not None:
        yield from mode_problems(args)
    given = [argument for argument in _CREATED if argument in args.inputs]
    missing = [argument for argument in _CREATED if argument not in args.inputs]
    if given and missing:
        yield (
            f"{camel(missing[0])}: not given, and {camel(given[0])} is; give all of "
            f"{', '.join(map(camel, _CREATED))} for a cluster that this program creates, and "
            "none of them for one that exists"
        )
    if not args.settings.api.register_cluster and "api_key" not in args.inputs:
        yield "apiKey: required while api.register is false, and not given"


_SHAPE = Shape(
    "CastaiCluster",
    settings={
        "cluster": "cluster",
        "access": "access",
        "vpc_account_id": "cluster.vpcAccountId",
        "kubeconfig": "cluster.kubeconfig",
        "kubeconfig_context": "cluster.context",
        "permissions": "permissions",
        "names": "names",
        "tags": "tags",
        "credentials": "credentials",
        "api": "api",
        "iam": "iam",
        "agent": "agent",
        "automation": "automation",
        "spot": "spot",
    },
    inputs={"api_key": Key, **_CREATED},
    refused={"agent.adopt": NOT_ADOPTED, "automation.adopt": NOT_ADOPTED},
    rules=_rules,
)


class CastaiCluster(pulumi.ComponentResource):
    """Connects an EKS cluster to CAST AI: agent, access, controller, hand-over, nodes.

    It brings its own providers of AWS, Kubernetes and CAST AI unless its options have some. A
    destroy begins with the disconnect.
    """

    cluster_id: pulumi.Output[str]
    """CAST AI's id of the cluster."""
    console_url: pulumi.Output[str]
    """Page of the cluster in CAST AI's console."""
    user_arn: pulumi.Output[str | None]
    """CAST AI's user, with `credentials.mode` `user`."""
    role_arn: pulumi.Output[str | None]
    """Role that CAST AI assumes, with `credentials.mode` `role`."""
    access_key_id: pulumi.Output[str | None]
    """Key of CAST AI's user."""
    secret_access_key: pulumi.Output[str | None]
    """Secret of that key."""
    node_role_arn: pulumi.Output[str | None]
    """Role of the nodes that CAST AI starts."""
    instance_profile_arn: pulumi.Output[str | None]
    """Instance profile of these nodes."""
    security_group_id: pulumi.Output[str | None]
    """Security group of these nodes."""
    node_configuration_id: pulumi.Output[str | None]
    """CAST AI's id of the configuration of these nodes."""
    function_arn: pulumi.Output[str | None]
    """Lambda that reports Spot interruptions."""
    policies_state: pulumi.Output[str | None]
    """`off`, or what CAST AI's autoscaler does."""
    next_step: pulumi.Output[str | None]
    """Without registration: what to enter in CAST AI's console."""

    def __init__(
        self, name: str, args: CastaiClusterArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Create everything.

        Raises ArgumentError with every wrong argument before a resource is registered.
        """
        given = checked(_SHAPE, name, args)
        claim(_SHAPE.component, name, given.settings)
        super().__init__("castai-stack:index:CastaiCluster", name, None, opts)
        context = _context(self, name, given, opts)
        key = given.inputs.get("api_key", "")
        outputs = compose(context, pulumi.Output.secret(key))
        for output in _OUTPUTS:
            setattr(self, output, pulumi.Output.from_input(outputs.get(output)))
        self.register_outputs({camel(output): value for output, value in outputs.items()})


_OUTPUTS = tuple(CastaiCluster.__annotations__)


def _context(
    component: CastaiCluster, name: str, given: Checked, opts: pulumi.ResourceOptions | None
) -> Context:
    settings, cluster = given.settings, given.settings.cluster
    place: dict[str, Any] = dict(given.inputs)
    # The parts hand providers and facts on. They never read a fact, so that an output may stand
    # where the program of the repository has a text.
    providers = {
        package: component.get_provider(f"{package}::")
        for package in ("aws", "kubernetes", "castai-stack")
    }
    child = pulumi.ResourceOptions(parent=component)
    aws = cast("Any", providers["aws"] or aws_provider(cluster, f"{name}-aws", child))
    base = pulumi.ResourceOptions(parent=component, depends_on=opts.depends_on if opts else None)
    if "vpc_id" not in place:
        looked_up = pulumi.Output.from_input(_looked_up(settings, aws))
        place = {argument: looked_up[argument] for argument in _CREATED}
        # Nothing is created unless the cluster is what the arguments say.
        checks = pulumi.ResourceOptions(depends_on=looked_up.apply(lambda _: []))
        base = pulumi.ResourceOptions.merge(base, checks)
    facts = ClusterFacts(
        arn=arn.regional(
            arn.partition(cluster.region),
            "eks",
            cluster.region,
            cluster.account_id,
            f"cluster/{cluster.name}",
        ),
        status="ACTIVE",
        vpc_id=place["vpc_id"],
        endpoint=place["endpoint"],
        certificate_authority=place["certificate_authority"],
        authentication_mode="CONFIG_MAP" if settings.access.mode == "aws-auth" else "API",
    )
    kubeconfig: pulumi.Input[str] = cluster.kubeconfig
    if cluster.kubeconfig == FROM_EKS:
        kubeconfig = pulumi.Output.all(facts.endpoint, facts.certificate_authority).apply(
            lambda values: eks_kubeconfig(cluster.name, cluster.region, *values)
        )
    kubernetes = providers["kubernetes"] or kubernetes_provider(
        facts.arn, kubeconfig, cluster.context, f"{name}-kubernetes", child
    )
    castai = providers["castai-stack"] or castai_provider(
        settings, given.inputs.get("api_key"), kubeconfig, f"{name}-castai", child
    )
    groups = (place["security_group_id"], *settings.automation.nodes.security_group_ids)
    return Context(
        settings=settings,
        facts=facts,
        names=settings.resource_names,
        kubeconfig=cluster.kubeconfig,
        access_entries=settings.access.mode != "aws-auth",
        aws=aws,
        kubernetes=cast("Any", kubernetes),
        castai=cast("Any", castai),
        network=NodeNetwork(place["subnet_ids"], groups),
        base=base,
        prefix=f"{name}-",
    )


async def _looked_up(settings: StackConfig, aws: Any) -> dict[str, Any]:
    """Ask AWS about a cluster that exists. Raises AwsLookupError or PreflightError."""
    caller, facts = await look_up(settings.cluster, aws)
    network, of_network = await node_network(settings, facts, asker(aws))
    findings = preflight_aws.cluster_findings(settings, caller, facts) + of_network
    if unread_under(settings.access.mode) == facts.authentication_mode:
        readable = " or ".join(sorted(mappings("auto", facts.authentication_mode)))
        line = (
            f"access.mode: found {settings.access.mode}; EKS answers that the cluster's "
            f"authentication mode is {facts.authentication_mode}. Set access.mode to {readable}"
        )
        findings += Findings(problems=(line,))
    judge(findings, preview=pulumi.runtime.is_dry_run())
    return {
        "vpc_id": facts.vpc_id,
        "endpoint": facts.endpoint,
        "certificate_authority": facts.certificate_authority,
        "security_group_id": facts.security_group_id,
        "subnet_ids": list(network.subnet_ids),
    }
