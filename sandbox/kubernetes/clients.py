"""Clients of the API server for the stand-ins, which work side by side in one process."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightkube import Client, KubeConfig

from castai_stack.kube.connection import one_decoder


def connect(kubeconfig: Mapping[str, Any], users: Sequence[Mapping[str, Any]] = ()) -> Client:
    """Return a client for a kubeconfig, in the name of other users if there are any."""
    named = {"users": list(users)} if users else {}
    return one_decoder(Client(config=KubeConfig.from_dict({**kubeconfig, **named})))


def with_token(kubeconfig: Mapping[str, Any], token: str) -> Client:
    """Return a client for a kubeconfig that shows another token."""
    return connect(kubeconfig, [{"name": "sandbox", "user": {"token": token}}])
