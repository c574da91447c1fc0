"""Connections to the cluster: every spelling of a kubeconfig, time-outs set, no secret kept.

Nothing heavy is imported here until a connection is asked for, because dynamic resources import
this module whenever they only compare.
"""

import json
import threading
from typing import TYPE_CHECKING, Any

from castai_stack.kube.kubeconfig import KubeconfigError, load_kubeconfig

if TYPE_CHECKING:
    import lightkube

FIELD_MANAGER = "castai-eks"
"""Name under which the API server remembers what this program wrote."""

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
_SHOWN_OF_AN_ANSWER = 300
_READING = threading.Lock()
"""Held while msgspec, below lightkube, turns text into objects.

msgspec 0.22 ends the process with a segmentation fault when two threads read a type for the first
time. A dynamic host works on several threads, and so does the preflight.
"""


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

    where, loaded = load_kubeconfig(kubeconfig)
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
