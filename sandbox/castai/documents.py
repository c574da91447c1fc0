"""Clusters and nodes as the API shows them."""

from collections.abc import Mapping
from typing import Any

from sandbox.castai.api import Document, now
from sandbox.castai.cloud import principal_arn
from sandbox.castai.state import Cluster

_SPOT_LABEL = "eks.amazonaws.com/capacityType"


def cluster(state: Cluster, agent_status: str) -> Document:
    """Return the cluster as the API shows it."""
    handed = state.credentials
    eks = {
        "accountId": state.account_id,
        "region": state.region,
        "clusterName": state.name,
    }
    if handed is not None and handed.role_arn:
        eks["assumeRoleArn"] = handed.role_arn
    return {
        "id": state.id,
        "name": state.name,
        "organizationId": state.organization_id,
        "credentialsId": state.credentials_id,
        "isPhase2": bool(state.credentials_id),
        "status": state.status,
        "agentStatus": agent_status,
        "agentSnapshotReceivedAt": state.last_delta_at or None,
        "reconcileError": state.reconcile_error or None,
        "reconcileInfo": {"error": state.reconcile_error or None},
        "reconciledAt": state.reconciled_at or None,
        "createdAt": state.created_at,
        "deletedAt": state.deleted_at or None,
        "kubernetesVersion": state.kubernetes_version,
        "managedBy": "",
        "sshPublicKey": None,
        "clusterNameId": f"{state.name}-{state.id[:8]}",
        "providerNamespaceId": state.account_id,
        "providerType": "eks",
        "region": {"name": state.region, "displayName": state.region},
        "eks": eks,
    }


def details(state: Cluster) -> Document:
    """Return what a test or a person may want to see besides, secrets apart."""
    handed = state.credentials
    return {
        "credentialsKind": handed.kind if handed else "none",
        "accessKeyId": handed.keys.access_key_id if handed and handed.keys else "",
        "principal": principal_arn(state.id) if state.principal else "",
        "tokens": len(state.tokens),
        "tokenUsed": any(token.used for token in state.tokens),
        "deltas": state.deltas,
        "handOvers": state.hand_overs,
        "refusedHandOvers": state.refused_hand_overs,
        "events": list(state.events),
        "castNodes": sorted(state.made_nodes),
        "actions": list(state.automation.actions.log),
        "log": list(state.log),
    }


def node(identifier: str, data: Mapping[str, Any]) -> Document:
    """Return a Kubernetes node as the API lists it, with every field that the API requires."""
    metadata, spec = data.get("metadata") or {}, data.get("spec") or {}
    status = data.get("status") or {}
    labels = metadata.get("labels") or {}
    provider_id = spec.get("providerID", "")
    return {
        "id": identifier,
        "name": metadata.get("name", ""),
        "providerId": provider_id,
        "instanceId": provider_id.rpartition("/")[2],
        "instanceType": labels.get("node.kubernetes.io/instance-type", ""),
        "labels": labels,
        "annotations": metadata.get("annotations") or {},
        "taints": spec.get("taints") or [],
        "unschedulable": bool(spec.get("unschedulable")),
        "createdAt": metadata.get("creationTimestamp") or now(),
        "cloud": "AWS",
        "role": "worker",
        "resources": {**(status.get("capacity") or {})},
        "spotConfig": {"isSpot": labels.get(_SPOT_LABEL) == "SPOT"},
        "state": {"phase": "ready"},
    }
