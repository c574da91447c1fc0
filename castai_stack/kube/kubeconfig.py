"""Kubeconfigs, read as client-go reads them.

Pulumi's Kubernetes provider reads the same kubeconfig with client-go. A key that this module read
in another way would let the preflight ask as one identity and an update write as another. Every
key is therefore either applied as client-go applies it or refused by its name.

Source: kubernetes/client-go, tools/clientcmd (api/v1/types.go, validation.go, client_config.go)
"""

import json
import os
from pathlib import Path

from castai_stack.kube import kubeconfig_entry, kubeconfig_text
from castai_stack.kube.endpoint import Endpoint, KubeconfigError
from castai_stack.kube.kubeconfig_text import Data

AMBIENT = "ambient"
FROM_EKS = "from-eks"
"""Value of `cluster.kubeconfig` that stands for `eks_kubeconfig` of the cluster."""
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def eks_kubeconfig(name: str, region: str, endpoint: str, certificate_authority: str) -> str:
    """Return the kubeconfig of an EKS cluster as JSON text.

    The AWS CLI logs in, so the text holds no secret.
    Source: https://docs.aws.amazon.com/eks/latest/userguide/create-kubeconfig.html
    """
    login = {
        "apiVersion": kubeconfig_entry.EXEC_V1BETA1,
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


def read(kubeconfig: str, context: str | None) -> Endpoint:
    """Return the endpoint of `ambient`, of the path of a kubeconfig, or of the text of one.

    `ambient` is KUBECONFIG (of several files the first to define a name wins), else
    `~/.kube/config`, else the service account of the pod that runs this program.

    Raises KubeconfigError, which names the key at fault and never shows its value.
    Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
    """
    if kubeconfig_text.is_text(kubeconfig):
        return _select(
            "kubeconfig text",
            kubeconfig_text.from_text(kubeconfig, "kubeconfig text", None),
            context,
        )
    if kubeconfig != AMBIENT:
        path = Path(kubeconfig).expanduser()
        if not path.is_file():
            raise KubeconfigError(
                f"cluster.kubeconfig: there is no file {kubeconfig}; "
                "give the path of a kubeconfig, or `ambient` for the one of your shell"
            )
        return _select(str(path), kubeconfig_text.from_file(path), context)
    listed = [Path(p).expanduser() for p in os.environ.get("KUBECONFIG", "").split(os.pathsep) if p]
    paths = [p for p in listed or [Path("~/.kube/config").expanduser()] if p.is_file()]
    if paths:
        where = os.pathsep.join(map(str, paths))
        return _select(
            where,
            kubeconfig_text.merge([kubeconfig_text.from_file(path) for path in paths]),
            context,
        )
    if not listed and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _in_pod()
    searched = os.environ.get("KUBECONFIG") or "~/.kube/config"
    raise KubeconfigError(
        f"cluster.kubeconfig is `ambient`, and there is no kubeconfig at {searched}; "
        "set KUBECONFIG, or give a path"
    )


def relative_references(kubeconfig: str, context: str | None) -> tuple[str, ...]:
    """Return the keys of a kubeconfig file whose relative paths Pulumi's provider resolves wrongly.

    The provider loads the file that `cluster.kubeconfig` names as text, so that it resolves
    relative paths against the current directory. kubectl resolves them against the file's folder.
    Source: pulumi/pulumi-kubernetes, provider/pkg/provider/util.go
    """
    if kubeconfig == AMBIENT or kubeconfig_text.is_text(kubeconfig):
        return ()
    path = Path(kubeconfig).expanduser()
    if path.parent.resolve() == Path.cwd():
        return ()
    config = kubeconfig_text.from_text(path.read_bytes(), str(path), None)
    context = context or config["current-context"]
    chosen = config["contexts"].get(context, {})
    groups = (
        ("cluster", "clusters", kubeconfig_text.CLUSTER_FILES),
        ("user", "users", kubeconfig_text.USER_FILES),
    )
    keys = []
    for kind, group, names in groups:
        entry = config[group].get(chosen.get(kind), {})
        keys += [
            key for key in names if (value := entry.get(key)) and not Path(value).is_absolute()
        ]
        command = (entry.get("exec") or {}).get("command") or ""
        if "/" in command and not Path(command).is_absolute():
            keys.append("exec.command")
    return tuple(keys)


def _in_pod() -> Endpoint:
    """Return the endpoint of the pod's service account.

    Source: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
    """
    where = "service account of this pod"
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    address = f"[{host}]" if ":" in host else host
    cluster = {
        "server": f"https://{address}:{port or 443}",
        "certificate-authority": str(_SERVICE_ACCOUNT / "ca.crt"),
    }
    user = {"tokenFile": str(_SERVICE_ACCOUNT / "token")}
    return Endpoint(
        where, kubeconfig_entry.cluster(where, cluster), kubeconfig_entry.user(where, user)
    )


def _select(where: str, config: Data, context: str | None) -> Endpoint:
    name = context or config["current-context"]
    if not name:
        raise KubeconfigError(f"{where}: no context is selected; set cluster.context")
    advice = "name one of its contexts in cluster.context, or another file in cluster.kubeconfig"
    if name not in config["contexts"]:
        raise KubeconfigError(f"{where}: there is no context {name!r}; {advice}")
    chosen = config["contexts"][name]
    entries = []
    for kind, group in (("cluster", "clusters"), ("user", "users")):
        reference = chosen.get(kind) or ""
        if reference and reference not in config[group]:
            raise KubeconfigError(
                f"{where}: context {name!r} names the {kind} {reference!r}, which is not defined; "
                f"{advice}"
            )
        entries.append((f"{where}: {kind} {reference!r}", config[group].get(reference, {})))
    return Endpoint(
        where, kubeconfig_entry.cluster(*entries[0]), kubeconfig_entry.user(*entries[1])
    )
