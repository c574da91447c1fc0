"""Clients of the API server for the stand-ins, which work side by side in one process."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lightkube import Client, KubeConfig

from castai_stack.kube import kubeconfig as kubeconfigs
from castai_stack.kube.connection import one_decoder
from castai_stack.kube.transport import KubeconfigTransport


def connect(kubeconfig: Mapping[str, Any], users: Sequence[Mapping[str, Any]] = ()) -> Client:
    """Return a client for a kubeconfig, in the name of other users if there are any."""
    whole = {**kubeconfig, **({"users": list(users)} if users else {})}
    # Threads share the client, and only this transport lets them.
    transport = KubeconfigTransport(kubeconfigs.read(json.dumps(whole), None))
    return one_decoder(Client(config=KubeConfig.from_dict(whole), transport=transport))


def with_token(kubeconfig: Mapping[str, Any], token: str) -> Client:
    """Return a client for a kubeconfig that shows another token."""
    return connect(kubeconfig, [{"name": "sandbox", "user": {"token": token}}])
