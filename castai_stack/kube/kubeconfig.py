"""Kubeconfigs: every spelling, merged and checked."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

AMBIENT = "ambient"
FROM_EKS = "from-eks"
"""Stands for `eks_kubeconfig` of the cluster, which only a lookup can fill in."""

_EXEC_VERSION = "client.authentication.k8s.io/v1beta1"
_EXEC_VERSIONS = (_EXEC_VERSION, "client.authentication.k8s.io/v1")
_FILE_KEYS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_SECRET_KEYS = ("client-key-data", "password", "token:", '"token"', "id-token", "refresh-token")


class KubeconfigError(Exception):
    """No connection can be made from this kubeconfig; the message is the whole story."""


def eks_kubeconfig(name: str, region: str, endpoint: str, certificate_authority: str) -> str:
    """Kubeconfig of an EKS cluster as JSON text: the AWS CLI logs in, so there is no secret in it.

    Source: https://docs.aws.amazon.com/eks/latest/userguide/create-kubeconfig.html
    """
    login = {
        "apiVersion": _EXEC_VERSION,
        "command": "aws",
        "args": [
            "--region",
            region,
            "eks",
            "get-token",
            "--cluster-name",
            name,
            "--output",
            "json",
        ],
    }
    cluster = {"server": endpoint, "certificate-authority-data": certificate_authority}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"exec": login}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
    )


def holds_secret(kubeconfig: str) -> bool:
    """Tell whether the text of a kubeconfig carries what may not be kept in a state."""
    return any(key in kubeconfig for key in _SECRET_KEYS)


def load_kubeconfig(kubeconfig: str) -> tuple[str, dict[str, Any] | None]:
    """Return the source of a kubeconfig and its content; None: a pod's service account."""
    if kubeconfig.lstrip().startswith("{") or "\n" in kubeconfig:
        return "kubeconfig text", _parsed(kubeconfig, "kubeconfig text", None)
    if kubeconfig != AMBIENT:
        path = Path(kubeconfig).expanduser()
        if not path.is_file():
            raise KubeconfigError(
                f"cluster.kubeconfig: there is no file {kubeconfig}; "
                "give the path of a kubeconfig, or `ambient` for the one of your shell"
            )
        return str(path), _parsed(path.read_text(), str(path), path.parent)
    named = [Path(p).expanduser() for p in os.environ.get("KUBECONFIG", "").split(os.pathsep) if p]
    paths = [p for p in named or [Path("~/.kube/config").expanduser()] if p.is_file()]
    if not paths:
        if not named and "KUBERNETES_SERVICE_HOST" in os.environ:
            return "service account of this pod", None
        looked = os.environ.get("KUBECONFIG") or "~/.kube/config"
        raise KubeconfigError(
            f"cluster.kubeconfig is `ambient`, and there is no kubeconfig at {looked}; "
            "set KUBECONFIG, or give a path"
        )
    where = os.pathsep.join(map(str, paths))
    return where, _merged([_parsed(p.read_text(), str(p), p.parent) for p in paths])


def _parsed(text: str, where: str, folder: Path | None) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:  # the error quotes the text, which may hold a token
        raise KubeconfigError(f"{where}: is not YAML or JSON") from None
    if not isinstance(data, dict):
        raise KubeconfigError(f"{where}: is not a kubeconfig, found {type(data).__name__}")
    for group, inner in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
        named = data.get(group) or []
        if not isinstance(named, list) or not all(
            isinstance(one, dict) and isinstance(one.get(inner), dict) and "name" in one
            for one in named
        ):
            raise KubeconfigError(f"{where}: {group} must be a list of `name` and `{inner}`")
        data[group] = [{**one, inner: _usable(one[inner], folder)} for one in named]
    return data


def _usable(settings: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """Make paths absolute, and an exec login of any version one that the client runs."""
    usable = dict(settings)
    for key in _FILE_KEYS:
        if folder is not None and isinstance(usable.get(key), str):
            usable[key] = str(folder / usable[key])
    login = usable.get("exec")
    if isinstance(login, dict) and login.get("apiVersion") in _EXEC_VERSIONS:
        # The client knows v1beta1 only and reads every token alike; the program hears the truth.
        asked = {"apiVersion": login["apiVersion"], "kind": "ExecCredential"}
        told = json.dumps({**asked, "spec": {"interactive": False}})
        usable["exec"] = {
            **login,
            "apiVersion": _EXEC_VERSION,
            "env": [*(login.get("env") or []), {"name": "KUBERNETES_EXEC_INFO", "value": told}],
        }
    return usable


def _merged(configs: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {"clusters": [], "users": [], "contexts": []}
    for config in configs:
        merged.setdefault("current-context", None)
        merged["current-context"] = merged["current-context"] or config.get("current-context")
        for group in ("clusters", "users", "contexts"):
            known = {one["name"] for one in merged[group]}
            merged[group] += [one for one in config[group] if one["name"] not in known]
    return merged
