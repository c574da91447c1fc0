"""Messages between the sandbox's start and its services, in files of the state folder."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from sandbox import constants
from sandbox.kubernetes.control_plane import ControlPlane

_ADDRESSES = "addresses.json"
_PLAN = "plan.json"
_READY = "cluster-is-there"
_SECONDS = 10


def plan(directory: Path, document: Mapping[str, Any]) -> Path:
    """Write down what the services shall serve, and return the file to start them with."""
    path = directory / "services" / _PLAN
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(document))
    return path


def read(directory: Path) -> dict[str, Any] | None:
    """Addresses and principals, once the services run."""
    path = directory / "services" / _ADDRESSES
    return json.loads(path.read_text()) if path.exists() else None


def announce_cluster(directory: Path, plane: ControlPlane) -> None:
    """Announce the furnished control plane to EKS and to the agent's stand-in."""
    known = read(directory)
    if known is None:
        raise RuntimeError("the services have not been started")
    certificate = base64.b64encode(plane.authority.read_bytes()).decode()
    answer = requests.put(
        f"{known['aws']}/_sandbox/clusters/{constants.REGION}/{constants.CLUSTER}",
        json={"endpoint": plane.url, "certificateAuthority": certificate},
        timeout=_SECONDS,
    )
    answer.raise_for_status()
    (directory / "services" / _READY).touch()


def cluster_is_announced(directory: Path) -> bool:
    """Whether the control plane runs and is furnished."""
    return (directory / "services" / _READY).exists()


def publish(directory: Path, document: Mapping[str, Any]) -> None:
    """Write all addresses at once, readable by the owner only."""
    path = directory / "services" / _ADDRESSES
    part = path.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(json.dumps(document, indent=2))
    part.replace(path)
