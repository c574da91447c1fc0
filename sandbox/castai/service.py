"""The service behind the API: clusters, tokens, hand-overs, agents, and work done in its own time.

Behaviour follows castai/terraform-provider-castai (castai/cluster.go, castai/resource_eks_*.go);
where that is silent, the harder case is played, so that what passes here does not lean on luck.
"""

import heapq
import itertools
import json
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sandbox.castai import documents
from sandbox.castai.actions import Done
from sandbox.castai.api import Document, RefusalError, now
from sandbox.castai.autoscaler import Autoscaler
from sandbox.castai.cloud import Cloud, Credentials, Keys, NoAccessError, principal_arn
from sandbox.castai.readiness import UnresolvedError, first_configuration, require_resolved
from sandbox.castai.state import Cluster, Options, Token

ORGANIZATION = "7a5d4f0c-58c8-4c43-9a3f-8b2f6d1e0c9b"

_FORBIDDEN_FIELD = "credentials"


class Service:
    """All of the state, one lock, and a thread for what happens in its own time."""

    def __init__(self, directory: Path, aws_url: str, options: Options) -> None:
        self.options = options
        self.cloud = Cloud(aws_url)
        self.lock = threading.RLock()
        self.clusters: dict[str, Cluster] = {}
        self.made_tokens: list[str] = []
        self._log_file = directory / "castai.log"
        self._jobs: list[tuple[float, int, Callable[[], object]]] = []
        self._count = itertools.count()
        self._wake = threading.Condition()
        self._ended = False
        self.autoscaler = Autoscaler(self)
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()
        self.later(options.autoscaler_interval, self._autoscale)

    def close(self) -> None:
        """End the work; what is under way is finished."""
        with self._wake:
            self._ended = True
            self._wake.notify()
        self._worker.join(15)

    # -- registration --------------------------------------------------------------------------

    def register(
        self, name: str, region: str, account_id: str, organization_id: str, wanted_id: str
    ) -> Cluster:
        """Return the cluster of that identity, made if there is none."""
        with self.lock:
            same = [
                cluster
                for cluster in self.clusters.values()
                if (cluster.name, cluster.region, cluster.account_id) == (name, region, account_id)
            ]
            live = next((one for one in same if one.status != "archived"), None)
            if live is not None:
                if live.status == "deleted":
                    self._revive(live)
                return live
            if same and self.options.archived != "new":
                archived = next((one for one in same if one.id == wanted_id), same[-1])
                if self.options.archived == "revive" or archived.id == wanted_id:
                    self._revive(archived)
                return archived
            cluster = Cluster(
                str(uuid.uuid4()), name, region, account_id, organization_id or ORGANIZATION
            )
            self.clusters[cluster.id] = cluster
            self.note(cluster, "registered")
            return cluster

    def is_identity(self, cluster_id: str, identity: tuple[str, str, str]) -> bool:
        """Whether a cluster has this name, region and account."""
        cluster = self.get(cluster_id)
        return (cluster.name, cluster.region, cluster.account_id) == identity

    def _revive(self, cluster: Cluster) -> None:
        cluster.status = "connecting"
        cluster.agent_state = ""
        cluster.last_delta = None
        cluster.last_delta_at = cluster.deleted_at = ""
        cluster.credentials, cluster.credentials_id = None, ""
        self.note(cluster, "registered again")

    def get(self, cluster_id: str) -> Cluster:
        """Return the cluster or refuse with 404."""
        with self.lock:
            try:
                return self.clusters[cluster_id]
            except KeyError:
                raise RefusalError(404, "cluster not found") from None

    def live(self, cluster_id: str) -> Cluster:
        """Return the cluster, which must not be archived."""
        cluster = self.get(cluster_id)
        if cluster.status == "archived":
            raise RefusalError(400, "cluster is archived")
        return cluster

    # -- tokens and agents ---------------------------------------------------------------------

    def create_token(self, cluster_id: str) -> str:
        """Make a token; those before it stop working."""
        with self.lock:
            cluster = self.live(cluster_id)
            for token in cluster.tokens:
                token.replaced = True
            new_token = Token(f"{uuid.uuid4().hex}{uuid.uuid4().hex}", time.monotonic())
            cluster.tokens.append(new_token)
            self.made_tokens.append(new_token.value)
            self.note(cluster, "token made")
            return new_token.value

    def cluster_of_token(self, value: str) -> str | None:
        """Id of the cluster whose valid token this is."""
        with self.lock:
            for cluster in self.clusters.values():
                for token in cluster.tokens:
                    if token.value == value:
                        return cluster.id if self._is_valid(token) else None
            return None

    def _is_valid(self, token: Token) -> bool:
        age = time.monotonic() - token.created_at
        return not token.replaced and (token.used or age < self.options.token_lifetime)

    def agent_delta(self, cluster_id: str, key: str, delta: Mapping[str, Any]) -> None:
        """Apply an agent's report."""
        with self.lock:
            cluster = self.live(cluster_id)
            for token in cluster.tokens:
                if token.value == key:
                    token.used = True
            if cluster.last_delta is None:
                self.note(cluster, "agent came online")
            cluster.last_delta = time.monotonic()
            cluster.last_delta_at = now()
            cluster.deltas += 1
            if cluster.status == "connecting" and not cluster.credentials_id:
                cluster.status = "ready"
            cluster.kubernetes_version = delta.get("clusterVersion") or cluster.kubernetes_version
            if delta.get("fullSnapshot"):
                cluster.seen_nodes.clear()
                cluster.seen_pods.clear()
            for item in delta.get("items") or []:
                self._agent_saw(cluster, item)

    def _agent_saw(self, cluster: Cluster, item: Mapping[str, Any]) -> None:
        data = item.get("data") or {}
        metadata = data.get("metadata") or {}
        name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
        objects, key = {
            "Node": (cluster.seen_nodes, name),
            "Pod": (cluster.seen_pods, f"{namespace}/{name}"),
        }.get(item.get("kind", ""), ({}, name))
        if item.get("event") == "delete":
            objects.pop(key, None)
        elif name:
            objects[key] = data

    def agent_status(self, cluster: Cluster) -> str:
        """`agentStatus` as of now."""
        if cluster.agent_state:
            return cluster.agent_state
        if cluster.last_delta is None:
            return "waiting-connection"
        silent = time.monotonic() - cluster.last_delta
        if silent <= self.options.online_window:
            return "online"
        lost = silent > self.options.lost_after and cluster.credentials is None
        return "disconnected" if lost else "non-responding"

    # -- principals and credentials ------------------------------------------------------------

    def create_principal(self, cluster_id: str) -> str:
        """Make CAST AI's user for the cluster; one that exists makes the service stumble."""
        cluster = self.live(cluster_id)
        if cluster.principal is not None:
            if self.options.principal_exists == "error":
                raise RefusalError(500, "Internal Server Error")
            return principal_arn(cluster_id)
        cluster.principal = self.cloud.create_principal(cluster_id)
        self.note(cluster, "principal made")
        return principal_arn(cluster_id)

    def delete_principal(self, cluster_id: str) -> None:
        """Remove it."""
        cluster = self.get(cluster_id)
        if cluster.principal is None:
            raise RefusalError(404, "principal not found")
        self.cloud.delete_principal(cluster_id)
        cluster.principal = None
        self.note(cluster, "principal removed")

    def hand_over(self, cluster_id: str, credentials: Credentials) -> Cluster:
        """Accept credentials that work: they are used first."""
        cluster = self.live(cluster_id)
        if cluster.status in ("deleting", "disconnecting"):
            raise RefusalError(400, "cluster is being disconnected")
        try:
            self._session(cluster, credentials)
        except NoAccessError as error:
            cluster.refused_hand_overs += 1
            self.note(cluster, f"hand-over of a {credentials.kind} refused: {error}")
            raise RefusalError(400, "Forbidden", ((_FORBIDDEN_FIELD, str(error)),)) from None
        with self.lock:
            cluster.credentials = credentials
            cluster.credentials_id = str(uuid.uuid4())
            cluster.hand_overs += 1
            cluster.status = "connecting"
            cluster.agent_state = ""
            cluster.reconcile_error = ""
            self.note(cluster, f"hand-over of a {credentials.kind} accepted")
            credentials_id = cluster.credentials_id
        self.later(self.options.reconcile_delay, lambda: self._settle(cluster, credentials_id))
        return cluster

    def _settle(self, cluster: Cluster, credentials_id: str) -> None:
        with self.lock:
            if cluster.credentials_id != credentials_id or cluster.status != "connecting":
                return
            waits = self.options.requires_controller and not (
                self.agent_status(cluster) == "online"
                and cluster.automation.actions.is_polled(self.options.controller_window)
            )
        if waits:
            self.later(self.options.reconcile_delay, lambda: self._settle(cluster, credentials_id))
        elif self.use(cluster):
            self.note(cluster, "ready")

    def reconcile(self, cluster_id: str) -> None:
        """Use the credentials again, asynchronously."""
        cluster = self.live(cluster_id)
        if cluster.credentials is not None:
            cluster.status = "connecting"
            used = cluster.credentials_id
            self.later(self.options.reconcile_delay, lambda: self._settle(cluster, used))

    def use(self, cluster: Cluster) -> bool:
        """Use the credentials now, as every action of the service does; failure shows."""
        if cluster.credentials is None:
            return False
        try:
            self._resolve(cluster, self._session(cluster, cluster.credentials))
        except (NoAccessError, UnresolvedError) as error:
            with self.lock:
                cluster.reconcile_error = str(error)
                if cluster.status in ("connecting", "ready", "warning"):
                    cluster.status = "failed"
            self.note(cluster, f"no access: {error}")
            return False
        with self.lock:
            cluster.reconcile_error = ""
            if cluster.status in ("connecting", "failed"):
                cluster.status, cluster.reconciled_at = "ready", now()
        return True

    def _resolve(self, cluster: Cluster, keys: Keys) -> None:
        """Resolve the default node configuration, which is made if there is none."""
        if not self.options.requires_controller:
            return
        suggestions = self.cloud.suggestions(keys, cluster.region, cluster.name)
        with self.lock:
            configurations = cluster.automation.configurations
            default = configurations.default()
            if default is None:
                first = first_configuration(cluster.id, cluster.name, suggestions)
                default = configurations.create(first, default=True)
                self.note(cluster, "node configuration made")
            require_resolved(default, suggestions)

    def suggestions(self, cluster: Cluster) -> Document:
        """Return what node configurations may name, as the credentials see it."""
        if cluster.credentials is None:
            raise RefusalError(400, "cluster has no credentials")
        keys = self._session(cluster, cluster.credentials)
        return self.cloud.suggestions(keys, cluster.region, cluster.name)

    def play(self, cluster_id: str, status: str, reconcile_error: str) -> None:
        """Show a status that the service reaches by itself only in the real world."""
        with self.lock:
            cluster = self.get(cluster_id)
            cluster.status, cluster.reconcile_error = status, reconcile_error

    def session(self, cluster: Cluster) -> Keys:
        """Return working keys of what was handed over, or raise NoAccessError."""
        if cluster.credentials is None:
            raise NoAccessError("the cluster has no credentials")
        return self._session(cluster, cluster.credentials)

    def _session(self, cluster: Cluster, credentials: Credentials) -> Keys:
        return self.cloud.session(credentials, cluster.principal, cluster.id, cluster.region)

    # -- nodes ---------------------------------------------------------------------------------

    def launch_node(self, cluster_id: str, subnet_id: str, profile: str) -> str:
        """Provision a node, as the autoscaler would."""
        cluster = self.live(cluster_id)
        if cluster.credentials is None:
            raise RefusalError(400, "cluster has no credentials")
        tags = {
            "Name": f"{cluster.name}-cast-{uuid.uuid4().hex[:8]}",
            f"kubernetes.io/cluster/{cluster.name}": "owned",
            "cast:cluster-id": cluster.id,
            "cast:managed-by": "cast.ai",
        }
        try:
            keys = self._session(cluster, cluster.credentials)
            arguments = {
                "InstanceType": "m5.large",
                "TagSpecifications": [
                    {
                        "ResourceType": "instance",
                        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                    }
                ],
                **({"SubnetId": subnet_id} if subnet_id else {}),
                **({"IamInstanceProfile": {"Name": profile}} if profile else {}),
            }
            instance = self.cloud.launch(keys, cluster.region, arguments)
        except NoAccessError as error:
            raise RefusalError(400, f"cannot launch: {error}") from None
        with self.lock:
            labels = {"provisioner.cast.ai/managed-by": "cast.ai"}
            metadata = {"name": tags["Name"], "labels": labels, "creationTimestamp": now()}
            data = {"metadata": metadata, "spec": {"providerID": f"aws:///{instance}"}}
            node = {"id": str(uuid.uuid4()), "data": data, "joined": True}
            cluster.made_nodes[instance] = node
            self.note(cluster, f"launched {instance}")
        return instance

    def nodes(self, cluster_id: str) -> list[dict[str, Any]]:
        """Every node, as the API lists them."""
        with self.lock:
            cluster = self.get(cluster_id)
            reported = [
                documents.node(str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{cluster.id}/{name}")), data)
                for name, data in sorted(cluster.seen_nodes.items())
            ]
            instances = {node["instanceId"] for node in reported}
            launched = [
                documents.node(node["id"], node["data"])
                for instance, node in cluster.made_nodes.items()
                if instance not in instances
            ]
            return reported + launched

    # -- leaving -------------------------------------------------------------------------------

    def disconnect(self, cluster_id: str, *, delete_nodes: bool) -> Cluster:
        """Disconnect the cluster, asynchronously."""
        cluster = self.live(cluster_id)
        with self.lock:
            if cluster.credentials is None or cluster.status in ("deleting", "deleted"):
                self.note(cluster, "disconnect asked for, nothing to do")
                return cluster
            cluster.status = "deleting"
            cluster.agent_state = "disconnecting"
            self.note(cluster, f"disconnecting, delete nodes: {delete_nodes}")
        self.later(
            self.options.disconnect_delay,
            lambda: self._let_go(cluster, delete_nodes=delete_nodes, attempt=1),
        )
        return cluster

    def _let_go(self, cluster: Cluster, *, delete_nodes: bool, attempt: int) -> None:
        instances = sorted(cluster.made_nodes) if delete_nodes else []
        errors: dict[str, str] = {}

        def removed(instance: str, error: str) -> None:
            errors[instance] = error
            if len(errors) < len(instances):
                return
            if failed := next(filter(None, errors.values()), ""):
                self._let_go_later(cluster, attempt, failed)
                return
            with self.lock:
                if instances:
                    self.note(cluster, f"deleted {len(instances)} nodes")
                self._end(cluster, "deleted")
                self.note(cluster, "disconnected")

        if not instances:
            removed("", "")
        for instance in instances:
            self.autoscaler.remove(cluster, instance, partial(removed, instance))

    def _let_go_later(self, cluster: Cluster, attempt: int, error: str) -> None:
        self.note(cluster, f"attempt {attempt} to delete nodes: {error}")
        if attempt >= self.options.disconnect_attempts:
            with self.lock:
                self._end(cluster, "archived")
                self.note(cluster, f"gave up, {len(cluster.made_nodes)} nodes left")
            return
        self.later(
            self.options.disconnect_retry,
            lambda: self._let_go(cluster, delete_nodes=True, attempt=attempt + 1),
        )

    def delete(self, cluster_id: str) -> None:
        """Remove the cluster, unless it must be disconnected first."""
        with self.lock:
            cluster = self.get(cluster_id)
            if cluster.status == "archived":
                raise RefusalError(404, "cluster not found")
            is_disconnected = self.agent_status(cluster) == "disconnected"
            if cluster.credentials is not None and not (
                is_disconnected or cluster.status in ("deleted", "failed")
            ):
                raise RefusalError(400, "cluster must be disconnected first")
            if cluster.status == "deleting":
                raise RefusalError(400, "cluster must be disconnected first")
            self._end(cluster, "archived")
            cluster.tokens.clear()
            self.note(cluster, "removed")

    def _end(self, cluster: Cluster, status: str) -> None:
        cluster.status, cluster.agent_state, cluster.deleted_at = status, "disconnected", now()

    def archive(self, cluster_id: str) -> None:
        """Archive the cluster as if somebody had removed it elsewhere."""
        with self.lock:
            cluster = self.get(cluster_id)
            self._end(cluster, "archived")
            self.note(cluster, "removed elsewhere")

    # -- reports -------------------------------------------------------------------------------

    def event(self, cluster_id: str, event: dict[str, Any]) -> None:
        """Record a cloud event."""
        with self.lock:
            cluster = self.live(cluster_id)
            cluster.events.append(event)
            self.note(cluster, f"event {event['eventType']} of {event.get('providerId', '')}")

    def state(self) -> dict[str, Any]:
        """Everything that a test or a person may want to see, secrets apart."""
        with self.lock:
            return {
                "clusters": [
                    {
                        **self.document(one),
                        **documents.details(one),
                        "nodes": self.nodes(one.id),
                    }
                    for one in self.clusters.values()
                ]
            }

    def document(self, cluster: Cluster) -> Document:
        """Return the cluster as the API shows it."""
        return documents.cluster(cluster, self.agent_status(cluster))

    def note(self, cluster: Cluster, text: str) -> None:
        """Remember what happened."""
        with self.lock:
            cluster.log.append(text)
            line = json.dumps({"at": now(), "cluster": cluster.id, "what": text})
            with self._log_file.open("a") as file:
                file.write(line + "\n")

    # -- work in its own time ------------------------------------------------------------------

    def later(self, seconds: float, job: Callable[[], object]) -> None:
        """Do `job` that much later, on the service's own thread."""
        with self._wake:
            heapq.heappush(self._jobs, (time.monotonic() + seconds, next(self._count), job))
            self._wake.notify()

    def _autoscale(self) -> None:
        self.later(self.options.autoscaler_interval, self._autoscale)
        self.autoscaler.tick()

    def send_action(self, cluster: Cluster, kind: str, content: Document, done: Done) -> None:
        """Have the controller do something; `done` hears how it ended, also when nobody does it."""
        actions = cluster.automation.actions
        identifier = actions.send(kind, content, done)
        self.later(self.options.action_timeout, lambda: actions.expire(identifier))

    def _work(self) -> None:
        while True:
            with self._wake:
                now = time.monotonic()
                while not self._ended and (not self._jobs or self._jobs[0][0] > now):
                    pause = self._jobs[0][0] - now if self._jobs else None
                    self._wake.wait(pause)
                    now = time.monotonic()
                if self._ended:
                    return
                job = heapq.heappop(self._jobs)[2]
            try:
                job()
            except Exception:  # noqa: BLE001 - the thread does everything else as well
                traceback.print_exc()
