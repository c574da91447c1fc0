"""The life of CAST AI's nodes on a sandbox, step by step: started, used, emptied, ended.

CAST AI acts by itself; each step makes a reason for it, waits for what follows, and looks at what
AWS, the cluster and CAST AI say of it.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from lightkube import Client, KubeConfig, codecs
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Node, Pod
from lightkube.resources.policy_v1 import PodDisruptionBudget

from sandbox.castai import API_KEY
from sandbox.castai.launches import MANAGED_BY
from sandbox.constants import CLUSTER
from sandbox.kubernetes.furnished import TEAM_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.session import Sandbox

_CAPACITY = "eks.amazonaws.com/capacityType"
POD, BUDGET = "batch", "web"
_SECONDS = 10
_WAIT = 60.0


class LifeError(Exception):
    """A step did not go as it must; the message says how."""


@dataclass(frozen=True)
class Launched:
    """A node that CAST AI started."""

    name: str
    instance: Mapping[str, Any]
    """As EC2 describes it."""
    configuration: Mapping[str, Any]
    """The default node configuration, as CAST AI shows it."""

    def differences(self) -> list[str]:
        """Return what of the instance is not as the configuration says."""
        eks, one = self.configuration["eks"], self.instance
        pairs = {
            "subnet": (one["SubnetId"] in self.configuration["subnets"], True),
            "security groups": (
                sorted(group["GroupId"] for group in one["SecurityGroups"]),
                sorted(eks["securityGroups"]),
            ),
            "instance profile": (one["IamInstanceProfile"]["Arn"], eks["instanceProfileArn"]),
            "tokens of the metadata service": (
                one["MetadataOptions"]["HttpTokens"],
                "optional" if eks["imdsV1"] else "required",
            ),
            "tags": (
                {**self.configuration["tags"], **self.tags}
                | {f"kubernetes.io/cluster/{CLUSTER}": "owned", "cast:managed-by": "cast.ai"},
                self.tags,
            ),
        }
        return [what for what, (actual, wanted) in pairs.items() if actual != wanted]

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the instance."""
        return {tag["Key"]: tag["Value"] for tag in self.instance["Tags"]}


class NodeLife:
    """The steps on one sandbox, whose cluster is connected and whose policies are on."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox = sandbox

    def start(self, cpu: str = "1") -> Launched:
        """Make a pod that wants a node of CAST AI's, and wait until it runs."""
        container = {"name": "main", "image": "registry.example/shop/batch:1"}
        spec = {
            "nodeSelector": {MANAGED_BY: "cast.ai"},
            "containers": [{**container, "resources": {"requests": {"cpu": cpu}}}],
        }
        metadata = {"name": POD, "namespace": TEAM_NAMESPACE}
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        with self._kubernetes() as client:
            client.create(codecs.from_dict(document))
            self._wait(lambda: self._phase(client) == "Running", "the pod runs")
            name = str(client.get(Pod, POD, namespace=TEAM_NAMESPACE).to_dict()["spec"]["nodeName"])
            provider = client.get(Node, name).to_dict()["spec"]["providerID"]
        configurations = self._castai("GET", "/v1/kubernetes/clusters/ID/node-configurations")
        [configuration] = [one for one in configurations["items"] if one["default"]]
        return Launched(name, self._instance(provider.rpartition("/")[2]), configuration)

    def remove_original(self) -> tuple[str, str]:
        """Have CAST AI remove a node that it did not start, past a disruption budget.

        Returns the node's name, and its instance's id.
        """
        budget = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": BUDGET, "namespace": TEAM_NAMESPACE},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        }
        with self._kubernetes() as client:
            client.create(codecs.from_dict(budget))
            try:
                name = self._node_of_web(client)
                provider = client.get(Node, name).to_dict()["spec"]["providerID"]
                self.remove(name)
                self._wait(lambda: not self._exists(client, name), f"{name} is gone")
            finally:
                client.delete(PodDisruptionBudget, BUDGET, namespace=TEAM_NAMESPACE)
        identifier = provider.rpartition("/")[2]
        self._wait(
            lambda: self.instance_state(identifier) == "terminated", f"{identifier} is terminated"
        )
        return name, identifier

    def remove(self, name: str) -> None:
        """Ask CAST AI to remove a node."""
        nodes = self.state()["nodes"]
        [identifier] = [one["id"] for one in nodes if one["name"] == name]
        self._castai("DELETE", f"/v1/kubernetes/external-clusters/ID/nodes/{identifier}")

    def empty(self, launched: Launched) -> float:
        """Delete the pod, and wait until its node is gone; returns the seconds that it took."""
        identifier = launched.instance["InstanceId"]
        started = time.monotonic()
        with self._kubernetes() as client:
            client.delete(Pod, POD, namespace=TEAM_NAMESPACE)
            self._wait(lambda: not self._exists(client, launched.name), "the empty node is gone")
        self._wait(
            lambda: self.instance_state(identifier) == "terminated", f"{identifier} is terminated"
        )
        return time.monotonic() - started

    def state(self) -> dict[str, Any]:
        """Return what CAST AI knows of the cluster, secrets apart."""
        answer = requests.get(f"{self._sandbox.castai_url}/_sandbox/state", timeout=_SECONDS)
        [cluster] = [one for one in answer.json()["clusters"] if one["status"] != "archived"]
        return cluster

    def refused(self, text: str) -> None:
        """Wait until CAST AI shows an error that says this."""
        self._wait(lambda: text in (self.state()["reconcileError"] or ""), f"an error says {text}")

    @contextmanager
    def _kubernetes(self) -> "Iterator[Client]":
        path = self._sandbox.control_plane.kubeconfig
        with Client(config=KubeConfig.from_file(path)) as client:
            yield client

    def _phase(self, client: Client) -> str:
        status = client.get(Pod, POD, namespace=TEAM_NAMESPACE).to_dict().get("status", {})
        return str(status.get("phase", ""))

    def _exists(self, client: Client, node: str) -> bool:
        try:
            client.get(Node, node)
        except ApiError:
            return False
        return True

    def _node_of_web(self, client: Client) -> str:
        """Return a node of a pod that the budget protects, on-demand and not CAST AI's."""
        nodes = [one.to_dict()["metadata"] for one in client.list(Node)]
        apart = {
            one["name"]
            for one in nodes
            if MANAGED_BY in one["labels"] or one["labels"].get(_CAPACITY) == "SPOT"
        }
        for one in client.list(Pod, namespace=TEAM_NAMESPACE, labels={"app": "web"}):
            node = str(one.spec.nodeName) if one.spec is not None else ""
            if node and node not in apart:
                return node
        raise LifeError("no pod of web is on a node that CAST AI did not start")

    def _castai(self, method: str, path: str) -> Any:
        path = path.replace("ID", str(self.state()["id"]))
        url, headers = self._sandbox.castai_url + path, {"X-API-Key": API_KEY}
        answer = requests.request(method, url, headers=headers, timeout=_SECONDS)
        answer.raise_for_status()
        return answer.json()

    def _instance(self, identifier: str) -> Any:
        ec2 = self._sandbox.client("ec2", "root")
        reservations = ec2.describe_instances(InstanceIds=[identifier])["Reservations"]
        return reservations[0]["Instances"][0]

    def instance_state(self, identifier: str) -> str:
        """Return the state of an instance, such as `running`."""
        return str(self._instance(identifier)["State"]["Name"])

    def _wait(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + _WAIT
        while not condition():
            if time.monotonic() > deadline:
                cluster = self.state()
                raise LifeError(
                    f"not within {_WAIT:.0f} s: {what}; CAST AI: {cluster['status']}, "
                    f"{cluster['reconcileError']}; last: {cluster['log'][-3:]}"
                )
            time.sleep(0.3)
