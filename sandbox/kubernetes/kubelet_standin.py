"""Plays the kubelet of instances that CAST AI starts: each joins the cluster as a real one would.

An instance has the keys of its instance profile's role. It logs in with them through the
authenticator, and registers itself as the node that the mapping makes of it: a role that is not
mapped does not get in. User data says which labels and taints the node has. Nodes of instances that
are gone are deleted, as the cloud controller does.

https://docs.aws.amazon.com/eks/latest/userguide/launch-templates.html#launch-template-custom-ami
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import requests
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from lightkube import codecs
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Node

from sandbox.constants import CLUSTER, REGION, STS_URL
from sandbox.kubernetes.clients import connect, with_token
from sandbox.kubernetes.control_plane import KWOK_ANNOTATION
from sandbox.kubernetes.pod_standin import require_absent
from sandbox.kubernetes.standin import SECONDS, StandIn

_TOKEN_SECONDS = 60
_RUNNING = ("pending", "running")
_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}


class KubeletStandIn(StandIn):
    """Plays the kubelets."""

    role = "kubelet"

    def __init__(
        self, kubeconfig: Path, aws_url: str, keys: Mapping[str, str], *, interval: float = 1.0
    ) -> None:
        super().__init__(interval)
        self._kubeconfig = json.loads(kubeconfig.read_text())
        self._cloud_controller = connect(self._kubeconfig)
        self._aws_url = aws_url
        make: Any = boto3.client  # one method for any service; the stubs want literals
        self._ec2, self._iam = (
            make(service, endpoint_url=aws_url, region_name=REGION, **keys)
            for service in ("ec2", "iam")
        )
        self._joined: dict[str, str] = {}
        """Names of nodes by instance id."""

    def step(self) -> None:
        """Look once: new instances join, nodes of ended ones go."""
        running = self._instances()
        for identifier, instance in running.items():
            if identifier not in self._joined:
                try:
                    self._join(instance)
                except ApiError as error:
                    self._note(f"{identifier} may not join: {error.status.message}")
                except Exception as error:  # noqa: BLE001 - the others join nevertheless
                    self._note(f"{identifier}: {type(error).__name__}: {error}")
        for identifier in self._joined.keys() - running.keys():
            try:
                self._cloud_controller.delete(Node, self._joined[identifier])
            except ApiError as error:
                require_absent(error)
            del self._joined[identifier]

    def _instances(self) -> dict[str, Any]:
        """Return the running instances of the cluster that CAST AI started, by id."""
        filters = [
            {"Name": "tag-key", "Values": ["cast:cluster-id"]},
            {"Name": f"tag:kubernetes.io/cluster/{CLUSTER}", "Values": ["owned"]},
            {"Name": "instance-state-name", "Values": list(_RUNNING)},
        ]
        reservations = self._ec2.describe_instances(Filters=filters)["Reservations"]
        return {one["InstanceId"]: one for each in reservations for one in each["Instances"]}

    def _join(self, instance: Mapping[str, Any]) -> None:
        identifier = instance["InstanceId"]
        attribute = self._ec2.describe_instance_attribute(
            InstanceId=identifier, Attribute="userData"
        )
        encoded = attribute["UserData"].get("Value", "")
        if not encoded or "IamInstanceProfile" not in instance:
            return
        settings = json.loads(base64.b64decode(encoded))
        token = _token(self._keys(instance), settings["cluster"])
        with with_token(self._kubeconfig, token) as kubelet:
            kubelet.create(codecs.from_dict(self._node(instance, settings)))
        self._joined[identifier] = instance["PrivateDnsName"]
        self.say(f"{identifier} joined")

    def _keys(self, instance: Mapping[str, Any]) -> Credentials:
        """Return the keys that the instance's metadata service gives."""
        profile = instance["IamInstanceProfile"]["Arn"].rpartition("/")[2]
        details = self._iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]
        content = {"role": details["Roles"][0]["RoleName"], "name": instance["InstanceId"]}
        answer = requests.put(f"{self._aws_url}/_sandbox/sessions", json=content, timeout=SECONDS)
        answer.raise_for_status()
        keys = answer.json()
        return Credentials(keys["accessKeyId"], keys["secretAccessKey"], keys["sessionToken"])

    def _node(self, instance: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        name, kind = instance["PrivateDnsName"], instance["InstanceType"]
        zone = instance["Placement"]["AvailabilityZone"]
        [size] = self._ec2.describe_instance_types(InstanceTypes=[kind])["InstanceTypes"]
        architecture = _ARCHITECTURES[size["ProcessorInfo"]["SupportedArchitectures"][-1]]
        labels = {
            "kubernetes.io/arch": architecture,
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "node.kubernetes.io/instance-type": kind,
            "topology.kubernetes.io/region": REGION,
            "topology.kubernetes.io/zone": zone,
            **settings["labels"],
        }
        annotation, value = KWOK_ANNOTATION
        cpus, memory = size["VCpuInfo"]["DefaultVCpus"], size["MemoryInfo"]["SizeInMiB"]
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels, "annotations": {annotation: value}},
            "spec": {
                "providerID": f"aws:///{zone}/{instance['InstanceId']}",
                "taints": settings["taints"],
            },
            "status": {
                "capacity": {"cpu": str(cpus), "memory": f"{memory}Mi", "pods": "58"},
                "allocatable": {
                    "cpu": f"{cpus * 1000 - 100}m",
                    "memory": f"{memory - 512}Mi",
                    "pods": "58",
                },
            },
        }


def _token(keys: Credentials, cluster: str) -> str:
    """Return the token of an EKS cluster for these keys: a presigned GetCallerIdentity."""
    request = AWSRequest(
        "GET",
        f"{STS_URL}/?Action=GetCallerIdentity&Version=2011-06-15",
        headers={"x-k8s-aws-id": cluster},
    )
    SigV4QueryAuth(keys, "sts", REGION, expires=_TOKEN_SECONDS).add_auth(request)
    encoded = base64.urlsafe_b64encode(str(request.url).encode()).decode()
    return f"k8s-aws-v1.{encoded.rstrip('=')}"
