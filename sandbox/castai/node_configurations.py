"""Node configurations: how the nodes are made that CAST AI starts.

Fields, defaults and spellings: `Nodeconfig*` of castai/sdk/api.gen.go and
castai/resource_node_configuration.go of castai/terraform-provider-castai. Answers are spelled as
that provider has to expect them, which is not always as they were written.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.castai.api import (
    Document,
    RefusalError,
    bounded,
    chosen,
    invalid,
    now,
    require_fields,
    required,
    typed,
)

_KINDS: Mapping[str, type] = {
    "containerRuntime": str,
    "diskCpuRatio": int,
    "dockerConfig": dict,
    "drainTimeoutSec": int,
    "eks": dict,
    "image": str,
    "initScript": str,
    "kubeletConfig": dict,
    "minDiskSize": int,
    "sshPublicKey": str,
    "subnets": list,
    "tags": dict,
}
_EKS: Mapping[str, type] = {
    "dnsClusterIp": str,
    "imageFamily": str,
    "imdsHopLimit": int,
    "imdsV1": bool,
    "instanceProfileArn": str,
    "ipsPerPrefix": int,
    "keyPairId": str,
    "maxPodsPerNodeFormula": str,
    "nodeGroupArn": str,
    "securityGroups": list,
    "targetGroups": list,
    "threadsPerCpu": int,
    "volumeIops": int,
    "volumeKmsKeyArn": str,
    "volumeThroughput": int,
    "volumeType": str,
}
_DEFAULTS: Document = {
    **dict.fromkeys(_KINDS),
    "containerRuntime": "UNSPECIFIED",
    "diskCpuRatio": 0,
    "drainTimeoutSec": 0,
    "minDiskSize": 100,
    "tags": {},
}
_EKS_DEFAULTS: Document = {
    **dict.fromkeys(_EKS),
    "dnsClusterIp": "10.100.0.10",
    "imdsHopLimit": 2,
    "imdsV1": True,
    "ipsPerPrefix": 1,
    "targetGroups": [],
    "volumeType": "gp3",
}
_FAMILIES = ("family_al2", "family_al2023", "family_bottlerocket")
_RUNTIMES = ("CONTAINERD", "DOCKERD", "UNSPECIFIED")
_PROFILE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:instance-profile/.+")
_KEY = re.compile(r"arn:aws[a-z-]*:kms:.+")
_NUMBERS = {"minDiskSize": (30, 65536), "drainTimeoutSec": (0, 10800), "diskCpuRatio": (0, 2**31)}
_EKS_NUMBERS = {
    "imdsHopLimit": (2, 64),
    "ipsPerPrefix": (0, 256),
    "volumeIops": (100, 100000),
    "volumeThroughput": (125, 1000),
    "threadsPerCpu": (1, 2),
}


class NodeConfigurations:
    """The node configurations of one cluster."""

    def __init__(self) -> None:
        self._by_id: dict[str, Document] = {}

    def every(self) -> list[Document]:
        """List them, oldest first."""
        return list(self._by_id.values())

    def get(self, identifier: str) -> Document:
        """Return one or refuse with 404."""
        if identifier not in self._by_id:
            raise RefusalError(404, "node configuration not found")
        return self._by_id[identifier]

    def default(self) -> Document | None:
        """Return the default one."""
        return next((one for one in self._by_id.values() if one["default"]), None)

    def create(self, body: Document, *, default: bool = False) -> Document:
        """Make one; one that has the name is overwritten."""
        require_fields(body, *_KINDS, "name")
        name = required(body, "name", str)
        required(body, "subnets", list)
        required(body, "eks", dict)
        sections = _checked(body)
        old = next((one for one in self._by_id.values() if one["name"] == name), None)
        configuration = {
            "id": str(uuid.uuid4()),
            "name": name,
            "default": default,
            "version": 0,
            "createdAt": now(),
            **(old or {}),
            **_DEFAULTS,
            "eks": _EKS_DEFAULTS,
        }
        return self._store(configuration, sections)

    def update(self, identifier: str, body: Document) -> Document:
        """Write what is given; what is left out or null stays as it is."""
        old = self.get(identifier)
        require_fields(body, *_KINDS)
        return self._store(old, _checked({**body, "eks": {**old["eks"], **body.get("eks", {})}}))

    def _store(self, old: Document, given: Document) -> Document:
        eks = {**old["eks"], **_set(given.get("eks") or {})}
        stored: Document = {
            **old,
            **_set(given),
            "eks": eks,
            "version": old["version"] + 1,
            "updatedAt": now(),
        }
        self._by_id[stored["id"]] = stored
        return stored

    def delete(self, identifier: str) -> None:
        """Remove one, unless it is the default."""
        if self.get(identifier)["default"]:
            raise RefusalError(400, "default node configuration can not be deleted")
        del self._by_id[identifier]

    def set_default(self, identifier: str) -> Document:
        """Make one the default in place of the one that is."""
        chosen_one = self.get(identifier)
        for one in self._by_id.values():
            one["default"] = one is chosen_one
        return chosen_one


def _set(values: Document) -> Document:
    return {name: value for name, value in values.items() if value is not None}


def _checked(body: Document) -> Document:
    """Return the body in the service's spelling, or refuse it."""
    typed(body, _KINDS)
    for name, (least, most) in _NUMBERS.items():
        bounded(body, name, least, most)
    _texts(body.get("subnets"), "subnets", "subnet-")
    for name, value in (body.get("tags") or {}).items():
        typed({"tags": value}, {"tags": str}, f"{name} in ")
    spelled = dict(body)
    if runtime := body.get("containerRuntime"):
        spelled["containerRuntime"] = runtime.upper()
        chosen(spelled, "containerRuntime", _RUNTIMES)
    if eks := body.get("eks"):
        spelled["eks"] = _checked_eks(eks)
    return spelled


def _checked_eks(eks: Document) -> Document:
    require_fields(eks, *_EKS, within="eks.")
    typed(eks, _EKS, "eks.")
    for name, (least, most) in _EKS_NUMBERS.items():
        bounded(eks, name, least, most, "eks.")
    _matching(eks, "instanceProfileArn", _PROFILE)
    required(eks, "instanceProfileArn", str, "eks.instanceProfileArn")
    required(eks, "securityGroups", list, "eks.securityGroups")
    _texts(eks.get("securityGroups"), "eks.securityGroups", "sg-")
    _matching(eks, "volumeKmsKeyArn", _KEY)
    chosen(eks, "volumeType", ("gp2", "gp3", "io1", "io2"), "eks.")
    spelled = dict(eks)
    if family := eks.get("imageFamily"):
        spelled["imageFamily"] = family.lower()
        chosen(spelled, "imageFamily", _FAMILIES, "eks.")
    if eks.get("ipsPerPrefix") == 0:
        spelled["ipsPerPrefix"] = 1
    return spelled


def _matching(eks: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> None:
    if eks.get(name) is not None and pattern.fullmatch(eks[name]) is None:
        raise invalid(f"eks.{name}", "must be an ARN of that kind")


def _texts(values: Iterable[Any] | None, name: str, prefix: str) -> None:
    if any(not isinstance(one, str) or not one.startswith(prefix) for one in values or ()):
        raise invalid(name, f"must be a list of ids that begin with {prefix}")
