"""The explicit providers; nothing in the program uses a default one."""

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from castai_stack.config.model import Cluster, StackConfig
from castai_stack.kube.kubeconfig import AMBIENT
from castai_stack.naming import CLUSTER_TAG
from castai_stack.plugin.custom_resource import CastaiProvider

if TYPE_CHECKING:
    import pulumi_kubernetes as kubernetes


def aws_provider(
    cluster: Cluster, name: str = "aws", opts: pulumi.ResourceOptions | None = None
) -> aws.Provider:
    """Return the provider of one account and region; other credentials are refused by it."""
    return aws.Provider(
        name,
        region=cluster.region,
        allowed_account_ids=[cluster.account_id],
        default_tags={"tags": {CLUSTER_TAG: cluster.name}},
        opts=opts,
    )


def kubernetes_provider(
    cluster_arn: str,
    kubeconfig: pulumi.Input[str],
    context: str | None,
    name: str = "kubernetes",
    opts: pulumi.ResourceOptions | None = None,
) -> "kubernetes.Provider":
    """Return the provider of this cluster.

    An ambient kubeconfig stays out of the state, so that every machine brings its own. The
    identifier keeps a moved kubeconfig from replacing every object of the cluster. A new key or
    sizing changes its secret or config map in place, which by default would be deleted first.
    """
    import pulumi_kubernetes as kubernetes  # noqa: PLC0415 - not for the first question to AWS

    ambient = kubeconfig == AMBIENT
    return kubernetes.Provider(
        name,
        kubeconfig=None if ambient else kubeconfig,
        context=context,
        cluster_identifier=cluster_arn,
        enable_secret_mutable=True,
        enable_config_map_mutable=True,
        opts=pulumi.ResourceOptions.merge(
            opts, pulumi.ResourceOptions(transformations=[_drop_kubeconfig] if ambient else None)
        ),
    )


def castai_provider(
    settings: StackConfig,
    key: pulumi.Input[str] | None,
    kubeconfig: pulumi.Input[str],
    name: str = "castai",
    opts: pulumi.ResourceOptions | None = None,
) -> CastaiProvider:
    """Return the provider of this repository's plugin; `key` is the one of the configuration."""
    return CastaiProvider(
        name,
        api_url=settings.api.url,
        api_key=key,
        kubeconfig=kubeconfig,
        context=settings.cluster.context,
        override_guards=",".join(settings.access.override_guards),
        opts=opts,
    )


def _drop_kubeconfig(
    args: pulumi.ResourceTransformationArgs,
) -> pulumi.ResourceTransformationResult:
    """Take out what the SDK fills in from KUBECONFIG: the plugin reads that variable itself.

    Source: pulumi/pulumi-kubernetes, sdk/python/pulumi_kubernetes/provider.py
    """
    others = {name: value for name, value in args.props.items() if name != "kubeconfig"}
    return pulumi.ResourceTransformationResult(props=others, opts=args.opts)
