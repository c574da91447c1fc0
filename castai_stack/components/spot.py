"""The Lambda that reports Spot interruptions, for other programs."""

from collections.abc import Iterator
from typing import NotRequired, TypedDict

import pulumi

from castai_stack import arn
from castai_stack.components.arguments import Checked, Shape, checked
from castai_stack.components.eks_cluster import EksCluster, claim
from castai_stack.config.typed import Names, Permissions
from castai_stack.fields import Key, Text, Url, Uuid
from castai_stack.iam.typed import IamSettings
from castai_stack.spot import component
from castai_stack.spot.typed import SpotSettings


class SpotLambdaArgs(TypedDict):
    """Inputs of SpotLambdaComponent."""

    cluster: EksCluster
    """The cluster whose Spot interruptions are reported."""
    cluster_id: pulumi.Input[str]
    """CAST AI's id of the cluster, a UUID."""
    api_key: pulumi.Input[str]
    """The cluster's token or an API access key; kept as a secret."""
    api_url: NotRequired[str]
    """Address of CAST AI's API. Default: `https://api.cast.ai`."""
    endpoint: NotRequired[pulumi.Input[str]]
    """Address of the Kubernetes API; needed with `spot.drain`."""
    certificate_authority: NotRequired[pulumi.Input[str]]
    """The cluster's CA as EKS returns it, base64 of PEM; needed with `spot.drain`."""
    permissions: NotRequired[Permissions]
    """`scoped`: only what the handler calls. `documented`: as CAST AI publishes them. Default:
    `scoped`.
    """
    names: NotRequired[Names]
    """`suffixed`: names end in `-<cluster>`. `regional`: and in a hash of region and name.
    `documented`: bare, as on CAST AI's page. Default: `suffixed`.
    """
    spot: NotRequired[SpotSettings]
    """Size, retries and alarms of the function."""
    iam: NotRequired[IamSettings]
    """Path and boundary of the function's role."""
    tags: NotRequired[dict[str, str]]
    """AWS tags on everything that can carry them."""


def _rules(args: Checked) -> Iterator[str]:
    if args.settings.spot.drain:
        for key, argument in (
            ("endpoint", "endpoint"),
            ("certificateAuthority", "certificate_authority"),
        ):
            if argument not in args.inputs:
                yield f"{key}: required while spot.drain is true, and not given"


_SHAPE = Shape(
    "SpotLambdaComponent",
    settings={
        "cluster": "cluster",
        "api_url": "api.url",
        "permissions": "permissions",
        "names": "names",
        "spot": "spot",
        "iam": "iam",
        "tags": "tags",
    },
    inputs={
        "cluster_id": Uuid,
        "api_key": Key,
        "endpoint": Url,
        "certificate_authority": Text,
    },
    required=frozenset({"cluster_id", "api_key"}),
    refused={
        "spot.enabled": "leave the component out instead",
        "spot.handler": "it is the Lambda; AutomationComponent has the DaemonSet",
    },
    rules=_rules,
)


class SpotLambdaComponent(component.SpotLambdaComponent):
    """Function, rules, dead-letter queue, log group and alarms of one cluster."""

    function_arn: pulumi.Output[str]
    """ARN of the function."""
    role_arn: pulumi.Output[str]
    """ARN of the function's role; draining maps it into the cluster."""
    role_unique_id: pulumi.Output[str]
    """IAM's unique id of the role, to which an access entry is bound."""

    def __init__(
        self, name: str, args: SpotLambdaArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Create the objects through the AWS provider of `opts`, rights through Kubernetes'.

        Raises ArgumentError with every wrong argument before a resource is registered.
        """
        given = checked(_SHAPE, name, args)
        settings, inputs = given.settings, given.inputs
        claim(_SHAPE.component, name, settings)
        cluster = settings.cluster
        super().__init__(
            name,
            {
                "partition": arn.partition(cluster.region),
                "region": cluster.region,
                "account_id": cluster.account_id,
                "cluster_name": cluster.name,
                "cluster_id": inputs["cluster_id"],
                "api_url": settings.api.url,
                "api_key": inputs["api_key"],
                "names": settings.resource_names,
                "flavour": settings.permissions,
                "settings": settings.spot,
                "iam": settings.iam,
                "tags": settings.tags,
                "cluster_endpoint": inputs.get("endpoint", ""),
                "certificate_authority": inputs.get("certificate_authority", ""),
            },
            opts,
        )
