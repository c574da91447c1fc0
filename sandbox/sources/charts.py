"""Releases of Helm: the objects of CAST AI's charts under Helm's labels, and Helm's own record.

Names, rules and fields of the objects are those of the charts that this program's own manifests
follow (castai/helm-charts, charts/castai-agent and castai-cluster-controller). Labels, field
manager and release record are Helm's (helm/helm, pkg/storage/driver/secrets.go).
"""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from castai_stack.agent import manifests as agent_manifests
from castai_stack.agent.names import NAMESPACE
from castai_stack.agent.release import Release as AgentRelease
from castai_stack.agent.settings import Agent
from castai_stack.automation import manifests as automation_manifests
from castai_stack.automation.release import Release as AutomationRelease
from castai_stack.automation.settings import Automation
from sandbox.sources.footprint import Document, Place


@dataclass(frozen=True, slots=True)
class Chart:
    """One release."""

    release: str
    chart: str
    version: str
    app_version: str


AGENT = Chart("castai-agent", "castai-agent", "0.153.2", "v0.123.1")
CONTROLLER = Chart("cluster-controller", "castai-cluster-controller", "0.92.6", "v0.62.2")
EVICTOR = Chart("castai-evictor", "castai-evictor", "0.35.136", "v0.35.136")
SPOT_HANDLER = Chart("castai-spot-handler", "castai-spot-handler", "0.35.3", "v0.23.0")
RELEASES = (AGENT, CONTROLLER, EVICTOR, SPOT_HANDLER)
"""Releases of CAST AI's script and of castai/terraform-castai-eks-cluster."""


def namespace() -> Document:
    """Return the namespace, which every installer creates beside Helm."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def agent(place: Place, token: str) -> list[Document]:
    """Return the agent's objects as its chart installs them, with the record of the release.

    castai/terraform-castai-eks-cluster sets STATIC_CLUSTER_ID; that the script does is inferred.
    """
    release = AgentRelease(
        cluster_name=place.cluster,
        region=place.region,
        account_id=place.account_id,
        api_url=place.api_url,
        settings=Agent(adopt=True, create_namespace=False, tag=AGENT.app_version),
    )
    documents = agent_manifests.objects(
        release, cluster_id=place.cluster_id, encoded_key=agent_manifests.encoded(token)
    )
    return _released(AGENT, documents.values())


def controller(place: Place, token: str) -> list[Document]:
    """Return the objects of cluster-controller as its chart installs them, with the record."""
    release = AutomationRelease(
        api_url=place.api_url,
        settings=Automation(adopt=True),
        agent=Agent(),
    )
    documents = automation_manifests.objects(
        release, cluster_id=place.cluster_id, encoded_token=agent_manifests.encoded(token)
    )
    return _released(CONTROLLER, documents.values())


def _released(chart: Chart, documents: Iterable[Document]) -> list[Document]:
    return [*(_labelled(chart, one) for one in documents), record(chart)]


def _labelled(chart: Chart, document: Document) -> Document:
    metadata = {
        key: document["metadata"][key]
        for key in ("name", "namespace")
        if key in document["metadata"]
    }
    labels: Mapping[str, Any] = document["metadata"]["labels"]
    kept = {
        key: labels[key]
        for key in ("app.kubernetes.io/name", "app.kubernetes.io/instance")
        if key in labels
    }
    metadata["labels"] = {
        **kept,
        "helm.sh/chart": f"{chart.chart}-{chart.version}",
        "app.kubernetes.io/version": chart.app_version,
        "app.kubernetes.io/managed-by": "Helm",
    }
    metadata["annotations"] = {
        "meta.helm.sh/release-name": chart.release,
        "meta.helm.sh/release-namespace": NAMESPACE,
    }
    return {**document, "metadata": metadata}


def record(chart: Chart) -> Document:
    """Return Helm's record of a release: a secret with the release as compressed JSON."""
    release = {
        "name": chart.release,
        "namespace": NAMESPACE,
        "version": 1,
        "info": {"status": "deployed"},
        "chart": {
            "metadata": {
                "name": chart.chart,
                "version": chart.version,
                "appVersion": chart.app_version,
            }
        },
    }
    packed = base64.b64encode(gzip.compress(json.dumps(release).encode()))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {
            "name": f"sh.helm.release.v1.{chart.release}.v1",
            "namespace": NAMESPACE,
            "labels": {
                "owner": "helm",
                "name": chart.release,
                "status": "deployed",
                "version": "1",
            },
        },
        "data": {"release": base64.b64encode(packed).decode()},
    }
