"""Connections to the cluster: every spelling of a kubeconfig, time-outs set, no secret kept.

Nothing heavy is imported here until a connection is asked for, because dynamic resources import
this module whenever they only compare.
"""

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import lightkube

AMBIENT = "ambient"
FROM_EKS = "from-eks"
"""Stands for `eks_kubeconfig` of the cluster, which only a lookup can fill in."""
FIELD_MANAGER = "castai-eks"
"""Name under which the API server remembers what this program wrote."""

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0

_EXEC_VERSION = "client.authentication.k8s.io/v1beta1"
_EXEC_VERSIONS = (_EXEC_VERSION, "client.authentication.k8s.io/v1")
_FILE_KEYS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_SECRET_KEYS = ("client-key-data", "password", "token:", '"token"', "id-token", "refresh-token")
_SHOWN_OF_AN_ANSWER = 300
_READING = threading.Lock()
"""Held while msgspec, below lightkube, turns text into objects.

msgspec 0.22 ends the process with a segmentation fault when two threads read a type for the first
time. A dynamic host works on several threads, and so does the preflight.
"""


class KubeconfigError(Exception):
    """No connection can be made from this kubeconfig; the message is the whole story."""


def load() -> None:
    """Import all that the first connection needs, which takes 0.2 s, ahead of it."""
    import httpx2  # noqa: F401, PLC0415
    import lightkube  # noqa: F401, PLC0415
    from lightkube.resources import authorization_v1, core_v1  # noqa: F401, PLC0415


def connect(kubeconfig: str, context: str | None) -> "lightkube.Client":
    """Return a client for `ambient`, the path of a kubeconfig, or the text of one.

    `ambient` is KUBECONFIG (several files are merged, the first to name a thing wins, as kubectl
    does), else `~/.kube/config`, else the service account of the pod that this runs in.
    Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
    """
    import httpx2  # noqa: PLC0415 - see the module's docstring
    import lightkube  # noqa: PLC0415
    from lightkube.config.models import User  # noqa: PLC0415
    from lightkube.core.exceptions import ConfigError  # noqa: PLC0415

    where, loaded = _load(kubeconfig)
    try:
        with _READING:
            config = (
                lightkube.KubeConfig.from_service_account()
                if loaded is None
                else lightkube.KubeConfig.from_dict(loaded)
            )
        single = config.get(context)
    except Exception as error:  # noqa: BLE001 - the reader's own errors have no common base
        raise KubeconfigError(
            f"{where}: {_reason(error, context)}; "
            "name one of its contexts in cluster.context, or another file in cluster.kubeconfig"
        ) from None
    if single is None:  # only with a default, which is not given
        raise KubeconfigError(f"{where}: no context is selected; set cluster.context")
    if single.user is None:
        single = single._replace(user=User())
    try:
        return _one_reader(
            lightkube.Client(
                config=single,
                timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
                field_manager=FIELD_MANAGER,
            )
        )
    except (OSError, ValueError, ConfigError) as error:
        raise KubeconfigError(
            f"{where}: its certificates or login cannot be used ({type(error).__name__}); "
            "check the files that it names"
        ) from None


def _one_reader(client: "lightkube.Client") -> "lightkube.Client":
    """Let one thread at a time turn answers into objects; requests still run side by side."""
    inner: Any = client._client  # noqa: SLF001 - the only place that sees every answer
    decode = inner.handle_response

    def one_at_a_time(*arguments: Any, **named: Any) -> Any:
        with _READING:
            return decode(*arguments, **named)

    inner.handle_response = one_at_a_time
    return client


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


def delete_unchanged(
    client: "lightkube.Client",
    kind: Any,
    name: str,
    namespace: str,
    version: str,
    *,
    dry_run: bool = False,
) -> None:
    """Delete an object that must still have this `resourceVersion`; 409 when it has another.

    The client's own `delete` takes no preconditions, so its parts are put together here.
    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/
    """
    speaker = client._client  # noqa: SLF001 - pinned, and covered by a test on a real server
    request = speaker.prepare_request(
        "delete",
        kind,
        name=name,
        namespace=namespace,
        params={"dryRun": "All" if dry_run else None},
    )
    request.data = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"resourceVersion": version},
    }
    speaker.handle_response("delete", speaker.send(speaker.build_adapter_request(request)), request)


def configured(stack_configuration: Any) -> tuple[str, str | None] | None:
    """Return kubeconfig and context as the `castai` object of a stack names them now.

    None when the kubeconfig is made from EKS, whatever the machine. Dynamic resources ask, because
    what their state keeps may belong to another machine.
    """
    try:
        cluster = json.loads(stack_configuration)["cluster"]
        kubeconfig = cluster.get("kubeconfig", FROM_EKS)
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
    if not isinstance(kubeconfig, str) or kubeconfig == FROM_EKS:
        return None
    return kubeconfig, cluster.get("context")


def holds_secret(kubeconfig: str) -> bool:
    """Tell whether the text of a kubeconfig carries what may not be kept in a state."""
    return any(key in kubeconfig for key in _SECRET_KEYS)


def explain(error: Exception) -> str:
    """Say in one sentence what went wrong on the way to or inside the API server."""
    import httpx2  # noqa: PLC0415
    import lightkube  # noqa: PLC0415
    from lightkube.core.exceptions import ConfigError  # noqa: PLC0415

    match error:
        case lightkube.ApiError():
            said = f"the API server answered {error.status.code}: {error.status.message}"
        case httpx2.HTTPStatusError():
            said = (
                f"{_address(error)} answered {error.response.status_code}, not as Kubernetes does"
            )
        case httpx2.TimeoutException():
            said = f"no answer from {_address(error)} in time; can it be reached from here?"
        case httpx2.HTTPError():
            said = f"cannot reach {_address(error)} ({error}); is it right, and private perhaps?"
        case ConfigError():
            said = f"the kubeconfig's login failed: {str(error)[:_SHOWN_OF_AN_ANSWER].strip()}"
        case FileNotFoundError():
            said = f"the kubeconfig's login program {error.filename} is not on PATH"
        case KeyError() | json.JSONDecodeError():
            said = "the kubeconfig's login program answered without a token"
        case _:
            said = str(error) or type(error).__name__
    return said


def _address(error: Any) -> str:
    try:
        return str(error.request.url.copy_with(path="/", query=None))
    except RuntimeError:  # raised before there was a request
        return "the API server"


def _reason(error: Exception, context: str | None) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing or not defined there"
    if context is not None and "not found" in str(error):
        return f"there is no context {context!r}"
    return str(error) or type(error).__name__


def _load(kubeconfig: str) -> tuple[str, dict[str, Any] | None]:
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
