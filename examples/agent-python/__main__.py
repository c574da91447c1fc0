"""CAST AI's read-only agent in a cluster of your kubeconfig."""

import pulumi
import pulumi_kubernetes as kubernetes

from castai_stack import AgentComponent, CastaiProvider, EksCluster

config = pulumi.Config()
cluster: EksCluster = {"name": "demo", "region": "eu-central-1", "account_id": "012345678901"}

AgentComponent(
    "demo",
    {
        "cluster": cluster,
        "cluster_id": config.require("clusterId"),  # the id that CAST AI's console shows
        "api_key": config.require_secret("apiKey"),
        "agent": {"replicas": 1, "labels": {"team": "platform"}},
    },
    pulumi.ResourceOptions(
        providers=[kubernetes.Provider("cluster"), CastaiProvider("castai", kubeconfig="ambient")]
    ),
)
