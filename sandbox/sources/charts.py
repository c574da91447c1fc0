"""Releases of Helm: the objects of CAST AI's charts under Helm's labels, and Helm's own record.

Names, rules and fields of the objects are those of the charts that this program's own manifests
follow (castai/helm-charts, charts/castai-agent and castai-cluster-controller). Labels, field
manager and release record are Helm's (helm/helm, pkg/storage/driver/secrets.go).
"""

import base64
import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from castai_stack.agent import manifests as agent_manifests
from castai_stack.agent.names import METADATA_STORE, NAMESPACE
from castai_stack.agent.release import Release as AgentRelease
from castai_stack.agent.settings import Agent
from castai_stack.automation import manifests as automation_manifests
from castai_stack.automation.release import Release as AutomationRelease
from castai_stack.automation.settings import Automation, Evictor
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
POD_PINNER = Chart("castai-pod-pinner", "castai-pod-pinner", "1.12.2", "v1.9.5")
UMBRELLA = Chart("castai", "castai", "0.43.170", "0.43.170")
RELEASES = (AGENT, CONTROLLER, EVICTOR, SPOT_HANDLER, POD_PINNER, UMBRELLA)
"""Releases of CAST AI's script, of castai/terraform-castai-eks-cluster, and of castctl."""
CREDENTIALS = "castai-credentials"
"""Secret of the umbrella chart, which all of its parts read."""
_MANAGED = {"charts.cast.ai/managed": "true"}
"""Label of deployments that CAST AI upgrades and scales by itself."""


def namespace() -> Document:
    """Return the namespace, which every installer creates beside Helm."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


Install = Callable[[Place, str], list[Document]]
"""From a cluster and its token to the objects that an installer applies."""


def agent(place: Place, token: str) -> list[Document]:
    """Return the agent's objects as its chart installs them, with the record of the release.

    castai/terraform-castai-eks-cluster sets STATIC_CLUSTER_ID; that the script does is inferred.
    """
    return released(AGENT, _agent_objects(place, token, Agent(tag=AGENT.app_version)))


def with_controller(place: Place, token: str) -> list[Document]:
    """Return agent and cluster-controller, as the script does from 2023 on."""
    return [*agent(place, token), *released(CONTROLLER, _objects(place, token, "controller"))]


def every_release(place: Place, token: str) -> list[Document]:
    """Return all releases of the script of 2025; it starts no evictor and no pod-pinner by itself.

    Order and values: castai/terraform-castai-eks-cluster, main.tf.
    """
    return [
        *with_controller(place, token),
        *released(SPOT_HANDLER, _objects(place, token, "spot-handler")),
        *released(EVICTOR, _stopped(_evictor(place, token))),
        *released(POD_PINNER, _stopped([_pod_pinner()])),
    ]


def with_evictor(place: Place, token: str) -> list[Document]:
    """Return agent, controller and an evictor that the user's own release runs.

    Its values `managedByCASTAI: false` and `aggressiveMode: true` are in the object
    `evictor-config`, which a hook of the chart applies with its definition.
    """
    return [*with_controller(place, token), *released(EVICTOR, _running_evictor(place, token))]


def applied_by_kubectl(place: Place, token: str) -> list[Document]:
    """Return the agent as `kubectl apply` of CAST AI's `agent.yaml` leaves it, and no release.

    That its objects have the chart's names and selectors, and no label of Helm, is inferred.
    """
    documents = _agent_objects(place, token, Agent(tag=AGENT.app_version))
    return [_without_helm(one) for one in documents]


def umbrella(place: Place, token: str) -> list[Document]:
    """Return what the umbrella chart and castctl leave: one release, and selectors that name it.

    Names: castai/helm-charts, charts/castai-umbrella (templates/castai-credentials.yaml and
    charts/node-autoscaler/values.yaml). That the objects keep the names of their own charts, and
    that castctl installs this chart as it is, is inferred.
    """
    settings = Agent(tag=AGENT.app_version, existing_secret=CREDENTIALS)
    credentials = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CREDENTIALS, "namespace": NAMESPACE, "labels": {}},
        "data": {"API_KEY": agent_manifests.encoded(token)},
    }
    metadata = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": METADATA_STORE, "namespace": NAMESPACE, "labels": {}},
        "data": {"CLUSTER_ID": place.cluster_id},
    }
    parts = [
        *_agent_objects(place, token, settings),
        *_objects(place, token, "controller", settings),
        *_objects(place, token, "spot-handler", settings),
        *_stopped([_pod_pinner()]),
    ]
    renamed = [_of_instance(one, UMBRELLA.release) for one in parts]
    return released(UMBRELLA, [credentials, metadata, *renamed])


def _agent_objects(place: Place, token: str, settings: Agent) -> list[Document]:
    release = AgentRelease(
        cluster_name=place.cluster,
        region=place.region,
        account_id=place.account_id,
        api_url=place.api_url,
        settings=settings.model_copy(update={"adopt": True, "create_namespace": False}),
    )
    documents = agent_manifests.objects(
        release, cluster_id=place.cluster_id, encoded_key=agent_manifests.encoded(token)
    )
    return list(documents.values())


def _objects(
    place: Place,
    token: str,
    workload: str,
    agent_settings: Agent | None = None,
    evictor: Evictor | None = None,
) -> list[Document]:
    """Return one workload's objects; secret and config map for all come with the controller."""
    release = AutomationRelease(
        api_url=place.api_url,
        settings=Automation(adopt=True, evictor=evictor or Evictor(enabled=True)),
        agent=agent_settings or Agent(),
        spot_daemonset=True,
    )
    documents = automation_manifests.objects(
        release, cluster_id=place.cluster_id, encoded_token=agent_manifests.encoded(token)
    )
    own = {"controller": ("controller", "config", "token")}.get(workload, (workload,))
    return [one for part, one in documents.items() if part.startswith(own)]


def _running_evictor(place: Place, token: str) -> list[Document]:
    """Return an evictor that works, with the objects of its chart that this program leaves out."""
    settings = Evictor(enabled=True, tag=EVICTOR.app_version, dry_run=False, aggressive_mode=True)
    documents = [_of_the_user(one) for one in _objects(place, token, "evictor", evictor=settings)]
    rights = [one for one in documents if one["kind"].startswith("ClusterRole")]
    extension = f"{EVICTOR.chart}-ext"
    return [
        {**_plain("ConfigMap", f"{EVICTOR.chart}-config"), "data": {"config.yaml": ""}},
        {**_plain("Service", EVICTOR.chart), "spec": {"ports": [{"port": 8080}]}},
        *documents,
        *(_under_another_name(one, extension) for one in rights),
    ]


def _of_the_user(document: Document) -> Document:
    """Return an object with the chart's values for an evictor that CAST AI does not manage."""
    spec = document.get("spec", {})
    if document["kind"] == "EvictorConfig":
        return {**document, "spec": {**spec, "managementMode": "self-managed"}}
    if document["metadata"]["name"] != EVICTOR.chart or document["kind"] != "Deployment":
        return document
    template = spec["template"]
    (container,) = template["spec"]["containers"]
    path = {"name": "EVICTION_SETTINGS_CONFIG_PATH", "value": "/config/config.yaml"}
    mounted = {
        **container,
        "env": [*container["env"], path],
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    }
    volumes = [{"name": "config", "configMap": {"name": f"{EVICTOR.chart}-config"}}]
    pod = {**template["spec"], "containers": [mounted], "volumes": volumes}
    return {**document, "spec": {**spec, "template": {**template, "spec": pod}}}


def _under_another_name(document: Document, name: str) -> Document:
    renamed = {**document, "metadata": {**document["metadata"], "name": name}}
    if "roleRef" in document:
        renamed["roleRef"] = {**document["roleRef"], "name": name}
    return renamed


def _plain(kind: str, name: str) -> Document:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


def _evictor(place: Place, token: str) -> list[Document]:
    """Return the evictor's objects; the definition that a hook of the chart adds is left out."""
    by_hook = ("CustomResourceDefinition", "EvictorConfig")
    return [one for one in _objects(place, token, "evictor") if one["kind"] not in by_hook]


def _pod_pinner() -> Document:
    """Return the deployment; its rights, services and webhook are left out."""
    labels = {
        "app.kubernetes.io/name": POD_PINNER.chart,
        "app.kubernetes.io/instance": POD_PINNER.release,
    }
    container = {
        "name": "pod-pinner",
        "image": f"us-docker.pkg.dev/castai-hub/library/pod-pinner:{POD_PINNER.app_version}",
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": POD_PINNER.chart, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def _stopped(documents: Iterable[Document]) -> list[Document]:
    """Return objects whose deployments have no replica and are CAST AI's to scale."""
    return [_stop(one) if one["kind"] == "Deployment" else one for one in documents]


def _stop(deployment: Document) -> Document:
    metadata = deployment["metadata"]
    labels = {**metadata["labels"], **_MANAGED}
    spec = {**deployment["spec"], "replicas": 0}
    return {**deployment, "metadata": {**metadata, "labels": labels}, "spec": spec}


def _of_instance(document: Document, instance: str) -> Document:
    """Return an object whose labels and selectors name another release."""
    changed: Document = {}
    for key, value in document.items():
        if isinstance(value, dict):
            changed[key] = _of_instance(value, instance)
        else:
            changed[key] = instance if key == "app.kubernetes.io/instance" else value
    return changed


def _without_helm(document: Document) -> Document:
    metadata = _metadata(document)
    applied = json.dumps({**document, "metadata": metadata})
    annotation = {"kubectl.kubernetes.io/last-applied-configuration": applied}
    return {**document, "metadata": {**metadata, "annotations": annotation}}


def released(chart: Chart, documents: Iterable[Document]) -> list[Document]:
    """Return objects under the labels of a release, and its record."""
    return [*(_labelled(chart, one) for one in documents), record(chart)]


def _metadata(document: Document) -> Document:
    metadata = {
        key: document["metadata"][key]
        for key in ("name", "namespace")
        if key in document["metadata"]
    }
    own = {"app.kubernetes.io/name", "app.kubernetes.io/instance", *_MANAGED}
    labels: Mapping[str, Any] = document["metadata"]["labels"]
    return {**metadata, "labels": {key: labels[key] for key in labels if key in own}}


def _labelled(chart: Chart, document: Document) -> Document:
    metadata = _metadata(document)
    metadata["labels"] |= {
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
    packed = base64.b64encode(gzip.compress(json.dumps(release).encode(), mtime=0))
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
