"""The login to the sandbox's cluster: aws-iam-authenticator itself, led to the sandbox's AWS.

`toolchain/authenticator` is its server, which the API server asks about every token that it does
not know. It watches the live `kube-system/aws-auth`, so whoever is taken out of there is locked
out. EKS does not publish what it makes of access entries. Here they are mappings of the server's
`DynamicFile` backend, which binds them to the principal's id, and an access policy of the whole
cluster is a group.

Sources: kubernetes-sigs/aws-iam-authenticator, pkg/mapper/dynamicfile, pkg/fileutil/util.go,
pkg/server/types.go; https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html
"""

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox import constants
from sandbox.kubernetes.control_plane import ControlPlane
from sandbox.processes import Processes
from sandbox.toolchain import Programs

if TYPE_CHECKING:  # moto takes a second to load, and most commands of the sandbox need none
    from sandbox.aws.account import AccessEntry, ClusterExtras

NAME = "authenticator"
"""Of the process and of its folder."""

_BACKENDS = {
    "CONFIG_MAP": "MountedFile EKSConfigMap",
    "API_AND_CONFIG_MAP": "MountedFile DynamicFile EKSConfigMap",
    "API": "MountedFile DynamicFile",
}
"""In their order; the first that knows a principal counts. `MountedFile` holds the creator."""
_ENTRIES = "access-entries.json"
_MODES = "backend-modes.json"


def mappings(entries: "Iterable[AccessEntry]") -> dict[str, list[dict[str, Any]]]:
    """Return access entries as mappings of the `DynamicFile` backend."""
    roles: list[dict[str, Any]] = []
    users: list[dict[str, Any]] = []
    for entry in entries:
        is_role = ":role/" in entry.principal_arn
        policies = (
            f"{constants.POLICY_GROUP}{arn.rpartition('/')[2]}"
            for arn, policy in entry.policies.items()
            if policy["accessScope"]["type"] == "cluster"
        )
        mapping = {
            "rolearn" if is_role else "userarn": entry.principal_arn,
            "userid": entry.unique_id,
            "username": entry.username,
            "groups": [*entry.groups, *policies],
        }
        (roles if is_role else users).append(mapping)
    return {"mapRoles": roles, "mapUsers": users}


class Access:
    """What EKS lets into the cluster, in the files that the authenticator follows."""

    def __init__(self, directory: Path) -> None:
        self._folder = _folder(directory)
        self._written: dict[str, Mapping[str, Any]] = {}

    def update(self, clusters: "Mapping[tuple[str, str], ClusterExtras]") -> None:
        """Write the files of the sandbox's cluster, those that differ."""
        extras = clusters.get((constants.REGION, constants.CLUSTER))
        if extras is None:
            return
        self._write(_ENTRIES, mappings(extras.entries.values()))
        self._write(_MODES, {"backendMode": _BACKENDS[extras.authentication_mode]})

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        if self._written.get(name) == document:
            return
        self._written[name] = document
        stamp = {"Version": "1", "LastUpdatedDateTime": str(int(time.time()))}
        # Written in place: after a rename the authenticator looks again only a second later.
        (self._folder / name).write_text(json.dumps({**stamp, **document}))


def url(port: int) -> str:
    """Return the address that reviews tokens."""
    return f"https://127.0.0.1:{port}/authenticate"


def logins(directory: Path, programs: Programs) -> dict[str, dict[str, Any]]:
    """Return the kubeconfig users of the principals that may use the cluster.

    Each makes its tokens from the keys that `start` writes, so a kubeconfig holds no secret.
    """
    arguments = [
        "token",
        "--cluster",
        constants.CLUSTER,
        "--region",
        constants.REGION,
        "--credentials",
    ]
    return {
        name: {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1beta1",
                "command": str(programs.authenticator),
                "args": [*arguments, str(_keys(directory, name))],
                "interactiveMode": "Never",
            }
        }
        for name in ("operator", "reader")
    }


def start(
    directory: Path,
    programs: Programs,
    plane: ControlPlane,
    port: int,
    services: Mapping[str, Any],
    *,
    with_parent: bool,
) -> None:
    """Start the authenticator of a control plane that serves; `services` is what they published.

    It would wait five seconds before it asked again for an aws-auth that it could not watch.
    """
    folder = _folder(directory)
    for name in logins(directory, programs):
        path = _keys(directory, name)
        path.touch(mode=0o600)
        path.write_text(json.dumps(services["principals"][name]))
    (folder / "cert.pem").symlink_to(plane.certificates.serving_certificate)
    (folder / "key.pem").symlink_to(plane.certificates.serving_key)
    # For {{EC2PrivateDNSName}}, which EKS looks up in the name of the cluster's role.
    keys = services["principals"]["root"]
    Processes(directory).start(
        NAME,
        [
            *(programs.authenticator, "server", f"--cluster={constants.CLUSTER}", f"--port={port}"),
            f"--creator=arn:aws:iam::{services['account']}:role/{constants.CREATOR_ROLE}",
            f"--kubeconfig={plane.kubeconfig_of('services')}",
            f"--state-dir={folder}",
            f"--backend-modes={folder / _MODES}",
            f"--access-entries={folder / _ENTRIES}",
            f"--sts={services['aws']}",
        ],
        {
            "AWS_ACCESS_KEY_ID": keys["accessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["secretAccessKey"],
            "AWS_SESSION_TOKEN": keys["sessionToken"],
            "AWS_REGION": constants.REGION,
            "AWS_ENDPOINT_URL": services["aws"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        },
        with_parent=with_parent,
    )


def _folder(directory: Path) -> Path:
    folder = directory / NAME
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _keys(directory: Path, name: str) -> Path:
    return _folder(directory) / f"{name}.json"
