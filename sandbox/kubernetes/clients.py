"""Clients of the API server for the stand-ins, which work side by side in one process."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from lightkube import Client, KubeConfig

_DECODING = threading.Lock()
"""msgspec 0.22, below lightkube, crashes when two threads decode a type for the first time."""


def connect(kubeconfig: Mapping[str, Any], users: Sequence[Mapping[str, Any]] = ()) -> Client:
    """Return a client for a kubeconfig, in the name of other users if there are any."""
    named = {"users": list(users)} if users else {}
    client = Client(config=KubeConfig.from_dict({**kubeconfig, **named}))
    inner: Any = client._client  # noqa: SLF001 - every answer passes here
    decode = inner.handle_response

    def one_at_a_time(*arguments: Any, **options: Any) -> Any:
        with _DECODING:
            return decode(*arguments, **options)

    inner.handle_response = one_at_a_time
    return client


def with_token(kubeconfig: Mapping[str, Any], token: str) -> Client:
    """Return a client for a kubeconfig that shows another token."""
    return connect(kubeconfig, [{"name": "sandbox", "user": {"token": token}}])
