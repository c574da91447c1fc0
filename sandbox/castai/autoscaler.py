"""The life of CAST AI's nodes: started for pending pods, drained and ended when they are empty.

It uses the handed-over credentials for everything in AWS, and the controller for everything in the
cluster. What AWS refuses shows as `reconcileError`, and the cluster's status is `warning`.
"""

import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sandbox.castai import launches
from sandbox.castai.actions import Done
from sandbox.castai.api import Document, RefusalError, now
from sandbox.castai.cloud import NoAccessError
from sandbox.castai.node_templates import DEFAULT
from sandbox.castai.readiness import UnresolvedError, require_resolved

if TYPE_CHECKING:
    from sandbox.castai.service import Service
    from sandbox.castai.state import Cluster


class Autoscaler:
    """What the service does by itself for connected clusters; `tick` looks once."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._pod_events: set[tuple[str, str]] = set()
        self._not_before: dict[str, float] = {}

    def tick(self) -> None:
        """Look at every cluster that is managed."""
        for cluster in list(self._service.clusters.values()):
            if cluster.credentials is not None and cluster.status in ("ready", "warning"):
                self._join(cluster)
                self._scale_up(cluster)
                self._scale_down(cluster)

    # -- up ------------------------------------------------------------------------------------

    def _join(self, cluster: "Cluster") -> None:
        """End instances that did not become nodes in time."""
        instances = {_instance(data) for data in cluster.seen_nodes.values()}
        for instance, node in list(cluster.made_nodes.items()):
            if instance in instances and not node.get("joined"):
                node["joined"] = True
                # The scheduler takes a moment to bind the pods that wait for it.
                self._not_before[cluster.id] = time.monotonic() + self._service.options.launch_pause
                self._well(cluster)
            waited = time.monotonic() - node.get("launched", time.monotonic())
            if not node.get("joined") and waited > self._service.options.join_timeout:
                node["joined"] = True
                self._warn(cluster, f"{instance} did not join the cluster: it is terminated")
                self._end(cluster, instance, "", lambda _error: None)

    def _scale_up(self, cluster: "Cluster") -> None:
        policies, templates = cluster.automation.policies, cluster.automation.templates
        template = templates.find(DEFAULT)
        if not policies.launches or template is None or not template["isEnabled"]:
            return
        if any(not node.get("joined") for node in cluster.made_nodes.values()):
            return
        if time.monotonic() < self._not_before.get(cluster.id, 0):
            return
        node_id = str(uuid.uuid4())
        offered = launches.labels(node_id, template)
        pods = [
            pod
            for pod in launches.unschedulable(cluster.seen_pods.values())
            if launches.takes(pod, offered)
        ]
        if not pods:
            return
        chosen = launches.instance_type(template, pods)
        if chosen is None:
            self._tell(cluster, pods, "no instance type that the node template allows fits")
            return
        used = sum(
            launches.quantity(data.get("status", {}).get("capacity", {}).get("cpu", "0"))
            for data in cluster.seen_nodes.values()
        )
        if policies.most_cores is not None and used + chosen[1] > policies.most_cores:
            self._tell(cluster, pods, f"cluster limit of {policies.most_cores} CPUs is reached")
            return
        self._not_before[cluster.id] = time.monotonic() + self._service.options.launch_pause
        self._launch(cluster, template, chosen[0], node_id)

    def _launch(
        self, cluster: "Cluster", template: Document, instance_type: str, node_id: str
    ) -> None:
        configurations = cluster.automation.configurations
        chosen = template["configurationId"]
        configuration = configurations.get(chosen) if chosen else configurations.default()
        if configuration is None:
            self._warn(cluster, "there is no default node configuration")
            return
        name = f"{cluster.name}-cast-{node_id[:8]}"
        tags = launches.tags(cluster.id, cluster.name, name, configuration["tags"])
        user_data = {
            "cluster": cluster.name,
            "labels": launches.labels(node_id, template),
            "taints": template["customTaints"],
        }
        spot = launches.is_spot(template)
        arguments = launches.arguments(configuration, instance_type, tags, user_data, spot=spot)
        try:
            keys = self._service.session(cluster)
            suggestions = self._service.cloud.suggestions(keys, cluster.region, cluster.name)
            require_resolved(configuration, suggestions)
            instance = self._service.cloud.launch(keys, cluster.region, arguments)
        except (NoAccessError, UnresolvedError) as error:
            self._warn(cluster, f"cannot start a node: {error}")
            return
        with self._service.lock:
            metadata = {"name": name, "labels": user_data["labels"], "creationTimestamp": now()}
            data = {"metadata": metadata, "spec": {"providerID": f"aws:///{instance}"}}
            node = {"id": node_id, "data": data, "launched": time.monotonic()}
            cluster.made_nodes[instance] = node
            self._service.note(cluster, f"launched {instance}")

    # -- down ----------------------------------------------------------------------------------

    def _scale_down(self, cluster: "Cluster") -> None:
        delay = cluster.automation.policies.empty_delay
        for name, data in list(cluster.seen_nodes.items()):
            node = cluster.made_nodes.get(_instance(data))
            if node is None or node.get("leaving"):
                continue
            occupied = any(launches.occupies(pod, name) for pod in cluster.seen_pods.values())
            pending = bool(launches.unschedulable(cluster.seen_pods.values()))
            if delay is None or occupied or pending:
                node.pop("empty_since", None)
            elif time.monotonic() - node.setdefault("empty_since", time.monotonic()) > delay:
                self._service.note(cluster, f"{name} is empty")
                self.remove(cluster, _instance(data), lambda _error: None)

    def delete_node(self, cluster: "Cluster", node_id: str) -> None:
        """Remove a node, CAST AI's own or another, as somebody asks for in the console."""
        for node in self._service.nodes(cluster.id):
            if node["id"] == node_id:
                self.remove(cluster, node["instanceId"], lambda _error: None)
                return
        raise RefusalError(404, "node not found")

    def remove(self, cluster: "Cluster", instance: str, done: Done) -> None:
        """Cordon, drain, delete and terminate a node; an instance that never joined just ends."""
        if instance in cluster.made_nodes:
            cluster.made_nodes[instance]["leaving"] = True
        name = next((n for n, d in cluster.seen_nodes.items() if _instance(d) == instance), "")
        if not name:
            self._end(cluster, instance, name, done)
            return
        about = {"nodeName": name, "nodeId": "", "providerId": f"aws:///{instance}"}
        timeout = {"drainTimeoutSeconds": self._service.options.drain_timeout, "force": False}
        steps = [
            ("actionPatchNode", {**about, "unschedulable": True}),
            ("actionDrainNode", {**about, **timeout}),
            ("actionDeleteNode", about),
        ]
        self._act(cluster, steps, partial(self._removed, cluster, instance, name, done))

    def _act(
        self, cluster: "Cluster", steps: list[tuple[str, Document]], done: Callable[[str], object]
    ) -> None:
        """Send actions one after the other, until one fails."""

        def next_step(error: str) -> None:
            if error or not steps:
                # Off the thread of the request that acknowledges.
                self._service.later(0, lambda: done(error))
            else:
                kind, content = steps.pop(0)
                self._service.send_action(cluster, kind, content, next_step)

        next_step("")

    def _removed(
        self, cluster: "Cluster", instance: str, name: str, done: Done, error: str
    ) -> None:
        if not error:
            self._end(cluster, instance, name, done)
            return
        self._warn(cluster, f"cannot remove {name}: {error}")
        if instance in cluster.made_nodes:
            cluster.made_nodes[instance].pop("leaving", None)
            cluster.made_nodes[instance].pop("empty_since", None)
        uncordon = ("actionPatchNode", {"nodeName": name, "unschedulable": False})
        self._act(cluster, [uncordon], lambda _error: done(error))

    def _end(self, cluster: "Cluster", instance: str, name: str, done: Done) -> None:
        try:
            keys = self._service.session(cluster)
            self._service.cloud.terminate(keys, cluster.region, [instance])
        except NoAccessError as error:
            self._warn(cluster, f"cannot end {instance}: {error}")
            done(str(error))
            return
        with self._service.lock:
            cluster.made_nodes.pop(instance, None)
            cluster.seen_nodes.pop(name, None)
            self._service.note(cluster, f"terminated {instance} {name}".rstrip())
        if name:
            self._well(cluster)
        done("")

    # -- telling -------------------------------------------------------------------------------

    def _warn(self, cluster: "Cluster", text: str) -> None:
        with self._service.lock:
            cluster.reconcile_error = text
            if cluster.status == "ready":
                cluster.status = "warning"
        if text not in cluster.log[-1:]:
            self._service.note(cluster, text)

    def _well(self, cluster: "Cluster") -> None:
        with self._service.lock:
            if cluster.status == "warning":
                cluster.reconcile_error, cluster.status = "", "ready"

    def _tell(self, cluster: "Cluster", pods: list[Document], message: str) -> None:
        """Write an event at every pod, once."""
        for pod in pods:
            uid = pod["metadata"].get("uid", "")
            if (uid, message) in self._pod_events:
                continue
            self._pod_events.add((uid, message))
            about = {
                "kind": "Pod",
                "apiVersion": "v1",
                **{key: pod["metadata"].get(key, "") for key in ("name", "namespace", "uid")},
            }
            content = {
                "reporter": "autoscaler.cast.ai",
                "objectRef": about,
                "eventTime": now(),
                "eventType": "Warning",
                "reason": "ReconcileAutoscaler",
                "action": "During node autoscaling",
                "message": message,
            }
            self._service.send_action(cluster, "actionCreateEvent", content, lambda _error: None)
            self._service.note(cluster, f"{about['name']}: {message}")


def _instance(data: Document) -> str:
    """Id of the instance of a Kubernetes node."""
    return str((data.get("spec") or {}).get("providerID", "")).rpartition("/")[2]
