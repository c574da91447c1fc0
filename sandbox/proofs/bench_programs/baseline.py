"""An ordinary program with one resource per provider that never changes."""

import gc

gc.disable()

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from castai_stack.castai.resources import RotationGuard
from castai_stack.plugin.custom_resource import CastaiProvider

# As the real program does: what it saves is no merit of the stack.
gc.freeze()

aws_provider = aws.Provider("aws", region="eu-central-1")
kubernetes_provider = kubernetes.Provider("kubernetes")
aws.iam.Policy(
    "one",
    name="bench-one",
    policy='{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}',
    opts=pulumi.ResourceOptions(provider=aws_provider),
)
kubernetes.core.v1.ConfigMap(
    "one",
    metadata={"name": "bench-one", "namespace": "default"},
    data={"a": "b"},
    opts=pulumi.ResourceOptions(provider=kubernetes_provider),
)
castai_provider = CastaiProvider(
    "castai", api_url="http://127.0.0.1:9", api_key=None, kubeconfig="ambient", context=None
)
RotationGuard("one", generation=0, opts=pulumi.ResourceOptions(provider=castai_provider))
