"""Which instance the autoscaler starts for pending pods, as values.

Labels, tags and the meaning of a configuration's fields:
https://docs.cast.ai/docs/node-configuration and https://docs.cast.ai/docs/node-templates.
"""

import json
from collections.abc import Iterable, Mapping

from sandbox.castai.api import Document

MANAGED_BY = "provisioner.cast.ai/managed-by"
NODE_ID = "provisioner.cast.ai/node-id"
SPOT = "scheduling.cast.ai/spot"

_TYPES = {
    f"{family}.{size}": (cpus, cpus * gibibytes, architecture)
    for family, gibibytes, architecture in (("m5", 4, "amd64"), ("m6g", 4, "arm64"))
    for size, cpus in (("large", 2), ("xlarge", 4), ("2xlarge", 8), ("4xlarge", 16))
}
"""CPUs, GiB of memory, and architecture of the instance types on offer; the smallest come first."""
_RESERVED = 0.2
"""CPUs of a node that pods do not get."""
_SUFFIXES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "m": 1e-3, "k": 1e3, "M": 1e6}


def quantity(text: str) -> float:
    """Return a quantity of Kubernetes as a number."""
    for suffix, factor in _SUFFIXES.items():
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor
    return float(text)


def unschedulable(pods: Iterable[Document]) -> list[Document]:
    """Return the pods that wait for a node."""
    return [
        pod
        for pod in pods
        if not pod["spec"].get("nodeName")
        and any(
            one["type"] == "PodScheduled" and one.get("reason") == "Unschedulable"
            for one in pod.get("status", {}).get("conditions") or []
        )
    ]


def occupies(pod: Document, node: str) -> bool:
    """Whether a pod keeps a node from being empty."""
    owners = pod["metadata"].get("ownerReferences") or []
    return (
        pod["spec"].get("nodeName") == node
        and pod.get("status", {}).get("phase") in ("Pending", "Running")
        and not any(owner["kind"] in ("DaemonSet", "Node") for owner in owners)
    )


def instance_type(template: Document, pods: Iterable[Document]) -> tuple[str, int] | None:
    """Return the smallest type that the template allows and that holds the pods, and its CPUs."""
    requests = [
        container.get("resources", {}).get("requests") or {}
        for pod in pods
        for container in pod["spec"]["containers"]
    ]
    cpu = sum(quantity(one.get("cpu", "0")) for one in requests) + _RESERVED
    memory = sum(quantity(one.get("memory", "0")) for one in requests) / 2**30
    allowed = template["constraints"]
    families = allowed.get("instanceFamilies") or {}
    for name, (cpus, gibibytes, architecture) in _TYPES.items():
        family = name.partition(".")[0]
        if (
            cpus >= max(cpu, allowed.get("minCpu") or 0)
            and gibibytes >= max(memory, (allowed.get("minMemory") or 0) / 1024)
            and cpus <= (allowed.get("maxCpu") or cpus)
            and gibibytes <= (allowed.get("maxMemory") or gibibytes * 1024) / 1024
            and architecture in allowed["architectures"]
            and family in (families.get("include") or [family])
            and family not in (families.get("exclude") or [])
        ):
            return name, cpus
    return None


def labels(node_id: str, template: Document) -> dict[str, str]:
    """Return the labels of a new node."""
    spot = {SPOT: "true"} if is_spot(template) else {}
    return {
        MANAGED_BY: "cast.ai",
        NODE_ID: node_id,
        "scheduling.cast.ai/node-template": template["name"],
        **spot,
        **template["customLabels"],
    }


def is_spot(template: Document) -> bool:
    """Whether the template's nodes are Spot instances."""
    constraints = template["constraints"]
    return bool(constraints["spot"] and not constraints["onDemand"])


def takes(pod: Document, offered: Mapping[str, str]) -> bool:
    """Whether a node with these labels is one that the pod selects, as far as labels are ours."""
    selector = pod["spec"].get("nodeSelector") or {}
    ours = {key: value for key, value in selector.items() if "cast.ai/" in key}
    return all(offered.get(key) == value for key, value in ours.items())


def tags(cluster_id: str, cluster: str, name: str, more: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of an instance."""
    return {
        **more,
        "Name": name,
        f"kubernetes.io/cluster/{cluster}": "owned",
        "cast:cluster-id": cluster_id,
        "cast:managed-by": "cast.ai",
    }


def arguments(
    configuration: Document,
    type_: str,
    given: Mapping[str, str],
    user_data: Document,
    *,
    spot: bool,
) -> Document:
    """Return the arguments of RunInstances for a node configuration."""
    eks = configuration["eks"]
    pairs = [{"Key": key, "Value": value} for key, value in given.items()]
    disk = {
        "VolumeSize": configuration["minDiskSize"],
        "VolumeType": eks["volumeType"],
        "DeleteOnTermination": True,
        **({"Iops": eks["volumeIops"]} if eks["volumeIops"] else {}),
        **({"Throughput": eks["volumeThroughput"]} if eks["volumeThroughput"] else {}),
        **(
            {"Encrypted": True, "KmsKeyId": eks["volumeKmsKeyArn"]}
            if eks["volumeKmsKeyArn"]
            else {}
        ),
    }
    return {
        **({"ImageId": configuration["image"]} if configuration["image"] else {}),
        "InstanceType": type_,
        "SubnetId": configuration["subnets"][0],
        "SecurityGroupIds": list(eks["securityGroups"]),
        "IamInstanceProfile": {"Arn": eks["instanceProfileArn"]},
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": disk}],
        "MetadataOptions": {
            "HttpTokens": "optional" if eks["imdsV1"] else "required",
            "HttpPutResponseHopLimit": eks["imdsHopLimit"],
        },
        "UserData": json.dumps(user_data),
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": pairs} for kind in ("instance", "volume")
        ],
        **({"InstanceMarketOptions": {"MarketType": "spot"}} if spot else {}),
    }
