"""The existing EKS cluster: nodes, RBAC, other people's work, and an aws-auth with a history."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightkube import Client, codecs
from lightkube.resources.core_v1 import Node as NodeResource

from sandbox.constants import (
    NODE_GROUP,
    NODE_GROUP_ROLE,
    OPERATOR_ROLE,
    POLICY_GROUP,
    READ_ONLY_GROUP,
    READER_ROLE,
    REGION,
)
from sandbox.kubernetes.control_plane import KWOK_ANNOTATION
from sandbox.processes import ProcessError

TEAM_NAMESPACE = "shop"
_READY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Node:
    """A node, and the EC2 instance that it runs on."""

    name: str
    instance_id: str
    zone: str
    instance_type: str = "m5.large"
    capacity_type: str = "ON_DEMAND"


def aws_auth(account: str) -> dict[str, str]:
    """Return the map as people left it: comments, own order, own quoting, a user, an account."""
    return {
        "mapRoles": f"""\
# Managed by hand. Ask #platform before you touch this!
- groups:
  - system:bootstrappers
  - system:nodes
  rolearn: arn:aws:iam::{account}:role/{NODE_GROUP_ROLE}
  username: system:node:{{{{EC2PrivateDNSName}}}}

# people
- rolearn:  "arn:aws:iam::{account}:role/{OPERATOR_ROLE}"   # break glass: do not remove
  username: {OPERATOR_ROLE}
  groups: [ "system:masters" ]
- rolearn: arn:aws:iam::{account}:role/{READER_ROLE}
  username: {READER_ROLE}
  groups:
    - {READ_ONLY_GROUP}
- rolearn: arn:aws:iam::{account}:role/DeployBot
  username: deploy-bot
  groups: ['deployers']
""",
        "mapUsers": f"""\
- userarn: arn:aws:iam::{account}:user/jane   # on call
  username: jane
  groups:
  - {READ_ONLY_GROUP}
""",
        "mapAccounts": '- "098765432109"\n',
    }


def furnish(client: Client, account: str, nodes: Sequence[Node]) -> None:
    """Make the cluster what a customer's is before this program first sees it.

    Pods come once every node takes them, so that the scheduler spreads them: on the first node that
    is ready, all of them could be on Spot.
    """
    for document in [*_rbac(), *(_node(node) for node in nodes)]:
        client.create(codecs.from_dict(document))
    deadline = time.monotonic() + _READY_SECONDS
    while not all(_takes_pods(one.to_dict()) for one in client.list(NodeResource)):
        if time.monotonic() > deadline:
            raise ProcessError(f"the nodes are not ready after {_READY_SECONDS} s")
        time.sleep(0.1)
    for document in [*_team(), _config_map(account)]:
        client.create(codecs.from_dict(document))


def _takes_pods(node: Mapping[str, Any]) -> bool:
    conditions = {one["type"]: one["status"] for one in node["status"].get("conditions") or []}
    return conditions.get("Ready") == "True" and not node["spec"].get("taints")


def _config_map(account: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "aws-auth", "namespace": "kube-system"},
        "data": aws_auth(account),
    }


def _node(node: Node) -> dict[str, Any]:
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/instance-type": node.instance_type,
        "beta.kubernetes.io/os": "linux",
        "eks.amazonaws.com/capacityType": node.capacity_type,
        "eks.amazonaws.com/nodegroup": NODE_GROUP,
        "failure-domain.beta.kubernetes.io/region": REGION,
        "failure-domain.beta.kubernetes.io/zone": node.zone,
        "k8s.io/cloud-provider-aws": "d2c1f0a9e8b74635",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": node.instance_type,
        "topology.kubernetes.io/region": REGION,
        "topology.kubernetes.io/zone": node.zone,
    }
    annotation, value = KWOK_ANNOTATION
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels, "annotations": {annotation: value}},
        "spec": {"providerID": f"aws:///{node.zone}/{node.instance_id}"},
        "status": {
            "capacity": {"cpu": "8", "memory": "64Gi", "pods": "110"},
            "allocatable": {"cpu": "7910m", "memory": "62Gi", "pods": "110"},
        },
    }


def _rbac() -> list[dict[str, Any]]:
    reading = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "platform-read-only"},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}],
    }
    policies = {
        "AmazonEKSClusterAdminPolicy": "cluster-admin",
        "AmazonEKSAdminPolicy": "admin",
        "AmazonEKSEditPolicy": "edit",
        "AmazonEKSViewPolicy": "view",
    }
    return [
        reading,
        _binding("platform-read-only", "platform-read-only", READ_ONLY_GROUP),
        # EKS grants access policies beside RBAC; here they are groups bound to the same powers.
        *(
            _binding(f"eks-{role}", role, f"{POLICY_GROUP}{policy}")
            for policy, role in policies.items()
        ),
    ]


def _binding(name: str, role: str, group: str) -> dict[str, Any]:
    kind = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{kind}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": kind, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": kind, "kind": "Group", "name": group}],
    }


def _team() -> list[dict[str, Any]]:
    labels = {"app": "web"}
    container = {
        "name": "web",
        "image": "registry.example/shop/web:1.4.2",
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM_NAMESPACE}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": TEAM_NAMESPACE, "labels": labels},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [container]},
                },
            },
        },
    ]
