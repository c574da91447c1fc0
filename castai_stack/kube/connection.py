"""Connections to the cluster, with time-outs set.

Heavy libraries are imported when a connection is opened, because the plugin imports this module
when it starts, and mostly only compares.
"""

import threading
from typing import TYPE_CHECKING, Any

from castai_stack.kube import kubeconfig as kubeconfigs
from castai_stack.kube.endpoint import KubeconfigError
from castai_stack.kube.quoting import quote

if TYPE_CHECKING:
    import lightkube

FIELD_MANAGER = "castai-eks"
"""Field manager of this program's writes in the API server's records."""

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
_DECODING = threading.Lock()
"""Held while msgspec, below lightkube, decodes an answer.

msgspec 0.22 ends the process with a segmentation fault when two threads decode a type for the first
time. The plugin works on several threads, and so does the preflight.
"""


def load() -> None:
    """Import what the first connection needs, which takes 0.2 s."""
    import httpx2  # noqa: F401, PLC0415
    import lightkube  # noqa: F401, PLC0415
    from lightkube.resources import authorization_v1, core_v1  # noqa: F401, PLC0415


def connect(kubeconfig: str, context: str | None) -> "lightkube.Client":
    """Return a client for a kubeconfig as `kubeconfig.read` takes it.

    A login program runs with the first request.

    Raises KubeconfigError when the kubeconfig, its certificates or its token cannot be used.
    """
    import httpx2  # noqa: PLC0415 - see the module's docstring
    import lightkube  # noqa: PLC0415
    from lightkube.config import models  # noqa: PLC0415
    from lightkube.config.kubeconfig import SingleConfig  # noqa: PLC0415

    from castai_stack.kube.transport import KubeconfigTransport  # noqa: PLC0415

    endpoint = kubeconfigs.read(kubeconfig, context)
    return one_decoder(
        lightkube.Client(
            # The transport verifies the server and logs in; `insecure` keeps lightkube from
            # loading authorities that no connection would use.
            config=SingleConfig(
                context_name="",
                context=models.Context(cluster=""),
                cluster=models.Cluster(server=endpoint.cluster.server, insecure=True),
                user=models.User(),
            ),
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            field_manager=FIELD_MANAGER,
            transport=KubeconfigTransport(endpoint),
        )
    )


def one_decoder(client: "lightkube.Client") -> "lightkube.Client":
    """Let one thread of the process at a time decode answers; requests still run in parallel."""
    inner: Any = client._client  # noqa: SLF001 - every answer passes here
    decode = inner.handle_response

    def one_at_a_time(*arguments: Any, **named: Any) -> Any:
        with _DECODING:
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
    """Delete an object of this `resourceVersion`; raise ApiError 409 when it has another.

    lightkube's `delete` takes no preconditions, so this function builds the request.
    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/
    """
    inner = client._client  # noqa: SLF001 - pinned, and covered by a test on a real server
    request = inner.prepare_request(
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
    inner.handle_response("delete", inner.send(inner.build_adapter_request(request)), request)


def explain(error: Exception) -> str:
    """Describe in one sentence what failed on the way to or inside the API server."""
    import httpx2  # noqa: PLC0415
    import lightkube  # noqa: PLC0415

    match error:
        case lightkube.ApiError():
            text = f"the API server answered {error.status.code}: {error.status.message}"
        case httpx2.HTTPStatusError():
            code = error.response.status_code
            text = f"{_address(error)} answered {code}, not as Kubernetes does"
        case httpx2.TimeoutException():
            text = f"no answer from {_address(error)} in time; can it be reached from here?"
        case httpx2.ProtocolError():  # its text quotes headers
            text = f"the exchange with {_address(error)} broke HTTP ({type(error).__name__})"
        case httpx2.HTTPError():
            reason = quote(str(error))
            text = f"cannot reach {_address(error)} ({reason}); is it right, and private perhaps?"
        case KubeconfigError():
            text = str(error)
        case _:
            text = quote(str(error)) or type(error).__name__
    return text


def _address(error: Any) -> str:
    try:
        return str(error.request.url.copy_with(path="/", query=None))
    except RuntimeError:  # raised before there was a request
        return "the API server"
